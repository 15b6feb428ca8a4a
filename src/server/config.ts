// The configuration of a server and where it comes from. Later sources win: defaults, Qdrant's config files where present,
// ./nearkeep.yaml, --config-path, QDRANT__SECTION__KEY, NEARKEEP__SECTION__KEY, flags.
// Every accepted key has an effect. A key of Qdrant's that has none here is named in a warning; one whose silence would be
// unsafe (JWT) refuses the start.
import { RequestError } from '../base/errors.ts';
import { ruleProblem } from '../snapshot/address-policy.ts';

export interface Config {
  readonly service: {
    readonly host: string;
    readonly http_port: number;
    readonly max_request_size_mb: number;
    readonly http_keep_alive_timeout_sec: number;
    readonly http_client_request_timeout_sec: number;
    readonly enable_cors: boolean;
    /** Named origins; empty: same origin only, unless enable_cors. */
    readonly cors_origins: readonly string[];
    readonly api_key: string | undefined;
    readonly alt_api_key: string | undefined;
    readonly read_only_api_key: string | undefined;
    readonly enable_tls: boolean;
    /** Without a key, listen beyond loopback all the same. */
    readonly allow_no_key: boolean;
    readonly enable_snapshot_url_recovery: boolean | undefined;
    /** Hosts, addresses and networks that snapshots may be fetched from although they are not public; `*`: all. */
    readonly snapshot_url_allow: readonly string[];
    readonly metrics_prefix: string;
  };
  readonly storage: {
    readonly storage_path: string;
    readonly snapshots_path: string;
    readonly snapshots_config: {
      /** How long what a restore replaces can be brought back; 0: not at all. */
      readonly undo_hours: number;
    };
    readonly node_type: string;
    readonly collection: {
      /** Shards of a new collection for each node of a cluster, where nothing is asked. */
      readonly shard_number_per_node: number;
    };
    readonly performance: {
      /** Copies of shards that a node takes in at a time, and gives out. */
      readonly incoming_shard_transfers_limit: number;
      readonly outgoing_shard_transfers_limit: number;
    };
  };
  readonly cluster: {
    readonly enabled: boolean;
    readonly peer_id: number | undefined;
    /** Of the peer port, as other nodes reach it. */
    readonly uri: string | undefined;
    /** Of the peer port of a node whose cluster this one joins. */
    readonly bootstrap: string | undefined;
    /** host:port of the founding nodes' peer ports, this one included. */
    readonly peers: readonly string[];
    readonly secret: string | undefined;
    /** A cluster of nodes on loopback needs none. */
    readonly allow_no_secret: boolean;
    /** `embedded`: each node starts a NATS server; else servers that are there, as `nats://host:port,…`. */
    readonly engine: string;
    readonly nats_credentials_file: string | undefined;
    readonly nats_nkey_file: string | undefined;
    readonly nats_ca_cert: string | undefined;
    readonly nats_cert: string | undefined;
    readonly nats_key: string | undefined;
    readonly nats_monitor_urls: readonly string[];
    readonly nats_allow_unsynced: boolean;
    readonly nats_replicas: number;
    readonly nats_client_port: number | undefined;
    readonly nats_monitor_port: number | undefined;
    readonly grpc_timeout_ms: number;
    readonly p2p: {
      /** To listen on; undefined: the port of the uri. */
      readonly port: number | undefined;
      readonly connection_pool_size: number;
      readonly enable_tls: boolean;
    };
    readonly consensus: { readonly bootstrap_timeout_sec: number };
  };
  readonly tls: {
    /** Files in PEM form. */
    readonly cert: string | undefined;
    readonly key: string | undefined;
    /** Of the authorities whose certificates other nodes show. */
    readonly ca_cert: string | undefined;
    /** Seconds after which the files are looked at again. */
    readonly cert_ttl: number;
  };
  readonly log_level: string;
  readonly log_format: 'json' | 'text' | 'auto';
}

type Kind = 'text' | 'integer' | 'boolean' | 'list';

