// How values and errors go between nodes: structured clones, so that maps, big integers and typed arrays arrive as they left. Only
// what carries a valid token is ever decoded.
import { deserialize, serialize } from 'node:v8';
import { ERROR_CLASSES, RequestError, type ErrorCode } from '../base/errors.ts';

export type PeerAnswer = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly code: ErrorCode; readonly message: string; readonly isNotServed?: true };

/** The node that was asked does not serve the shard, not yet or not any more, and did nothing: whoever asks looks again where it is. */
export class NotServedError extends RequestError {
  constructor(message: string) {
    super('unavailable', message);
  }
}

export function encodeValue(value: unknown): Buffer {
  return serialize(value);
}

/** @throws RequestError 'bad-request' */
export function decodeValue(bytes: Buffer): unknown {
  try {
    return deserialize(bytes) as unknown;
  } catch (error) {
    throw new RequestError('bad-request', 'the body is no message between nodes', { cause: error });
  }
}

/** An error that the caller may fix keeps its class; anything else is told as a failure of this node. */
export function answerOf(error: unknown): PeerAnswer {
  if (error instanceof NotServedError) return { ok: false, code: error.code, message: error.message, isNotServed: true };
  if (error instanceof RequestError) return { ok: false, code: error.code, message: error.message };
  return { ok: false, code: 'internal', message: error instanceof Error ? error.message : String(error) };
}

/** @throws RequestError as the other node threw it */
export function valueOf(answer: unknown): unknown {
  const { ok, value, code, message, isNotServed } = answer as { readonly ok?: boolean; readonly value?: unknown; readonly code?: string; readonly message?: string; readonly isNotServed?: boolean };
  if (ok === true) return value;
  if (isNotServed === true) throw new NotServedError(message ?? '');
  if (code !== undefined && Object.hasOwn(ERROR_CLASSES, code)) throw new RequestError(code as ErrorCode, message ?? '');
  throw new RequestError('internal', 'another node answered what is no answer');
}
