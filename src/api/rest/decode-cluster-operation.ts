// The body of `POST /collections/{c}/cluster`: one operation, named by its only member that is known.
import { RequestError } from '../../base/errors.ts';
import { TRANSFER_METHODS, type ShardOperation, type TransferMethod, type TransferPeers } from '../../command/cluster-operation.ts';
import { decodeBody, formatError, isObject, noVariant, optional, readCount, readVariant, required, shown, wrongType, type WireValue } from './wire-value.ts';

type Decode = (at: WireValue) => ShardOperation;

const operations: Readonly<Record<string, Decode>> = {
  move_shard: (at) => ({ kind: 'move-shard', ...readPeers(at), method: readMethod(optional(at, 'method')) }),
  replicate_shard: (at) => ({ kind: 'replicate-shard', ...readPeers(at), method: readMethod(optional(at, 'method')) }),
  restart_transfer: (at) => ({ kind: 'restart-transfer', ...readPeers(at), method: readMethod(required(at, 'method')) }),
  abort_transfer: (at) => ({ kind: 'abort-transfer', ...readPeers(at) }),
  drop_replica: (at) => ({ kind: 'drop-replica', shardId: readCount(required(at, 'shard_id')), peerId: readPeerId(required(at, 'peer_id')) }),
  start_resharding: refuseResharding,
  abort_resharding: refuseResharding,
};

export function decodeClusterOperation(body: unknown): Promise<ShardOperation> {
  return decodeBody(body, (root) => {
    const found = isObject(root.value) ? Object.entries(operations).find(([name]) => optional(root, name) !== undefined) : undefined;
    if (found === undefined) throw noVariant(root, 'ClusterOperations');
    const [name, decode] = found;
    return decode(required(root, name));
  });
}

/** Peer ids go up to 2^53 - 1. */
function readPeerId(at: WireValue): number {
  const { value } = at;
  if (typeof value !== 'bigint' && (typeof value !== 'number' || !Number.isInteger(value))) return wrongType(at, 'u64');
  if (value < 0) throw formatError(at, `invalid value: integer \`${shown(value)}\`, expected u64`);
  return Number(value);
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
