// What a person sees at start: a few lines on stderr.
import type { ClusterFacts } from '../cluster/cluster-node.ts';
import type { Config } from './config.ts';

export interface BannerFacts {
  readonly version: string;
  readonly dataDirectory: string;
  readonly snapshotsDirectory: string;
  readonly freeBytes: number;
  readonly address: string;
  readonly kernel: string;
  readonly collections: number;
  /** undefined on one node. */
  readonly cluster: ClusterFacts | undefined;
}

export function bannerLines(facts: BannerFacts, config: Config): readonly string[] {
  const { api_key, alt_api_key, read_only_api_key } = config.service;
  const keys = [api_key && 'api_key', alt_api_key && 'alt_api_key', read_only_api_key && 'read_only_api_key'].filter(Boolean);
  const kernel = facts.kernel === 'wasm' ? 'wasm, exact scan only (no native addon; install a C++ compiler and run npm rebuild)' : facts.kernel;
  const { cluster } = facts;
  return [
    `nearkeep ${facts.version}`,
    `  data       ${facts.dataDirectory} (${(facts.freeBytes / 1e9).toFixed(1)} GB free, ${facts.collections} collections)`,
    `  snapshots  ${facts.snapshotsDirectory}`,
    `  REST       ${facts.address}`,
    `  kernel     ${kernel}`,
    `  access     ${keys.length === 0 ? 'open: no API key is set' : `key required (${keys.join(', ')})`}`,
    ...(cluster === undefined ? [] : [
      `  cluster    ${cluster.up} of ${cluster.of} up, this is peer ${cluster.peerId} at ${cluster.url}`,
      `  log        nats-server ${cluster.nats} at ${cluster.natsUrl}`,
    ]),
  ];
}
