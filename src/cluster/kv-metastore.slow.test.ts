import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Consumer } from '@nats-io/jetstream';
import { must } from '../base/assert.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { waitUntil } from '../base/testing/wait-until.ts';
import { metastoreContract } from '../collection/metastore.contract.ts';
import { KvMetastore } from './kv-metastore.ts';
import type { NatsClient } from './nats-client.ts';
import { noNats, startNatsCluster, type NatsCluster } from './testing/nats-cluster.ts';

describe('the metastore of a cluster', { skip: noNats ?? false }, () => {
  let cluster: NatsCluster | undefined;
  let buckets = 0;
  const open = async (bucket: string, server = 0, clock: Clock = systemClock): Promise<KvMetastore> =>
    await KvMetastore.open({ client: await must(cluster, 'it runs').connect(server), bucket, replicas: 3, clock, logger: silentLogger });
  /** With those of deletes. */
  const keysIn = async (bucket: string): Promise<readonly string[]> => {
    const { manager } = await must(cluster, 'it runs').connect();
    const { state } = await manager.streams.info(`KV_${bucket}`, { subjects_filter: '>' });
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(`$KV.${bucket}.`.length)).filter((key) => key !== 'mark').sort();
  };

  before(async () => {
    cluster = await startNatsCluster(3);
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  metastoreContract('KvMetastore', () => {
    buckets += 1;
    const bucket = `contract-${buckets}`;
    return Promise.resolve({ reopen: () => open(bucket) });
  });

  test('of many creates and sets on three nodes one wins each time, and all nodes end with the same records', async () => {
    const stores = await Promise.all([0, 1, 2].map((server) => open('race', server)));
    const created = await Promise.all(stores.map((store, at) => store.create('n', { by: at, count: 0 })));
    assert.equal(created.filter((revision) => revision !== undefined).length, 1);
    const increments = await Promise.all(stores.map(async (store) => {
      let won = 0;
      for (let tries = 0; won < 20; tries += 1) {
        assert.ok(tries < 5_000, 'a loser wins at last');
        const found = must(await store.get('n'), 'it was created');
        const { count } = found.value as { readonly count: number };
        if ((await store.set('n', { count: count + 1 }, found.revision)) !== undefined) won += 1;
      }
      return won;
    }));
    assert.deepEqual(increments, [20, 20, 20]);
    const last = Math.max(...stores.map(({ revision }) => revision));
    for (const store of stores) {
      await waitUntil('a store knows the last change', () => store.revision >= last);
      assert.deepEqual((await store.get('n'))?.value, { count: 60 });
    }
  });

  test('a key that was deleted can be created again, once', async () => {
    const [a, b] = await Promise.all([open('again', 0), open('again', 1)]);
    const first = must(await a.create('k', 1), 'it is new');
    assert.equal(await a.delete('k', first), true);
    await waitUntil('the other store knows it', () => b.revision >= a.revision);
    const both = await Promise.all([a.create('k', 2), b.create('k', 3)]);
    assert.equal(both.filter((revision) => revision !== undefined).length, 1);
    await Promise.all([a.close(), b.close()]);
    assert.equal((await (await open('again', 2)).get('k'))?.value, both[0] === undefined ? 3 : 2);
  });

  test('a store that has caught up knows every change that was acknowledged before', async () => {
    const [a, b] = await Promise.all([open('caught', 0), open('caught', 1)]);
    for (let at = 0; at < 50; at += 1) {
      const revision = must(await a.create(`k${at}`, at), 'it is new');
      await b.catchUp();
      assert.deepEqual(await b.get(`k${at}`), { value: at, revision });
    }
    assert.equal((await b.keys('')).length, 50);
  });

  test('a store whose reader is on a server that is behind is not open before it knows every change', async () => {
    const a = await open('behind');
    const revision = must(await a.create('k', 1), 'it is new');
    let catchUp = (): void => undefined;
    const untilCaughtUp = new Promise<void>((resolve) => {
      catchUp = resolve;
    });
    const client = readingBehind(await must(cluster, 'it runs').connect(1), untilCaughtUp);
    let isOpen = false;
    const opening = KvMetastore.open({ client, bucket: 'behind', replicas: 3, clock: systemClock, logger: silentLogger }).then((store) => {
      isOpen = true;
      return store;
    });
    await waitUntil('it has asked how far there is to read, or not', () => isOpen || a.revision > revision);
    assert.equal(isOpen, false);
    catchUp();
    const store = await opening;
    assert.deepEqual(await store.get('k'), { value: 1, revision });
  });

  test('what deletes left is purged when it is old, all but the newest change, and a purged key can be created on every node', async () => {
    const clock = laterClock();
    const [a, b] = await Promise.all([open('purged', 0, clock), open('purged', 1)]);
    for (const key of ['k', 'l', 'm']) await a.create(key, key);
    for (const key of ['k', 'l']) assert.equal(await a.delete(key, must(await a.get(key), 'it is there').revision), true);
    await a.purgeDeleted();
    assert.deepEqual(await keysIn('purged'), ['k', 'l', 'm'], 'none is old');
    clock.jump();
    await a.purgeDeleted();
    assert.deepEqual(await keysIn('purged'), ['l', 'm'], 'the newest change stays');
    const fresh = await open('purged', 2);
    assert.deepEqual(await fresh.keys(''), ['m']);
    await b.catchUp();
    for (const [store, key] of [[b, 'k'], [fresh, 'l']] as const) {
      assert.ok((await store.create(key, 'again')) !== undefined);
      assert.equal(await a.create(key, 'twice'), undefined);
      assert.equal((await a.get(key))?.value, 'again');
    }
    assert.deepEqual(await keysIn('purged'), ['k', 'l', 'm']);
  });

  test('a reader that begins anew learns of a delete that was purged before it came to it', async () => {
    const clocks = [laterClock(), laterClock()] as const;
    const { manager } = await must(cluster, 'it runs').connect();
    const readers = async (): Promise<readonly string[]> => (await manager.consumers.list('KV_missed').next()).map(({ name }) => name);
    const a = await open('missed', 0, clocks[0]);
    const first = await a.create('k', 1);
    const before = await readers();
    const b = await open('missed', 1, clocks[1]);
    const told: string[] = [];
    b.watch('k', (key, record) => told.push(`${key} ${record === undefined ? 'gone' : 'there'}`));
    for (const name of await readers()) if (!before.includes(name)) await manager.consumers.delete('KV_missed', name);
    assert.equal(await a.delete('k', must(first, 'it is new')), true);
    await a.create('l', 2);
    clocks[0].jump();
    await a.purgeDeleted();
    assert.deepEqual(await keysIn('missed'), ['l']);
    clocks[1].jump(); // it has heard nothing for so long
    await waitUntil('the other store knows that the key is gone', async () => (await b.get('k')) === undefined && (await b.get('l')) !== undefined);
    assert.deepEqual(told, ['k gone']);
  });
});

/** Its readers are on a server that has just come back, and has nothing until the promise resolves. */
function readingBehind(client: NatsClient, untilCaughtUp: Promise<void>): NatsClient {
  return instead(client, {
    orderedConsumer: async (...of: Parameters<NatsClient['orderedConsumer']>) => {
      const consumer = await client.orderedConsumer(...of);
      return instead(consumer, {
        info: async () => ({ ...await consumer.info(false), num_pending: 0 }),
        consume: async (...how: Parameters<Consumer['consume']>) => {
          const messages = await consumer.consume(...how);
          return instead(messages, {
            [Symbol.asyncIterator]: async function* late() {
              await untilCaughtUp;
              yield* messages;
            },
          });
        },
      });
    },
  });
}

/** The same object but for those methods. */
function instead<T extends object>(object: T, methods: Readonly<Record<PropertyKey, unknown>>): T {
  return new Proxy(object, {
    get: (target, key) => {
      if (Object.hasOwn(methods, key)) return methods[key];
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The system's, until it is an hour further on. */
function laterClock(): Clock & { jump(): void } {
  let aheadMs = 0;
  return { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs, jump: () => void (aheadMs += 3_600_000) };
}
