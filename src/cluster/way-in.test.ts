import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { FileMetastore } from '../collection/file-metastore.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { clusterKeys } from './cluster-secret.ts';
import type { ExternalNatsSettings } from './external-nats.ts';
import { memberOf, OwnClusterRecord, refuseMember, type OwnCluster } from './own-cluster.ts';
import { findWayIn, type WayIn, type WayInContext, type WayInSettings } from './way-in.ts';

const nothing: WayInSettings = {
  uri: undefined, peerPort: undefined, bootstrap: undefined, peers: [], secret: undefined, allowNoSecret: false, tls: undefined, external: undefined, connectionsMax: 1, timeoutMs: 100, quorumTimeoutMs: 0,
};
const external: ExternalNatsSettings = { servers: ['a:4222'], credentialsFile: undefined, nkeyFile: undefined, tls: undefined, monitors: [], allowsUnsynced: true, replicas: 1 };
const secret = 'a secret of many bytes';
const peers = ['127.0.0.1:12001', '127.0.0.1:12011', '127.0.0.1:12021'];
const member: OwnCluster = { phase: 'member', name: 'theirs', peerId: 7, uri: 'http://127.0.0.1:12001', routePort: 13_001, routes: ['127.0.0.1:13001', '127.0.0.1:13011'], hasWitness: true };

async function emptyDirectory(): Promise<WayInContext> {
  const disk = new MemoryDisk();
  await disk.makeDirectory('/data');
  return { disk, dataDirectory: '/data', clock: systemClock, logger: silentLogger, peerId: 7, metastore: await FileMetastore.open(disk, '/data') };
}

async function makeStore({ disk }: WayInContext, name: string): Promise<void> {
  for (const folder of [`/data/${name}`, `/data/${name}/store`]) await disk.makeDirectory(folder);
}

async function directoryOf(own: OwnCluster): Promise<WayInContext> {
  const context = await emptyDirectory();
  await new OwnClusterRecord(context.metastore).save(own);
  return context;
}

function find(settings: Partial<WayInSettings>, context: WayInContext): Promise<WayIn> {
  return findWayIn({ ...nothing, ...settings }, context);
}

async function assertRefused(settings: Partial<WayInSettings>, context: WayInContext, text: RegExp): Promise<void> {
  const before = await new OwnClusterRecord(context.metastore).load();
  await assert.rejects(find(settings, context), (error) => error instanceof RequestError && text.test(error.message));
  assert.deepEqual(await new OwnClusterRecord(context.metastore).load(), before, 'nothing has changed');
}

test('an address alone makes the first node of a cluster with a name of its own, by itself until it is one', async () => {
  const context = await emptyDirectory();
  const way = await find({ uri: 'http://127.0.0.1:12001' }, context);
  assert.deepEqual([way.kind, way.host, way.peerPort, way.own.phase, way.own.hasWitness, way.own.routes], ['first', '127.0.0.1', 12_001, 'founding', true, [`127.0.0.1:${way.own.routePort}`]]);
  assert.deepEqual(await new OwnClusterRecord(context.metastore).load(), way.own);
  assert.equal(await memberOf(context.metastore), undefined);
  await refuseMember(context.metastore);
  const again = await find({ uri: 'http://127.0.0.1:12001' }, context);
  assert.notEqual(again.own.name, way.own.name);
});

test('a founding that came to nothing leaves no store for what is begun next', async () => {
  for (const settings of [{ uri: 'http://127.0.0.1:12001' }, { peers, uri: 'http://127.0.0.1:12001' }]) {
    const context = await directoryOf({ ...member, phase: 'founding' });
    for (const name of ['nats', 'nats-witness']) await makeStore(context, name);
    await find(settings, context);
    for (const name of ['nats', 'nats-witness']) assert.equal(await context.disk.findStat(`/data/${name}/store`), undefined);
  }
});

test('a founding list names the node by its peer port, and is written down only when all were there', async () => {
  const context = await emptyDirectory();
  const way = await find({ peers, peerPort: 12_011 }, context);
  assert.deepEqual([way.kind, way.own.uri, way.own.routes, way.own.name], ['found', 'http://127.0.0.1:12011', ['127.0.0.1:13001', '127.0.0.1:13011', '127.0.0.1:13021'], clusterKeys(way.secret).clusterName]);
  assert.equal(await new OwnClusterRecord(context.metastore).load(), undefined);
  await assertRefused({ peers }, context, /which of .* is this node\? Say so with --uri/);
  await assertRefused({ peers, uri: 'http://127.0.0.1:12031' }, context, /does not name this node, 127.0.0.1:12031/);
  await assertRefused({ peers: ['127.0.0.1:12001'], uri: 'http://127.0.0.1:12001' }, context, /two nodes at least/);
});

