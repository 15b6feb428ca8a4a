// A cluster of real processes on this machine, each with a data directory of its own, as an operator starts it.
import path from 'node:path';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';

const pollMs = 100;

export interface ClusterProcesses extends AsyncDisposable {
  /** Resolves when the node listens, which takes a majority. */
  start(at: number, env?: Readonly<Record<string, string>>): Promise<ServerProcess>;
  stop(at: number): Promise<void>;
  kill(at: number): Promise<void>;
  node(at: number): ServerProcess;
  /** What the process that runs there, or ran there last, has written so far. */
  output(at: number): string;
  /** Resolves when it has written that. */
  untilSaid(at: number, wanted: RegExp): Promise<void>;
  peerUrl(at: number): string;
}

/** Asks again and again. */
export async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) {
    await new Promise((resolve) => {
      setTimeout(resolve, pollMs);
    });
  }
}

/** None is started. When it ends, every node is stopped and its data directory verified. */
export async function clusterProcesses(count: number): Promise<ClusterProcesses> {
  const folder = await temporaryFolder();
  const ports = await nodePorts(count);
  const peers = ports.map(({ peer }) => `127.0.0.1:${peer}`);
  const peerUrl = (at: number): string => `http://${peers[at]}`;
  const data = (at: number): string => path.join(folder.path, `node-${at}`);
  const running = new Map<number, Promise<ServerProcess>>();
  const nodes = new Map<number, ServerProcess>();
  const outputs = new Map<number, string>();
  const listeners = new Set<() => void>();
  const end = async (at: number, how: 'stop' | 'kill'): Promise<void> => {
    const node = await running.get(at)?.catch(() => undefined);
    running.delete(at);
    nodes.delete(at);
    await node?.[how]();
  };
  return {
    start: async (at, env = {}) => {
      outputs.set(at, '');
      const { peer, natsClient, natsMonitor } = ports[at] ?? { peer: 0, natsClient: 0, natsMonitor: 0 };
      const starting = startServer({
        data: data(at), args: ['--peer-port', String(peer), '--uri', peerUrl(at), '--peers', peers.join(',')],
        env: { NEARKEEP__CLUSTER__NATS_CLIENT_PORT: String(natsClient), NEARKEEP__CLUSTER__NATS_MONITOR_PORT: String(natsMonitor), ...env },
        onOutput: (output) => {
          outputs.set(at, output);
          for (const listen of listeners) listen();
        },
      });
      running.set(at, starting);
      const node = await starting;
      nodes.set(at, node);
      return node;
    },
    stop: (at) => end(at, 'stop'),
    kill: (at) => end(at, 'kill'),
    node: (at) => {
      const node = nodes.get(at);
      if (node === undefined) throw new RangeError(`node ${at} is down`);
      return node;
    },
    output: (at) => outputs.get(at) ?? '',
    untilSaid: (at, wanted) => new Promise((resolve) => {
      const listen = (): void => {
        if (!wanted.test(outputs.get(at) ?? '')) return;
        listeners.delete(listen);
        resolve();
      };
      listeners.add(listen);
      listen();
    }),
    peerUrl,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...running.keys()].map((at) => end(at, 'stop')));
      try {
        for (const at of outputs.keys()) verifySound(data(at));
      } finally {
        await folder[Symbol.asyncDispose]();
      }
    },
  };
}
