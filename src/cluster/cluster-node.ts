// One node's part in a cluster, put together in the order in which each needs the one before: peer port, NATS server, connection,
// metastore, catalog, membership. Closed in reverse.
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { runClosers, type Closer } from '../base/closers.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { ShardFilesOptions } from '../collection/shard-files.ts';
import { ClusterCatalog } from './cluster-catalog.ts';
import { clusterStatus, ClusterTerms, collectionClusterStatus, type ClusterStatus, type CollectionClusterStatus } from './cluster-status.ts';
import { clusterKeys } from './cluster-secret.ts';
import { KvMetastore } from './kv-metastore.ts';
import { Membership, type Quorum } from './membership.ts';
import type { NatsBinary } from './nats-binary.ts';
import { NatsClient } from './nats-client.ts';
import type { NatsTls } from './nats-config.ts';
import { NatsServer } from './nats-server.ts';
import { PeerClient } from './peer-client.ts';
import { PeerServer, type PeerTls } from './peer-server.ts';
import type { ShardName } from './remote-replica.ts';
import type { CreateShardKey } from './shard-keys.ts';

const metaBucket = 'meta';
const serversMax = 3;
const pollMs = 100;
/** A start says what it waits for after this time, and again after each of those. */
const waitSilentMs = 1_000;
const waitSayMs = 10_000;

/** Between nodes: both sides show a certificate of the cluster's own authority. */
export interface NodeTls {
  readonly peer: PeerTls;
  readonly nats: NatsTls;
}

export interface ClusterNodeOptions extends ShardFilesOptions {
  readonly peerId: number;
  readonly version: string;
  readonly secret: string;
  /** As others reach it. */
  readonly uri: string;
  readonly host: string;
  readonly peerPort: number;
  readonly nats: { readonly binary: NatsBinary; readonly clientPort: number; readonly monitorPort: number; readonly routePort: number; readonly routes: readonly string[]; readonly fileStoreBytesMax: number };
  readonly tls: NodeTls | undefined;
  readonly listener: boolean;
  readonly shardsPerNode: number;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  /** How long to wait for the other servers; then the start fails. */
  readonly quorumTimeoutMs: number;
}

