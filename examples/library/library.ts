// nearkeep in your own process: fill, search, snapshot, lose everything, restore.
// Usage: node dist/examples/library/library.js [data directory]      (npm run build first)
import { createReadStream, createWriteStream } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { open, parseFilter, parsePointId, type PointDraft, type PointId } from 'nearkeep';

const directory = process.argv[2] ?? './library-data';
const everything = { payload: { kind: 'all' }, vectors: { kind: 'none' } } as const;

function pointId(value: unknown): PointId {
  const id = parsePointId(value); // a whole number from 0 to 2^64-1, or a UUID
  if (id === undefined) throw new TypeError(`${String(value)} is no point id`);
  return id;
}

await using db = await open(directory);
await db.deleteCollection('papers');
await db.createCollection('papers', { vectors: { size: 4, distance: 'Cosine' } });
await db.write('papers', { kind: 'create-index', field: 'year', schema: { type: 'integer' } }, { wait: true });

const points: PointDraft[] = [1990, 2005, 2015].map((year, row) => ({
  id: pointId(row + 1),
  vectors: new Map([['', Float32Array.of(1, row, 0, 0)]]), // '' is the unnamed vector
  payload: JSON.stringify({ year }),
}));
await db.write('papers', { kind: 'upsert', points }, { wait: true });

const filter = parseFilter({ must: [{ key: 'year', range: { gte: 2000 } }] }); // the JSON of the REST API
const [hits = []] = await db.search('papers', [{
  target: { kind: 'vector', vector: Float32Array.of(1, 0, 0, 0) }, using: '', filter, limit: 2, offset: 0, selectors: everything,
}]);
for (const { id, score, payload } of hits) console.log(`found      ${id} ${score.toFixed(3)} ${payload}`);

const { name, checksum } = await db.snapshots.create('papers');
const archive = path.join(directory, name);
const download = await db.snapshots.openDownload('papers', name);
try {
  await pipeline(download.read(0, download.sizeBytes - 1), createWriteStream(archive));
} finally {
  download.release();
}
console.log(`saved      ${archive} (${download.sizeBytes} bytes)`);

await db.deleteCollection('papers');
await db.snapshots.upload('papers', createReadStream(archive), { priority: 'snapshot', ...(checksum === undefined ? {} : { checksum }) });
console.log(`restored   ${await db.count('papers', { exact: true })} points`);
