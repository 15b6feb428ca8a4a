import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import { silentLogger } from '../base/logger.ts';
import { replicaContract } from '../collection/replica.contract.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { Shard } from '../shard/shard.ts';
import { shardOptions } from '../shard/testing/shard-fixtures.ts';
import { clusterKeys } from './cluster-secret.ts';
import { PeerClient } from './peer-client.ts';
import { PeerServer } from './peer-server.ts';
import { RemoteReplica, replicaMethods, type ShardName } from './remote-replica.ts';

const { peerToken: tokenKey } = clusterKeys('the secret of this test');
const shardName: ShardName = { collectionUuid: 'c', shardId: 0, generation: 2 };

async function open(): Promise<{ readonly replica: RemoteReplica; readonly shard: Shard; readonly client: PeerClient } & AsyncDisposable> {
  const shard = await Shard.create(shardOptions(new MemoryDisk(), '/shard', { vectors: new Map([['', { size: 2, distance: 'Dot', datatype: 'float32' }]]) }));
  const server = await PeerServer.listen({ host: '127.0.0.1', port: 0, tokenKey, tls: undefined, clock: systemClock, logger: silentLogger });
  server.serve({
    calls: replicaMethods(({ generation }) => {
      if (generation !== shardName.generation) throw new RequestError('unavailable', 'of another generation');
      return shard;
    }),
    streams: {},
  });
  const client = new PeerClient({ peerId: 1, tokenKey, tls: undefined, clock: systemClock, connectionsMax: 8, timeoutMs: 5_000 });
  const replica = new RemoteReplica(client, () => `http://127.0.0.1:${server.port}`, shardName, () => shard.info());
  return {
    replica, shard, client,
    [Symbol.asyncDispose]: async () => {
      client.close();
      await server.close();
      await shard.close();
    },
  };
}

replicaContract('a replica on another node', open);

test('a replica of another generation is not asked', async () => {
  await using fixture = await open();
  const other = new RemoteReplica(fixture.client, () => 'http://127.0.0.1:1', shardName, () => undefined);
  await assert.rejects(other.count({ exact: true }), { code: 'unavailable' });
  assert.throws(() => other.info(), { code: 'unavailable' });
});
