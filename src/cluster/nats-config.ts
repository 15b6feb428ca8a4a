// The configuration file of this node's NATS server. Clients and monitoring listen on loopback alone: only the node itself talks to
// its server. What other servers reach is the route port, with a password that follows from the cluster's secret and by mutual TLS where
// the cluster has certificates.
import type { ClusterKeys } from './cluster-secret.ts';
import type { NatsTls } from './node-tls.ts';

export interface NatsConfig {
  /** Never used again for another server: servers know one another by it. */
  readonly serverName: string;
  readonly clusterName: string;
  readonly storeDirectory: string;
  readonly pidFile: string;
  readonly clientPort: number;
  readonly monitorPort: number;
  readonly routeHost: string;
  readonly routePort: number;
  /** host:port of every server that is known, this one included. */
  readonly routes: readonly string[];
  readonly fileStoreBytesMax: number;
  /** Votes on metadata and keeps no stream; only itself opens connections to others (witness.ts). */
  readonly isWitness?: boolean;
  readonly keys: Pick<ClusterKeys, 'app' | 'system' | 'routePassword'>;
  readonly tls: NatsTls | undefined;
}

const memoryStoreBytesMax = 256 << 20;
const payloadBytesMax = 64 << 20;
const pendingBytesMax = 256 << 20;
const routeUser = 'route';
const passwordVariable = 'NEARKEEP_ROUTE_PASSWORD';
const routeVariable = 'NEARKEEP_ROUTE_';

/** Streams are placed on servers with this tag: on all but witnesses. */
export const storeTag = 'store';

/** `sync_interval: always` is what makes an acknowledged entry survive a power cut; supervision refuses a server without it. */
export function natsConfigText(config: NatsConfig): string {
  const tls = config.tls === undefined ? '' : `
  tls { cert_file: ${quote(config.tls.certFile)}, key_file: ${quote(config.tls.keyFile)}, ca_file: ${quote(config.tls.caFile)}, verify: true }`;
  const [tags, advertise] = config.isWitness === true ? ['', '\n  no_advertise: true'] : [`server_tags: [ ${storeTag} ]\n`, ''];
  return `server_name: ${quote(config.serverName)}
${tags}listen: "127.0.0.1:${config.clientPort}"
http: "127.0.0.1:${config.monitorPort}"
pid_file: ${quote(config.pidFile)}
max_payload: ${payloadBytesMax}
max_pending: ${pendingBytesMax}
write_deadline: "10s"
jetstream {
  store_dir: ${quote(config.storeDirectory)}
  sync_interval: always
  max_file_store: ${config.fileStoreBytesMax}
  max_memory_store: ${memoryStoreBytesMax}
}
cluster {
  name: ${quote(config.clusterName)}
  listen: ${quote(`${config.routeHost}:${config.routePort}`)}
  authorization { user: ${routeUser}, password: $${passwordVariable}, timeout: 5 }
  routes: [ ${config.routes.map((_, at) => `$${routeVariable}${at}`).join(', ')} ]${advertise}${tls}
}
accounts {
  APP { jetstream: enabled, users: [ { nkey: ${config.keys.app.publicKey} } ] }
  SYS { users: [ { nkey: ${config.keys.system.publicKey} } ] }
}
system_account: SYS
`;
}

/** What the configuration leaves to the program's environment, because files are for others of this machine to read. */
export function natsSecrets({ routes, keys: { routePassword } }: Pick<NatsConfig, 'routes' | 'keys'>): Readonly<Record<string, string>> {
  return {
    [passwordVariable]: quote(routePassword),
    ...Object.fromEntries(routes.map((route, at) => [routeVariable + String(at), quote(`nats://${routeUser}:${routePassword}@${route}`)])),
  };
}

function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
