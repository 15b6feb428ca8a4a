// A cluster of real processes on loopback, each with its own folder and its own NATS server, to be killed and started again.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { must } from '../../src/base/assert.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { logsDirectory } from '../../src/shard/shard-folder.ts';
import { readManifest } from '../../src/shard/shard-manifest.ts';
import { verifyLog } from '../../src/shard/verify-log.ts';
import { freePorts } from '../../src/cluster/testing/nats-cluster.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';

export interface ProcessCluster extends AsyncDisposable {
  /** undefined while it is down. */
  readonly servers: readonly (ServerProcess | undefined)[];
  start(at: number): Promise<void>;
  kill(at: number): Promise<void>;
  killNats(at: number): Promise<void>;
  /** The node whose NATS server leads a stream of a shard; undefined while none does. */
  streamLeader(): Promise<number | undefined>;
  /** Resolves when every node says that it is ready. */
  untilReady(): Promise<void>;
  /** Ends all in order and verifies their folders. Answers for each node: shard folder → where its log leads to. */
  stopAndVerify(): Promise<readonly ReadonlyMap<string, string>[]>;
}

const routePortAbove = 1000;
const pollMs = 50;
const readyTimeoutMs = 120_000;

export async function startProcesses(count: number): Promise<ProcessCluster> {
  const folder = await temporaryFolder();
  const ports = await peerPorts(count);
  const peers = ports.map((port) => `127.0.0.1:${port}`).join(',');
  const servers: (ServerProcess | undefined)[] = Array.from({ length: count });
  const data = (at: number): string => path.join(folder.path, `node-${at}`);
  const start = async (at: number): Promise<void> => {
    const port = ports[at] ?? 0;
    servers[at] = await startServer({
      data: data(at), args: ['--peer-port', String(port), '--uri', `http://127.0.0.1:${port}`, '--peers', peers], env: { QDRANT__CLUSTER__ENABLED: 'true' },
    });
  };
  const kill = async (at: number): Promise<void> => {
    const server = servers[at];
    servers[at] = undefined;
    await server?.kill();
  };
  const cluster: ProcessCluster = {
    servers, start, kill,
    killNats: async (at) => {
      const pid = Number((await readFile(path.join(data(at), 'nats/nats.pid'), 'utf8')).trim());
      process.kill(pid, 'SIGKILL');
    },
    streamLeader: async () => {
      const facts = await Promise.all(servers.map((_, at) => streamsOf(data(at)).catch(() => undefined)));
      const leader = facts.flatMap((fact) => fact?.leaders ?? []).at(0);
      const at = facts.findIndex((fact) => fact !== undefined && fact.name === leader);
      return at < 0 ? undefined : at;
    },
    untilReady: async () => {
      const until = performance.now() + readyTimeoutMs;
      for (const server of servers) {
        while (!(await isReady(must(server, 'all are up').url))) {
          if (performance.now() > until) throw new RangeError(`a node does not become ready:\n${server?.output()}`);
          await pause(pollMs);
        }
      }
    },
    stopAndVerify: async () => {
      await Promise.all(servers.map(async (server) => await server?.stop()));
      servers.fill(undefined);
      const found: ReadonlyMap<string, string>[] = [];
      for (const at of servers.keys()) {
        verifySound(data(at));
        found.push(await positionsIn(data(at)));
      }
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(servers.map((_, at) => kill(at)));
      await folder[Symbol.asyncDispose]();
    },
  };
  await Promise.all(servers.map((_, at) => start(at)));
  return cluster;
}

/** Free ones whose route ports are free as well. */
async function peerPorts(count: number): Promise<readonly number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const [port = 0] = await freePorts(1);
    if (port + routePortAbove < 65_536 && !found.includes(port) && !found.includes(port - routePortAbove) && !found.includes(port + routePortAbove)) found.push(port);
  }
  return found;
}

async function streamsOf(data: string): Promise<{ readonly name: string; readonly leaders: readonly string[] }> {
  const port = /^http: "127\.0\.0\.1:(\d+)"$/m.exec(await readFile(path.join(data, 'nats/server.conf'), 'utf8'))?.[1];
  const response = await fetch(`http://127.0.0.1:${port}/jsz?accounts=true&streams=true`);
  const { account_details: accounts = [] } = (await response.json()) as { readonly account_details?: readonly { readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[] }[] };
  const { server_name: name } = (await (await fetch(`http://127.0.0.1:${port}/varz`)).json()) as { readonly server_name: string };
  const streams = accounts.flatMap(({ stream_detail: details = [] }) => details).filter((stream) => stream.name.startsWith('L_'));
  return { name, leaders: streams.flatMap(({ cluster }) => cluster?.leader ?? []) };
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).status === 200;
  } catch {
    return false;
  }
}

async function positionsIn(data: string): Promise<ReadonlyMap<string, string>> {
  const disk = new NodeDisk();
  const positions = new Map<string, string>();
  for (const uuid of await disk.list(path.join(data, 'collections'))) {
    for (const name of await disk.list(path.join(data, 'collections', uuid, 'shards'))) {
      const directory = path.join(data, 'collections', uuid, 'shards', name);
      const { manifest } = await readManifest(disk, directory);
      const { position } = await verifyLog(disk, logsDirectory(directory), manifest);
      positions.set(`${uuid}/${name}`, `${position.generation}:${position.seq}:${position.chain}`);
    }
  }
  return positions;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
