// Exit codes of the command line; docs/operations.md repeats the table.
import { type ErrorCode, CorruptionError, isNoSpace, RequestError, systemCode } from '../base/errors.ts';

export const EXIT = {
  ok: 0, failed: 1, usage: 2, partial: 3, verifyFailed: 4, notFound: 5, access: 6, unreachable: 7, incompatible: 8, noSpace: 9, locked: 10,
  interrupted: 130,
} as const;

const jsonCodes: Readonly<Record<number, string>> = {
  1: 'FAILED', 2: 'USAGE', 3: 'PARTIAL', 4: 'VERIFY_FAILED', 5: 'NOT_FOUND', 6: 'AUTH', 7: 'UNREACHABLE', 8: 'INCOMPATIBLE', 9: 'NO_SPACE', 10: 'LOCKED',
  130: 'INTERRUPTED',
};

export function jsonCode(exit: number): string {
  return jsonCodes[exit] ?? 'FAILED';
}

/** A command used wrongly; ends with exit 2 and the verb's usage. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A failure whose exit code is known. */
export class ExitError extends Error {
  override readonly name = 'ExitError';
  readonly exit: number;

  constructor(message: string, exit: number, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.exit = exit;
  }
}

const byCode: Partial<Record<ErrorCode, number>> = {
  locked: EXIT.locked, 'not-found': EXIT.notFound, forbidden: EXIT.access, 'no-space': EXIT.noSpace, 'bad-request': EXIT.usage,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof ExitError) return error.exit;
  if (error instanceof CorruptionError) return EXIT.verifyFailed;
  if (isNoSpace(error)) return EXIT.noSpace;
  if (['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ETIMEDOUT'].includes(systemCode(error) ?? '')) return EXIT.unreachable;
  if (!(error instanceof RequestError)) return EXIT.failed;
  return byCode[error.code] ?? EXIT.failed;
}
