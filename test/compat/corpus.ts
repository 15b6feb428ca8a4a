// The upgrade corpus: what each released version wrote, committed as files, so that every later version proves that it still reads
// them. A version's folder holds `data/`, `archive.snapshot` and `expected.json`; it is made once and never again.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sha256Hex } from '../../src/base/checksum.ts';
import type { PointId } from '../../src/base/ids.ts';
import type { PointDraft } from '../../src/command/write.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { openSmall, readAll, searchAll, settled } from '../support/small-data.ts';

export const corpusVectors = { corpus: { image: 8, text: 2 } } as const;
export const collection = 'corpus';

/** What must be found, in a form that JSON keeps. */
export interface Expected {
  readonly aliases: unknown;
  readonly indexes: unknown;
  readonly vectors: unknown;
  /** Of the data directory, whose last entries lie in the log, and of the archive that was taken before them. */
  readonly data: unknown;
  readonly archive: unknown;
}

/** Contents and searches of a collection. */
export async function contentsOf(engine: Engine, name: string): Promise<unknown> {
  return JSON.parse(JSON.stringify([await readAll(engine, name), await searchAll(engine, name, corpusVectors.corpus)]));
}

export function factsOf(engine: Engine, name: string): Pick<Expected, 'indexes' | 'vectors'> {
  const { payloadSchema, config } = engine.collectionInfo(name);
  return { indexes: Object.fromEntries([...payloadSchema].map(([field, { schema }]) => [field, schema.type])), vectors: JSON.parse(JSON.stringify(config.params.vectors)) };
}

const point = (id: number): PointDraft => ({
  id: id as PointId,
  vectors: new Map([['image', Float32Array.of(id, 1, 2, -3, id % 5, id % 7, 0, 1)], ...(id % 3 === 0 ? [] : [['text', Float32Array.of(id, 1)] as const])]),
  payload: JSON.stringify({ n: id, tag: `t${id % 4}`, big: 'nine "quoted" äöü', at: new Date(Date.UTC(2026, 0, id)).toISOString() }),
});
const points = (from: number, to: number): PointDraft[] => Array.from({ length: to - from }, (_, at) => point(from + at));

/** Writes the corpus of the running version into an empty or absent folder; `work` is a folder for what is not kept. */
export async function makeCorpus(folder: string, work: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const engine = await openSmall({ data: path.join(folder, 'data'), snapshots: path.join(work, 'snapshots') });
  try {
    await engine.createCollection(collection, {
      vectors: { image: { size: 8, distance: 'Euclid' }, text: { size: 2, distance: 'Dot', datatype: 'float16' } },
      hnswConfig: { full_scan_threshold: 10 }, optimizersConfig: { indexing_threshold: 1 },
    });
    await engine.changeAliases([{ kind: 'create', alias: 'current', collection }]);
    const wait = { wait: true };
    for (const [field, type] of [['n', 'integer'], ['tag', 'keyword'], ['at', 'datetime']] as const) await engine.write(collection, { kind: 'create-index', field, schema: { type } }, wait);
    await engine.write(collection, { kind: 'upsert', points: points(1, 42) }, wait);
    await engine.write(collection, { kind: 'delete-points', selector: { kind: 'ids', ids: [3 as PointId, 4 as PointId] } }, wait);
    await engine.write(collection, { kind: 'upsert', points: points(42, 84) }, wait);
    await settled(engine);
    const { name } = await engine.snapshots.create(collection);
    const archived = await contentsOf(engine, collection);
    const download = await engine.snapshots.openDownload(collection, name);
    const parts: Buffer[] = [];
    for await (const part of download.read(0, download.sizeBytes - 1)) parts.push(Buffer.from(part));
    download.release();
    writeFileSync(path.join(folder, 'archive.snapshot'), Buffer.concat(parts));
    writeFileSync(path.join(folder, 'archive.snapshot.checksum'), sha256Hex(Buffer.concat(parts)));
    await engine.write(collection, { kind: 'upsert', points: points(84, 87) }, wait);
    await engine.write(collection, { kind: 'set-payload', selector: { kind: 'ids', ids: [7 as PointId] }, payload: '{"late":true}' }, wait);
    const expected: Expected = { aliases: engine.aliases(), ...factsOf(engine, collection), data: await contentsOf(engine, collection), archive: archived };
    writeFileSync(path.join(folder, 'expected.json'), `${JSON.stringify(expected)}\n`);
  } finally {
    await engine.close();
  }
}
