// nearkeep serve: flags → configuration → a running server until a signal.
import path from 'node:path';
import { NodeDisk } from '../fs/node-disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import type { Disk } from '../fs/disk.ts';
import { loadConfig } from '../server/load-config.ts';
import { serveUntilSignal } from '../server/signals.ts';
import { EXIT, UsageError } from './exit-codes.ts';
import type { StartRestore } from '../snapshot/start-restore.ts';
import type { Output } from './output.ts';
import { parseFlags } from './parse.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

/** Qdrant's flags whose meaning this version does not have: refused, never ignored. */
const refused: Readonly<Record<string, string>> = {
  reinit: 'a node comes to another cluster with an empty data directory',
  stacktrace: 'stack traces are not served by this version',
};

export async function run(args: readonly string[], output: Output): Promise<number> {
  const { values } = parseFlags(args, {
    data: text, host: text, port: text, cors: { type: 'string', multiple: true }, 'log-format': text, 'log-level': text,
    'config-path': text, config: text, 'api-key': text, 'api-key-file': text,
    uri: text, peers: text, 'peer-port': text, 'cluster-secret-file': text, bootstrap: text, reinit: flag, snapshot: { type: 'string', multiple: true }, 'collection-snapshot': { type: 'string', multiple: true },
    'storage-snapshot': text, 'force-snapshot': { type: 'boolean', short: 'f', default: false },
    stacktrace: flag, 'disable-telemetry': flag,
  });
  for (const [name, reason] of Object.entries(refused)) {
    if (values[name as keyof typeof values] !== undefined) throw new UsageError(`--${name}: ${reason}`);
  }
  const disk = new NodeDisk();
  if (values['api-key'] !== undefined) output.note('warning: a key on the command line is visible in the process list; use --api-key-file or QDRANT__SERVICE__API_KEY');
  const flags = await flagValues(disk, values, process.env);
  const { config, warnings } = await loadConfig({
    disk, flags, workingDirectory: process.cwd(), environment: process.env, configPath: values['config-path'] ?? values.config,
  });
  for (const warning of warnings) output.note(`warning: ${warning}`);
  await serveUntilSignal(config, startRestore(values));
  return EXIT.ok;
}

interface SnapshotFlags {
  readonly snapshot?: string[] | undefined;
  readonly 'collection-snapshot'?: string[] | undefined;
  readonly 'storage-snapshot'?: string | undefined;
  readonly 'force-snapshot'?: boolean | undefined;
}

/** `<path>:<collection>`, split at the last colon. @throws UsageError */
function startRestore(values: SnapshotFlags): StartRestore {
  const collections = [...(values.snapshot ?? []), ...(values['collection-snapshot'] ?? [])].map((text) => {
    const colon = text.lastIndexOf(':');
    const name = text.slice(colon + 1);
    if (colon <= 0 || name === '' || name.includes('/')) throw new UsageError(`--snapshot must be PATH:COLLECTION, not ${text}`);
    return { path: path.resolve(text.slice(0, colon)), name };
  });
  const storage = values['storage-snapshot'];
  return { collections, force: values['force-snapshot'] === true, ...(storage === undefined ? {} : { storage: path.resolve(storage) }) };
}

interface ServeFlags {
  readonly data?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly cors?: string[] | undefined;
  readonly 'log-format'?: string | undefined;
  readonly 'log-level'?: string | undefined;
  readonly 'api-key'?: string | undefined;
  readonly 'api-key-file'?: string | undefined;
  readonly uri?: string | undefined;
  readonly peers?: string | undefined;
  readonly bootstrap?: string | undefined;
  readonly 'peer-port'?: string | undefined;
  readonly 'cluster-secret-file'?: string | undefined;
}

async function flagValues(disk: Disk, values: ServeFlags, environment: NodeJS.ProcessEnv): Promise<ReadonlyMap<string, unknown>> {
  const flags = new Map<string, unknown>();
  const put = (key: string, value: unknown): void => {
    if (value !== undefined) flags.set(key, value);
  };
  put('storage.storage_path', values.data);
  put('storage.snapshots_path', values.data === undefined ? undefined : `${values.data}/snapshots`);
  put('service.host', values.host);
  put('service.http_port', values.port);
  put('service.cors_origins', values.cors);
  const uri = values.uri ?? environment['QDRANT_URI'];
  const bootstrap = values.bootstrap ?? environment['QDRANT_BOOTSTRAP'];
  put('cluster.uri', uri);
  put('cluster.bootstrap', bootstrap);
  put('cluster.peers', values.peers);
  put('cluster.enabled', [uri, bootstrap, values.peers].some((value) => value !== undefined) ? true : undefined);
  put('cluster.p2p.port', values['peer-port']);
  put('log_format', values['log-format']);
  put('log_level', values['log-level']);
  put('service.api_key', values['api-key']);
  const keyFile = values['api-key-file'];
  if (keyFile !== undefined) {
    const bytes = await readOptionalFile(disk, keyFile);
    if (bytes === undefined) throw new UsageError(`--api-key-file ${keyFile} does not exist`);
    put('service.api_key', bytes.toString('utf8').trim());
  }
  const secretFile = values['cluster-secret-file'];
  if (secretFile !== undefined) {
    const bytes = await readOptionalFile(disk, secretFile);
    if (bytes === undefined) throw new UsageError(`--cluster-secret-file ${secretFile} does not exist`);
    put('cluster.secret', bytes.toString('utf8').trim());
  }
  return flags;
}
