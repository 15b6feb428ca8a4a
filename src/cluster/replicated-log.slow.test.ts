import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { waitUntil } from '../base/testing/wait-until.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder, type TemporaryFolder } from '../fs/testing/temporary-folder.ts';
import { FileLog } from '../log/file-log.ts';
import { chainStart } from '../log/hash-chain.ts';
import type { Entry } from '../log/shard-log.ts';
import { draft, logContract, numbersOf, readAll } from '../log/shard-log.contract.ts';
import { FencedError, ReplicatedLog } from './replicated-log.ts';
import { createStream, purgeStream, sealStream, streamFacts, type StreamIdentity } from './shard-stream.ts';
import { noNats, startNatsCluster, type NatsCluster } from './testing/nats-cluster.ts';

const inTime = (): number => systemClock.monotonic() + 30_000;

describe('the log of a shard in a cluster', { skip: noNats ?? false }, () => {
  let cluster: NatsCluster | undefined;
  let folder: TemporaryFolder | undefined;

  before(async () => {
    cluster = await startNatsCluster(3);
    folder = await temporaryFolder();
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  const newStream = async (firstSeq = 1, generation = 0): Promise<StreamIdentity> => {
    const of = { collectionUuid: randomUUID(), shardId: 0, generation };
    await createStream(await must(cluster, 'it runs').connect(), of, { firstSeq, replicas: 3, deadlineMs: inTime() });
    return of;
  };

  interface Copy {
    readonly log: ReplicatedLog;
    readonly foreign: Entry[];
  }

  const openCopy = async (of: StreamIdentity, node: number, applied = { seq: 0, chain: chainStart.toString('hex') }): Promise<Copy> => {
    const disk = new NodeDisk();
    const directory = path.join(must(folder, 'it is there').path, `${of.collectionUuid}-${node}`);
    if ((await disk.findStat(directory)) === undefined) await disk.makeDirectory(directory);
    const local = await FileLog.open({ disk, directory, clock: systemClock, logger: silentLogger, ...of, applied, durableMark: 0 });
    const foreign: Entry[] = [];
    const client = await must(cluster, 'it runs').connect(node);
    const log = new ReplicatedLog({ local, client, of, clock: systemClock, logger: silentLogger });
    log.follow((entry) => {
      foreign.push(entry);
      return Promise.resolve();
    });
    return { log, foreign };
  };

  logContract('ReplicatedLog', async () => {
    const of = await newStream();
    return { reopen: async () => (await openCopy(of, 0)).log };
  });

  test('three copies get all entries of three publishers in one order, with one chain', async () => {
    const of = await newStream();
    const copies = await Promise.all([0, 1, 2].map((node) => openCopy(of, node)));
    const written = await Promise.all(copies.flatMap(({ log }, node) => Array.from({ length: 40 }, (_, at) => log.append(draft(node * 1000 + at, 200 + at)))));
    assert.equal(new Set(written.map(({ seq }) => seq)).size, 120);
    await waitUntil('every copy has all entries', () => copies.every(({ log }) => log.lastSeq === 120));
    const [a, b, c] = await Promise.all(copies.map(({ log }) => readAll(log)));
    assert.deepEqual(numbersOf(b ?? []), numbersOf(a ?? []));
    assert.deepEqual(numbersOf(c ?? []), numbersOf(a ?? []));
    assert.equal(new Set(copies.map(({ log }) => log.position().chain)).size, 1);
    for (const { foreign, log } of copies) {
      assert.equal(foreign.length, 80);
      assert.deepEqual(foreign.map(({ seq }) => seq), foreign.map(({ seq }) => seq).sort((x, y) => x - y));
      await log.close();
    }
  });

  test('a copy that was away takes up where it was, and one whose entries were purged says so', async () => {
    const of = await newStream();
    const writer = await openCopy(of, 0);
    for (let at = 0; at < 10; at += 1) await writer.log.append(draft(at));
    const away = await openCopy(of, 1);
    await waitUntil('the copy that goes away has all', () => away.log.lastSeq === 10);
    await away.log.close();
    for (let at = 10; at < 20; at += 1) await writer.log.append(draft(at));
    const back = await openCopy(of, 1);
    await waitUntil('the copy has caught up', () => back.log.lastSeq === 20);
    assert.deepEqual(back.foreign.map(({ seq }) => seq), Array.from({ length: 10 }, (_, at) => at + 11));
    await back.log.close();
    const client = await must(cluster, 'it runs').connect();
    await writer.log.append(draft(20));
    await purgeStream(client, of, 1000); // beyond the end: what is next stays next
    assert.equal((await writer.log.append(draft(21))).seq, 22);
    const late = await openCopy(of, 1);
    await waitUntil('the copy says what it lost', () => late.log.lost !== undefined);
    assert.match(must(late.log.lost, 'it is lost').message, /entry 21 is not there, 22 comes next/);
    assert.equal(late.log.lastSeq, 20);
    await late.log.close();
    await writer.log.close();
  });

  test('a sealed stream takes nothing more, and the next generation goes on behind it', async () => {
    const of = await newStream();
    const { log } = await openCopy(of, 0);
    const writes = Array.from({ length: 60 }, (_, at) => log.append(draft(at, 4_000)).then(({ seq }) => seq, (error: unknown) => error));
    const client = await must(cluster, 'it runs').connect(1);
    await sealStream(client, of);
    await sealStream(client, of);
    const outcomes = await Promise.all(writes);
    const { lastSeq, isSealed } = await streamFacts(client, of);
    assert.ok(isSealed);
    const stored = outcomes.filter((outcome) => typeof outcome === 'number');
    assert.ok(stored.length <= lastSeq && stored.every((seq) => seq <= lastSeq), 'nothing is acknowledged behind the seal');
    assert.ok(outcomes.every((outcome) => typeof outcome === 'number' || outcome instanceof FencedError), String(outcomes.find((outcome) => typeof outcome !== 'number' && !(outcome instanceof FencedError))));
    await assert.rejects(log.append(draft(99)), FencedError);
    await waitUntil('the copy has all up to the seal', () => log.lastSeq === lastSeq);
    await purgeStream(client, of, 5); // refused by a sealed stream, so it is not asked
    const { seq, chain } = log.position();
    await log.close();
    const next = { ...of, generation: 1 };
    await createStream(client, next, { firstSeq: lastSeq + 1, replicas: 3, deadlineMs: inTime() });
    const moved = await openCopy({ ...next }, 2, { seq, chain });
    assert.equal((await moved.log.append(draft(100))).seq, lastSeq + 1);
    await moved.log.close();
  });
});
