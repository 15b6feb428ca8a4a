// Keys of custom sharding: list, create, drop, as routes of their own.
import { exactText } from '../../base/exact-json.ts';
import { RequestError } from '../../base/errors.ts';
import { shardKeyValue } from '../../command/shard-key.ts';
import type { Engine } from '../../engine/engine.ts';
import { readShardKey } from './decode-selectors.ts';
import type { RestContext } from './rest-context.ts';
import type { RestCall, RestRoute } from './route.ts';
import { decodeBody, defined, formatError, mapList, optional, readCount, readVariant, required, shown, wrongType, type WireValue } from './wire-value.ts';
import { collectionOf } from './write-call.ts';

type Cluster = NonNullable<Engine['cluster']>;
type CreateShardKey = Parameters<Cluster['createShardKey']>[1];

type Change = (cluster: Cluster, collection: string) => Promise<void>;
type DecodeChange = (at: WireValue) => Change | Promise<Change>;

const replicaStates = [
  'Active', 'Dead', 'Partial', 'Initializing', 'Listener', 'PartialSnapshot', 'Recovery', 'Resharding', 'ReshardingScaleDown', 'ActiveRead', 'ManualRecovery',
] as const;

const create: DecodeChange = async (at) => {
  const wanted = await decodeCreateShardKey(at);
  return (cluster, collection) => cluster.createShardKey(collection, wanted);
};
const drop: DecodeChange = (at) => {
  const key = readShardKey(required(at, 'shard_key'));
  return (cluster, collection) => cluster.dropShardKey(collection, key);
};

export function shardKeyRoutes({ engine }: RestContext): readonly RestRoute[] {
  const path = '/collections/:collection/shards';
  const change = (method: RestRoute['method'], at: string, decode: DecodeChange): RestRoute => ({
    method, path: at, access: 'manage', timeout: 'change', handle: async (call) => {
      const cluster = clusterOf(engine);
      const run = await decodeBody(call.body, decode);
      await run(cluster, collectionOf(call));
      return { kind: 'result', value: true };
    },
  });
  return [
    { method: 'GET', path, access: 'read', handle: async (call) => ({ kind: 'result-text', pieces: [listText(engine, call)] }) },
    change('PUT', path, create),
    change('POST', `${path}/delete`, drop),
  ];
}

/** @throws RequestError 'standalone' */
function clusterOf({ cluster }: Pick<Engine, 'cluster'>): Cluster {
  if (cluster === undefined) throw new RequestError('standalone', 'Qdrant is running in standalone mode');
  return cluster;
}

/** `ShardKeysResponse`: null under automatic sharding. */
function listText(engine: Pick<Engine, 'shardKeys'>, call: RestCall): string {
  const keys = engine.shardKeys(collectionOf(call));
  return exactText({ shard_keys: keys?.map((key) => ({ key: shardKeyValue(key) })) ?? null });
}

export async function decodeCreateShardKey(at: WireValue): Promise<CreateShardKey> {
  const [shards, replicas, placement, state] = ['shards_number', 'replication_factor', 'placement', 'initial_state'].map((name) => optional(at, name));
  return {
    key: readShardKey(required(at, 'shard_key')),
    ...defined({
      shardsNumber: shards && readCount(shards, 1),
      replicationFactor: replicas && readCount(replicas, 1),
      placement: placement && (await mapList(placement, readPeerId)),
      initialState: state && readVariant(state, replicaStates),
    }),
  };
}

/** No node has an id beyond 2^53. */
export function readPeerId(at: WireValue): number {
  const { value } = at;
  if (typeof value !== 'bigint' && (typeof value !== 'number' || !Number.isInteger(value))) return wrongType(at, 'u64');
  if (value < 0) throw formatError(at, `invalid value: integer \`${shown(value)}\`, expected u64`);
  if (value > Number.MAX_SAFE_INTEGER) throw new RequestError('bad-request', `Peer ${value} does not exist`);
  return Number(value);
}
