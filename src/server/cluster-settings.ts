// From the configuration to what a node of a cluster needs to know.
import { RequestError } from '../base/errors.ts';
import type { NodeTls } from '../cluster/node-tls.ts';
import type { ClusterSettings } from '../engine/cluster-settings.ts';
import type { Config } from './config.ts';
import { externalNats } from './external-nats.ts';

/** @throws RequestError 'bad-request' where the settings cannot make a node */
export function clusterSettings(config: Config, tls: NodeTls | undefined): ClusterSettings {
  const { cluster, storage } = config;
  const { p2p } = cluster;
  const scheme = tls === undefined ? 'http:' : 'https:';
  const urlOf = (key: string, text: string | undefined): string | undefined => {
    if (text === undefined) return undefined;
    if (!URL.canParse(text)) throw new RequestError('bad-request', `${key}, ${text}, must be a URL such as ${scheme}//host:6335`);
    const url = new URL(text);
    if (url.protocol !== scheme) throw new RequestError('bad-request', `${key}, ${url.origin}, must begin with ${scheme}// as long as cluster.p2p.enable_tls is ${String(p2p.enable_tls)}`);
    return url.origin;
  };
  return {
    uri: urlOf('cluster.uri', cluster.uri), bootstrap: urlOf('cluster.bootstrap', cluster.bootstrap), peerPort: p2p.port, peers: cluster.peers, secret: cluster.secret, allowNoSecret: cluster.allow_no_secret, peerId: cluster.peer_id,
    tls, listener: storage.node_type === 'Listener', shardsPerNode: storage.collection.shard_number_per_node,
    transfersMax: { incoming: storage.performance.incoming_shard_transfers_limit, outgoing: storage.performance.outgoing_shard_transfers_limit }, connectionsMax: p2p.connection_pool_size,
    timeoutMs: cluster.grpc_timeout_ms, quorumTimeoutMs: cluster.consensus.bootstrap_timeout_sec * 1000,
    external: externalNats(config), natsServer: process.env['NATS_SERVER_BIN'] === '' ? undefined : process.env['NATS_SERVER_BIN'], searchPath: process.env['PATH'] ?? '', natsClientPort: cluster.nats_client_port, natsMonitorPort: cluster.nats_monitor_port,
  };
}
