// How a node comes to be one of a cluster. Its data directory decides before its flags do: a node that finds its cluster there goes back
// to it. Otherwise it founds one with others (a list of founding nodes), joins one (a node to ask), or is the first of one.
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { isLoopback } from '../base/loopback.ts';
import type { NameDirectory } from '../collection/aliases.ts';
import type { Metastore } from '../collection/metastore.ts';
import type { Disk } from '../fs/disk.ts';
import { directoryKey } from './cluster-records.ts';
import { clusterKeys } from './cluster-secret.ts';
import type { ExternalNatsSettings } from './external-nats.ts';
import { freePort, isFreePort } from './free-port.ts';
import { askToJoin, refuseOtherCluster } from './join.ts';
import { discardStore, hasStore } from './nats-server.ts';
import type { NodeTls } from './node-tls.ts';
import { OwnClusterRecord, type OwnCluster } from './own-cluster.ts';
import { PeerClient } from './peer-client.ts';
import { witnessDirectory, witnessName } from './witness.ts';

/** A node's server listens at the peer port plus this, where that is a free port when the node starts for the first time. */
const routePortAbove = 1000;
const peerPortDefault = 6335;
const portMax = 65_535;
/** Of clusters whose nodes cannot be reached from other machines. */
const loopbackSecret = 'a cluster on loopback alone';

export interface WayInSettings {
  /** Of the peer port, as other nodes reach it; undefined where the directory or the node that is asked knows it. */
  readonly uri: string | undefined;
  /** To listen on; undefined: that of the uri. */
  readonly peerPort: number | undefined;
  /** Peer URL of a node to join. */
  readonly bootstrap: string | undefined;
  /** host:port of the peer ports of all founding nodes, this one included; empty: none. */
  readonly peers: readonly string[];
  /** undefined: only loopback, or as `allowNoSecret` says. */
  readonly secret: string | undefined;
  readonly allowNoSecret: boolean;
  readonly tls: NodeTls | undefined;
  /** NATS servers that somebody else runs; undefined: the node starts one. */
  readonly external: ExternalNatsSettings | undefined;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  readonly quorumTimeoutMs: number;
}

export interface WayInContext {
  readonly disk: Disk;
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly peerId: number;
  readonly metastore: Metastore;
  /** Ends the wait for other nodes. */
  readonly signal?: AbortSignal | undefined;
}

export interface WayIn {
  /** `first`: what the directory holds becomes the cluster's; `found`: by all founding nodes together, or on servers of somebody else. */
  readonly kind: 'back' | 'found' | 'join' | 'first';
  /** Stands in the record before a server starts, but for `found`: that takes the others. */
  readonly own: OwnCluster;
  /** host:port where other nodes reach this one's server; empty where it runs none. */
  readonly route: string;
  readonly peerPort: number;
  readonly host: string;
  readonly secret: string;
}

/** @throws RequestError where the flags, the directory and the other nodes do not fit together; then nothing has changed */
export async function findWayIn(settings: WayInSettings, context: WayInContext): Promise<WayIn> {
  const record = new OwnClusterRecord(context.metastore);
  const known = await record.load();
  if (known?.phase === 'member') {
    const way = await goBack(settings, context, known);
    await record.save(way.own);
    return way;
  }
  const isKnownStore = known !== undefined; // of a founding that came to nothing
  if (settings.external !== undefined) return await meet(settings, context);
  if (settings.peers.length > 0) {
    await refuseOwnCollections(context, 'a cluster that is founded by several nodes begins empty: start this node as the first of one (--uri alone), and let the others join it (--bootstrap)');
    if (isKnownStore) await discardStores(context);
    return await found(settings, context);
  }
  if (!isKnownStore && await hasStore(context.disk, path.join(context.dataDirectory, 'nats'))) {
    throw new RequestError('bad-request', 'the data directory holds the store of a cluster that was not founded to its end: start it with --peers as before, or with an empty directory');
  }
  const way = settings.bootstrap === undefined ? await beFirst(settings, context) : await join({ ...settings, bootstrap: settings.bootstrap }, context);
  if (isKnownStore) await discardStores(context);
  await record.save(way.own);
  return way;
}

