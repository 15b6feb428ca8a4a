// What makes a process a node of a cluster, and the start of that part of it.
import path from 'node:path';
import { RequestError } from '../base/errors.ts';
import type { ShardFilesOptions } from '../collection/shard-files.ts';
import { ClusterNode, type NodeTls } from '../cluster/cluster-node.ts';
import { findNatsServer } from '../cluster/nats-binary.ts';
import { freePort } from '../cluster/free-port.ts';
import { productVersion } from './version.ts';

export interface ClusterSettings {
  /** Of the peer port, as other nodes reach it. */
  readonly uri: string;
  readonly host: string;
  readonly peerPort: number;
  /** host:port of the peer ports of all founding nodes, this one included. */
  readonly peers: readonly string[];
  readonly secret: string;
  /** Drawn once and kept in the data directory, unless given. */
  readonly peerId: number | undefined;
  readonly tls: NodeTls | undefined;
  readonly listener: boolean;
  readonly shardsPerNode: number;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  readonly quorumTimeoutMs: number;
  readonly natsServer: string | undefined;
  readonly searchPath: string;
  /** Of its own; free ones where undefined. */
  readonly natsClientPort: number | undefined;
  readonly natsMonitorPort: number | undefined;
}

/** A founding node's servers find one another at the peer port plus this. */
const routePortAbove = 1000;
/** Of the disk's room, for the streams' share. */
const storeShare = 0.5;

export async function startClusterNode(settings: ClusterSettings, files: ShardFilesOptions & { readonly peerId: number }): Promise<ClusterNode> {
  const { peers, natsServer, searchPath } = settings;
  const own = new URL(settings.uri).host;
  if (!peers.includes(own)) throw new RequestError('bad-request', `the founding list ${peers.join(',')} does not name this node, ${own}`);
  if (peers.length < 2) throw new RequestError('bad-request', 'a cluster is founded by two nodes at least');
  const binary = await findNatsServer({ given: natsServer, searchPath, folders: [path.join(files.dataDirectory, 'bin')] });
  if (binary.advice !== undefined) files.logger.warn({ path: binary.path }, binary.advice);
  const { totalBytes } = await files.disk.space(files.dataDirectory);
  return await ClusterNode.start({
    ...files, ...settings, version: productVersion,
    nats: {
      binary, routes: peers.map(routeOf), routePort: settings.peerPort + routePortAbove, fileStoreBytesMax: Math.floor(totalBytes * storeShare),
      clientPort: settings.natsClientPort ?? (await freePort()), monitorPort: settings.natsMonitorPort ?? (await freePort()),
    },
    peerId: files.peerId, others: peers.filter((peer) => peer !== own).map((peer) => `${new URL(settings.uri).protocol}//${peer}`),
  });
}

function routeOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  return `${peer.slice(0, colon)}:${Number(peer.slice(colon + 1)) + routePortAbove}`;
}