/** The archive of a local shard as it is now. */
export type OpenArchive = (of: { readonly collection: string; readonly shardId: number }, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;

interface ClusterParts {
  readonly server: PeerServer;
  readonly catalog: ClusterCatalog;
  readonly membership: Membership;
  readonly peers: PeerClient;
  readonly nats: NatsServer;
  readonly metastore: KvMetastore;
  readonly natsVersion: string;
}

/** What a node says of itself when it has come up. */
export interface ClusterFacts extends Quorum {
  readonly peerId: number;
  readonly url: string;
  readonly nats: string;
  readonly natsUrl: string;
}

export class ClusterNode implements AsyncDisposable {
  readonly catalog: ClusterCatalog;
  readonly membership: Membership;
  readonly peers: PeerClient;
  readonly nats: NatsServer;
  readonly metastore: KvMetastore;
  readonly #terms = new ClusterTerms();
  readonly #server: PeerServer;
  readonly #natsVersion: string;
  readonly #closers: readonly Closer[];

  private constructor(parts: ClusterParts, closers: readonly Closer[]) {
    this.catalog = parts.catalog;
    this.membership = parts.membership;
    this.peers = parts.peers;
    this.nats = parts.nats;
    this.metastore = parts.metastore;
    this.#server = parts.server;
    this.#natsVersion = parts.natsVersion;
    this.#closers = closers;
  }

  /** Resolves when this node serves; needs all founding nodes once, from then on a majority: servers without any history elect none. */
  static async start(options: ClusterNodeOptions): Promise<ClusterNode> {
    const closers: Closer[] = [];
    try {
      return new ClusterNode(await startParts(options, closers), closers);
    } catch (error) {
      await runClosers(closers);
      throw error;
    }
  }

  /** At the moment of the start no heartbeat need have come: what counts as up are NATS servers that are connected. */
  async facts(): Promise<ClusterFacts> {
    const { self } = this.membership;
    const { of } = this.membership.quorum();
    return { peerId: self.peerId, url: self.uri, nats: this.#natsVersion, natsUrl: this.nats.clientUrl, up: await serversUp(this.nats), of };
  }

  status(): Promise<ClusterStatus> {
    return clusterStatus(this, this.#terms);
  }

  /** @throws RequestError 'not-found' */
  collectionStatus(name: string): CollectionClusterStatus {
    return collectionClusterStatus(this, name);
  }

  /** @throws RequestError 'not-found' for the collection, 'bad-request' with the API's texts */
  createShardKey(name: string, create: CreateShardKey): Promise<void> {
    return this.catalog.shardKeys.create(this.catalog.get(name), create);
  }

  /** With all points under it. @throws RequestError likewise */
  dropShardKey(name: string, key: ShardKey): Promise<void> {
    return this.catalog.shardKeys.drop(this.catalog.get(name), key);
  }

  /** Every shard that the records place here is open and as good as it should be. */
  isReady(): boolean {
    return this.catalog.isReady();
  }

  /** From here on other nodes may copy this node's replicas. */
  serveArchives(open: OpenArchive): void {
    const { catalog } = this;
    this.#server.serve({ calls: catalog.methods(), streams: {
      'shard-archive': async ({ collectionUuid, shardId, generation }: ShardName, { signal }) => {
        const collection = catalog.nameOf(collectionUuid);
        const shard = collection === undefined ? undefined : catalog.record(collection).shards.find(({ id }) => id === shardId);
        if (collection === undefined || shard?.generation !== generation) throw new RequestError('unavailable', `shard ${shardId} of generation ${generation} is not here`);
        return await open({ collection, shardId }, signal);
      },
    } });
  }

  /** Idempotent enough for a failed start: what was opened is closed, in reverse. */
  close(): Promise<void> {
    return runClosers(this.#closers);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function startParts(options: ClusterNodeOptions, closers: Closer[]): Promise<ClusterParts> {
  const { disk, clock, logger, dataDirectory, peerId, nats: natsOptions, tls } = options;
  const keys = clusterKeys(options.secret);
  const server = await PeerServer.listen({ host: options.host, port: options.peerPort, tokenKey: keys.peerToken, tls: tls?.peer, clock, logger });
  closers.push(() => server.close());
  const peers = new PeerClient({ peerId, tokenKey: keys.peerToken, tls: tls?.peer, clock, connectionsMax: options.connectionsMax, timeoutMs: options.timeoutMs });
  closers.push(() => peers.close());
  const serverName = `nk-${peerId}`;
  const { binary, routes, ...ports } = natsOptions;
  const nats = await NatsServer.start({
    binary, directory: path.join(dataDirectory, 'nats'), disk, clock, logger,
    config: { ...ports, serverName, clusterName: keys.clusterName, routeHost: options.host, routes, keys, tls: tls?.nats },
  });
  closers.push(() => nats.stop());
  const client = await NatsClient.connect({ url: nats.clientUrl, user: keys.app, name: serverName, clock });
  closers.push(() => client.close());
  await waitForQuorum(client, nats, { clock, logger, timeoutMs: options.quorumTimeoutMs, founders: routes.length });
  const replicas = Math.min(serversMax, routes.length);
  const metastore = await KvMetastore.open({ client, bucket: metaBucket, replicas, clock, logger });
  closers.push(() => metastore.close());
  const catalog = ClusterCatalog.create({ ...options, metastore, client, peers, streamReplicas: replicas });
  const membership = await Membership.join({
    self: { peerId, uri: options.uri, serverName, route: `${options.host}:${ports.routePort}`, version: options.version, listener: options.listener },
    client, metastore, clock, logger, shards: () => catalog.beats(), founders: routes.length,
  });
  closers.push(() => membership.close());
  closers.push(() => catalog.close());
  await catalog.serve(membership);
  server.serve({ calls: catalog.methods(), streams: {} });
  return { server, catalog, membership, peers, nats, metastore, natsVersion: binary.version };
}

interface QuorumWait {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly founders: number;
}

async function waitForQuorum({ manager }: NatsClient, nats: NatsServer, { clock, logger, timeoutMs, founders }: QuorumWait): Promise<void> {
  const until = clock.monotonic() + timeoutMs;
  let sayAt = clock.monotonic() + waitSilentMs;
  for (;;) {
    try {
      await manager.getAccountInfo();
      return;
    } catch (error) {
      const now = clock.monotonic();
      if (now > until) throw new RequestError('unavailable', 'too few nodes of the cluster came up in time: all are needed when it is founded, a majority after that', { cause: error });
      if (now > sayAt) {
        logger.info({ up: await serversUp(nats), of: founders }, 'waiting for nodes of the cluster: for all of them when it is founded, for a majority after that');
        sayAt = now + waitSayMs;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, pollMs);
      });
    }
  }
}

/** This node's NATS server and those that it is connected with. */
async function serversUp(nats: NatsServer): Promise<number> {
  const { routes = [] } = ((await nats.monitor('routez')) ?? {}) as { readonly routes?: readonly { readonly remote_name?: string }[] };
  return new Set(routes.map((route) => route.remote_name)).size + 1;
}
