// NATS servers for tests, as a node would start them: real programs over loopback, their stores in a temporary folder.
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { silentLogger } from '../../base/logger.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { clusterKeys } from '../cluster-secret.ts';
import { findNatsServer } from '../nats-binary.ts';
import { NatsClient } from '../nats-client.ts';
import { NatsServer } from '../nats-server.ts';

export const natsProgram = process.env['NATS_SERVER_BIN'] === '' ? undefined : process.env['NATS_SERVER_BIN'];
/** Why cluster tests do not run; undefined where they do. */
export const noNats: string | undefined = natsProgram === undefined ? 'tests of clusters run with npm run test:cluster, or where NATS_SERVER_BIN names a nats-server' : undefined;
export const testKeys = clusterKeys('a secret of tests alone');

export interface NatsCluster extends AsyncDisposable {
  readonly servers: readonly NatsServer[];
  connect(server?: number): Promise<NatsClient>;
}

/** Free at this moment. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
    const server = createServer().once('error', reject).listen(0, '127.0.0.1', () => resolve(server));
  })));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Resolves when JetStream has a leader. */
export async function startNatsCluster(count: number): Promise<NatsCluster> {
  const folder = await temporaryFolder();
  const ports = await freePorts(count * 3);
  const binary = await findNatsServer({ given: natsProgram, searchPath: '', folders: [] });
  const port = (server: number, kind: number): number => ports[server * 3 + kind] ?? 0;
  const routes = Array.from({ length: count }, (_, at) => `127.0.0.1:${port(at, 2)}`);
  const servers = await Promise.all(routes.map((_, at) => NatsServer.start({
    binary, directory: path.join(folder.path, `nats-${at}`), disk: new NodeDisk(), clock: systemClock, logger: silentLogger,
    config: {
      serverName: `nk-${at + 1}`, clusterName: 'test', clientPort: port(at, 0), monitorPort: port(at, 1), routeHost: '127.0.0.1', routePort: port(at, 2), routes,
      fileStoreBytesMax: 4 * 2 ** 30, keys: testKeys, tls: undefined,
    },
  })));
  const clients: NatsClient[] = [];
  const connect = async (server = 0): Promise<NatsClient> => {
    const client = await NatsClient.connect({ url: servers[server]?.clientUrl ?? '', user: testKeys.app, name: 'test', clock: systemClock });
    clients.push(client);
    return client;
  };
  const cluster: NatsCluster = {
    servers,
    connect,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await Promise.all(servers.map((server) => server.stop()));
      await folder[Symbol.asyncDispose]();
    },
  };
  await untilReady(await connect());
  return cluster;
}

function untilReady({ manager }: NatsClient): Promise<void> {
  return waitUntil(() => manager.getAccountInfo().then(() => true, () => false));
}

/** A condition that other processes make true. */
export async function waitUntil(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}
