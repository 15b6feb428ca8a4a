// Acknowledgements that are lost between a node and its NATS server: a proxy swallows what the server answers, and the write is sent
// again with the same id. Inside the stream's window for duplicates it is stored once; beyond it is stored twice, and applied once. Where
// the acknowledgement alone is lost the entry comes all the same, and is the answer. And the other way round: a write that is acknowledged
// and does not come is given up in its time, and what was stored is applied once when it comes.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { waitMsMax, waitUntil } from '../base/testing/wait-until.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { temporaryFolder, type TemporaryFolder } from '../fs/testing/temporary-folder.ts';
import { Shard } from '../shard/shard.ts';
import { allPoints, draft, shardOptions, upsert } from '../shard/testing/shard-fixtures.ts';
import { NatsClient } from './nats-client.ts';
import { ReplicatedLog } from './replicated-log.ts';
import { createStream, deleteStream, streamFacts, streamName, type StreamIdentity } from './shard-stream.ts';
import { noNats, startNatsCluster, testKeys, type NatsCluster } from './testing/nats-cluster.ts';

const shortWindowMs = 100;

interface Proxy {
  readonly url: string;
  /** From here on nothing of the server's comes through, on connections that are there. */
  swallow(): void;
  /** From here on acknowledgements of what was published do not come through, and all else does; or nothing but those. */
  swallowAcks(): void;
  swallowAllButAcks(): void;
  /** New connections are whole again. */
  swallowNothing(): void;
  /** Ends those; new ones are whole. */
  cut(): void;
  close(): Promise<void>;
}

