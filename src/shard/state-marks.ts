// The state at some positions, for comparison with other replicas: after every 1,024th entry and at checkpoints, the last eight, and now.
import type { Seq } from '../base/ids.ts';
import type { Digest } from './state-digest.ts';

export const entriesPerMark = 1024;
const marksMax = 8;

export interface StateMark {
  readonly seq: Seq;
  /** Of the log: what was asked. */
  readonly chain: string;
  /** Of the state: what became of it. */
  readonly digest: Digest;
}

export class StateMarks {
  #kept: readonly StateMark[] = [];

  keep(mark: StateMark): void {
    if (this.#kept.at(-1)?.seq === mark.seq) return;
    this.#kept = [...this.#kept, mark].slice(-marksMax);
  }

  /** Ascending. */
  with(now: StateMark): readonly StateMark[] {
    return this.#kept.at(-1)?.seq === now.seq ? this.#kept : [...this.#kept, now];
  }
}