interface KeyRule {
  readonly kind: Kind;
  readonly fallback: string | number | boolean | readonly string[] | undefined;
  readonly from?: number;
  readonly to?: number;
}

const port = { kind: 'integer', from: 0, to: 65535 } as const;

/** `section.key` → how it is read. */
const rules: Readonly<Record<string, KeyRule>> = {
  'service.host': { kind: 'text', fallback: '127.0.0.1' },
  'service.http_port': { ...port, fallback: 6333 },
  'service.max_request_size_mb': { kind: 'integer', fallback: 32, from: 1, to: 1024 },
  'service.http_keep_alive_timeout_sec': { kind: 'integer', fallback: 5, from: 1, to: 3600 },
  'service.http_client_request_timeout_sec': { kind: 'integer', fallback: 5, from: 1, to: 3600 },
  'service.enable_cors': { kind: 'boolean', fallback: false },
  'service.cors_origins': { kind: 'list', fallback: [] },
  'service.api_key': { kind: 'text', fallback: undefined },
  'service.alt_api_key': { kind: 'text', fallback: undefined },
  'service.read_only_api_key': { kind: 'text', fallback: undefined },
  'service.enable_tls': { kind: 'boolean', fallback: false },
  'service.allow_no_key': { kind: 'boolean', fallback: false },
  'service.enable_snapshot_url_recovery': { kind: 'boolean', fallback: undefined },
  'service.snapshot_url_allow': { kind: 'list', fallback: [] },
  'service.metrics_prefix': { kind: 'text', fallback: '' },
  'storage.storage_path': { kind: 'text', fallback: './storage' },
  'storage.snapshots_path': { kind: 'text', fallback: './snapshots' },
  'storage.snapshots_config.undo_hours': { kind: 'integer', fallback: 24, from: 0, to: 24 * 366 },
  'storage.node_type': { kind: 'text', fallback: 'Normal' },
  'storage.collection.shard_number_per_node': { kind: 'integer', fallback: 1, from: 1, to: 1000 },
  'storage.performance.incoming_shard_transfers_limit': { kind: 'integer', fallback: 1, from: 1, to: 1000 },
  'storage.performance.outgoing_shard_transfers_limit': { kind: 'integer', fallback: 1, from: 1, to: 1000 },
  'cluster.enabled': { kind: 'boolean', fallback: false },
  'cluster.peer_id': { kind: 'integer', fallback: undefined, from: 1 },
  'cluster.uri': { kind: 'text', fallback: undefined },
  'cluster.bootstrap': { kind: 'text', fallback: undefined },
  'cluster.peers': { kind: 'list', fallback: [] },
  'cluster.secret': { kind: 'text', fallback: undefined },
  'cluster.allow_no_secret': { kind: 'boolean', fallback: false },
  'cluster.engine': { kind: 'text', fallback: 'embedded' },
  'cluster.nats_credentials_file': { kind: 'text', fallback: undefined },
  'cluster.nats_nkey_file': { kind: 'text', fallback: undefined },
  'cluster.nats_ca_cert': { kind: 'text', fallback: undefined },
  'cluster.nats_cert': { kind: 'text', fallback: undefined },
  'cluster.nats_key': { kind: 'text', fallback: undefined },
  'cluster.nats_monitor_urls': { kind: 'list', fallback: [] },
  'cluster.nats_allow_unsynced': { kind: 'boolean', fallback: false },
  'cluster.nats_replicas': { kind: 'integer', fallback: 3, from: 1, to: 5 },
  'cluster.nats_client_port': { ...port, fallback: undefined },
  'cluster.nats_monitor_port': { ...port, fallback: undefined },
  'cluster.grpc_timeout_ms': { kind: 'integer', fallback: 5000, from: 100, to: 3_600_000 },
  'cluster.p2p.port': { ...port, fallback: undefined },
  'cluster.p2p.enable_tls': { kind: 'boolean', fallback: false },
  'cluster.p2p.connection_pool_size': { kind: 'integer', fallback: 16, from: 1, to: 1024 },
  'cluster.consensus.bootstrap_timeout_sec': { kind: 'integer', fallback: 60, from: 1, to: 3600 },
  'tls.cert': { kind: 'text', fallback: undefined },
  'tls.key': { kind: 'text', fallback: undefined },
  'tls.ca_cert': { kind: 'text', fallback: undefined },
  'tls.cert_ttl': { kind: 'integer', fallback: 3600, from: 1, to: 365 * 86_400 },
  log_level: { kind: 'text', fallback: 'info' },
  log_format: { kind: 'text', fallback: 'auto' },
};

