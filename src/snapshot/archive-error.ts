// The one form of "these bytes are no sound snapshot": a 400 for whoever sent them, with the place as its cause for the verifier.
// Texts name members and offsets, which are numbers and hashes of ours, never content.
import { CorruptionError, RequestError } from '../base/errors.ts';

/** @param file what the problem was found in: `archive`, or the name of a member. */
export function badSnapshot(file: string, problem: string, offsetBytes?: number): RequestError {
  const cause = new CorruptionError({ file, problem, ...(offsetBytes === undefined ? {} : { offsetBytes }) });
  return new RequestError('bad-request', `Invalid snapshot: ${cause.message}`, { cause });
}
