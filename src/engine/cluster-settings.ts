// What makes a process a node of a cluster, and the start of that part of it.
import path from 'node:path';
import { must } from '../base/assert.ts';
import type { Closer } from '../base/closers.ts';
import type { Metastore } from '../collection/metastore.ts';
import type { ShardFilesOptions } from '../collection/shard-files.ts';
import { ClusterNode } from '../cluster/cluster-node.ts';
import { findNatsServer, type NatsBinary } from '../cluster/nats-binary.ts';
import { freePort } from '../cluster/free-port.ts';
import { OwnClusterRecord } from '../cluster/own-cluster.ts';
import { forgetOwnRecords, promote } from '../cluster/promotion.ts';
import type { TransfersMax } from '../cluster/replica-care.ts';
import { findWayIn, type WayInSettings } from '../cluster/way-in.ts';
import { productVersion } from './version.ts';

export interface ClusterSettings extends WayInSettings {
  /** Drawn once and kept in the data directory, unless given. */
  readonly peerId: number | undefined;
  readonly listener: boolean;
  readonly shardsPerNode: number;
  readonly transfersMax: TransfersMax;
  readonly natsServer: string | undefined;
  readonly searchPath: string;
  /** Of its own; free ones where undefined. */
  readonly natsClientPort: number | undefined;
  readonly natsMonitorPort: number | undefined;
}

/** Of the disk's room, for the streams' share. */
const storeShare = 0.5;

interface NodeFiles extends ShardFilesOptions {
  readonly peerId: number;
  /** Of this node alone. */
  readonly metastore: Metastore;
  readonly signal: AbortSignal | undefined;
}

/** @throws RequestError where the node has no way into a cluster; its data directory is then as it was */
export async function startClusterNode(settings: ClusterSettings, files: NodeFiles, closers: Closer[]): Promise<ClusterNode> {
  const { disk, dataDirectory, logger, peerId, metastore, ...rest } = files;
  const binary = settings.external === undefined ? await binaryOf(settings, files) : undefined;
  const { kind, own, route, ...at } = await findWayIn(settings, { ...files });
  const record = new OwnClusterRecord(metastore);
  const { totalBytes } = await disk.space(dataDirectory);
  const node = await ClusterNode.start({
    ...rest, ...settings, ...at, disk, dataDirectory, logger, peerId, uri: own.uri, version: productVersion, name: own.name,
    nats: settings.external ?? {
      binary: must(binary, 'a server of its own is a program'), route, routes: own.routes, routePort: own.routePort, fileStoreBytesMax: Math.floor(totalBytes * storeShare),
      clientPort: settings.natsClientPort ?? (await freePort()), monitorPort: settings.natsMonitorPort ?? (await freePort()),
    },
    others: [...settings.peers.map((peer) => `${new URL(own.uri).protocol}//${peer}`), ...(settings.bootstrap === undefined ? [] : [settings.bootstrap])].filter((url) => new URL(url).origin !== new URL(own.uri).origin),
    founders: kind === 'found' ? settings.peers.length : 1,
    ...(own.hasWitness ? { witness: { onEnded: () => record.change((known) => ({ ...known, hasWitness: false })) } } : {}),
    ...(kind === 'first' ? { fill: (cluster) => promote(files, cluster, () => record.save({ ...own, phase: 'member' })) } : {}),
  });
  closers.push(() => node.close());
  if (kind === 'found') await record.save(own);
  await forgetOwnRecords(files);
  closers.push(node.followRoutes((routes) => record.change((known) => ({ ...known, routes }))));
  return node;
}

/** The nats-server to start. @throws RequestError where there is none that may be used */
async function binaryOf({ natsServer, searchPath }: ClusterSettings, { dataDirectory, logger }: NodeFiles): Promise<NatsBinary> {
  const binary = await findNatsServer({ given: natsServer, searchPath, folders: [path.join(dataDirectory, 'bin')] });
  if (binary.advice !== undefined) logger.warn({ path: binary.path }, binary.advice);
  return binary;
}