async function goBack(settings: WayInSettings, context: WayInContext, known: OwnCluster): Promise<WayIn> {
  const uri = settings.uri ?? known.uri;
  const base = baseOf(settings, [uri, ...known.routes]);
  if ((settings.external === undefined) !== known.routes.length > 0) throw new RequestError('bad-request', 'a cluster does not change between NATS servers of its own and those of somebody else (cluster.engine): make snapshots, and restore them into a new one');
  const peerPort = peerPortOf(settings, uri);
  const route = known.routes.length === 0 ? '' : routeAt(uri, known.routePort, peerPort);
  const others = known.routes.filter((other) => other !== routeAt(known.uri, known.routePort, peerPort));
  const routes = route === '' ? [] : [...others.filter((other) => other !== route), route];
  const way: WayIn = { ...base, kind: 'back', own: { ...known, uri, routes }, route, peerPort };
  if (settings.bootstrap !== undefined) {
    const peers = peerClient(settings, context, base.secret);
    try {
      await refuseOtherCluster({ peers, bootstrap: settings.bootstrap }, known.name);
    } finally {
      peers.close();
    }
  }
  return way;
}

/** Nodes with the same servers of somebody else find one another there, and need to be told of none. */
async function meet(settings: WayInSettings, context: WayInContext): Promise<WayIn> {
  if (settings.bootstrap !== undefined) throw new RequestError('bad-request', '--bootstrap has no place beside cluster.engine: nodes that have the same NATS servers are of one cluster');
  await refuseOwnCollections(context, 'a node comes to other NATS servers with an empty data directory: make snapshots of them, and restore them there');
  const port = settings.peerPort ?? peerPortDefault;
  const uri = uriOf(settings, settings.peers.length > 0 ? settings.peers : [`127.0.0.1:${port}`]);
  const base = baseOf(settings, [uri, ...settings.peers]);
  const own: OwnCluster = { phase: 'member', name: clusterKeys(base.secret).clusterName, peerId: context.peerId, uri, routePort: 0, routes: [], hasWitness: false };
  return { ...base, kind: 'found', own, route: '', peerPort: peerPortOf(settings, uri) };
}

/** @throws RequestError where the list does not name this node */
function uriOf({ uri: given, peerPort = peerPortDefault, tls, peers }: WayInSettings, known: readonly string[]): string {
  const uri = given ?? `${tls === undefined ? 'http' : 'https'}://${ownOf(known, peerPort)}`;
  const self = new URL(uri).host;
  if (peers.length > 0 && !peers.includes(self)) throw new RequestError('bad-request', `the founding list ${peers.join(',')} does not name this node, ${self}`);
  return uri;
}

function found(settings: WayInSettings, { peerId }: WayInContext): Promise<WayIn> {
  const { peers } = settings;
  const uri = uriOf(settings, peers);
  if (peers.length < 2) throw new RequestError('bad-request', 'a founding list names two nodes at least; the first node of a cluster is started with --uri alone');
  const base = baseOf(settings, peers);
  const peerPort = peerPortOf(settings, uri);
  const routePort = peerPort + routePortAbove;
  const routes = peers.map((peer) => `${hostOf(peer)}:${portOf(peer) + routePortAbove}`);
  const own: OwnCluster = { phase: 'member', name: clusterKeys(base.secret).clusterName, peerId, uri, routePort, routes, hasWitness: false };
  return Promise.resolve({ ...base, kind: 'found', own, route: routeAt(uri, routePort, peerPort), peerPort });
}

async function join(settings: WayInSettings & { readonly bootstrap: string }, context: WayInContext): Promise<WayIn> {
  const { bootstrap, uri, tls, quorumTimeoutMs } = settings;
  const { peerId, clock, logger, signal } = context;
  if (uri === bootstrap) throw new RequestError('bad-request', `--bootstrap names another node of the cluster; ${uri} is this one`);
  await refuseOwnCollections(context, 'a node joins a cluster with an empty data directory: make snapshots of them, join with another directory, and restore them there');
  const base = baseOf(settings, uri === undefined ? [bootstrap] : [bootstrap, uri]);
  const peerPort = peerPortOf(settings, uri);
  const peers = peerClient(settings, context, base.secret);
  try {
    const answer = await askToJoin({ peers, bootstrap, clock, logger, signal }, { uri, scheme: tls === undefined ? 'http' : 'https', peerPort, serverName: `nk-${peerId}` }, quorumTimeoutMs);
    const routePort = await routePortFor(peerPort);
    const route = routeAt(answer.uri, routePort, peerPort);
    return { ...base, kind: 'join', own: { phase: 'member', name: answer.name, peerId, uri: answer.uri, routePort, routes: [...answer.routes, route], hasWitness: false }, route, peerPort };
  } finally {
    peers.close();
  }
}

