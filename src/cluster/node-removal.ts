// How a node leaves the cluster for good. The decision is one record, `gone.<peer id>`, which also refuses the node for ever; what
// follows from it can be done by any node and again: its replicas leave the records, its node record goes, and its NATS server leaves
// the metadata and the streams. The lowest live peer finishes what a removal that was cut off has left.
//
// Invariants:
// - The only Active replica of a shard is never taken from a node that answers: it could be moved.
// - Servers change by this decision alone, never because one is silent.
import { RequestError } from '../base/errors.ts';
import { every, type Repeated } from '../base/every.ts';
import type { RemovePeer } from '../command/cluster-operation.ts';
import type { CatalogAccess } from './catalog-access.ts';
import type { NatsUser } from './cluster-secret.ts';
import { peersIn, replicaOf, withoutRemoved, type ClusterCollection, type ShardRecord } from './cluster-record.ts';
import { nodePrefix, removedPrefix, type NodeRecord } from './membership.ts';
import { removeServer } from './meta-group.ts';
import type { NatsClient } from './nats-client.ts';
import type { NatsServer } from './nats-server.ts';
import { streamFacts } from './shard-stream.ts';

const finishMs = 10_000;
const nodesMin = 2;
const requestTimeoutMs = 5_000;
/** A node that answers stops by itself when it finds its record gone; then its server is taken out all the same. */
const stopWaitMs = 15_000;
const stopPollMs = 100;
/** Whoever asked for a removal is answered after that at the latest; what is left of it is then finished in the background. */
const leaveTimeoutMs = 60_000;
const againMs = 500;
const streamPeerRemove = '$JS.API.STREAM.PEER.REMOVE.';

export interface NodeRemovalOptions {
  readonly access: CatalogAccess;
  /** undefined where the servers are somebody else's: they stay as they are. */
  readonly nats: NatsServer | undefined;
  /** May change the servers of the cluster. */
  readonly system: NatsUser;
}

type GoneNode = Pick<NodeRecord, 'peerId' | 'serverName' | 'uri'>;

interface Needed {
  readonly uuid: string;
  readonly shard: ShardRecord;
}

export class NodeRemoval {
  readonly #options: NodeRemovalOptions;
  readonly #repeated: Repeated;
  /** Removed nodes whose servers were taken out, or found to be out, by this process. */
  readonly #out = new Set<number>();

  constructor(options: NodeRemovalOptions) {
    this.#options = options;
    this.#repeated = every(finishMs, () => this.#finish(), (error) => options.access.logger.warn({ error: String(error) }, 'the removal of a node is not finished; it is tried again'));
  }

  close(): Promise<void> {
    return this.#repeated.close();
  }

  /** Resolves when the node is no part of the cluster any more. @throws RequestError, and nothing has changed */
  async remove({ peerId, force }: RemovePeer): Promise<void> {
    const { access } = this.#options;
    const { membership, metastore } = access;
    const node = membership.node(peerId);
    if (node === undefined) throw new RequestError('bad-request', `Peer ${peerId} does not exist`);
    if (peerId === membership.self.peerId) throw new RequestError('bad-request', `Peer ${peerId} is the node that was asked: a node is removed by another one`);
    if (membership.nodes().length <= nodesMin) throw new RequestError('bad-request', `Cannot remove peer ${peerId}: a cluster has ${nodesMin} nodes at least`);
    await this.#refuseNeeded(peerId, force);
    const gone: GoneNode = { peerId, serverName: node.serverName, uri: node.uri };
    const key = removedPrefix + String(peerId);
    const revision = await metastore.create(key, gone); // from here on no new shard is placed there
    try {
      await this.#refuseNeeded(peerId, force);
    } catch (error) {
      if (revision !== undefined) await metastore.delete(key, revision);
      throw error;
    }
    await this.#leaveRecords(gone);
    await access.spread();
    await this.#leaveServersInTime(gone);
  }

  async #finish(): Promise<void> {
    const { membership, metastore } = this.#options.access;
    if (!membership.isLowestLive()) return;
    for (const key of await metastore.keys(removedPrefix)) {
      const gone = (await metastore.get(key))?.value as GoneNode | undefined;
      if (gone === undefined || this.#repeated.signal.aborted) continue;
      await this.#leaveRecords(gone);
      // not looked up: servers that have never met that one do not know its name
      if (this.#options.nats !== undefined && !this.#out.has(gone.peerId)) await this.#leaveServers(gone);
    }
  }

  async #refuseNeeded(peerId: number, force: boolean): Promise<void> {
    const { membership } = this.#options.access;
    const held = await this.#heldBy(peerId);
    if (held.length === 0) return;
    const only = held.filter(({ shard }) => isOnlyActive(shard, peerId));
    const named = only.length === 0 ? '' : `; it has the only active replica of ${await this.#namesOf(only)}`;
    if (!force) throw new RequestError('bad-request', `Cannot remove peer ${peerId} as there are shards on it${named}`);
    if (only.length > 0 && membership.isLive(peerId)) throw new RequestError('bad-request', `Cannot remove peer ${peerId}${named}: the node answers, so move them first`);
  }

