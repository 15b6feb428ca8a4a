// Recall against CPU: a searcher measured at growing list lengths, and the CPU where its curve passes a recall.
import { median } from './harness.ts';
import { cpuUs, type DataSet } from './vector-sets.ts';

const efs = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const rounds = 3;
/** Before the first measure: code that runs on an engine that compiles as it goes is measured as it runs in the long run. */
const warmUps = 40;
export const k = 10;

/** Answers the ids of the k nearest. */
export interface Searcher {
  readonly name: string;
  search(query: Float32Array, ef: number, k: number): Promise<ArrayLike<number>> | ArrayLike<number>;
}

export interface Measured {
  readonly ef: number;
  readonly recall: number;
  readonly cpuUs: number;
}

/** CPU per query and recall at each ef, the median of some rounds. */
export async function curve(searcher: Searcher, { queries }: Pick<DataSet, 'queries'>, truth: readonly ReadonlySet<number>[]): Promise<readonly Measured[]> {
  const measured: Measured[] = [];
  for (let round = 0; round < warmUps; round += 1) {
    for (const query of queries) await searcher.search(query, efs[0] ?? k, k);
  }
  for (const ef of efs) {
    const times: number[] = [];
    let recall = 0;
    for (let round = 0; round < rounds; round += 1) {
      let hits = 0;
      const started = cpuUs();
      for (const [at, query] of queries.entries()) {
        const found = await searcher.search(query, ef, k);
        for (let i = 0; i < found.length; i += 1) hits += truth[at]?.has(found[i] ?? -1) === true ? 1 : 0;
      }
      times.push((cpuUs() - started) / queries.length);
      recall = hits / (k * queries.length);
    }
    measured.push({ ef, recall, cpuUs: median(times) });
    if (recall >= 0.995) break;
  }
  return measured;
}

/** CPU where the curve passes a recall, between its neighbours in a straight line; undefined where it never does. */
export function cpuAt(points: readonly Measured[], recall: number): number | undefined {
  const above = points.findIndex((point) => point.recall >= recall);
  const high = points[above];
  const low = points[above - 1];
  if (high === undefined) return undefined;
  if (low === undefined) return high.cpuUs;
  return low.cpuUs + ((high.cpuUs - low.cpuUs) * (recall - low.recall)) / (high.recall - low.recall);
}

export function curveText(points: readonly Measured[]): string {
  return points.map(({ ef, recall, cpuUs: us }) => `ef ${ef} R ${recall.toFixed(3)} ${us.toFixed(0)} us`).join(', ');
}
