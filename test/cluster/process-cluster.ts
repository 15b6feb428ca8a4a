// A cluster of real processes on loopback, as an operator starts it: each node with a data directory and a NATS server of its own, to
// be stopped, killed and started again.
//
// Invariants:
// - No wait is without an end: one that fails says what it waited for and shows the last lines of every node.
// - When it ends every node is stopped, and the data directory of each that ever started is verified.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { inTime, waitMsMax, waitUntil } from '../../src/base/testing/wait-until.ts';
import { nodePorts, type NodePorts } from '../../src/cluster/testing/node-ports.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { logsDirectory } from '../../src/shard/shard-folder.ts';
import { readManifest } from '../../src/shard/shard-manifest.ts';
import { verifyLog } from '../../src/shard/verify-log.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';

export interface NodePlace {
  readonly at: number;
  readonly data: string;
  /** Where other nodes reach it. */
  readonly host: string;
  readonly ports: NodePorts;
  /** Peer ports of all nodes as `host:port`. */
  readonly peers: readonly string[];
}

export interface ProcessClusterOptions {
  /** Where a node keeps its data, and where others reach it: a folder of its own and loopback otherwise. */
  readonly placeOf?: (at: number) => { readonly data?: string; readonly host?: string };
  /** A program that runs the node, with its arguments. */
  readonly underOf?: (at: number) => readonly string[];
  /** Instead of the arguments that found one cluster of all nodes. */
  readonly argsOf?: (node: NodePlace) => readonly string[];
  /** Of every node, at every start. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface ProcessCluster extends AsyncDisposable {
  readonly count: number;
  /** Resolves when the node listens, which takes a majority; all nodes when a cluster is founded. */
  start(at: number, env?: Readonly<Record<string, string>>): Promise<ServerProcess>;
  /** Every node that is down, at once. */
  startAll(): Promise<void>;
  /** One that does not listen yet is killed. */
  stop(at: number): Promise<void>;
  kill(at: number): Promise<void>;
  killNats(at: number): Promise<void>;
  /** @throws RangeError while it is down */
  node(at: number): ServerProcess;
  isUp(at: number): boolean;
  /** What the process that runs there, or ran there last, has written so far. */
  output(at: number): string;
  place(at: number): NodePlace;
  /** As other nodes reach it. */
  peerUrl(at: number): string;
  /** `isTrue` answers false, or throws, until it is. */
  until(what: string, isTrue: () => unknown, timeoutMs?: number): Promise<void>;
  untilSaid(at: number, wanted: RegExp): Promise<void>;
  /** Every node is up and says that it is ready. */
  untilReady(): Promise<void>;
  /** The node whose NATS server leads a stream of a shard; undefined while none does. */
  streamLeader(): Promise<number | undefined>;
  /** Ends all in order and verifies their folders. Answers for each node: shard folder → where its log leads to. */
  stopAndVerify(): Promise<readonly ReadonlyMap<string, string>[]>;
}

const pollMs = 50;
const stopMsMax = 60_000;
const answerMsMax = 5_000;
const linesTold = 30;

/** All nodes are up. */
export async function startProcesses(count: number, options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
  const cluster = await processCluster(count, options);
  try {
    await cluster.startAll();
    return cluster;
  } catch (error) {
    await Promise.allSettled([cluster[Symbol.asyncDispose]()]); // what kept it from starting says more
    throw error;
  }
}

