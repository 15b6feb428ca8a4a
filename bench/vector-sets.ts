// Data sets of the vector benchmarks, and an index over one.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { seededRandom } from '../src/base/testing/random.ts';
import { nativeIndexes } from '../src/index/native-scan.ts';
import type { VectorIndex } from '../src/index/vector-index.ts';
import type { Addon } from '../src/vector/addon.ts';
import { paperQueries, paperVectors } from './harness.ts';

export const size = 768;

export interface DataSet {
  readonly name: string;
  /** Unit length. */
  readonly rows: Float32Array;
  readonly queries: readonly Float32Array[];
}

function normalize(row: Float32Array): void {
  let squares = 0;
  for (const value of row) squares += value * value;
  const length = Math.sqrt(squares);
  for (let at = 0; at < row.length; at += 1) row[at] = (row[at] ?? 0) / length;
}

/** Draws of unit vectors from clusters of unequal sizes in 48 latent dimensions, projected to 768 with a common mean and a little noise:
 *  the same ones for one `count`, which sets how many clusters there are. */
export function clusterDraws(count: number): (into: Float32Array) => void {
  const random = seededRandom(11);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const latent = 48;
  const clusters = Math.max(20, Math.round(count / 50));
  const spectrum = Float32Array.from({ length: latent }, (_, at) => (at + 1) ** -0.35);
  const centres = Float32Array.from({ length: clusters * latent }, normal);
  const spread = Float32Array.from({ length: clusters }, () => 0.45 + 0.5 * random.next());
  const projection = Float32Array.from({ length: latent * size }, () => normal() / Math.sqrt(latent));
  const mean = Float32Array.from({ length: size }, () => 0.6 * normal());
  return (into) => {
    const cluster = Math.floor(clusters * random.next() ** 2.5);
    into.set(mean);
    for (let i = 0; i < latent; i += 1) {
      const z = (spectrum[i] ?? 0) * ((centres[cluster * latent + i] ?? 0) + (spread[cluster] ?? 0) * normal());
      for (let j = 0; j < size; j += 1) into[j] = (into[j] ?? 0) + z * (projection[i * size + j] ?? 0) * 4;
    }
    for (let j = 0; j < size; j += 1) into[j] = (into[j] ?? 0) + 0.05 * (random.next() - 0.5);
    normalize(into);
  };
}

export function synthetic(count: number): DataSet {
  const draw = clusterDraws(count);
  const rows = new Float32Array(count * size);
  for (let row = 0; row < count; row += 1) draw(rows.subarray(row * size, (row + 1) * size));
  const queries = Array.from({ length: 300 }, () => {
    const query = new Float32Array(size);
    draw(query);
    return query;
  });
  return { name: `clusters ${count}`, rows, queries };
}

export function arxiv(): DataSet {
  const rows = paperVectors();
  const flat = paperQueries();
  const queries: Float32Array[] = [];
  for (let at = 0; at < flat.length; at += size) queries.push(flat.slice(at, at + size));
  for (const query of queries) normalize(query);
  for (let at = 0; at < rows.length; at += size) normalize(rows.subarray(at, at + size));
  return { name: 'arxiv', rows, queries: queries.slice(0, 300) };
}

/** A file of the rows in `folder`, mapped. */
export async function openIndex(addon: Addon, folder: string, rows: Float32Array): Promise<VectorIndex> {
  const file = path.join(folder, `${rows.length}.vec`);
  writeFileSync(file, new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
  const indexes = nativeIndexes(addon, addon.kernels[0]?.name ?? 'scalar');
  return await indexes.openFile({ size, distance: 'Cosine', datatype: 'float32' }, { path: file, dataOffset: 0, rowCount: rows.length / size, sizeBytes: rows.byteLength }, () => Promise.resolve(readFileSync(file)));
}

/** CPU of this process, all threads. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
