import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below those that systems give to outgoing connections: one of them could take it before its server listens, or while that is restarted. */
const range = { from: 28_500, to: 32_000 } as const;
const triesMax = 100;
/** Nothing may listen yet at the ports that this process was given before. */
const given = new Set<number>();

export function isFreePort(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A loopback port that nobody uses at this moment, and that was not given before. @throws RangeError where there is none */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const port = randomInt(range.from, range.to);
    if (given.has(port) || !(await isFreePort(port))) continue;
    given.add(port);
    return port;
  }
  throw new RangeError(`no free port between ${range.from} and ${range.to}`);
}
