// A cluster of nodes in one process: each with its own folder, NATS server and ports, all real.
import path from 'node:path';
import { must } from '../../src/base/assert.ts';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { silentLogger, type Logger } from '../../src/base/logger.ts';
import type { Disk } from '../../src/fs/disk.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { openVectorIndexes } from '../../src/index/open-indexes.ts';
import { thisMachine } from '../../src/engine/machine.ts';
import { Snapshots } from '../../src/snapshot/snapshots.ts';
import { ClusterNode } from '../../src/cluster/cluster-node.ts';
import type { ClusterMetastore, KvMetastore } from '../../src/cluster/kv-metastore.ts';
import type { TransfersMax } from '../../src/cluster/replica-care.ts';
import { findNatsServer } from '../../src/cluster/nats-binary.ts';
import { natsProgram } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';

export interface ClusterFixture extends AsyncDisposable {
  readonly nodes: (ClusterNode | undefined)[];
  node(at: number): ClusterNode;
  snapshots(at: number): Snapshots;
  /** @param logger instead of that of all */
  start(at: number, logger?: Logger): Promise<ClusterNode>;
  stop(at: number): Promise<void>;
  /** Where a node keeps its files. */
  data(at: number): string;
}

export const clusterSecret = 'the secret of this test';

interface FixtureOptions {
  readonly logger?: Logger;
  /** What a node keeps its shards on. */
  readonly diskOf?: (at: number) => Disk;
  readonly clockOf?: (at: number) => Clock;
  /** How a node sees the metadata. */
  readonly viewOf?: (at: number, store: KvMetastore) => Promise<ClusterMetastore>;
  readonly transfersMaxOf?: (at: number) => TransfersMax;
  /** Called before a node gives out the archive of a shard, which waits for it. */
  readonly beforeArchive?: (at: number) => Promise<void>;
}

export async function startCluster(count: number, { logger: loggerOfAll = silentLogger, diskOf = () => new NodeDisk(), clockOf = () => systemClock, viewOf, transfersMaxOf = () => ({ incoming: 1, outgoing: 1 }), beforeArchive }: FixtureOptions = {}): Promise<ClusterFixture> {
  const folder = await temporaryFolder();
  const ports = await nodePorts(count);
  const binary = await findNatsServer({ given: natsProgram, searchPath: '', folders: [] });
  const routes = ports.map(({ route }) => `127.0.0.1:${route}`);
  const indexes = await openVectorIndexes();
  const nodes: (ClusterNode | undefined)[] = Array.from({ length: count });
  const snapshots: (Snapshots | undefined)[] = Array.from({ length: count });
  const closers: ((() => Promise<void>) | undefined)[] = Array.from({ length: count });
  const data = (at: number): string => path.join(folder.path, `node-${at}`);
  const start = async (at: number, logger = loggerOfAll): Promise<ClusterNode> => {
    const { peer, route, natsClient, natsMonitor } = must(ports[at], 'one for each node');
    const node = await ClusterNode.start({
      disk: diskOf(at), dataDirectory: data(at), indexes, clock: clockOf(at), logger, peerId: 100 + at, version: 'test', secret: clusterSecret,
      uri: `http://127.0.0.1:${peer}`, host: '127.0.0.1', peerPort: peer, others: [], tls: undefined, listener: false, shardsPerNode: 1, transfersMax: transfersMaxOf(at), connectionsMax: 16, timeoutMs: 10_000, quorumTimeoutMs: 60_000,
      ...(viewOf === undefined ? {} : { viewOf: (store) => viewOf(at, store) }),
      nats: { binary, clientPort: natsClient, monitorPort: natsMonitor, routePort: route, route: `127.0.0.1:${route}`, routes, fileStoreBytesMax: 4 * 2 ** 30 },
    });
    const hashes = thisMachine.openHasher();
    const opened = await Snapshots.open({
      disk: new NodeDisk(), clock: clockOf(at), logger, peerId: 100 + at, hashes, source: node.catalog, productVersion: 'test',
      snapshotsPath: path.join(folder.path, `snapshots-${at}`), stagingRoot: data(at), recovery: { urlRecovery: false, boundToLoopback: true },
    });
    node.serveArchives(async ({ collection, shardId }, signal) => {
      await beforeArchive?.(at);
      const archive = await opened.openStream({ kind: 'shard', collection, shardId }, signal);
      return archive.read(0, archive.sizeBytes - 1);
    }, opened);
    closers[at] = async () => {
      await opened.close();
      await node.close();
      await hashes.close();
    };
    snapshots[at] = opened;
    nodes[at] = node;
    return node;
  };
  const stop = async (at: number): Promise<void> => {
    nodes[at] = undefined;
    await closers[at]?.();
    closers[at] = undefined;
  };
  await Promise.all(nodes.map((_, at) => start(at)));
  return {
    nodes, start, stop, data,
    snapshots: (at) => {
      const found = snapshots[at];
      if (found === undefined) throw new RangeError(`node ${at} is down`);
      return found;
    },
    node: (at) => {
      const node = nodes[at];
      if (node === undefined) throw new RangeError(`node ${at} is down`);
      return node;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(nodes.map((_, at) => stop(at)));
      await indexes.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}