/** Qdrant's keys whose effect nearkeep does not have; what to say about them. */
const withoutEffect: Readonly<Record<string, string>> = {
  'service.grpc_port': 'gRPC is not served by this version',
  'service.metrics_port': '/metrics is served on the REST port only',
  'service.max_workers': 'one event loop serves REST, searches run on the native pool',
  'service.http_client_disconnect_timeout_sec': 'connections are closed at once',
  'service.verify_https_client_certificate': 'clients are known by their keys',
  'service.enforce_internal_auth': 'there are no peers on one node',
  'service.hide_jwt_dashboard': 'there is no dashboard in this version',
  'service.static_content_dir': 'there is no dashboard in this version',
  'service.enable_static_content': 'there is no dashboard in this version',
  'service.slow_query_secs': 'there is no slow query log in this version',
  'service.hardware_reporting': 'usage is not reported by this version',
  'storage.temp_path': 'restores are staged in the data directory, so that a rename can commit them',
  'storage.on_disk_payload': 'payloads always lie on disk',
  ['telemetry_disabled']: 'nearkeep never sends telemetry',
};
const sectionsWithoutEffect = ['storage.', 'cluster.', 'tls.', 'audit.', 'logger.', 'gpu.', 'inference.'];
const refusedWhenTrue: Readonly<Record<string, string>> = {
  'service.jwt_rbac': 'JWT access is not served by this version; use api_key and read_only_api_key, or unset service.jwt_rbac',
};

/** One layer of settings: flat `section.key` → raw value, and where it comes from. */
export interface ConfigSource {
  readonly origin: string;
  readonly values: ReadonlyMap<string, unknown>;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
}

/** Joins the layers, later ones win. @throws RequestError 'bad-request' naming key, value and origin. */
export function resolveConfig(sources: readonly ConfigSource[]): LoadedConfig {
  const warnings: string[] = [];
  const merged = new Map<string, { readonly raw: unknown; readonly origin: string }>();
  for (const { origin, values } of sources) {
    for (const [key, raw] of values) merged.set(key, { raw, origin });
  }
  const values: Record<string, unknown> = {};
  for (const [key, rule] of Object.entries(rules)) values[key] = rule.fallback;
  for (const [key, { raw, origin }] of merged) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
    if (rule !== undefined) values[key] = readValue(key, rule, { raw, origin });
    else warnings.push(...judgeOtherKey(key, raw, origin));
  }
  return { config: nest(values), warnings };
}

/** QDRANT__SERVICE__API_KEY=x → service.api_key; for both prefixes, NEARKEEP__ after QDRANT__. */
export function environmentSources(environment: Readonly<Record<string, string | undefined>>): readonly ConfigSource[] {
  return ['QDRANT__', 'NEARKEEP__'].map((prefix) => {
    const values = new Map<string, unknown>();
    for (const [name, value] of Object.entries(environment)) {
      if (!name.startsWith(prefix) || value === undefined) continue;
      values.set(name.slice(prefix.length).toLowerCase().replaceAll('__', '.'), value);
    }
    return { origin: `environment ${prefix}…`, values };
  });
}

/** A parsed YAML document → flat keys. */
export function flatten(document: unknown, prefix = ''): ReadonlyMap<string, unknown> {
  const flat = new Map<string, unknown>();
  if (typeof document !== 'object' || document === null) return flat;
  for (const [name, value] of Object.entries(document)) {
    const key = prefix === '' ? name : `${prefix}.${name}`;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [inner, innerValue] of flatten(value, key)) flat.set(inner, innerValue);
    } else {
      flat.set(key, value);
    }
  }
  return flat;
}

