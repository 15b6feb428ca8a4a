// What a verification found, gathered as it goes: every problem with its place, and how much was looked at.
import path from 'node:path';
import { CorruptionError, isNotFound, RequestError } from '../base/errors.ts';

export interface VerifyProblem {
  readonly file: string;
  readonly offsetBytes?: number;
  readonly problem: string;
}

export interface VerifyCounts {
  readonly collections: number;
  readonly shards: number;
  /** Of custom sharding; a snapshot names also those whose shards are on other nodes. */
  readonly keys: number;
  readonly snapshots: number;
  /** undefined where a live shard was not verified deep: only replaying its log tells. */
  readonly points: number | undefined;
  readonly files: number;
  readonly bytes: number;
}

export interface VerifyReport {
  readonly problems: readonly VerifyProblem[];
  /** Leftovers and orphans: harmless, the next start removes them. */
  readonly notes: readonly string[];
  readonly counts: VerifyCounts;
}

export class VerifyFindings {
  readonly problems: VerifyProblem[] = [];
  readonly notes: string[] = [];
  readonly #counts = { collections: 0, shards: 0, keys: 0, snapshots: 0, files: 0, bytes: 0 };
  #points: number | undefined = 0;

  add(found: Partial<Omit<VerifyCounts, 'points'>>): void {
    for (const key of Object.keys(this.#counts) as (keyof typeof found)[]) this.#counts[key] += found[key] ?? 0;
  }

  addPoints(points: number | undefined): void {
    this.#points = points === undefined || this.#points === undefined ? undefined : this.#points + points;
  }

  problem(file: string, problem: string): void {
    this.problems.push({ file, problem });
  }

  /** Runs a step; damage it meets is a problem of `place`, anything else is thrown. Undefined after damage. */
  async collect<T>(place: string, step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      this.problems.push(problemOf(error, place));
      return undefined;
    }
  }

  /** @param place a temporary folder, and what stands for it in the report */
  report(place?: { readonly folder: string; readonly shown: string }): VerifyReport {
    const shown = (text: string): string => (place === undefined ? text : text.replaceAll(place.folder, place.shown));
    const problems = this.problems.map(({ file, ...rest }) => ({ ...rest, file: shown(file) }));
    return { problems, notes: this.notes.map(shown), counts: { ...this.#counts, points: this.#points } };
  }
}

/** @throws the error itself where it says nothing about what is stored. */
function problemOf(error: unknown, place: string): VerifyProblem {
  const cause = error instanceof RequestError ? error.cause : error;
  if (cause instanceof CorruptionError) {
    const { file, offsetBytes, problem } = cause;
    const found = path.isAbsolute(file) ? { file, problem } : { file: place, problem: `${file}: ${problem}` };
    return { ...found, ...(offsetBytes === undefined ? {} : { offsetBytes }) };
  }
  if (error instanceof RequestError && error.code === 'bad-request') return { file: place, problem: error.message };
  if (isNotFound(error)) return { file: place, problem: 'is missing' };
  throw error;
}