async function proxyTo(url: string): Promise<Proxy> {
  const target = new URL(url);
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket; isSwallowed: boolean }>();
  let isSwallowed: (part: Buffer) => boolean = () => false;
  const listener = createServer((client) => {
    const server = connect(Number(target.port), target.hostname);
    const pair = { client, server, isSwallowed: false };
    pairs.add(pair);
    client.pipe(server);
    const messages = messagesOf();
    server.on('data', (data) => {
      for (const part of messages(data)) if (!pair.isSwallowed && !isSwallowed(part)) client.write(part);
    });
    for (const socket of [client, server]) {
      socket.on('error', () => socket.destroy()).on('close', () => {
        pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => {
    listener.listen(0, '127.0.0.1', resolve);
  });
  const cut = (): void => {
    for (const { client } of pairs) client.destroy();
  };
  return {
    url: `nats://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    swallow: () => {
      for (const pair of pairs) pair.isSwallowed = true;
    },
    swallowAcks: () => {
      isSwallowed = isAck;
    },
    swallowAllButAcks: () => {
      isSwallowed = (part) => !isAck(part);
    },
    swallowNothing: () => {
      isSwallowed = () => false;
      cut();
    },
    cut,
    close: () => new Promise((resolve) => {
      listener.close(() => resolve());
      cut();
    }),
  };
}

/** Takes what a NATS server sends, in whatever pieces, and gives its messages and other lines one by one. */
function messagesOf(): (data: Buffer) => readonly Buffer[] {
  let rest = Buffer.alloc(0);
  return (data) => {
    rest = Buffer.concat([rest, data]);
    const parts: Buffer[] = [];
    for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
      const words = rest.toString('latin1', 0, end).split(' ');
      const size = end + 2 + (words[0] === 'MSG' || words[0] === 'HMSG' ? Number(words.at(-1)) + 2 : 0);
      if (rest.byteLength < size) break;
      parts.push(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
    return parts;
  };
}

function isAck(part: Buffer): boolean {
  return /^MSG [^\r]*\r\n\{"stream":"[^"]*",[^}]*"seq":\d+/.test(part.toString('latin1', 0, 1_000));
}

describe('acknowledgements that are lost', { skip: noNats ?? false }, () => {
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

  const openShard = async (of: StreamIdentity, client: NatsClient): Promise<Shard> => {
    const directory = path.join(must(folder, 'it is there').path, randomUUID());
    const shard = await Shard.create(shardOptions(new NodeDisk(), directory, {
      collectionUuid: of.collectionUuid, shareLog: (local) => new ReplicatedLog({ local, client, of, clock: systemClock, logger: silentLogger }),
    }));
    shard.follow();
    return shard;
  };

  for (const isBeyond of [false, true]) {
    test(`a write that is sent again ${isBeyond ? 'beyond the window is stored twice and' : 'inside the window is stored once and'} applied once`, async () => {
      const { servers } = must(cluster, 'it runs');
      const own = await must(cluster, 'it runs').connect(0);
      const other = await must(cluster, 'it runs').connect(1);
      const of = { collectionUuid: randomUUID(), shardId: 0, generation: 0 };
      await createStream(own, of, { firstSeq: 1, replicas: 3, deadlineMs: performance.now() + waitMsMax });
      if (isBeyond) await own.manager.streams.update(streamName(of), { duplicate_window: shortWindowMs * 1e6 });
      const proxy = await proxyTo(must(servers[0], 'three').clientUrl);
      const client = await NatsClient.connect({ url: proxy.url, user: testKeys.app, name: 'behind a proxy', clock: systemClock });
      const [shard, copy] = [await openShard(of, client), await openShard(of, other)];
      try {
        await upsert(shard, draft(1, { value: 'first' }));
        proxy.swallow();
        const writing = upsert(shard, draft(1, { value: 'second' }));
        await waitUntil('it is stored', async () => (await streamFacts(other, of)).lastSeq === 2);
        await upsert(copy, draft(1, { value: 'third' }));
        if (isBeyond) await waitUntil('the window is over', () => pastWindow(other, of));
        proxy.cut();
        assert.equal(await writing, 2);
        await waitUntil('both have all', () => shard.applied === copy.applied && shard.applied >= (isBeyond ? 4 : 3));
        assert.equal((await streamFacts(other, of)).lastSeq, isBeyond ? 4 : 3);
        for (const each of [shard, copy]) assert.deepEqual((await allPoints(each)).map(({ payload }) => payload), ['{"value":"third"}']);
        assert.equal(shard.position().chain, copy.position().chain);
      } finally {
        await shard.close();
        await copy.close();
        await client.close();
        await proxy.close();
      }
    });
  }

  interface BehindProxy {
    readonly shard: Shard;
    readonly proxy: Proxy;
    readonly of: StreamIdentity;
    /** Not through the proxy. */
    readonly own: NatsClient;
  }

  /** A shard with one point whose node talks to its server through a proxy. */
  const behindProxy = async (work: (parts: BehindProxy) => Promise<void>): Promise<void> => {
    const own = await must(cluster, 'it runs').connect(0);
    const of = { collectionUuid: randomUUID(), shardId: 0, generation: 0 };
    await createStream(own, of, { firstSeq: 1, replicas: 3, deadlineMs: performance.now() + waitMsMax });
    const proxy = await proxyTo(must(must(cluster, 'it runs').servers[0], 'three').clientUrl);
    const client = await NatsClient.connect({ url: proxy.url, user: testKeys.app, name: 'behind a proxy', clock: systemClock });
    const shard = await openShard(of, client);
    try {
      await upsert(shard, draft(1, { value: 'first' }));
      await work({ shard, proxy, of, own });
    } finally {
      await shard.close();
      await client.close();
      await proxy.close();
    }
  };

  test('a write whose entry comes without its acknowledgement is answered, and those behind it go on', () => behindProxy(async ({ shard, proxy }) => {
    proxy.swallowAcks();
    const writes = [2, 3].map((id) => shard.write({ kind: 'upsert', points: [draft(id, { value: 'unconfirmed' })] }, { wait: true, timeoutMs: 1_000 }));
    const [second, third] = await Promise.all(writes);
    assert.deepEqual([second?.seq, third?.seq], [2, 3]);
    await waitUntil('both are applied', () => shard.applied === 3);
    assert.equal((await allPoints(shard)).length, 3);
  }));

  test('a write whose entry does not come is given up in its time, and applied when it comes', () => behindProxy(async ({ shard, proxy, of, own }) => {
    proxy.swallowAllButAcks();
    await assert.rejects(shard.write({ kind: 'upsert', points: [draft(2, { value: 'late' })] }, { wait: true, timeoutMs: 1_000 }), { code: 'unavailable', message: /may be stored in the log of shard 0, and it has not come to this node in time/ });
    assert.equal((await streamFacts(own, of)).lastSeq, 2);
    assert.equal(shard.applied, 1);
    proxy.swallowNothing();
    await waitUntil('it is applied', () => shard.applied === 2);
    assert.equal(await upsert(shard, draft(3, { value: 'next' })), 3);
    assert.equal((await allPoints(shard)).length, 3);
  }));

  test('a write whose stream is deleted before its entry came is given up, and the shard can be closed', () => behindProxy(async ({ shard, proxy, of, own }) => {
    proxy.swallowAllButAcks();
    const writing = assert.rejects(upsert(shard, draft(2, { value: 'lost' })), { code: 'unavailable', message: /may be stored in the log of shard 0, and the stream is deleted/ });
    await waitUntil('it is stored', async () => (await streamFacts(own, of)).lastSeq === 2);
    await deleteStream(own, of);
    proxy.swallowNothing();
    const closing = shard.close();
    await writing;
    await closing;
  }));
});

/** By the server's own clock, that of its messages. */
async function pastWindow({ manager }: NatsClient, of: StreamIdentity): Promise<boolean> {
  const { state, ts } = await manager.streams.info(streamName(of));
  return Date.parse(String(ts)) - Date.parse(state.last_ts) > 2 * shortWindowMs;
}