/** None is started. */
export async function processCluster(count: number, options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
  const folder = await temporaryFolder();
  const ports = await nodePorts(count);
  const placed = ports.map((of, at) => ({ at, data: path.join(folder.path, `node-${at}`), host: '127.0.0.1', ports: of, ...options.placeOf?.(at) }));
  const peers = placed.map(({ host, ports: { peer } }) => `${host}:${peer}`);
  const places = placed.map((of): NodePlace => ({ ...of, peers }));
  const place = (at: number): NodePlace => {
    const found = places[at];
    if (found === undefined) throw new RangeError(`there is no node ${at}`);
    return found;
  };
  const peerUrl = (at: number): string => `http://${place(at).host}:${place(at).ports.peer}`;
  const argsOf = options.argsOf ?? (({ at, ports: { peer } }) => ['--peer-port', String(peer), '--uri', peerUrl(at), '--peers', peers.join(',')]);
  const running = new Map<number, { readonly starting: Promise<ServerProcess>; readonly giveUp: AbortController }>();
  const nodes = new Map<number, ServerProcess>();
  const outputs = new Map<number, string>();

  const toldOfAll = (): string => [...outputs].map(([at, output]) => `── node ${at}${nodes.has(at) ? '' : ' (not listening)'}\n${told(output)}`).join('\n');
  let isFailed = false;
  const until: ProcessCluster['until'] = async (what, isTrue, timeoutMs = waitMsMax) => {
    try {
      await waitUntil(what, isTrue, { timeoutMs, pollMs, tell: toldOfAll });
    } catch (error) {
      isFailed = true;
      throw error;
    }
  };

  const start: ProcessCluster['start'] = async (at, env = {}) => {
    const { data, ports: { natsClient, natsMonitor } } = place(at);
    outputs.set(at, '');
    const giveUp = new AbortController();
    const starting = startServer({
      data, args: argsOf(place(at)), ...(options.underOf === undefined ? {} : { under: options.underOf(at) }), signal: AbortSignal.any([giveUp.signal, AbortSignal.timeout(waitMsMax)]),
      env: { NEARKEEP__CLUSTER__NATS_CLIENT_PORT: String(natsClient), NEARKEEP__CLUSTER__NATS_MONITOR_PORT: String(natsMonitor), ...options.env, ...env },
      onOutput: (output) => void outputs.set(at, output),
    });
    running.set(at, { starting, giveUp });
    const node = await starting;
    if (running.get(at)?.starting === starting) nodes.set(at, node);
    return node;
  };
  const end = async (at: number, how: 'stop' | 'kill'): Promise<void> => {
    const own = running.get(at);
    if (!nodes.has(at)) own?.giveUp.abort();
    running.delete(at);
    nodes.delete(at);
    const node = await own?.starting.catch(() => undefined);
    if (node === undefined) return;
    await inTime<unknown>(node[how](), stopMsMax, () => {
      node.child.kill('SIGKILL');
      return new RangeError(`node ${at} did not end within ${stopMsMax} ms of a ${how}\n${toldOfAll()}`);
    });
  };
  const stopAndVerify = async (): Promise<readonly ReadonlyMap<string, string>[]> => {
    const shown = toldOfAll();
    const ended = await Promise.allSettled([...running.keys()].map((at) => end(at, 'stop')));
    for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason;
    const found: ReadonlyMap<string, string>[] = [];
    for (const [at, { data }] of places.entries()) {
      if (!outputs.has(at)) continue;
      outputs.delete(at); // once is enough, whatever it finds
      try {
        verifySound(data);
        found.push(await positionsIn(data));
      } catch (error) {
        throw new RangeError(`${String(error)}\n${shown}`, { cause: error });
      }
    }
    return found;
  };

  return {
    count, start, place, peerUrl, until, stopAndVerify,
    startAll: async () => {
      const started = await Promise.allSettled(places.flatMap(({ at }) => (running.has(at) ? [] : [start(at)])));
      for (const outcome of started) if (outcome.status === 'rejected') throw outcome.reason;
    },
    stop: (at) => end(at, 'stop'),
    kill: (at) => end(at, 'kill'),
    killNats: async (at) => {
      const pid = Number((await readFile(path.join(place(at).data, 'nats/nats.pid'), 'utf8')).trim());
      process.kill(pid, 'SIGKILL');
    },
    node: (at) => {
      const node = nodes.get(at);
      if (node === undefined) throw new RangeError(`node ${at} is down`);
      return node;
    },
    isUp: (at) => nodes.has(at),
    output: (at) => outputs.get(at) ?? '',
    untilSaid: (at, wanted) => until(`node ${at} says ${wanted}`, () => wanted.test(outputs.get(at) ?? '')),
    untilReady: async () => {
      for (const { at } of places) {
        await until(`node ${at} is ready`, async () => {
          const node = nodes.get(at);
          return node !== undefined && (await fetch(`${node.url}/readyz`, { signal: AbortSignal.timeout(answerMsMax) })).status === 200;
        });
      }
    },
    streamLeader: async () => {
      const facts = await Promise.all(places.map(({ ports: { natsMonitor } }) => streamsOf(natsMonitor).catch(() => undefined)));
      const leader = facts.flatMap((fact) => fact?.leaders ?? []).at(0);
      const at = facts.findIndex((fact) => fact !== undefined && fact.name === leader);
      return at < 0 ? undefined : at;
    },
    [Symbol.asyncDispose]: async () => {
      try {
        await stopAndVerify();
      } catch (error) {
        if (!isFailed) throw error;
        console.error(error); // thrown it would hide why the wait failed
      } finally {
        await Promise.allSettled([...running.keys()].map((at) => end(at, 'kill')));
        await folder[Symbol.asyncDispose]();
      }
    },
  };
}

/** The last lines, without those of requests: they hide the others. */
function told(output: string): string {
  return output.trimEnd().split('\n').filter((line) => !line.includes('"msg":"request"')).slice(-linesTold).join('\n');
}

/** A NATS server's name and who leads the streams of shards that it holds. */
async function streamsOf(monitorPort: number): Promise<{ readonly name: string; readonly leaders: readonly string[] }> {
  const ask = async (query: string): Promise<unknown> => await (await fetch(`http://127.0.0.1:${monitorPort}/${query}`, { signal: AbortSignal.timeout(answerMsMax) })).json();
  const { account_details: accounts = [] } = (await ask('jsz?accounts=true&streams=true')) as { readonly account_details?: readonly { readonly stream_detail?: readonly { readonly name: string; readonly cluster?: { readonly leader?: string } }[] }[] };
  const { server_name: name } = (await ask('varz')) as { readonly server_name: string };
  const streams = accounts.flatMap(({ stream_detail: details = [] }) => details).filter((stream) => stream.name.startsWith('L_'));
  return { name, leaders: streams.flatMap(({ cluster }) => cluster?.leader ?? []) };
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
