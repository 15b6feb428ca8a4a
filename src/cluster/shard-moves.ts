// What an operator asks of the replicas of a shard: one more, one elsewhere, one less. This decides and records, by one
// compare-and-set of the collection's record; what follows from it is done where it belongs: content by the target (replica-care.ts),
// files by whoever follows the record (cluster-catalog.ts). So whatever is killed, the record says what is left to do.
//
// Invariants:
// - A shard keeps an Active replica, and its stream stays where it is.
// - At most one transfer of a shard is under way; its target is Active, and a move's source gone, by one compare-and-set.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { ShardOperation, TransferPeers } from '../command/cluster-operation.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { peersIn, replicaOf, withShard, withTransfer, withoutPeer, type ClusterCollection, type ShardRecord, type ShardTransfer } from './cluster-record.ts';

interface Named {
  readonly uuid: string;
  readonly name: string;
}

export class ShardMoves {
  readonly #access: () => CatalogAccess;

  constructor(access: () => CatalogAccess) {
    this.#access = access;
  }

  /** Resolves when it is recorded and nodes that answer know of it; a transfer then goes on by itself. @throws RequestError */
  async run(of: Named, operation: ShardOperation): Promise<void> {
    switch (operation.kind) {
      case 'move-shard': return await this.#start(of, operation, { method: operation.method, isMove: true });
      case 'replicate-shard': return await this.#start(of, operation, { method: operation.method, isMove: false });
      case 'abort-transfer': return void (await this.#abort(of, operation));
      case 'restart-transfer': {
        const { isMove } = await this.#abort(of, operation); // whose target drops what it has before it begins anew
        return await this.#start(of, operation, { method: operation.method, isMove });
      }
      case 'drop-replica': return await this.#drop(of, operation.shardId, operation.peerId);
    }
  }

  async #start(of: Named, { shardId, from, to }: TransferPeers, how: Pick<ShardTransfer, 'method' | 'isMove'>): Promise<void> {
    const { membership } = this.#access();
    await this.#change(of, shardId, (shard) => {
      for (const peer of [to, from]) this.#refuseUnknown(peer);
      if (from === to) throw new RequestError('bad-request', `Shard ${shardId} cannot be transferred from peer ${from} to itself`);
      if (replicaOf(shard, from) !== 'Active') throw new RequestError('bad-request', `Shard ${shardId} is not active on peer ${from}`);
      const { transfer } = shard;
      if (transfer !== undefined) throw new RequestError('bad-request', `Shard ${shardId} is already involved in transfer ${transfer.from} -> ${transfer.to}`);
      if (replicaOf(shard, to) === 'Active') throw new RequestError('bad-request', `Shard ${shardId} is already active on peer ${to}`);
      if (!membership.isLive(to)) throw new RequestError('bad-request', `Peer ${to} does not answer`);
      return withTransfer(shard, { from, to, ...how });
    });
  }

  /** Answers what it was. */
  async #abort(of: Named, { shardId, from, to }: TransferPeers): Promise<ShardTransfer> {
    let ended: ShardTransfer | undefined;
    await this.#change(of, shardId, (shard) => {
      const { transfer } = shard;
      if (transfer?.from !== from || transfer.to !== to) throw new RequestError('not-found', `Shard transfer ${from} -> ${to} for collection ${of.name}:${shardId} does not exist`);
      ended = transfer;
      return withoutPeer(shard, to);
    });
    return must(ended, 'a change that did not throw was worked out');
  }

  async #drop(of: Named, shardId: number, peer: number): Promise<void> {
    await this.#change(of, shardId, (shard) => {
      this.#refuseUnknown(peer);
      if (replicaOf(shard, peer) === undefined) throw new RequestError('bad-request', `Peer ${peer} has no replica of shard ${shardId}`);
      if (peersIn(shard, 'Active').every((other) => other === peer)) throw new RequestError('bad-request', `Shard ${shardId} must have at least one active replica after removing ${peer}`);
      return withoutPeer(shard, peer);
    });
  }

  async #change({ uuid, name }: Named, shardId: number, change: (shard: ShardRecord) => ShardRecord): Promise<void> {
    const access = this.#access();
    await access.records.change(uuid, (record: ClusterCollection) => {
      if (!record.shards.some(({ id }) => id === shardId)) throw new RequestError('bad-request', `Shard ${shardId} of ${name} does not exist`);
      return withShard(record, shardId, change);
    });
    await access.spread();
  }

  #refuseUnknown(peer: number): void {
    if (this.#access().membership.node(peer) === undefined) throw new RequestError('bad-request', `Peer ${peer} does not exist`);
  }
}
