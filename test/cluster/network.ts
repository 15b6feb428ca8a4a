// A network of its own for the nodes of a test: each node in a network namespace with two links, one to a bridge that joins the nodes and
// one to the test alone, so that a node can be cut off from the others while clients still reach it. Needs root and iproute2.
//
// Packets are lost by queues that keep nothing (blackhole), at the end of the link where they set out: nobody is told. A share of them is
// chosen by four instructions of a packet filter, in a queue with a rate (htb): kernels without netem have all of these.
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { must } from '../../src/base/assert.ts';
import { runClosers, type Closer } from '../../src/base/closers.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { skipReason } from '../crash/skip.ts';
import { startProcesses, type ProcessCluster, type ProcessClusterOptions } from './process-cluster.ts';

/** `unheard`: the others' packets still come to the node, its own go nowhere. `deaf`: the other way round. */
export type CutWay = 'both' | 'unheard' | 'deaf';

export interface BadLink {
  /** Of the packets in each direction. */
  readonly lossShare: number;
  readonly kbitPerSecond: number;
}

export interface TestNetwork extends AsyncDisposable {
  /** Where the other nodes reach a node. */
  address(at: number): string;
  /** Where the test reaches it, always. */
  clientAddress(at: number): string;
  /** What a node's program is run by. */
  under(at: number): readonly string[];
  /** From here on no packet passes between the node and the others, or in one direction; no connection is told. */
  cut(at: number, way?: CutWay): void;
  /** A link that is slow and loses packets, in both directions. */
  spoil(at: number, link: BadLink): void;
  /** Packets that one-way cuts and bad links have lost since the node's link was good. */
  lost(at: number): number;
  heal(at: number): void;
}

/** Why this machine has none: options of a test. In CI that is a failure. */
export function withoutNetworks(): { readonly skip?: string } {
  if (process.getuid?.() !== 0) return skipReason('network namespaces need root');
  const name = `nkprobe${process.pid}`;
  const { status, error, stderr } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
  if (status !== 0) return skipReason(`no network namespaces: ${error?.message ?? stderr.trim()}`);
  try {
    spoilLink(['-n', name], 'lo', { lossShare: 0.1, kbitPerSecond: 1_000 });
  } catch (failure) {
    return skipReason(String(failure));
  } finally {
    ip('netns', 'del', name);
  }
  return {};
}

export interface NodesApart extends AsyncDisposable {
  readonly network: TestNetwork;
  readonly cluster: ProcessCluster;
}

/** Nodes on the addresses of a network of their own, known to one another by a secret; all are ready. */
export async function startApart(count: number): Promise<NodesApart> {
  const folder = await temporaryFolder();
  const secretFile = path.join(folder.path, 'secret');
  await writeFile(secretFile, 'a secret that all nodes of this test share');
  const network = makeNetwork(count);
  const closers: Closer[] = [async () => await folder[Symbol.asyncDispose](), async () => await network[Symbol.asyncDispose]()];
  try {
    const cluster = await startProcesses(count, inNetwork(network, secretFile));
    closers.push(async () => await cluster[Symbol.asyncDispose]());
    await cluster.untilReady();
    return { network, cluster, [Symbol.asyncDispose]: () => runClosers(closers) };
  } catch (error) {
    await runClosers(closers).catch(() => undefined); // what kept it from starting says more
    throw error;
  }
}

/** Nodes on the addresses of a network, known to one another by a secret. */
function inNetwork(network: TestNetwork, secretFile: string): ProcessClusterOptions {
  return {
    placeOf: (at) => ({ host: network.address(at) }),
    underOf: (at) => network.under(at),
    argsOf: ({ at, host, ports: { peer }, peers }) => ['--host', network.clientAddress(at), '--peer-port', String(peer), '--uri', `http://${host}:${peer}`, '--peers', peers.join(','), '--cluster-secret-file', secretFile],
    env: { NEARKEEP__SERVICE__ALLOW_NO_KEY: 'true' },
  };
}

