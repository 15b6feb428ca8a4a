// From the configuration to what a node of a cluster needs to know.
import { RequestError } from '../base/errors.ts';
import type { NodeTls } from '../cluster/node-tls.ts';
import type { ClusterSettings } from '../engine/cluster-settings.ts';
import { isLoopback, type Config } from './config.ts';

/** Of clusters whose nodes cannot be reached from other machines. */
const portDefault = 6335;
const loopbackSecret = 'a cluster on loopback alone';

/** @throws RequestError 'bad-request' where the settings cannot make a node, or would make an open one */
export function clusterSettings({ cluster, storage }: Config, tls: NodeTls | undefined): ClusterSettings {
  const { p2p, peers } = cluster;
  if (peers.length === 0) throw new RequestError('bad-request', 'a node of a cluster needs the list of the founding nodes: --peers host:port,…');
  const scheme = tls === undefined ? 'http:' : 'https:';
  const uri = new URL(cluster.uri ?? `${scheme}//${ownOf(peers, p2p.port ?? portDefault)}`);
  if (uri.protocol !== scheme) throw new RequestError('bad-request', `cluster.uri, ${uri.origin}, must begin with ${scheme}// as long as cluster.p2p.enable_tls is ${String(p2p.enable_tls)}`);
  const isLocal = peers.every((peer) => isLoopback(peer.slice(0, peer.lastIndexOf(':'))));
  if (cluster.secret === undefined && !isLocal && !cluster.allow_no_secret) {
    throw new RequestError('bad-request', 'a cluster beyond loopback needs a secret that all nodes share: --cluster-secret-file, or cluster.allow_no_secret=true to do without');
  }
  return {
    uri: uri.origin, host: isLocal ? '127.0.0.1' : '0.0.0.0', peerPort: p2p.port ?? (Number(uri.port) || portDefault), peers, secret: cluster.secret ?? loopbackSecret, peerId: cluster.peer_id,
    tls, listener: storage.node_type === 'Listener', shardsPerNode: storage.collection.shard_number_per_node, connectionsMax: p2p.connection_pool_size,
    timeoutMs: cluster.grpc_timeout_ms, quorumTimeoutMs: cluster.consensus.bootstrap_timeout_sec * 1000,
    natsServer: process.env['NATS_SERVER_BIN'] === '' ? undefined : process.env['NATS_SERVER_BIN'], searchPath: process.env['PATH'] ?? '', natsClientPort: cluster.nats_client_port, natsMonitorPort: cluster.nats_monitor_port,
  };
}

/** The founding node that has this peer port, where that says which one it is. */
function ownOf(peers: readonly string[], port: number): string {
  const own = peers.filter((peer) => peer.endsWith(`:${port}`));
  if (own.length === 1 && own[0] !== undefined) return own[0];
  throw new RequestError('bad-request', `which of ${peers.join(',')} is this node? Say so with --uri`);
}
