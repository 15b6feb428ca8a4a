// Time slices and random names of this thread from a seed, so that two runs of a script do the same operations in the same order and
// the number of an operation means the same operation again. Only for what does no real I/O: that has an order of its own.
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { seededRandom } from '../../src/base/testing/random.ts';

/** Now and then a look at the clock finds that a slice of work is over. */
const longStepMs = 6;
const shortStepMs = 0.001;
const stepsPerLongOne = 500;

/** From here on the same things happen as after any other call with this seed. For a thread of its own: nothing takes it back. */
export function repeatChance(seed: number): void {
  const random = seededRandom(seed);
  const bytes = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, () => random.below(256)));
  const uuid = (): string => bytes(16).toString('hex').replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
  let nowMs = 0;
  performance.now = () => (nowMs += random.below(stepsPerLongOne) === 0 ? longStepMs : shortStepMs);
  Object.assign(crypto, { randomUUID: uuid, randomBytes: bytes });
  syncBuiltinESMExports();
}
