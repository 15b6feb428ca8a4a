// Points for the engine, and an engine in a folder.
import { must } from '../src/base/assert.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../src/base/logger.ts';
import { parsePointId } from '../src/base/ids.ts';
import type { PointDraft } from '../src/command/write.ts';
import { open, type Engine } from '../src/nearkeep.ts';

export interface Rows {
  readonly vectors: Float32Array;
  readonly size: number;
  readonly payload?: (row: number) => string;
}

/** Drafts of rows [from, to), with the row as id. `vectorOf`: where rows do not stand one after another. */
export function drafts(rows: Rows, from: number, to: number, vectorOf = (row: number): Float32Array => rows.vectors.subarray(row * rows.size, (row + 1) * rows.size)): PointDraft[] {
  return Array.from({ length: to - from }, (_, index) => {
    const row = from + index;
    return {
      id: must(parsePointId(row), 'a row is a point id'),
      vectors: new Map([['', vectorOf(row)]]),
      payload: rows.payload?.(row) ?? '{}',
    };
  });
}

/** `graphs` false: searched by the exact scan alone. */
export async function openWithCollection(folder: string, size: number, { logger = silentLogger, graphs = true } = {}): Promise<Engine> {
  const engine = await open(folder, { logger });
  await engine.createCollection('bench', { vectors: { size, distance: 'Cosine' }, ...(graphs ? {} : { hnswConfig: { m: 0 } }) });
  return engine;
}

export async function fill(engine: Engine, rows: Rows, range: { readonly from: number; readonly to: number; readonly batch: number }): Promise<void> {
  for (let at = range.from; at < range.to; at += range.batch) {
    await engine.write('bench', { kind: 'upsert', points: drafts(rows, at, Math.min(at + range.batch, range.to)) }, { wait: true });
  }
}

/** Resolves when no background work is left. @throws RangeError where it never ends. */
export async function settle(engine: Engine, timeoutMs = 120_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (engine.collectionInfo('bench').status !== 'green') {
    if (performance.now() > deadline) throw new RangeError('the collection did not settle');
    await sleep(5);
  }
}