test('a member goes back to its cluster, whatever it is told of another one to join', async () => {
  const context = await directoryOf(member);
  for (const settings of [{}, { uri: member.uri }, { uri: member.uri, bootstrap: 'http://127.0.0.1:1' }, { peers, peerPort: 12_001 }]) {
    const way = await find(settings, context);
    assert.deepEqual([way.kind, way.own.name, new Set(way.own.routes)], ['back', 'theirs', new Set(member.routes)]);
  }
  await assert.rejects(refuseMember(context.metastore), /this data directory is that of peer 7 of a cluster: start it with --uri http:\/\/127.0.0.1:12001/);
});

test('a member with another address takes it, and keeps its route port', async () => {
  const context = await directoryOf(member);
  const { own, peerPort } = await find({ uri: 'http://localhost:12041' }, context);
  assert.deepEqual([own.uri, peerPort, new Set(own.routes)], ['http://localhost:12041', 12_041, new Set(['localhost:13001', '127.0.0.1:13011'])]);
  assert.deepEqual(await memberOf(context.metastore), own);
});

test('with NATS servers of somebody else a node needs to be told of no other', async () => {
  const context = await emptyDirectory();
  const lone = await find({ external }, context);
  assert.deepEqual([lone.kind, lone.own.uri, lone.peerPort, lone.host, lone.own.routes], ['found', 'http://127.0.0.1:6335', 6335, '127.0.0.1', []]);
  const far = await find({ external, uri: 'http://node-a:7000', secret }, context);
  assert.deepEqual([far.own.uri, far.peerPort, far.host], ['http://node-a:7000', 7000, '0.0.0.0']);
  await assertRefused({ external, bootstrap: 'http://127.0.0.1:1' }, context, /--bootstrap has no place beside cluster.engine/);
  await assertRefused({ external }, await directoryOf(member), /does not change between NATS servers of its own and those of somebody else/);
  await assertRefused({}, await directoryOf({ ...member, routes: [], routePort: 0 }), /does not change between NATS servers/);
});

test('the port to listen on may be another than others reach the node by', async () => {
  assert.equal((await find({ uri: 'http://127.0.0.1:12001', peerPort: 12_051 }, await emptyDirectory())).peerPort, 12_051);
});

test('refused, with nothing changed: no address, no secret, collections of its own, a store of nobody', async () => {
  await assertRefused({}, await emptyDirectory(), /the first node of a cluster needs --uri/);
  await assertRefused({ uri: 'http://node-a:6335' }, await emptyDirectory(), /needs a secret that all nodes share/);
  await assertRefused({ bootstrap: 'http://node-a:6335' }, await emptyDirectory(), /needs a secret that all nodes share/);
  assert.equal((await find({ uri: 'http://node-a:6335', allowNoSecret: true }, await emptyDirectory())).host, '0.0.0.0');
  await assertRefused({ uri: 'http://127.0.0.1:12001', bootstrap: 'http://127.0.0.1:12001' }, await emptyDirectory(), /names another node of the cluster/);
  await assertRefused({ uri: 'http://127.0.0.1:12001', bootstrap: 'http://127.0.0.1:1' }, await emptyDirectory(), /no node of a cluster answers at/);
  const filled = await emptyDirectory();
  await filled.metastore.create('dir', { names: { mine: 'uuid' }, aliases: {} });
  for (const settings of [{ uri: 'http://127.0.0.1:12011', bootstrap: 'http://127.0.0.1:12001' }, { peers, peerPort: 12_001 }, { external }]) await assertRefused(settings, filled, /holds 1 collections of its own/);
  assert.equal((await find({ uri: 'http://127.0.0.1:12001' }, filled)).kind, 'first');
  const stored = await emptyDirectory();
  await makeStore(stored, 'nats');
  await assertRefused({ uri: 'http://127.0.0.1:12001' }, stored, /holds the store of a cluster that was not founded to its end/);
});
