// One node's part in a cluster, put together in the order in which each needs the one before: peer port, NATS server, connection,
// metastore, catalog, membership. Closed in reverse.
import path from 'node:path';
import { JetStreamApiError } from '@nats-io/jetstream';
import { must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { runClosers, type Closer } from '../base/closers.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ShardKey } from '../command/shard-key.ts';
import type { ShardFilesOptions } from '../collection/shard-files.ts';
import type { ClusterOperation, CreateShardKey, RemovePeer } from '../command/cluster-operation.ts';
import { AnyNodeJobs, jobMethods, type OwnJobs } from './any-node-jobs.ts';
import { AnyNode, snapshotMethods, type OwnSnapshots } from './any-node.ts';
import { ClusterCatalog } from './cluster-catalog.ts';
import { clusterStatus, ClusterTerms, collectionClusterStatus, type ClusterStatus, type CollectionClusterStatus } from './cluster-status.ts';
import { directoryKey } from './cluster-records.ts';
import { clusterKeys, type ClusterKeys } from './cluster-secret.ts';
import { claimAccount, ExternalNats, type ExternalNatsSettings } from './external-nats.ts';
import { joinMethods } from './join.ts';
import { KvMetastore, streamOf, type ClusterMetastore, type KvMetastoreOptions } from './kv-metastore.ts';
import { Membership, nodePrefix, wasRemoved, type NodeRecord, type Quorum } from './membership.ts';
import type { NatsBinary } from './nats-binary.ts';
import { NatsClient } from './nats-client.ts';
import { storeTag } from './nats-config.ts';
import type { NodeTls } from './node-tls.ts';
import { NatsServer, type NatsServerOptions } from './nats-server.ts';
import type { NatsService } from './nats-service.ts';
import { NodeRemoval } from './node-removal.ts';
import { PeerClient } from './peer-client.ts';
import { PeerServer, type PeerMethods } from './peer-server.ts';
import type { EmptyCluster } from './promotion.ts';
import { NotServedError } from './peer-wire.ts';
import type { ShardName } from './remote-replica.ts';
import type { TransfersMax } from './replica-care.ts';
import { ServerCare, serversMax, type Witness } from './server-care.ts';
import { isWitness, startWitness, witnessDirectory, witnessName } from './witness.ts';

const metaBucket = 'meta';
const pollMs = 100;
/** A start says what it waits for after this time, and again after each of those. */
const waitSilentMs = 1_000;
const waitSayMs = 10_000;
const removedTimeoutMs = 1_000;

/** A server that the node starts. */
interface OwnNats {
  readonly binary: NatsBinary;
  readonly clientPort: number;
  readonly monitorPort: number;
  /** Where it listens for other servers, and host:port as they reach that. */
  readonly routePort: number;
  readonly route: string;
  /** Of every node that is known, this one included. */
  readonly routes: readonly string[];
  readonly fileStoreBytesMax: number;
}

export interface ClusterNodeOptions extends ShardFilesOptions {
  readonly peerId: number;
  readonly version: string;
  readonly secret: string;
  /** As others reach it. */
  readonly uri: string;
  /** URLs of the peer ports of other nodes, as far as they are known before the start. */
  readonly others: readonly string[];
  readonly host: string;
  readonly peerPort: number;
  readonly nats: OwnNats | ExternalNatsSettings;
  readonly tls: NodeTls | undefined;
  readonly listener: boolean;
  readonly shardsPerNode: number;
  readonly transfersMax: TransfersMax;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  /** How long to wait for the other servers; then the start fails. */
  readonly quorumTimeoutMs: number;
  /** Ends a start that waits for other nodes. */
  readonly signal?: AbortSignal | undefined;
  /** Of the cluster's servers; default: of all that were founded with this secret and a list of nodes. */
  readonly name?: string;
  /** Nodes that found the cluster together; default: as many as there are routes. */
  readonly founders?: number;
  /** A witness votes beside this node's server until three nodes are there. */
  readonly witness?: { readonly onEnded: () => Promise<void> };
  /** How this node sees the store of the metadata; default: as it is. For tests of nodes that hear late of what others changed. */
  readonly viewOf?: (store: KvMetastore) => Promise<ClusterMetastore>;
  /** Puts in what the cluster begins with, where this node makes it. */
  readonly fill?: (cluster: EmptyCluster) => Promise<void>;
}

/** The archive of a local shard as it is now. */
export type OpenArchive = (of: { readonly collection: string; readonly shardId: number }, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>;

interface ClusterParts {
  readonly server: PeerServer;
  readonly catalog: ClusterCatalog;
  readonly membership: Membership;
  readonly removal: NodeRemoval;
  readonly peers: PeerClient;
  readonly nats: NatsService;
  readonly metastore: ClusterMetastore;
  readonly natsVersion: string;
  /** What other nodes may ask of this one. */
  readonly calls: PeerMethods['calls'];
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
  readonly nats: NatsService;
  readonly metastore: ClusterMetastore;
  readonly #removal: NodeRemoval;
  readonly #terms = new ClusterTerms();
  readonly #server: PeerServer;
  readonly #natsVersion: string;
  readonly #calls: PeerMethods['calls'];
  readonly #logger: Logger;
  readonly #outgoingMax: number;
  #outgoing = 0;
  readonly #closers: readonly Closer[];
  #snapshots: AnyNode | undefined;
  #jobs: AnyNodeJobs | undefined;

  private constructor(parts: ClusterParts, { logger, transfersMax }: ClusterNodeOptions, closers: readonly Closer[]) {
    this.#logger = logger;
    this.#outgoingMax = transfersMax.outgoing;
    this.catalog = parts.catalog;
    this.membership = parts.membership;
    this.peers = parts.peers;
    this.nats = parts.nats;
    this.metastore = parts.metastore;
    this.#removal = parts.removal;
    this.#server = parts.server;
    this.#natsVersion = parts.natsVersion;
    this.#calls = parts.calls;
    this.#closers = closers;
  }

  /** Resolves when this node serves; needs all founding nodes once, from then on a majority: servers without any history elect none. */
  static async start(options: ClusterNodeOptions): Promise<ClusterNode> {
    const closers: Closer[] = [];
    try {
      return new ClusterNode(await startParts(options, closers), options, closers);
    } catch (error) {
      await runClosers(closers);
      throw error;
    }
  }

  /** At the moment of the start no heartbeat need have come: what counts as up are NATS servers that are connected. */
  async facts(): Promise<ClusterFacts> {
    const { self } = this.membership;
    const { up, of } = this.membership.quorum();
    return { peerId: self.peerId, url: self.uri, nats: this.#natsVersion, natsUrl: this.nats.clientUrl, up: this.nats instanceof NatsServer ? await serversUp(this.nats) : up, of };
  }

  status(): Promise<ClusterStatus> {
    return clusterStatus(this, this.#terms);
  }

  /** @throws RequestError 'not-found' */
  collectionStatus(name: string): CollectionClusterStatus {
    return collectionClusterStatus(this, name);
  }

  /** Replicas of a collection's shards where an operator wants them, and its shard keys. @throws RequestError */
  changeShards(name: string, operation: ClusterOperation): Promise<void> {
    if (operation.kind === 'create-sharding-key') return this.createShardKey(name, operation);
    if (operation.kind === 'drop-sharding-key') return this.dropShardKey(name, operation.key);
    return this.catalog.changeShards(name, operation);
  }

  /** Takes another node out of the cluster for good. @throws RequestError */
  removePeer(remove: RemovePeer): Promise<void> {
    return this.#removal.remove(remove);
  }

  /** Resolves when this node was removed from the cluster: it has nothing to do any more. */
  get whenRemoved(): Promise<void> {
    return this.membership.whenRemoved;
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

  /** Its shards take no writes until there is room again; other nodes go on. */
  get isDiskFull(): boolean {
    return this.nats.state.isDiskFull;
  }

  /** Stored snapshots of all nodes. */
  get snapshots(): AnyNode {
    return must(this.#snapshots, 'a node that serves archives has snapshots');
  }

  /** Jobs of all nodes. */
  get jobs(): AnyNodeJobs {
    return must(this.#jobs, 'a node that serves archives has jobs');
  }

  /** From here on other nodes may copy this node's replicas and reach its snapshots and jobs. */
  serveArchives(open: OpenArchive, own: OwnSnapshots & { readonly jobs: OwnJobs }): void {
    const { catalog } = this;
    this.#snapshots = new AnyNode(this, own);
    this.#jobs = new AnyNodeJobs(this, own.jobs);
    const [stored, jobs] = [snapshotMethods(own), jobMethods(own.jobs)];
    this.#server.serve({ calls: { ...this.#calls, ...stored.calls, ...jobs.calls }, streams: {
      ...stored.streams,
      ...jobs.streams,
      'shard-archive': async ({ collectionUuid, shardId, generation }: ShardName, { signal, peerId }) => {
        this.#giveOut(peerId, signal);
        const collection = catalog.nameOf(collectionUuid);
        const shard = collection === undefined ? undefined : catalog.record(collection).shards.find(({ id }) => id === shardId);
        if (collection === undefined || shard?.generation !== generation) throw new RequestError('unavailable', `shard ${shardId} of generation ${generation} is not here`);
        return await open({ collection, shardId }, signal);
      },
    } });
  }

  /** Counts a copy until it is over. A node that copies from itself burdens no other. @throws NotServedError where that is one too many */
  #giveOut(peerId: number, signal: AbortSignal): void {
    if (peerId === this.membership.self.peerId) return;
    if (this.#outgoing >= this.#outgoingMax) throw new NotServedError(`this node gives out ${this.#outgoingMax} copies of shards at a time`);
    this.#outgoing += 1;
    signal.addEventListener('abort', () => {
      this.#outgoing -= 1;
    }, { once: true });
  }

  /** Tells the routes of all nodes, now and whenever they change. Answers what ends that, when the last one told has been taken. */
  followRoutes(take: (routes: readonly string[]) => Promise<void>): Closer {
    let last = Promise.resolve();
    const tell = (): void => {
      last = last.then(() => take(this.membership.nodes().map(({ route }) => route).filter((route) => route !== ''))).catch((error: unknown) => this.#logger.warn({ error: String(error) }, 'the routes of the other nodes could not be kept'));
    };
    const unwatch = this.metastore.watch(nodePrefix, tell);
    tell();
    return async () => {
      unwatch();
      await last;
    };
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
  const { clock, logger, peerId, tls } = options;
  const keys = clusterKeys(options.secret);
  const server = await PeerServer.listen({ host: options.host, port: options.peerPort, tokenKey: keys.peerToken, tls: tls?.current, clock, logger });
  closers.push(() => server.close());
  const newClient = (): PeerClient => new PeerClient({ peerId, tokenKey: keys.peerToken, tls: tls?.current, clock, connectionsMax: options.connectionsMax, timeoutMs: options.timeoutMs });
  const peers = newClient();
  closers.push(() => peers.close());
  await refuseRemoved(newClient(), options.others, peerId);
  if (tls !== undefined) {
    closers.push(tls.onRenewed((renewed) => {
      server.renew(renewed);
      peers.renew(renewed);
    }));
  }
  const serverName = `nk-${peerId}`;
  const name = options.name ?? keys.clusterName;
  const { nats, client, version: natsVersion, founders, streamReplicas, witness, route } = await startNats(options, { keys, serverName, name }, closers);
  const replicas = (): number => streamReplicas(membership.quorum().of);
  const store = await openStore({ client, bucket: metaBucket, replicas: streamReplicas(founders), clock, logger }, options);
  closers.push(() => store.close());
  const metastore = await options.viewOf?.(store) ?? store;
  if (nats instanceof ExternalNats) {
    await claimAccount(metastore, name);
    nats.watch(streamOf(metaBucket));
  }
  options.signal?.throwIfAborted(); // its stream needs a quorum too
  await options.fill?.({ client, metastore });
  await refuseLostMetadata(options, metastore);
  const self: NodeRecord = { peerId, uri: options.uri, serverName, route, version: options.version, listener: options.listener };
  const catalog = ClusterCatalog.create({ ...options, metastore, client, peers, streamReplicas: replicas });
  const membership = await Membership.join({ self, client, metastore, clock, logger, shards: () => catalog.beats(), founders, onGone: ({ uri }) => peers.abandon(uri) });
  closers.push(() => membership.close());
  closers.push(() => catalog.close());
  await catalog.serve(membership);
  const removal = new NodeRemoval({ access: catalog.access, nats: nats instanceof NatsServer ? nats : undefined, system: keys.system });
  closers.push(() => removal.close());
  if (nats instanceof NatsServer) {
    const care = new ServerCare({ client, membership, clock, logger, natsUrl: nats.clientUrl, system: keys.system, witness });
    closers.push(() => care.close());
  }
  const calls = { ...catalog.methods(), ...joinMethods({ name, membership, metastore, nats }) };
  server.serve({ calls, streams: {} });
  return { server, catalog, membership, removal, peers, nats, metastore, natsVersion, calls };
}

/** A server that was lost just now may leave the metadata without a leader for longer than one try takes. */
async function openStore(options: KvMetastoreOptions, { quorumTimeoutMs, signal }: Pick<ClusterNodeOptions, 'quorumTimeoutMs' | 'signal'>): Promise<KvMetastore> {
  const { clock, logger } = options;
  for (const until = clock.monotonic() + quorumTimeoutMs;;) {
    signal?.throwIfAborted();
    try {
      return await KvMetastore.open(options);
    } catch (error) {
      if (error instanceof JetStreamApiError) throw error; // the server's last word
      const reason = error instanceof Error ? error.message : String(error);
      if (clock.monotonic() > until) throw new RequestError('unavailable', `the metadata of the cluster does not answer: ${reason}`, { cause: error });
      logger.warn({ error: reason }, 'the metadata of the cluster does not answer yet');
    }
  }
}

interface StartedNats {
  readonly nats: NatsService;
  readonly client: NatsClient;
  readonly version: string;
  /** Copies of each log in a cluster of so many nodes. */
  readonly streamReplicas: (nodes: number) => number;
  readonly founders: number;
  readonly witness: Witness | undefined;
  /** host:port where its server takes other servers; empty where it runs none. */
  readonly route: string;
}

/** Resolves when JetStream answers. */
async function startNats(options: ClusterNodeOptions, names: { readonly keys: ClusterKeys; readonly serverName: string; readonly name: string }, closers: Closer[]): Promise<StartedNats> {
  const { disk, clock, logger, nats: settings, quorumTimeoutMs: timeoutMs, signal } = options;
  if (!('servers' in settings)) return await startOwnNats({ ...options, nats: settings }, names, closers);
  const nats = await ExternalNats.connect({ settings, name: names.serverName, timeoutMs, disk, clock, logger, signal });
  closers.push(() => nats.stop());
  await waitForQuorum(nats.client, nats, { clock, logger, timeoutMs, founders: 1, signal });
  return { nats, client: nats.client, version: nats.version, streamReplicas: () => settings.replicas, founders: 1, witness: undefined, route: '' };
}

async function startOwnNats(options: ClusterNodeOptions & { readonly nats: OwnNats }, { keys, serverName, name }: { readonly keys: ClusterKeys; readonly serverName: string; readonly name: string }, closers: Closer[]): Promise<StartedNats> {
  const { disk, clock, logger, tls, signal, quorumTimeoutMs: timeoutMs, nats: { binary, route, routes, ...ports } } = options;
  const founders = options.founders ?? routes.length;
  const serverOptions: NatsServerOptions = {
    binary, directory: path.join(options.dataDirectory, 'nats'), disk, clock, logger,
    config: { ...ports, serverName, clusterName: name, routeHost: options.host, routes, keys, tls: tls?.files },
  };
  const nats = await NatsServer.start(serverOptions);
  closers.push(() => nats.stop());
  if (tls !== undefined) closers.push(tls.onRenewed(() => void nats.reload()));
  const witness = await startWitnessOf(options, serverOptions, closers);
  const client = await NatsClient.connect({ url: nats.clientUrl, user: keys.app, name: serverName, clock, storeTag });
  closers.push(() => client.close());
  await waitForQuorum(client, nats, { clock, logger, timeoutMs, founders: Math.max(founders, routes.length), signal });
  return { nats, client, version: binary.version, streamReplicas: (nodes) => Math.min(serversMax, nodes), founders, witness, route };
}

async function startWitnessOf({ witness, dataDirectory, disk, tls, uri }: ClusterNodeOptions, beside: NatsServerOptions, closers: Closer[]): Promise<Witness | undefined> {
  if (witness === undefined) return undefined;
  const directory = witnessDirectory(dataDirectory);
  // A certificate names the node, not loopback.
  const route = `${tls === undefined ? '127.0.0.1' : new URL(uri).hostname}:${beside.config.routePort}`;
  const server = await startWitness(beside, { directory, route });
  closers.push(() => server.stop());
  if (tls !== undefined) closers.push(tls.onRenewed(() => void server.reload()));
  return {
    serverName: witnessName(beside.config.serverName),
    stop: () => server.stop(),
    forget: async () => {
      await witness.onEnded();
      await disk.removeTree(directory);
    },
  };
}

/** What no record names is removed at start: so records that are gone as a whole must not be taken for none. */
async function refuseLostMetadata({ disk, dataDirectory }: ClusterNodeOptions, metastore: ClusterMetastore): Promise<void> {
  if ((await metastore.get(directoryKey)) !== undefined) return;
  const folder = path.join(dataDirectory, 'collections');
  if ((await disk.findStat(folder)) === undefined || (await disk.list(folder)).length === 0) return;
  throw new CorruptionError({ file: folder, problem: 'holds shards of a cluster whose metadata is gone: the stores of its NATS servers were lost. Put those back (nats/ in the data directories), or restore snapshots into a new cluster' });
}

/**
 * Before its server meets the others, which would take it in again. Where none can say, the metadata does later.
 * @param peers for this alone: that others are not up yet is no failure to tell of
 */
async function refuseRemoved(peers: PeerClient, others: readonly string[], peerId: number): Promise<void> {
  const answers = await Promise.all(others.map((uri) => peers.call<boolean>(uri, 'is-removed', null, { timeoutMs: removedTimeoutMs }).catch(() => false)));
  peers.close();
  if (answers.includes(true)) throw wasRemoved(peerId);
}

interface QuorumWait {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timeoutMs: number;
  readonly founders: number;
  readonly signal: AbortSignal | undefined;
}

async function waitForQuorum({ manager }: NatsClient, nats: NatsService, { clock, logger, timeoutMs, founders, signal }: QuorumWait): Promise<void> {
  const until = clock.monotonic() + timeoutMs;
  let sayAt = clock.monotonic() + waitSilentMs;
  const isOwn = nats instanceof NatsServer;
  for (;;) {
    signal?.throwIfAborted();
    try {
      if (isOwn && !(await hasLeader(nats))) throw new RequestError('unavailable', 'the metadata has no leader'); // a question that nobody takes is answered late
      await manager.getAccountInfo();
      return;
    } catch (error) {
      const now = clock.monotonic();
      if (now > until && !isOwn) throw new RequestError('unavailable', `JetStream of the external NATS does not answer this node: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      if (now > until) throw new RequestError('unavailable', 'too few nodes of the cluster came up in time: all are needed when it is founded, a majority after that', { cause: error });
      if (now > sayAt) {
        if (!isOwn) logger.info({}, 'waiting for JetStream of the external NATS');
        else logger.info({ up: await serversUp(nats), of: founders }, founders === 1 ? 'waiting for the NATS servers of this node' : 'waiting for nodes of the cluster: for all of them when it is founded, for a majority after that');
        sayAt = now + waitSayMs;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, pollMs);
      });
    }
  }
}

async function hasLeader(nats: NatsServer): Promise<boolean> {
  const { meta_cluster: meta } = ((await nats.monitor('jsz')) ?? {}) as { readonly meta_cluster?: { readonly leader?: string } };
  return meta?.leader !== undefined && meta.leader !== '';
}

/** This node's NATS server and those that it is connected with. */
async function serversUp(nats: NatsServer): Promise<number> {
  const { routes = [] } = ((await nats.monitor('routez')) ?? {}) as { readonly routes?: readonly { readonly remote_name?: string }[] };
  return new Set(routes.map((route) => route.remote_name ?? '').filter((name) => !isWitness(name))).size + 1;
}
