import { createServer, type AddressInfo } from 'node:net';
import { systemCode } from '../base/errors.ts';

const portMax = 65_535;

/** A loopback port that nobody uses at this moment. @param port this one, or it throws what the system says */
export async function freePort(port = 0): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve);
  });
  const { port: found } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return found;
}

/** The port wanted, or another one where it is not a port or in use. */
export async function freePortNear(wanted: number): Promise<number> {
  if (wanted > portMax) return await freePort();
  try {
    return await freePort(wanted);
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw error;
    return await freePort();
  }
}
