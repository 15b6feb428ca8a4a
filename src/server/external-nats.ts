// From the configuration to the NATS servers of somebody else that a cluster is to work with.
import { RequestError } from '../base/errors.ts';
import type { ExternalNatsSettings } from '../cluster/external-nats.ts';
import type { Config } from './config.ts';

const portDefault = 4222;

/** undefined where each node starts a server of its own. @throws RequestError 'bad-request' */
export function externalNats({ cluster }: Config): ExternalNatsSettings | undefined {
  if (cluster.engine === 'embedded') return undefined;
  const urls = cluster.engine.split(',').map((part) => parseUrl(part.trim()));
  const isSecure = urls.some(({ protocol }) => protocol === 'tls:') || [cluster.nats_ca_cert, cluster.nats_cert, cluster.nats_key].some((file) => file !== undefined);
  if ((cluster.nats_cert === undefined) !== (cluster.nats_key === undefined)) throw new RequestError('bad-request', 'cluster.nats_cert and cluster.nats_key belong together');
  for (const monitor of cluster.nats_monitor_urls) if (!/^https?:\/\//.test(monitor) || !URL.canParse(monitor)) throw new RequestError('bad-request', `cluster.nats_monitor_urls: ${monitor} is no http:// URL`);
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port === '' ? portDefault : port}`),
    credentialsFile: cluster.nats_credentials_file, nkeyFile: cluster.nats_nkey_file,
    tls: isSecure ? { caFile: cluster.nats_ca_cert, certFile: cluster.nats_cert, keyFile: cluster.nats_key } : undefined,
    monitors: cluster.nats_monitor_urls, allowsUnsynced: cluster.nats_allow_unsynced, replicas: cluster.nats_replicas,
  };
}

/** `nats://host:port`, `tls://host:port`, or behind the first of a list `host:port` alone. */
function parseUrl(part: string): URL {
  const text = part.includes('://') ? part : `nats://${part}`;
  const url = /^(nats|tls):\/\//.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === '') throw new RequestError('bad-request', `cluster.engine must be embedded or nats://host:port,… (tls://… for TLS), not ${JSON.stringify(part.replace(/\/\/.*@/, '//…@'))}`);
  if (url.username !== '' || url.password !== '') throw new RequestError('bad-request', 'cluster.engine holds no user: name a file in cluster.nats_credentials_file or cluster.nats_nkey_file');
  return url;
}
