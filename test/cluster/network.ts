// A network of its own for the nodes of a test: each node in a network namespace with two links, one to a bridge that joins the nodes and
// one to the test alone, so that a node can be cut off from the others while clients still reach it. Needs root and iproute2.
import { spawnSync } from 'node:child_process';
import { skipReason } from '../crash/skip.ts';

export interface TestNetwork extends AsyncDisposable {
  /** Where the other nodes reach a node. */
  address(at: number): string;
  /** Where the test reaches it, always. */
  clientAddress(at: number): string;
  /** What a node's program is run by. */
  under(at: number): readonly string[];
  /** From here on no packet passes between the node and the others; no connection is told. */
  cut(at: number): void;
  heal(at: number): void;
}

/** Why this machine has none: options of a test. In CI that is a failure. */
export function withoutNetworks(): { readonly skip?: string } {
  if (process.getuid?.() !== 0) return skipReason('network namespaces need root');
  const name = `nkprobe${process.pid}`;
  const { status, error, stderr } = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
  if (status !== 0) return skipReason(`no network namespaces: ${error?.message ?? stderr.trim()}`);
  ip('netns', 'del', name);
  return {};
}

export function makeNetwork(count: number): TestNetwork {
  const bridge = `nkb${process.pid}`;
  const spaces = Array.from({ length: count }, (_, at) => `nk${process.pid}-${at}`);
  // of one process at a time: two thirds of a private block that nobody is likely to route
  const net = `10.${200 + (process.pid % 50)}.${Math.floor(process.pid / 50) % 250}`;
  const address = (at: number): string => `${net}.${10 + at}`;
  const clientAddress = (at: number): string => `${net}.${130 + at * 4}`;
  const port = (at: number): string => `${bridge}p${at}`;
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
    cut: (at) => ip('link', 'set', port(at), 'down'),
    heal: (at) => ip('link', 'set', port(at), 'up'),
    [Symbol.asyncDispose]: () => {
      remove();
      return Promise.resolve();
    },
  };
}

function ip(...args: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new RangeError(`ip ${args.join(' ')}: ${stderr}`);
}
