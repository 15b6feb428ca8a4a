// Runs on every implementation of the metastore port.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MetaRecord, Metastore } from './metastore.ts';

export interface MetastoreFixture {
  /** A store over the same data as the last one of this fixture, after that one was closed or lost. */
  readonly reopen: () => Promise<Metastore>;
}

export function metastoreContract(name: string, fixture: () => Promise<MetastoreFixture>): void {
  test(`${name}: a created record is there after a reopen`, async () => {
    const { reopen } = await fixture();
    const store = await reopen();
    const revision = await store.create('a', { x: 1 });
    assert.ok(revision !== undefined);
    await store.close();
    assert.deepEqual(await (await reopen()).get('a'), { value: { x: 1 }, revision });
  });

  test(`${name}: creating an existing key changes nothing`, async () => {
    const store = await (await fixture()).reopen();
    await store.create('a', 1);
    assert.equal(await store.create('a', 2), undefined);
    assert.deepEqual((await store.get('a'))?.value, 1);
  });

  test(`${name}: of two sets with one revision exactly one wins`, async () => {
    const store = await (await fixture()).reopen();
    const revision = await store.create('a', 0);
    assert.ok(revision !== undefined);
    const results = await Promise.all([store.set('a', 1, revision), store.set('a', 2, revision)]);
    assert.equal(results.filter((result) => result !== undefined).length, 1);
    assert.deepEqual((await store.get('a'))?.value, results[0] === undefined ? 2 : 1);
  });

  test(`${name}: delete needs the current revision`, async () => {
    const store = await (await fixture()).reopen();
    const revision = await store.create('a', 0);
    assert.ok(revision !== undefined);
    assert.equal(await store.delete('a', revision + 7), false);
    assert.equal(await store.delete('a', revision), true);
    assert.equal(await store.get('a'), undefined);
  });

  test(`${name}: keys are listed by prefix, in order`, async () => {
    const store = await (await fixture()).reopen();
    for (const key of ['c.2', 'dir', 'c.1']) await store.create(key, key);
    assert.deepEqual(await store.keys('c.'), ['c.1', 'c.2']);
  });

  test(`${name}: watch reports changes until it is ended`, async () => {
    const store = await (await fixture()).reopen();
    const seen: [string, MetaRecord | undefined][] = [];
    const end = store.watch('c.', (key, record) => seen.push([key, record]));
    const revision = await store.create('c.1', 1);
    assert.ok(revision !== undefined);
    await store.create('d', 1);
    await store.delete('c.1', revision);
    end();
    await store.create('c.2', 1);
    assert.deepEqual(seen, [['c.1', { value: 1, revision }], ['c.1', undefined]]);
  });
}