function readValue(key: string, rule: KeyRule, given: { readonly raw: unknown; readonly origin: string }): unknown {
  const { raw, origin } = given;
  const refuse = (wanted: string): never => {
    throw new RequestError('bad-request', `${key} from ${origin} must be ${wanted}, not ${JSON.stringify(raw)}`);
  };
  if (raw === null) return rule.fallback;
  switch (rule.kind) {
    case 'text': {
      if (typeof raw !== 'string' && typeof raw !== 'number' && typeof raw !== 'boolean') return refuse('text');
      return raw === '' ? rule.fallback : String(raw);
    }
    case 'boolean':
      if (raw === true || raw === 'true' || raw === '1') return true;
      if (raw === false || raw === 'false' || raw === '0') return false;
      return refuse('true or false');
    case 'integer': {
      const value = typeof raw === 'string' && /^\d+$/.test(raw) ? Number(raw) : raw;
      const from = rule.from ?? 0;
      const to = rule.to ?? Number.MAX_SAFE_INTEGER;
      if (typeof value !== 'number' || !Number.isInteger(value) || value < from || value > to)
        return refuse(`an integer from ${from} to ${to}`);
      return value;
    }
    case 'list':
      if (typeof raw === 'string')
        return raw
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== '');
      if (Array.isArray(raw) && raw.every((part) => typeof part === 'string')) return raw;
      return refuse('a list of texts');
  }
}

/** Warnings about a key that no rule reads. @throws RequestError for one that must not be ignored. */
function judgeOtherKey(key: string, raw: unknown, origin: string): readonly string[] {
  const refusal = refusedWhenTrue[key];
  if (refusal !== undefined) {
    if (raw === true || raw === 'true' || raw === '1') throw new RequestError('bad-request', refusal);
    return [];
  }
  const reason = withoutEffect[key];
  if (reason !== undefined) return [`${key} (${origin}) has no effect: ${reason}`];
  if (sectionsWithoutEffect.some((section) => key.startsWith(section)))
    return [`${key} (${origin}) has no effect in this version`];
  const near = nearestKey(key);
  return [`unknown setting ${key} (${origin})${near === undefined ? '' : `; did you mean ${near}?`}`];
}

function nearestKey(key: string): string | undefined {
  const last = key.split('.').at(-1) ?? key;
  const known = Object.keys(rules);
  return (
    known.find((candidate) => candidate.split('.').at(-1) === last) ?? known.find((candidate) => distance(candidate, key) <= 3)
  );
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function nest(values: Readonly<Record<string, unknown>>): Config {
  const nested: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) {
    const sections = key.split('.');
    const name = sections.pop() ?? key;
    let place = nested;
    for (const section of sections) place = (place[section] ??= {}) as Record<string, unknown>;
    place[name] = value;
  }
  const config = nested as unknown;
  return checkedConfig(config as Config);
}

function checkedConfig(config: Config): Config {
  if (!['json', 'text', 'auto'].includes(config.log_format))
    throw new RequestError('bad-request', `log_format must be json, text or auto, not ${config.log_format}`);
  const level = config.log_level.toLowerCase();
  if (!['trace', 'debug', 'info', 'warn', 'error', 'silent'].includes(level)) {
    throw new RequestError('bad-request', `log_level must be trace, debug, info, warn, error or silent, not ${config.log_level}`);
  }
  for (const rule of config.service.snapshot_url_allow) {
    const problem = ruleProblem(rule);
    if (problem !== undefined) throw new RequestError('bad-request', `service.snapshot_url_allow: ${JSON.stringify(rule)} must be ${problem}`);
  }
  if (!['Normal', 'Listener'].includes(config.storage.node_type)) throw new RequestError('bad-request', `storage.node_type must be Normal or Listener, not ${config.storage.node_type}`);
  return { ...config, log_level: level };
}