function makeNetwork(count: number): TestNetwork {
  const bridge = `nkb${process.pid}`;
  const spaces = Array.from({ length: count }, (_, at) => `nk${process.pid}-${at}`);
  // of one process at a time: two thirds of a private block that nobody is likely to route
  const net = `10.${200 + (process.pid % 50)}.${Math.floor(process.pid / 50) % 250}`;
  const address = (at: number): string => `${net}.${10 + at}`;
  const clientAddress = (at: number): string => `${net}.${130 + at * 4}`;
  const port = (at: number): string => `${bridge}p${at}`;
  /** Both ends of the link to the other nodes, as `tc` names them: the node's own, and the bridge's. */
  const ends = (at: number): readonly (readonly [of: readonly string[], device: string])[] => [[['-n', must(spaces[at], 'a node of the network')], 'nodes'], [[], port(at)]];
  const remove = (): void => {
    for (const space of spaces) spawnSync('ip', ['netns', 'del', space]);
    spawnSync('ip', ['link', 'del', bridge]);
  };
  try {
    ip('link', 'add', bridge, 'type', 'bridge');
    ip('link', 'set', bridge, 'up');
    for (const [at, space] of spaces.entries()) {
      ip('netns', 'add', space);
      ip('-n', space, 'link', 'set', 'lo', 'up');
      ip('link', 'add', port(at), 'type', 'veth', 'peer', 'name', 'nodes', 'netns', space);
      ip('link', 'set', port(at), 'master', bridge, 'up');
      ip('-n', space, 'addr', 'add', `${address(at)}/25`, 'dev', 'nodes');
      ip('-n', space, 'link', 'set', 'nodes', 'up');
      ip('link', 'add', `${port(at)}c`, 'type', 'veth', 'peer', 'name', 'clients', 'netns', space);
      ip('addr', 'add', `${net}.${129 + at * 4}/30`, 'dev', `${port(at)}c`);
      ip('link', 'set', `${port(at)}c`, 'up');
      ip('-n', space, 'addr', 'add', `${clientAddress(at)}/30`, 'dev', 'clients');
      ip('-n', space, 'link', 'set', 'clients', 'up');
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    address, clientAddress,
    under: (at) => ['ip', 'netns', 'exec', spaces[at] ?? ''],
    cut: (at, way = 'both') => {
      if (way === 'both') return ip('link', 'set', port(at), 'down');
      const [of, device] = must(ends(at)[way === 'unheard' ? 0 : 1], 'a link has two ends');
      tc([...of, 'qdisc', 'replace', 'dev', device, 'root', 'blackhole']);
    },
    spoil: (at, link) => {
      for (const [of, device] of ends(at)) spoilLink(of, device, link);
    },
    lost: (at) => ends(at).reduce((sum, [of, device]) => sum + lostAt(of, device), 0),
    heal: (at) => {
      ip('link', 'set', port(at), 'up');
      for (const [of, device] of ends(at)) tc([...of, 'qdisc', 'replace', 'dev', device, 'root', 'pfifo']);
    },
    [Symbol.asyncDispose]: () => {
      remove();
      return Promise.resolve();
    },
  };
}

/** What leaves the device: a share goes where nothing comes back from, the rest at that rate. */
function spoilLink(of: readonly string[], device: string, { lossShare, kbitPerSecond }: BadLink): void {
  const at = ['dev', device];
  const rate = ['htb', 'rate', `${kbitPerSecond}kbit`];
  // a random word of 32 bits; below the threshold all bits set, which is the class that the filter names; else none, which is no match
  const random = 0xfffff000 + 56;
  const threshold = Math.round(lossShare * 2 ** 32);
  tc([...of, 'qdisc', 'replace', ...at, 'root', 'handle', '1:', 'htb', 'default', '1']);
  tc([...of, 'class', 'replace', ...at, 'parent', '1:', 'classid', '1:1', ...rate]);
  tc([...of, 'class', 'replace', ...at, 'parent', '1:', 'classid', '1:2', ...rate]);
  tc([...of, 'qdisc', 'replace', ...at, 'parent', '1:1', 'pfifo', 'limit', '100']);
  tc([...of, 'qdisc', 'replace', ...at, 'parent', '1:2', 'blackhole']);
  tc([...of, 'filter', 'replace', ...at, 'parent', '1:', 'prio', '1', 'bpf', 'bytecode', `4,32 0 0 ${random},53 0 1 ${threshold},6 0 0 0,6 0 0 4294967295`, 'classid', '1:2']);
}

function lostAt(of: readonly string[], device: string): number {
  const queues = JSON.parse(tc([...of, '-s', '-j', 'qdisc', 'show', 'dev', device])) as readonly { readonly kind: string; readonly drops?: number }[];
  return queues.reduce((sum, { kind, drops = 0 }) => sum + (kind === 'blackhole' ? drops : 0), 0);
}

function ip(...args: readonly string[]): void {
  run('ip', args);
}

function tc(args: readonly string[]): string {
  return run('tc', args);
}

function run(program: string, args: readonly string[]): string {
  const { status, error, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new RangeError(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
