// Which node's snapshots a request is about: lists are of this node, of the one that `peer` names, or of all; a snapshot by name is
// this node's, or the other node's that has it. On one node all of that is one place.
import type { Engine } from '../../engine/engine.ts';
import type { ArchiveDownload, SnapshotDescription } from '../../snapshot/description.ts';
import type { SnapshotScope } from '../../snapshot/snapshot-name.ts';
import type { ScopeLike } from '../../snapshot/snapshots.ts';
import { readNodes, readPeer } from './node-parameters.ts';
import type { Query } from './query-parameters.ts';

export type PlacedSnapshot = SnapshotDescription & { readonly peerId?: number };

interface Stored {
  readonly scope: ScopeLike;
  readonly name: string;
}

/** With `all=true` each with its node. */
export async function listStored(engine: Engine, query: Query, scope: ScopeLike): Promise<readonly PlacedSnapshot[]> {
  const { peerId, isAll } = readNodes(engine, query);
  const of = wholeScope(scope);
  const { cluster } = engine;
  if (cluster !== undefined && isAll) return await cluster.snapshots.listAll(of);
  if (cluster !== undefined && peerId !== undefined) return await cluster.snapshots.list(of, peerId);
  const found = await engine.snapshots.list(scope);
  if (found.length === 0 && of.kind === 'shard') cluster?.catalog.refuseElsewhere(of.collection, of.shardId, 'local shard');
  return isAll ? found.map((each) => ({ ...each, peerId: engine.peerId })) : found;
}

/** @throws RequestError 'not-found', 'unavailable' where it may lie on a node that does not answer */
export function openStored(engine: Engine, query: Query, { scope, name }: Stored): Promise<ArchiveDownload> {
  const peerId = readPeer(engine, query);
  return engine.cluster === undefined ? engine.snapshots.openDownload(scope, name) : engine.cluster.snapshots.openDownload(wholeScope(scope), name, peerId);
}

export function deleteStored(engine: Engine, query: Query, { scope, name }: Stored): Promise<void> {
  const peerId = readPeer(engine, query);
  return engine.cluster === undefined ? engine.snapshots.delete(scope, name) : engine.cluster.snapshots.delete(wholeScope(scope), name, peerId);
}

function wholeScope(scope: ScopeLike): SnapshotScope {
  return typeof scope === 'string' ? { kind: 'collection', collection: scope } : scope;
}