  async #heldBy(peerId: number): Promise<readonly Needed[]> {
    const { records } = this.#options.access;
    const held: Needed[] = [];
    for (const uuid of await records.uuids()) {
      const record = await records.get(uuid);
      held.push(...(record?.shards ?? []).filter((shard) => replicaOf(shard, peerId) !== undefined).map((shard) => ({ uuid, shard })));
    }
    return held;
  }

  async #namesOf(needed: readonly Needed[]): Promise<string> {
    const { names } = await this.#options.access.records.directory();
    const nameOf = (uuid: string): string => Object.entries(names).find(([, other]) => other === uuid)?.[0] ?? uuid;
    return needed.map(({ uuid, shard }) => `shard ${shard.id} of ${nameOf(uuid)}`).join(', ');
  }

  /** Idempotent. */
  async #leaveRecords({ peerId }: GoneNode): Promise<void> {
    const { records, metastore, logger } = this.#options.access;
    for (const { uuid, shard } of await this.#heldBy(peerId)) {
      const heir = isOnlyActive(shard, peerId) ? await this.#heirOf(uuid, shard) : undefined;
      if (isOnlyActive(shard, peerId)) logger.error({ collection: uuid, shard: shard.id, peerId, heir }, heir === undefined ? 'the only replica of a shard went with its node: restore a snapshot of it' : 'the only replica of a shard went with its node; it is built anew from its log');
      await records.change(uuid, (record): ClusterCollection => ({ ...record, shards: record.shards.map((each) => withoutRemoved(each, peerId, each.id === shard.id ? heir : undefined)) }))
        .catch((error: unknown) => {
          if (!(error instanceof RequestError && error.code === 'not-found')) throw error; // deleted meanwhile
        });
    }
    const key = nodePrefix + String(peerId);
    const found = await metastore.get(key);
    if (found !== undefined) await metastore.delete(key, found.revision);
  }

  /** A node that can build the shard from its log alone: that begins at the beginning. */
  async #heirOf(uuid: string, shard: ShardRecord): Promise<number | undefined> {
    const { access } = this.#options;
    if (shard.base !== null) return undefined;
    const { firstSeq } = await streamFacts(access.client, { collectionUuid: uuid, shardId: shard.id, generation: shard.generation });
    return firstSeq > 1 ? undefined : [...access.load()].sort(([a, x], [b, y]) => x - y || a - b)[0]?.[0];
  }

  /** Where the server that left led the metadata, nobody does for some seconds. */
  async #leaveServersInTime(gone: GoneNode): Promise<void> {
    const { clock, logger } = this.#options.access;
    for (const until = clock.monotonic() + leaveTimeoutMs;;) {
      try {
        return await this.#leaveServers(gone);
      } catch (error) {
        if (this.#repeated.signal.aborted || clock.monotonic() > until) throw new RequestError('unavailable', `Peer ${gone.peerId} is removed, but its NATS server could not be taken out yet: that is tried again`, { cause: error });
        logger.info({ peerId: gone.peerId, error: String(error) }, 'the server of a removed node could not be taken out yet; it is tried again');
        await pause(againMs);
      }
    }
  }

  /** Idempotent. */
  async #leaveServers({ serverName, peerId }: GoneNode): Promise<void> {
    const { client, clock, membership, logger } = this.#options.access;
    const { nats } = this.#options;
    let wasThere = true;
    if (nats !== undefined) {
      for (const until = clock.monotonic() + stopWaitMs; (await isConnected(nats, serverName)) && clock.monotonic() < until;) await pause(stopPollMs);
      const left = membership.nodes().length;
      for await (const { config, cluster } of client.manager.streams.list()) {
        const isThere = cluster?.leader === serverName || cluster?.replicas?.some(({ name }) => name === serverName) === true;
        // where no server is left that could take its place, the stream goes on with those it has
        if (isThere) await ask(client, streamPeerRemove + config.name, { peer: serverName });
      }
      wasThere = await removeServer({ natsUrl: nats.clientUrl, system: this.#options.system, clock }, serverName);
      for await (const { config } of client.manager.streams.list()) {
        if (config.num_replicas > left && !config.sealed) await client.manager.streams.update(config.name, { ...config, num_replicas: left });
      }
    }
    this.#out.add(peerId);
    if (wasThere) logger.info({ peerId, server: serverName, nodes: membership.nodes().length }, 'a node was removed from the cluster');
  }
}

/** Whether this server has a route to that one. */
async function isConnected(nats: NatsServer, serverName: string): Promise<boolean> {
  const { routes } = ((await nats.monitor('routez')) ?? {}) as { readonly routes?: readonly { readonly remote_name?: string }[] };
  return routes?.some(({ remote_name: name }) => name === serverName) === true;
}

/** No other node has an Active one. */
function isOnlyActive(shard: ShardRecord, peerId: number): boolean {
  return peersIn(shard, 'Active').every((peer) => peer === peerId);
}

/** What the server refuses is its to say: a peer that is no member is gone already. */
async function ask({ connection }: NatsClient, topic: string, body: unknown): Promise<void> {
  await connection.request(topic, JSON.stringify(body), { timeout: requestTimeoutMs });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
