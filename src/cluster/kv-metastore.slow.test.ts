import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/logger.ts';
import { waitUntil } from '../base/testing/wait-until.ts';
import { metastoreContract } from '../collection/metastore.contract.ts';
import { KvMetastore } from './kv-metastore.ts';
import { noNats, startNatsCluster, type NatsCluster } from './testing/nats-cluster.ts';

describe('the metastore of a cluster', { skip: noNats ?? false }, () => {
  let cluster: NatsCluster | undefined;
  let buckets = 0;
  const open = async (bucket: string, server = 0): Promise<KvMetastore> =>
    await KvMetastore.open({ client: await must(cluster, 'it runs').connect(server), bucket, replicas: 3, clock: systemClock, logger: silentLogger });

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
});
