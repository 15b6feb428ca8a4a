// A reshard copies: every value and every payload of a point is the same afterwards, whatever the vectors' distance and datatype.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { PointRecord } from '../command/read.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from '../shard/shard.ts';
import { allPoints, pointId, shardOptions, upsert } from '../shard/testing/shard-fixtures.ts';
import { verifyShard } from '../shard/verify-shard.ts';
import { DATATYPES, DISTANCES, type VectorSpec } from '../vector/distance.ts';
import { reshard } from './reshard.ts';
import { routePoint } from './route.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const size = 24;
const pointCount = 120;

function openShards(disk: MemoryDisk, name: string, count: number, vectors: ReadonlyMap<string, VectorSpec>): Promise<Shard[]> {
  return Promise.all(Array.from({ length: count }, (_, shardId) => Shard.create(shardOptions(disk, `/${name}${shardId}`, { shardId, vectors }))));
}

/** Id → its payload and the bits of its values. */
async function contents(shards: readonly Shard[]): Promise<ReadonlyMap<string, unknown>> {
  const records: PointRecord[] = [];
  for (const shard of shards) records.push(...(await allPoints(shard)));
  const bits = (values: Float32Array): string => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex');
  const all = records.map(({ id, payload, vectors }) => [String(id), { payload, vectors: [...must(vectors, 'asked for')].map(([name, values]) => [name, bits(values)] as const).sort(([a], [b]) => (a < b ? -1 : 1)) }] as const);
  return new Map(all.sort(([a], [b]) => (a < b ? -1 : 1)));
}

for (const distance of DISTANCES) {
  for (const datatype of DATATYPES) {
    test(`${distance} ${datatype}: stored bytes are copied as they are, seed ${seed}`, async () => {
      const random = seededRandom(seed);
      const vectors = new Map([['', { size, distance, datatype } as const], ['other', { size: 3, distance: 'Cosine', datatype: 'float16' } as const]]);
      const disk = new MemoryDisk();
      const [sources, targets] = [await openShards(disk, 'source', 2, vectors), await openShards(disk, 'target', 3, vectors)];
      const value = (): number => (datatype === 'uint8' ? random.below(256) : (random.next() - 0.5) * 10 ** (random.below(7) - 3));
      for (let id = 0; id < pointCount; id += 1) {
        const named = new Map([['', Float32Array.from({ length: size }, value)]]);
        if (id % 3 > 0) named.set('other', Float32Array.from({ length: 3 }, () => random.next()));
        if (id % 10 === 0) named.set('', new Float32Array(size)); // a zero vector has no length
        await upsert(must(sources[routePoint(pointId(id), 2)], 'two'), { id: pointId(id), vectors: named, payload: `{ "n" : ${id}.0 }` });
      }
      const before = await contents(sources);
      const seen: number[] = [];
      assert.equal(await reshard(sources, targets, { onPoints: (done) => seen.push(done) }), pointCount);
      assert.equal(seen.at(-1), pointCount);
      assert.deepEqual(await contents(targets), before);
      for (const [index, shard] of targets.entries()) for (const { id } of await allPoints(shard)) assert.equal(routePoint(id, 3), index);
      for (const shard of [...sources, ...targets]) await shard.close();
      for (const shard of targets) assert.deepEqual((await verifyShard({ disk, directory: shard.directory, deep: true })).findings, []);
    });
  }
}
