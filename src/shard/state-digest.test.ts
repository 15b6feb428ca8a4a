import assert from 'node:assert/strict';
import test from 'node:test';
import { must } from '../base/assert.ts';
import { seededRandom, type Random } from '../base/testing/random.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { plainIndexes } from '../index/testing/plain-indexes.ts';
import type { Entry } from '../log/shard-log.ts';
import { MutableSegment } from '../segment/mutable-segment.ts';
import type { StoredPoint } from '../segment/segment.ts';
import { adoptShard } from './adopt.ts';
import { freezeShards } from './freeze.ts';
import { Shard, type ShardOptions } from './shard.ts';
import { readManifest } from './shard-manifest.ts';
import { digestFrom, StateDigest, type Digest } from './state-digest.ts';
import { entriesPerMark } from './state-marks.ts';
import { FedLog } from './testing/fed-log.ts';
import { draft, dotSpec, pointId, shardOptions, smallLimits, upsert } from './testing/shard-fixtures.ts';
import { randomWrite, ShardModel } from './testing/shard-model.ts';
import { stageCopy } from './testing/staged-copy.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);

const now = (shard: Shard): Digest => must(shard.marks.at(-1), 'there is a mark of now').digest;

/** A replica that is fed what another logged: it seals, merges and starts again at times of its own. */
class Follower {
  readonly #random: Random;
  readonly #options: ShardOptions;
  #log: FedLog | undefined;
  #shard: Shard | undefined;

