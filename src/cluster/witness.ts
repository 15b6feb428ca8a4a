// A second NATS server beside the first node's own. JetStream's metadata needs the votes of two servers at least, and a cluster begins
// with one node: until it has three, the witness votes on metadata. It keeps no stream, so the loss of the first node's disk loses no
// more than without it.
//
// Nobody connects to it: it listens on loopback, does not tell its address, and connects to the others by itself.
import path from 'node:path';
import { freePort } from './free-port.ts';
import { NatsServer, type NatsServerOptions } from './nats-server.ts';

const suffix = '-witness';
const fileStoreBytesMax = 256 << 20;

export function witnessName(serverName: string): string {
  return `${serverName}${suffix}`;
}

export function isWitness(serverName: string): boolean {
  return serverName.endsWith(suffix);
}

/** The server of a node, for one that it runs itself or for its witness. */
export function nodeOf(serverName: string): string {
  return isWitness(serverName) ? serverName.slice(0, -suffix.length) : serverName;
}

export function witnessDirectory(dataDirectory: string): string {
  return path.join(dataDirectory, 'nats-witness');
}

/** @param beside the node's own server; `route`: where that one is reached */
export async function startWitness(beside: NatsServerOptions, { directory, route }: { readonly directory: string; readonly route: string }): Promise<NatsServer> {
  return await NatsServer.start({
    ...beside, directory,
    config: {
      ...beside.config, serverName: witnessName(beside.config.serverName), isWitness: true, fileStoreBytesMax,
      clientPort: await freePort(), monitorPort: await freePort(), routeHost: '127.0.0.1', routePort: await freePort(), routes: [route],
    },
  });
}
