// Time slices and random names of this process from a seed, so that two runs of a script do the same operations in the same order and
// the number of an operation means the same operation again. Only for what does no real I/O: that has an order of its own.
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { seededRandom } from '../../src/base/testing/random.ts';

/** Now and then a look at the clock finds that a slice of work is over. */
const longStepMs = 6;
const shortStepMs = 0.001;
const stepsPerLongOne = 500;

const real = { now: performance.now.bind(performance), randomUUID: crypto.randomUUID, randomBytes: crypto.randomBytes };

/** From here on the same things happen as after any other call with this seed, until `restoreChance`. */
export function repeatChance(seed: number): void {
  const random = seededRandom(seed);
  const bytes = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, () => random.below(256)));
  const uuid = (): string => bytes(16).toString('hex').replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
  let nowMs = 0;
  performance.now = () => (nowMs += random.below(stepsPerLongOne) === 0 ? longStepMs : shortStepMs);
  setCrypto({ randomUUID: uuid, randomBytes: bytes });
}

export function restoreChance(): void {
  performance.now = real.now;
  setCrypto(real);
}

function setCrypto({ randomUUID, randomBytes }: { readonly randomUUID: unknown; readonly randomBytes: unknown }): void {
  Object.assign(crypto, { randomUUID, randomBytes });
  syncBuiltinESMExports();
}
