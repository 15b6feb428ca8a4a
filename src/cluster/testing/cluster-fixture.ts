// A cluster of nodes in one process: each with its own folder, NATS server and ports, all real.
import path from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { silentLogger, type Logger } from '../../base/logger.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { openVectorIndexes } from '../../index/open-indexes.ts';
import { ClusterNode } from '../cluster-node.ts';
import { findNatsServer } from '../nats-binary.ts';
import { freePorts, natsProgram } from './nats-cluster.ts';

export interface ClusterFixture extends AsyncDisposable {
  readonly nodes: (ClusterNode | undefined)[];
  node(at: number): ClusterNode;
  start(at: number): Promise<ClusterNode>;
  stop(at: number): Promise<void>;
}

const portsPerNode = 4;

export async function startCluster(count: number, logger: Logger = silentLogger): Promise<ClusterFixture> {
  const folder = await temporaryFolder();
  const ports = await freePorts(count * portsPerNode);
  const port = (node: number, kind: number): number => ports[node * portsPerNode + kind] ?? 0;
  const binary = await findNatsServer({ given: natsProgram, searchPath: '', folders: [] });
  const routes = Array.from({ length: count }, (_, at) => `127.0.0.1:${port(at, 2)}`);
  const indexes = await openVectorIndexes();
  const nodes: (ClusterNode | undefined)[] = Array.from({ length: count });
  const start = async (at: number): Promise<ClusterNode> => {
    const node = await ClusterNode.start({
      disk: new NodeDisk(), dataDirectory: path.join(folder.path, `node-${at}`), indexes, clock: systemClock, logger, peerId: 100 + at, version: 'test', secret: 'the secret of this test',
      uri: `http://127.0.0.1:${port(at, 3)}`, host: '127.0.0.1', peerPort: port(at, 3), tls: undefined, listener: false, shardsPerNode: 1, connectionsMax: 16, timeoutMs: 10_000, quorumTimeoutMs: 60_000,
      nats: { binary, clientPort: port(at, 0), monitorPort: port(at, 1), routePort: port(at, 2), routes, fileStoreBytesMax: 4 * 2 ** 30 },
    });
    nodes[at] = node;
    return node;
  };
  const stop = async (at: number): Promise<void> => {
    await nodes[at]?.close();
    nodes[at] = undefined;
  };
  await Promise.all(nodes.map((_, at) => start(at)));
  return {
    nodes, start, stop,
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
