// The three kinds of error. RequestError: the caller can fix it. CorruptionError: bytes are not what we wrote.
// InvariantError (assert.ts): our bug. This table is the only place that joins a class of error to its wire status and prefix;
// docs/errors.md repeats it and a test compares the two.

interface ErrorClass {
  readonly httpStatus: number;
  readonly grpcCode: number;
  /** Put before the message on the wire. */
  readonly prefix: string;
}

export const ERROR_CLASSES = {
  'bad-input': { httpStatus: 400, grpcCode: 3, prefix: 'Wrong input: ' },
  'bad-request': { httpStatus: 400, grpcCode: 3, prefix: 'Bad request: ' },
  /** Text stands alone: format errors, checksum mismatch on upload. */
  'bad-format': { httpStatus: 400, grpcCode: 3, prefix: '' },
  forbidden: { httpStatus: 403, grpcCode: 7, prefix: 'Forbidden: ' },
  locked: { httpStatus: 403, grpcCode: 9, prefix: 'Storage locked: ' },
  'not-found': { httpStatus: 404, grpcCode: 5, prefix: 'Not found: ' },
  standalone: { httpStatus: 405, grpcCode: 12, prefix: '' },
  timeout: { httpStatus: 408, grpcCode: 4, prefix: 'Timeout: ' },
  'already-exists': { httpStatus: 409, grpcCode: 6, prefix: 'Wrong input: ' },
  validation: { httpStatus: 422, grpcCode: 3, prefix: '' },
  internal: { httpStatus: 500, grpcCode: 13, prefix: 'Service internal error: ' },
  unavailable: { httpStatus: 503, grpcCode: 14, prefix: 'Shard temporarily unavailable: ' },
  'no-space': { httpStatus: 507, grpcCode: 8, prefix: 'Insufficient storage: ' },
} as const satisfies Record<string, ErrorClass>;

export type ErrorCode = keyof typeof ERROR_CLASSES;

/** An error the caller can act on. `message` is the text without the class prefix; `wireText` has it. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get wireText(): string {
    return ERROR_CLASSES[this.code].prefix + this.message;
  }
}

export interface CorruptionDetail {
  readonly file: string;
  readonly offsetBytes?: number;
  readonly problem: string;
}

/** Bytes on disk or in an archive are not what was written. Always names the file and, where known, the offset. */
export class CorruptionError extends Error {
  override readonly name = 'CorruptionError';
  readonly file: string;
  readonly offsetBytes: number | undefined;
  readonly problem: string;

  constructor(detail: CorruptionDetail, options?: { readonly cause?: unknown }) {
    const place = detail.offsetBytes === undefined ? detail.file : `${detail.file} at byte ${detail.offsetBytes}`;
    super(`${place}: ${detail.problem}`, options);
    this.file = detail.file;
    this.offsetBytes = detail.offsetBytes;
    this.problem = detail.problem;
  }
}

/** The `code` of an operating-system error (`ENOSPC`, `ENOENT`, …), if it is one. */
export function systemCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

export function isNotFound(error: unknown): boolean {
  return systemCode(error) === 'ENOENT';
}

/** Disk full in any of its forms: no blocks, no quota. */
export function isNoSpace(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** An error of the operating system: the disk said no. What was read and found damaged is none. */
export function isDiskError(error: unknown): error is Error {
  return error instanceof Error && !(error instanceof RequestError) && /^E(?!RR_)[A-Z0-9]+$/.test(systemCode(error) ?? '');
}

/** An error of the disk as one that says so to a caller: 507 where it is full, else 500. Every other error as it is. */
export function explainDiskError(error: unknown): unknown {
  if (!isDiskError(error)) return error;
  return isNoSpace(error)
    ? new RequestError('no-space', `the disk is full (${error.message})`, { cause: error })
    : new RequestError('internal', `the disk failed (${error.message})`, { cause: error });
}
