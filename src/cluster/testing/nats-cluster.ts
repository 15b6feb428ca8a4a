// NATS servers for tests, as a node would start them: real programs over loopback, their stores in a temporary folder.
import path from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { silentLogger } from '../../base/logger.ts';
import { waitUntil } from '../../base/testing/wait-until.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import { clusterKeys } from '../cluster-secret.ts';
import { findNatsServer } from '../nats-binary.ts';
import { NatsClient } from '../nats-client.ts';
import { NatsServer } from '../nats-server.ts';
import { nodePorts } from './node-ports.ts';

export const natsProgram = process.env['NATS_SERVER_BIN'] === '' ? undefined : process.env['NATS_SERVER_BIN'];
/** Why cluster tests do not run; undefined where they do. */
export const noNats: string | undefined = natsProgram === undefined ? 'tests of clusters run in npm test, which installs a nats-server, or where NATS_SERVER_BIN names one' : undefined;
export const testKeys = clusterKeys('a secret of tests alone');

export interface NatsCluster extends AsyncDisposable {
  readonly servers: readonly NatsServer[];
  connect(server?: number): Promise<NatsClient>;
}

/** Resolves when JetStream has a leader. */
export async function startNatsCluster(count: number): Promise<NatsCluster> {
  const folder = await temporaryFolder();
  const ports = await nodePorts(count);
  const binary = await findNatsServer({ given: natsProgram, searchPath: '', folders: [] });
  const routes = ports.map(({ route }) => `127.0.0.1:${route}`);
  const servers = await Promise.all(ports.map(({ natsClient, natsMonitor, route }, at) => NatsServer.start({
    binary, directory: path.join(folder.path, `nats-${at}`), disk: new NodeDisk(), clock: systemClock, logger: silentLogger,
    config: {
      serverName: `nk-${at + 1}`, clusterName: 'test', clientPort: natsClient, monitorPort: natsMonitor, routeHost: '127.0.0.1', routePort: route, routes,
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
  return waitUntil('JetStream has a leader', () => manager.getAccountInfo().then(() => true, () => false));
}
