// Nodes whose reads of the metadata are old: whatever they were told, each change builds on what is true, and each that was answered stays.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestError } from '../base/errors.ts';
import { seededRandom, type Random } from '../base/testing/random.ts';
import { applyAliasActions, resolveName, withCollection, withoutCollection, type NameDirectory } from '../collection/aliases.ts';
import { FileMetastore } from '../collection/file-metastore.ts';
import { fillConfig } from '../command/config-defaults.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { placeShards, replicaOf, shardOf, withReplica, withShard } from './cluster-record.ts';
import { ClusterRecords } from './cluster-records.ts';
import { MetastoreHistory, StaleMetastore } from './testing/stale-metastore.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const nodes = 4;
const rounds = 60;
const uuid = 'the collection';

/** Each change builds on the one before, or the count falls behind. */
type Counted = NameDirectory & { readonly changes?: number };

interface Views {
  readonly truth: ClusterRecords;
  readonly stores: readonly StaleMetastore[];
  readonly records: readonly ClusterRecords[];
  readonly random: Random;
}

async function openViews(prepare: (truth: ClusterRecords) => Promise<void> = () => Promise.resolve()): Promise<Views> {
  const random = seededRandom(seed);
  const disk = new MemoryDisk();
  await disk.makeDirectory('/data');
  const store = await FileMetastore.open(disk, '/data');
  const truth = new ClusterRecords(store);
  await truth.open();
  await prepare(truth);
  const history = await MetastoreHistory.open(store);
  const stores = Array.from({ length: nodes }, () => new StaleMetastore(history, random));
  return { truth, stores, records: stores.map((store) => new ClusterRecords(store)), random };
}

function checkLied({ stores }: Views): void {
  assert.ok(stores.every(({ staleReads }) => staleReads > 0), `seed ${seed}: no read was old, so nothing is proved`);
}

test('racing creates, deletes and aliases: of each name there is at most one holder, and nothing that was answered is undone', async (t) => {
  const views = await openViews();
  const names = ['a', 'b', 'c'];
  let changes = 0;
  await Promise.all(views.records.map(async (records, node) => {
    for (let round = 0; round < rounds; round += 1) {
      const name = names[views.random.below(names.length)] ?? '';
      const other = names[views.random.below(names.length)] ?? '';
      const kind = views.random.below(3);
      const change = (before: Counted): NameDirectory => {
        if (kind === 1) return Object.hasOwn(before.names, name) ? withoutCollection(before, name) : before;
        if (kind === 2) return applyAliasActions(before, [{ kind: 'create', alias: name, collection: other }]);
        if (resolveName(before, name) !== undefined) throw new RequestError('already-exists', name);
        return withCollection(before, name, `${node}-${round}`);
      };
      let isChanged = false;
      await records.changeDirectory((before: Counted) => {
        const after = change(before);
        isChanged = after !== before;
        return isChanged ? { ...after, changes: (before.changes ?? 0) + 1 } as Counted : before;
      }).then(() => {
        if (isChanged) changes += 1;
      }, (error: unknown) => assert.ok(error instanceof RequestError, String(error)));
    }
  }));
  assert.equal((await views.truth.directory() as Counted).changes, changes, `seed ${seed}: a change that was answered is lost`);
  const { names: held, aliases } = await views.truth.directory();
  for (const alias of Object.keys(aliases)) assert.ok(!Object.hasOwn(held, alias), `seed ${seed}: ${alias} is a collection and an alias`);
  for (const target of Object.values(aliases)) assert.ok(Object.hasOwn(held, target), `seed ${seed}: an alias of ${target}, which is not there`);
  checkLied(views);
  t.diagnostic(`seed ${seed}; changes that were answered: ${changes}; old reads: ${views.stores.reduce((sum, { staleReads }) => sum + staleReads, 0)}`);
});

test('changes of one record by all nodes at once: each is in it once, and generations only rise', async (t) => {
  const config = fillConfig({ vectors: { size: 2, distance: 'Dot' }, shardNumber: 1 });
  const views = await openViews((truth) => truth.create(uuid, { config, shards: placeShards(1, 3, new Map([[1, 0], [2, 0], [3, 0]])) }));
  let answered = 0;
  await Promise.all(views.records.map(async (records, node) => {
    for (let round = 0; round < rounds; round += 1) {
      const state = round % 2 === 0 ? 'Recovery' : 'Active';
      await records.change(uuid, (record) => withShard({ ...record, restores: [...(record.restores ?? []), `${node}-${round}`] }, 0, (shard) => ({
        ...withReplica(shard, 1 + (node % 3), state), generation: shard.generation + 1,
      })));
      answered += 1;
    }
  }));
  const record = await views.truth.get(uuid);
  assert.equal(answered, nodes * rounds);
  assert.equal(record?.restores?.length, answered, `seed ${seed}`);
  assert.equal(new Set(record.restores).size, answered, `seed ${seed}: a change is in it twice`);
  assert.equal(shardOf(record, 0).generation, answered, `seed ${seed}`);
  for (const peer of [1, 2, 3]) assert.equal(replicaOf(shardOf(record, 0), peer), 'Active', `seed ${seed}: the last state of peer ${peer}`);
  checkLied(views);
  t.diagnostic(`seed ${seed}; changes that were answered: ${answered}; old reads: ${views.stores.reduce((sum, { staleReads }) => sum + staleReads, 0)}`);
});
