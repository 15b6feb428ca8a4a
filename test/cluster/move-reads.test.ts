// A shard with one replica that moves again and again while clients read and write through every node: no read fails because of it, and
// none that begins after a write was answered finds less.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { systemClock } from '../../src/base/clock.ts';
import { parsePointId } from '../../src/base/ids.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import { pause, waitUntil } from '../../src/base/testing/wait-until.ts';
import { peersIn, type ShardRecord } from '../../src/cluster/cluster-record.ts';
import { clusterKeys } from '../../src/cluster/cluster-secret.ts';
import { NatsClient } from '../../src/cluster/nats-client.ts';
import { purgeStream, streamFacts } from '../../src/cluster/shard-stream.ts';
import type { WriteHandle } from '../../src/fs/disk.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { clusterSecret, startCluster, type ClusterFixture } from './cluster-fixture.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const name = 'moving';
const moves = 6;
/** Milliseconds that the disk of each node takes for a write to a log: the slower apply behind the faster. */
const slowMs = [0, 40, 80];
const readers = 4;
const point = must(parsePointId(1), 'a good id');
const selectors = { payload: { kind: 'all' }, vectors: { kind: 'none' } } as const;

class SlowDisk extends NodeDisk {
  readonly #ms: number;

  constructor(ms: number) {
    super();
    this.#ms = ms;
  }

  override async create(file: string): Promise<WriteHandle> {
    const handle = await super.create(file);
    if (!file.includes('/logs/')) return handle;
    return {
      get sizeBytes() {
        return handle.sizeBytes;
      },
      append: async (parts) => {
        await pause(this.#ms);
        await handle.append(parts);
      },
      sync: () => handle.sync(),
      truncate: (sizeBytes) => handle.truncate(sizeBytes),
      close: () => handle.close(),
      [Symbol.asyncDispose]: () => handle.close(),
    };
  }
}

function write(cluster: ClusterFixture, at: number, value: number): Promise<unknown> {
  return cluster.node(at).catalog.get(name).write({ kind: 'upsert', points: [{ id: point, vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"value":${value}}` }] }, { wait: true });
}

async function read(cluster: ClusterFixture, at: number): Promise<number> {
  const [found] = await cluster.node(at).catalog.get(name).retrieve({ ids: [point], selectors });
  return (JSON.parse(found?.payload ?? '{"value":0}') as { readonly value: number }).value;
}

function shardOn(cluster: ClusterFixture, at: number): ShardRecord {
  return must(cluster.node(at).catalog.record(name).shards[0], 'it has one');
}

describe('a shard moves under load', { skip: noNats ?? false }, () => {
  test('no read fails and none goes back, whether the target takes the log in or a copy', async (context) => {
    const random = seededRandom(seed);
    await using cluster = await startCluster(3, { diskOf: (at) => new SlowDisk(slowMs[at] ?? 0) });
    await cluster.node(0).catalog.create(name, { vectors: { size: 2, distance: 'Dot' }, shardNumber: 1 });
    const { uuid } = cluster.node(0).catalog.get(name);
    const stream = { collectionUuid: uuid, shardId: 0, generation: 0 };
    await using client = await NatsClient.connect({ url: cluster.node(0).nats.clientUrl, user: clusterKeys(clusterSecret).app, name: 'test', clock: systemClock });
    const problems: string[] = [];
    let acknowledged = 0;
    let reads = 0;
    let isOn = true;
    const load = [
      (async () => {
        for (let value = 1; isOn; value += 1) {
          await write(cluster, random.below(3), value).catch((error: unknown) => problems.push(`write ${value}: ${String(error)}`));
          acknowledged = value;
        }
      })(),
      ...Array.from({ length: readers }, async () => {
        while (isOn) {
          const from = acknowledged;
          const at = random.below(3);
          const found = await read(cluster, at).catch((error: unknown) => String(error));
          if (typeof found === 'string' || found < from) problems.push(`read through node ${at} found ${found}; ${from} was acknowledged; ${JSON.stringify(shardOn(cluster, at))}`);
          reads += 1;
        }
      }),
    ];
    /** However slow the machine: every move is among reads and writes. */
    const untilMore = async (): Promise<void> => {
      const before = { reads, acknowledged };
      await waitUntil('a read and a write more', () => reads > before.reads && acknowledged > before.acknowledged);
    };
    for (let move = 0; move < moves; move += 1) {
      const [from = 0] = peersIn(shardOn(cluster, 0));
      const to = 100 + ((from - 100 + 1 + random.below(2)) % 3);
      await untilMore();
      if (move % 2 === 1) { // nothing before the last few entries is there to take in
        await cluster.node(from - 100).catalog.checkpoint(name, 0);
        await purgeStream(client, stream, (await streamFacts(client, stream)).lastSeq - 2);
      }
      await cluster.node(random.below(3)).changeShards(name, { kind: 'move-shard', shardId: 0, from, to, method: 'snapshot' });
      await waitUntil(`move ${move} from ${from} to ${to}`, () => assert.deepEqual(shardOn(cluster, 0), { id: 0, generation: 0, base: null, replicas: { [to]: 'Active' } }));
    }
    await untilMore();
    isOn = false;
    await Promise.all(load);
    context.diagnostic(`seed ${seed}: ${acknowledged} writes, ${reads} reads`);
    assert.deepEqual(problems, [], `seed ${seed}`);
    assert.ok(reads > moves && acknowledged > moves);
    for (const at of [0, 1, 2]) assert.equal(await read(cluster, at), acknowledged);
  });
});