  constructor(random: Random, headRowsMax: number) {
    this.#random = random;
    this.#options = shardOptions(new MemoryDisk(), '/follower', {
      limits: { ...smallLimits, headRowsMax },
      shareLog: (local) => {
        this.#log = new FedLog(local);
        return this.#log;
      },
    });
  }

  get shard(): Shard {
    return must(this.#shard, 'it is open');
  }

  async start(): Promise<void> {
    this.#shard = await Shard.create(this.#options);
    this.#shard.follow();
  }

  /** In bursts, with what a replica does besides in between. */
  async feed(entries: readonly Entry[]): Promise<void> {
    for (let at = 0; at < entries.length;) {
      const burst = entries.slice(at, at + 1 + this.#random.below(20));
      await Promise.all(burst.map((entry) => must(this.#log, 'it is open').feed(entry)));
      at += burst.length;
      if (this.#random.below(3) === 0) await this.shard.checkpoint();
      if (this.#random.below(4) === 0) await this.shard.settle();
      if (this.#random.below(4) !== 0) continue;
      await this.shard.close();
      this.#shard = await Shard.open(this.#options);
      this.#shard.follow();
    }
    while (this.shard.applied < must(entries.at(-1), 'there are entries').seq) await new Promise((resolve) => setImmediate(resolve));
  }
}

test(`replicas that seal, merge and start again at other times have one digest (seed ${seed})`, async () => {
  const random = seededRandom(seed);
  let log: FedLog | undefined;
  await using leader = await Shard.create(shardOptions(new MemoryDisk(), '/leader', { shareLog: (local) => { log = new FedLog(local); return log; } }));
  const model = new ShardModel();
  for (let at = 0; at < 200; at += 1) {
    const { operation, apply } = randomWrite(model, random);
    const { seq } = await leader.write(operation, { wait: true });
    apply(model, seq);
    if (random.below(10) === 0) await leader.checkpoint();
  }
  const { value, from } = now(leader);
  assert.equal(from, 0);
  for (const headRowsMax of [3, 1000]) {
    const follower = new Follower(random, headRowsMax);
    await follower.start();
    await follower.feed(must(log, 'it is open').appended);
    assert.deepEqual(now(follower.shard), { from: 0, value }, `seed ${seed}, heads of ${headRowsMax} rows`);
    await follower.shard.close();
  }
});

const shared = (directory: string, changes: Partial<ShardOptions> = {}): ShardOptions => shardOptions(new MemoryDisk(), directory, { shareLog: (local) => local, ...changes });

test('a copy goes on with the digest of its source, from a checkpoint and the log behind it', async () => {
  const options = shared('/source');
  await using source = await Shard.create(options);
  for (let id = 0; id < 20; id += 1) await upsert(source, draft(id));
  await source.checkpoint();
  for (let id = 10; id < 30; id += 1) await upsert(source, draft(id, { n: -id }));
  const [frozen] = await freezeShards([source]);
  const staging = await stageCopy(options.disk, must(frozen, 'one shard is frozen'), '/staged');
  frozen?.release();
  await using copy = await adoptShard({ ...options, directory: '/copy', staging, isCopy: true });
  assert.deepEqual(copy.marks.at(-1), source.marks.at(-1));
});

test('where no digest was kept one begins at the checkpoint, and where none is kept none stays', async () => {
  const options = shared('/shard');
  const alone = shardOptions(options.disk, '/shard');
  const first = await Shard.create(alone);
  for (let id = 0; id < 5; id += 1) await upsert(first, draft(id));
  await first.checkpoint();
  await upsert(first, draft(5));
  assert.deepEqual(first.marks, []);
  await first.close();
  const again = await Shard.open(options);
  assert.equal(now(again).from, 5);
  assert.notEqual(now(again).value, digestFrom(5).value, 'what the log holds behind it is in it');
  await again.checkpoint();
  const { digest } = must(again.marks.at(-1), 'there is one');
  await again.close();
  assert.deepEqual((await readManifest(options.disk, '/shard')).manifest.digest, digest);
  const third = await Shard.open(alone);
  await upsert(third, draft(6));
  await third.checkpoint();
  await third.close();
  assert.equal((await readManifest(options.disk, '/shard')).manifest.digest, undefined);
});

test('marks are kept at every 1,024th entry and at checkpoints, the last eight and that of now', async () => {
  await using shard = await Shard.create(shared('/shard', { limits: { ...smallLimits, headRowsMax: 1 << 20 } }));
  const writes: Promise<unknown>[] = [];
  for (let at = 0; at < 2 * entriesPerMark + 10; at += 1) writes.push(shard.write({ kind: 'upsert', points: [draft(at % 50)] }, { wait: true }));
  await Promise.all(writes);
  assert.deepEqual(shard.marks.map(({ seq }) => seq), [0, 1024, 2048, 2058]);
  for (let at = 0; at < 10; at += 1) {
    await shard.checkpoint();
    await upsert(shard, draft(at));
  }
  assert.deepEqual(shard.marks.map(({ seq }) => seq), [2060, 2061, 2062, 2063, 2064, 2065, 2066, 2067, 2068]);
});

const point: StoredPoint = { id: pointId(7), version: 3, payload: '{"n":1}', vectors: new Map([['', Buffer.alloc(16, 5)]]) };
const base = { seq: 3, version: 1, points: 1 };

function digestOf(stored: readonly StoredPoint[], end = base): string {
  const segment = MutableSegment.create({ uuid: 'u', specs: new Map([['', dotSpec], ['b', dotSpec]]), indexes: plainIndexes(), payloadSchema: new Map() });
  const digest = new StateDigest(digestFrom(0));
  for (const each of stored) digest.row(segment, segment.append(each));
  digest.endEntry(end, end.points);
  return digest.digest.value;
}

test('every bit of vector, payload, id and version changes it, and so does everything else that an entry may do', () => {
  const seen = new Set<string>();
  const expectNew = (value: string, what: string): void => {
    assert.ok(!seen.has(value), what);
    seen.add(value);
  };
  expectNew(digestOf([point]), 'the point');
  for (let bit = 0; bit < 128; bit += 1) {
    const flipped = Buffer.alloc(16, 5);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expectNew(digestOf([{ ...point, vectors: new Map([['', flipped]]) }]), `bit ${bit} of the vector`);
  }
  for (let bit = 0; bit < 53; bit += 1) {
    expectNew(digestOf([{ ...point, version: bit < 2 ? 3 ^ (1 << bit) : 3 + 2 ** bit }]), `bit ${bit} of the version`);
    expectNew(digestOf([{ ...point, id: pointId(2 ** bit - 1 === 7 ? 6 : 2 ** bit - 1) }]), `bit ${bit} of the id`);
  }
  for (const payload of ['{"n":2}', '{"n":1.0}', '{"n": 1}', '{}', '{"m":1}']) expectNew(digestOf([{ ...point, payload }]), payload);
  expectNew(digestOf([{ ...point, id: pointId('00000000-0000-0007-0000-000000000000') }]), 'a UUID');
  expectNew(digestOf([{ ...point, vectors: new Map() }]), 'no vector');
  expectNew(digestOf([{ ...point, vectors: new Map([['b', Buffer.alloc(16, 5)]]) }]), 'a vector of another name');
  expectNew(digestOf([point], { ...base, seq: 4 }), 'seq');
  expectNew(digestOf([point], { ...base, version: 2 }), 'rules');
  expectNew(digestOf([point], { ...base, points: 2 }), 'live points');
  expectNew(digestOf([]), 'nothing');
  const other = { ...point, id: pointId(8) };
  expectNew(digestOf([point, other]), 'two points');
  expectNew(digestOf([{ ...point, payload: '{"n":2}' }, { ...other, payload: '{"n":1}' }]), 'one changed');
  expectNew(digestOf([point, { ...other, payload: '{"n":2}' }]), 'payloads of two points exchanged');
  assert.equal(digestOf([other, point]), digestOf([point, other]), 'the order within an entry is each replica\'s own');
});

test('vectors and indexes that come and go change it', () => {
  const values = [
    (digest: StateDigest) => digest.vector('a', dotSpec), (digest: StateDigest) => digest.vector('a', undefined), (digest: StateDigest) => digest.vector('b', dotSpec),
    (digest: StateDigest) => digest.index('a', { type: 'keyword' }), (digest: StateDigest) => digest.index('a', { type: 'integer' }), (digest: StateDigest) => digest.index('a', undefined),
    (digest: StateDigest) => digest.death(pointId(1)), (digest: StateDigest) => digest.death(pointId('6f0c1f0e-7d0c-4b6e-9a70-6a5f3f3f7a11')), () => undefined,
  ].map((change) => {
    const digest = new StateDigest(digestFrom(0));
    change(digest);
    digest.endEntry(base, 0);
    return digest.digest.value;
  });
  assert.equal(new Set(values).size, values.length);
});
