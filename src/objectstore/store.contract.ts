// Runs on every implementation of the object store port.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import type { ObjectStore } from './store.ts';

export async function* piecesOf(...texts: readonly string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text));
}

async function readText(store: ObjectStore, key: string, range?: { readonly start: number; readonly end: number }): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of store.get(key, range)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const blob of store.list(prefix)) keys.push(blob.key);
  return keys;
}

export function storeContract(name: string, open: () => Promise<ObjectStore>): void {
  const contractTest = (title: string, check: (store: ObjectStore) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      await using store = await open();
      await check(store);
    });
  };

  contractTest('a blob is read back whole and by range', async (store) => {
    assert.equal(await store.put('sets/a.json', piecesOf('hello ', 'world')), 11);
    assert.equal(await readText(store, 'sets/a.json'), 'hello world');
    assert.equal(await readText(store, 'sets/a.json', { start: 3, end: 7 }), 'lo wo');
    assert.deepEqual(await store.find('sets/a.json'), { key: 'sets/a.json', sizeBytes: 11 });
  });

  contractTest('a second put replaces, and one whose source fails changes nothing', async (store) => {
    await store.put('a', piecesOf('one'));
    await store.put('a', piecesOf('two'));
    const failing = async function* (): AsyncGenerator<Buffer> {
      yield await Promise.resolve(Buffer.from('thr'));
      throw new RangeError('the source broke');
    };
    await assert.rejects(store.put('a', failing()), /the source broke/);
    await assert.rejects(store.put('b', failing()), /the source broke/);
    assert.equal(await readText(store, 'a'), 'two');
    assert.deepEqual(await keysOf(store, ''), ['a']);
  });

  contractTest('an aborted put leaves nothing', async (store) => {
    await assert.rejects(store.put('a', piecesOf('one'), AbortSignal.abort()));
    assert.equal(await store.find('a'), undefined);
  });

  contractTest('list is sorted and by prefix', async (store) => {
    for (const key of ['blobs/bb/2', 'blobs/aa/1', 'sets/x']) await store.put(key, piecesOf(key));
    assert.deepEqual(await keysOf(store, 'blobs/'), ['blobs/aa/1', 'blobs/bb/2']);
    assert.deepEqual(await keysOf(store, ''), ['blobs/aa/1', 'blobs/bb/2', 'sets/x']);
    assert.deepEqual(await keysOf(store, 'no'), []);
  });

  contractTest('what is absent is not found, and deleting it is no error', async (store) => {
    assert.equal(await store.find('no/where'), undefined);
    await assert.rejects(readText(store, 'no'), (error) => error instanceof RequestError && error.code === 'not-found');
    await store.put('a', piecesOf('x'));
    assert.equal(await store.find('a/b'), undefined);
    await store.delete('a');
    await store.delete('a');
    assert.equal(await store.find('a'), undefined);
  });

  contractTest('keys that would leave the store are refused', async (store) => {
    for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/../b', '.', 'a\\b', 'a\0', 'ä', `${'x'.repeat(1025)}`, '.tmp-1']) {
      await assert.rejects(store.put(key, piecesOf('x')), (error) => error instanceof RequestError, JSON.stringify(key));
    }
  });
}
