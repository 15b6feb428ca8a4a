// Any thrown value as what the client is told. Nothing else builds the text or status of an error.
import { CorruptionError, ERROR_CLASSES, isNoSpace, RequestError } from '../../base/errors.ts';

export interface WireError {
  readonly status: number;
  readonly text: string;
  /** Not the caller's fault: worth a line in the log. */
  readonly isFailure: boolean;
}

export function toWireError(error: unknown): WireError {
  if (error instanceof RequestError) {
    const { httpStatus } = ERROR_CLASSES[error.code];
    return { status: httpStatus, text: error.wireText, isFailure: httpStatus >= 500 };
  }
  if (isNoSpace(error)) return { ...toWireError(new RequestError('no-space', 'no space left on the device')), isFailure: true };
  const status = clientErrorStatus(error);
  if (status !== undefined) return { status, text: messageOf(error), isFailure: false };
  // A CorruptionError names file and offset and never quotes content; any other text is ours or the system's.
  const text = error instanceof CorruptionError ? error.message : messageOf(error);
  return { status: 500, text: ERROR_CLASSES.internal.prefix + text, isFailure: true };
}

/** Fastify's own refusals carry a 4xx status; the API answers all of them with 400, but for a URL that no route takes. */
function clientErrorStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return undefined;
  if (error.statusCode === 503) return 503; // shutting down
  return error.statusCode >= 400 && error.statusCode < 500 ? 400 : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
