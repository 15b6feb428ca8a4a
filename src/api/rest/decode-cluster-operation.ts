// The body of `POST /collections/{c}/cluster`: one operation, named by its only member that is known.
import { RequestError } from '../../base/errors.ts';
import { TRANSFER_METHODS, type ClusterOperation, type TransferMethod, type TransferPeers } from '../../command/cluster-operation.ts';
import { readShardKey } from './decode-selectors.ts';
import { decodeCreateShardKey, readPeerId } from './shard-keys.ts';
import { decodeBody, isObject, noVariant, optional, readCount, readVariant, required, type WireValue } from './wire-value.ts';

type Decode = (at: WireValue) => ClusterOperation | Promise<ClusterOperation>;

const operations: Readonly<Record<string, Decode>> = {
  move_shard: (at) => ({ kind: 'move-shard', ...readPeers(at), method: readMethod(optional(at, 'method')) }),
  replicate_shard: (at) => ({ kind: 'replicate-shard', ...readPeers(at), method: readMethod(optional(at, 'method')) }),
  restart_transfer: (at) => ({ kind: 'restart-transfer', ...readPeers(at), method: readMethod(required(at, 'method')) }),
  abort_transfer: (at) => ({ kind: 'abort-transfer', ...readPeers(at) }),
  drop_replica: (at) => ({ kind: 'drop-replica', shardId: readCount(required(at, 'shard_id')), peerId: readPeerId(required(at, 'peer_id')) }),
  create_sharding_key: async (at) => ({ kind: 'create-sharding-key', ...(await decodeCreateShardKey(at)) }),
  drop_sharding_key: (at) => ({ kind: 'drop-sharding-key', key: readShardKey(required(at, 'shard_key')) }),
  start_resharding: refuseResharding,
  abort_resharding: refuseResharding,
};

export function decodeClusterOperation(body: unknown): Promise<ClusterOperation> {
  return decodeBody(body, (root) => {
    const found = isObject(root.value) ? Object.entries(operations).find(([name]) => optional(root, name) !== undefined) : undefined;
    if (found === undefined) throw noVariant(root, 'ClusterOperations');
    const [name, decode] = found;
    return decode(required(root, name));
  });
}

function readPeers(at: WireValue): TransferPeers {
  return { shardId: readCount(required(at, 'shard_id')), from: readPeerId(required(at, 'from_peer_id')), to: readPeerId(required(at, 'to_peer_id')) };
}

function readMethod(at: WireValue | undefined): TransferMethod {
  return at === undefined ? 'stream_records' : readVariant(at, TRANSFER_METHODS);
}

function refuseResharding(): never {
  throw new RequestError('bad-request', 'resharding is only supported in Qdrant Cloud');
}
