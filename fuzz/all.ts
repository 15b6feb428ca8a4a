// The table of fuzzers, and how one is run. Each has canaries: decoders broken on purpose, which the fuzzer must catch, or it
// proves nothing about the sound ones.
import { InvariantError } from '../src/base/assert.ts';
import { seededRandom, type Random } from '../src/base/testing/random.ts';
import { liftJsonFuzzer } from './lift-json.ts';
import { tarArchivesFuzzer } from './tar-archives.ts';

export interface Fuzzer {
  readonly name: string;
  /** One random input through the decoder. @throws InvariantError where its answer is wrong. */
  once(random: Random): Promise<void>;
  /** By what is broken: like `once`, and must throw before long. */
  readonly canaries: ReadonlyMap<string, (random: Random) => Promise<void>>;
}

export const fuzzers: readonly Fuzzer[] = [liftJsonFuzzer, tarArchivesFuzzer];

/** Seconds of one fuzzer: NEARKEEP_FUZZ_SECONDS, else 10. */
export function fuzzSeconds(): number {
  return Number(process.env['NEARKEEP_FUZZ_SECONDS'] ?? 10);
}

/** NEARKEEP_FUZZ_SEED repeats a run. */
export function fuzzSeed(): number {
  return Number(process.env['NEARKEEP_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
}

/** How many inputs went through in the time. @throws the first failure, with the seed that finds it at once. */
export async function fuzz(fuzzer: Fuzzer, seed: number, seconds: number): Promise<number> {
  const endMs = performance.now() + seconds * 1000;
  let inputs = 0;
  do {
    const inputSeed = (seed + inputs) % 2 ** 31;
    try {
      await fuzzer.once(seededRandom(inputSeed));
    } catch (error) {
      throw new InvariantError(`fuzzer ${fuzzer.name} failed: NEARKEEP_FUZZ_SEED=${inputSeed}`, { cause: error });
    }
    inputs += 1;
  } while (performance.now() < endMs);
  return inputs;
}

/** Inputs until the canary was caught; undefined where it was not. */
export async function inputsUntilCaught(once: (random: Random) => Promise<void>, seed: number, inputsMax: number): Promise<number | undefined> {
  for (let input = 0; input < inputsMax; input += 1) {
    try {
      await once(seededRandom(seed + input));
    } catch (error) {
      if (!(error instanceof InvariantError)) throw error; // the fuzzer itself failed
      return input + 1;
    }
  }
  return undefined;
}