async function beFirst(settings: WayInSettings, { peerId }: WayInContext): Promise<WayIn> {
  const { uri } = settings;
  if (uri === undefined) throw new RequestError('bad-request', 'the first node of a cluster needs --uri, the address at which other nodes will reach it; another one needs --bootstrap, the address of the first');
  const base = baseOf(settings, [uri]);
  const peerPort = peerPortOf(settings, uri);
  const routePort = await routePortFor(peerPort);
  // A name of its own: what an earlier attempt has left somewhere does not speak with this cluster.
  const name = `${clusterKeys(base.secret).clusterName}-${randomBytes(8).toString('hex')}`;
  const route = routeAt(uri, routePort, peerPort);
  return { ...base, kind: 'first', own: { phase: 'founding', name, peerId, uri, routePort, routes: [route], hasWitness: true }, route, peerPort };
}

/** Where to listen, and the secret. @param addresses of this node and those that it knows */
function baseOf({ secret, allowNoSecret }: WayInSettings, addresses: readonly string[]): Pick<WayIn, 'host' | 'secret'> {
  const isLocal = addresses.every((address) => isLoopback(hostOf(address)));
  if (secret === undefined && !isLocal && !allowNoSecret) {
    throw new RequestError('bad-request', 'a cluster beyond loopback needs a secret that all nodes share: --cluster-secret-file, or cluster.allow_no_secret=true to do without');
  }
  return { host: isLocal ? '127.0.0.1' : '0.0.0.0', secret: secret ?? loopbackSecret };
}

/** @throws RequestError naming what to do */
async function refuseOwnCollections({ metastore }: WayInContext, advice: string): Promise<void> {
  const directory = (await metastore.get(directoryKey))?.value as NameDirectory | undefined;
  const count = Object.keys(directory?.names ?? {}).length;
  if (count > 0) throw new RequestError('bad-request', `this data directory holds ${count} collections of its own; ${advice}`);
}

async function discardStores({ disk, dataDirectory, peerId }: WayInContext): Promise<void> {
  const serverName = `nk-${peerId}`;
  await discardStore({ disk, directory: path.join(dataDirectory, 'nats'), config: { serverName } });
  await discardStore({ disk, directory: witnessDirectory(dataDirectory), config: { serverName: witnessName(serverName) } });
}

function peerClient({ tls, connectionsMax, timeoutMs }: WayInSettings, { peerId, clock }: WayInContext, secret: string): PeerClient {
  return new PeerClient({ peerId, tokenKey: clusterKeys(secret).peerToken, tls: tls?.current, clock, connectionsMax, timeoutMs });
}

/** The founding node that has this peer port, where that says which one it is. */
function ownOf(peers: readonly string[], port: number): string {
  const own = peers.filter((peer) => peer.endsWith(`:${port}`));
  if (own.length === 1 && own[0] !== undefined) return own[0];
  throw new RequestError('bad-request', `which of ${peers.join(',')} is this node? Say so with --uri`);
}

async function routePortFor(peerPort: number): Promise<number> {
  const wanted = peerPort + routePortAbove;
  return wanted <= portMax && (await isFreePort(wanted)) ? wanted : await freePort();
}

function peerPortOf({ peerPort }: WayInSettings, uri: string | undefined): number {
  return peerPort ?? (uri === undefined ? peerPortDefault : Number(new URL(uri).port) || peerPortDefault);
}

/** As other nodes reach it. The port above the peer port is mapped as that one is; a free one that was found is not. */
function routeAt(uri: string, routePort: number, peerPort: number): string {
  const { hostname, port } = new URL(uri);
  const isAbove = routePort === peerPort + routePortAbove;
  return `${hostname}:${isAbove ? (Number(port) || peerPort) + routePortAbove : routePort}`;
}

/** Of a URL, or of host:port. */
function hostOf(address: string): string {
  return address.includes('://') ? new URL(address).hostname : address.slice(0, address.lastIndexOf(':'));
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
