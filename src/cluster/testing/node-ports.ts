// Ports for nodes that run as processes: peer port, route port (1000 above), NATS client and monitor port.
//
// Below the range from which the system gives out ports by itself, so that no connection takes one between the look and the use; and in
// blocks that follow from the process's id, so that tests that run beside one another look in different places.
import { isFreePort } from '../free-port.ts';

export interface NodePorts {
  readonly peer: number;
  /** Of its NATS server, for other servers. */
  readonly route: number;
  readonly natsClient: number;
  readonly natsMonitor: number;
}

const routeAbove = 1000;
const pairs = { first: 12_000, count: 8 } as const;
const blockSize = 20;
const blocksPerPair = routeAbove / blockSize;
const blocks = pairs.count * blocksPerPair;
/** Prime to the number of blocks: every block is looked at. */
const stride = 97;
let tried = 0;

/** @throws RangeError where no block is free */
export async function nodePorts(count: number): Promise<readonly NodePorts[]> {
  if (count * 3 > blockSize) throw new RangeError(`at most ${Math.floor(blockSize / 3)} nodes`);
  for (let tries = 0; tries < blocks; tries += 1) {
    const block = (process.pid * 7 + tried * stride) % blocks;
    tried += 1;
    const first = pairs.first + Math.floor(block / blocksPerPair) * 2 * routeAbove + (block % blocksPerPair) * blockSize;
    const nodes = Array.from({ length: count }, (_, at) => ({ peer: first + at * 3, route: first + at * 3 + routeAbove, natsClient: first + at * 3 + 1, natsMonitor: first + at * 3 + 2 }));
    const wanted = nodes.flatMap(({ peer, route, natsClient, natsMonitor }) => [peer, route, natsClient, natsMonitor]);
    if ((await Promise.all(wanted.map(isFreePort))).every(Boolean)) return nodes;
  }
  throw new RangeError('no block of free ports');
}
