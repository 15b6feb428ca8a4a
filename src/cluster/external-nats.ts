// NATS servers that somebody else runs, in the place of a child of each node. The node connects and watches; it starts and stops nothing.
//
// Invariants:
// - A node does not start on servers that may forget what they acknowledged: every server whose monitor is named must sync each write,
//   and without monitors the operator has said that it does.
// - A log has fewer than three copies only where the operator has said how many.
// - The account belongs to one cluster: its name stands in the metadata, and a node of another cluster goes no further.
import { checkServerIdentity } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { credsAuthenticator, errors, nkeyAuthenticator, type Authenticator, type ServerInfo, type TlsOptions } from '@nats-io/transport-node';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Metastore } from '../collection/metastore.ts';
import type { Disk } from '../fs/disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { judgeNatsVersion } from './nats-binary.ts';
import { NatsClient } from './nats-client.ts';
import type { NatsService, NatsState } from './nats-service.ts';
import { messageBytesMax } from './shard-stream.ts';

const watchMs = 2_000;
const askTimeoutMs = 2_000;
const retryMs = 500;
const clusterKey = 'cluster';

export interface ExternalNatsSettings {
  /** host:port of each. */
  readonly servers: readonly string[];
  /** How the node shows who it is: a file of credentials (JWT and seed), or one that holds the seed of an nkey. */
  readonly credentialsFile: string | undefined;
  readonly nkeyFile: string | undefined;
  /** Defined: a server without TLS is not talked to. The system's authorities where no file is named. */
  readonly tls: { readonly caFile: string | undefined; readonly certFile: string | undefined; readonly keyFile: string | undefined } | undefined;
  /** URLs of the servers' monitors, which say whether they sync each write. */
  readonly monitors: readonly string[];
  /** The operator vouches for the durability that no monitor shows. */
  readonly allowsUnsynced: boolean;
  /** Copies of each log. */
  readonly replicas: number;
}

interface Options {
  readonly settings: ExternalNatsSettings;
  readonly name: string;
  readonly timeoutMs: number;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the wait for a server. */
  readonly signal: AbortSignal | undefined;
}

export class ExternalNats implements NatsService {
  readonly client: NatsClient;
  readonly #options: Options;
  #timer: NodeJS.Timeout | undefined;
  #watching: Promise<void> = Promise.resolve();
  #isStopping = false;
  #isEnabled = true;
  #lastError: string | undefined;

  private constructor(client: NatsClient, options: Options) {
    this.client = client;
    this.#options = options;
  }

  /** @throws RequestError where no server can be reached in time, or those that are there would not keep what they are given */
  static async connect(options: Options): Promise<ExternalNats> {
    const { settings, logger } = options;
    const client = await connectInTime(options, await authenticatorOf(options));
    try {
      judgeServer(client.connection.info, settings, logger);
      await judgeDurability(options);
      return new ExternalNats(client, options);
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** Of the server that the node is connected with. */
  get version(): string {
    return this.client.connection.info?.version ?? '';
  }

  get clientUrl(): string {
    return `nats://${this.client.connection.getServer()}`;
  }

  /** `isEnabled`: the metadata has a leader. */
  get state(): NatsState {
    return { isRunning: !this.client.connection.isClosed(), isEnabled: this.#isEnabled, isDiskFull: false, restarts: 0, lastError: this.#lastError };
  }

  async monitor(query: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    for (const url of this.#options.settings.monitors) {
      const answer = await ask(url, query);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  /** Nothing to do: files are read at each connection. */
  reload(): Promise<void> {
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.client.close();
    await this.#watching;
  }

  /** From here on `state` follows a stream: that of the metadata. */
  watch(stream: string): void {
    if (this.#isStopping) return;
    this.#timer = setTimeout(() => {
      this.#watching = this.#look(stream).finally(() => this.watch(stream));
    }, watchMs);
    this.#timer.unref();
  }

  /** Whether the stream has a leader, and whether a server that came back syncs what it is given. */
  async #look(stream: string): Promise<void> {
    const { logger, settings } = this.#options;
    const found = await this.client.manager.streams.info(stream).then(({ cluster }) => ({ hasLeader: cluster === undefined || (cluster.leader ?? '') !== '', problem: 'the metadata has no leader' }), (error: unknown) => ({ hasLeader: false, problem: String(error) }));
    const unsynced = settings.allowsUnsynced ? [] : (await syncOf(settings.monitors)).filter(({ isSynced }) => isSynced === false);
    const problem = unsynced.length > 0 ? `${unsynced.map(({ url }) => url).join(', ')} does not sync every write` : found.hasLeader ? undefined : found.problem;
    if (problem !== undefined && problem !== this.#lastError && !this.#isStopping) logger.error({ problem }, 'the external NATS is not as it must be');
    this.#isEnabled = found.hasLeader;
    this.#lastError = problem;
  }
}

/** @throws RequestError 'forbidden' where the account holds the data of another cluster */
export async function claimAccount(metastore: Metastore, name: string): Promise<void> {
  await metastore.create(clusterKey, { name });
  const owner = (await metastore.get(clusterKey))?.value as { readonly name: string } | undefined;
  if (owner?.name !== name) throw new RequestError('forbidden', 'the NATS account holds another cluster: its secret is not that of this node. Each cluster needs an account of its own');
}

async function connectInTime({ settings, name, timeoutMs, clock, logger, signal }: Options, authenticator: Authenticator): Promise<NatsClient> {
  const servers = settings.servers.join(', ');
  const until = clock.monotonic() + timeoutMs;
  for (let isSaid = false; ; await sleep(retryMs)) {
    signal?.throwIfAborted();
    try {
      return await NatsClient.connect({ url: settings.servers, user: authenticator, name, clock, tls: tlsOf(settings), waits: false });
    } catch (error) {
      if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError) throw new RequestError('unavailable', `the NATS at ${servers} does not let this node in: ${error.message}`, { cause: error });
      if (clock.monotonic() > until) throw new RequestError('unavailable', `the NATS at ${servers} cannot be reached: ${messageOf(error)}`, { cause: error });
      if (!isSaid) logger.warn({ servers, error: messageOf(error) }, 'the external NATS cannot be reached yet');
      isSaid = true;
    }
  }
}

/** The client library knows no name where a server is given by its address: what counts is that the certificate is of one of the servers. */
function tlsOf({ tls, servers }: ExternalNatsSettings): TlsOptions | undefined {
  if (tls === undefined) return undefined;
  const { caFile, certFile, keyFile } = tls;
  const hosts = servers.map((server) => new URL(`nats://${server}`).hostname.replace(/^\[|\]$/g, ''));
  const judged = {
    checkServerIdentity: (_: string, certificate: Parameters<typeof checkServerIdentity>[1]) => {
      const problems = hosts.map((host) => checkServerIdentity(host, certificate));
      return problems.includes(undefined) ? undefined : problems[0];
    },
  };
  return { ...judged, ...(caFile === undefined ? {} : { caFile }), ...(certFile === undefined ? {} : { certFile }), ...(keyFile === undefined ? {} : { keyFile }) };
}

async function authenticatorOf({ settings: { credentialsFile, nkeyFile }, disk }: Options): Promise<Authenticator> {
  const file = credentialsFile ?? nkeyFile;
  if (file === undefined || (credentialsFile !== undefined && nkeyFile !== undefined)) throw new RequestError('bad-request', 'an external NATS needs cluster.nats_credentials_file or cluster.nats_nkey_file, one of both');
  const bytes = await readOptionalFile(disk, file);
  if (bytes === undefined) throw new RequestError('bad-request', `${file}, which is to tell the external NATS who this node is, does not exist`);
  const authenticator = credentialsFile === undefined ? nkeyAuthenticator(Buffer.from(bytes.toString('latin1').trim())) : credsAuthenticator(bytes);
  try {
    authenticator('a nonce');
  } catch (error) {
    // what the library says could quote the file
    throw new RequestError('bad-request', `${file} holds no ${credentialsFile === undefined ? 'seed of an nkey' : 'credentials of NATS'}`, { cause: error });
  }
  return authenticator;
}

function judgeServer(info: ServerInfo | undefined, { replicas }: ExternalNatsSettings, logger: Logger): void {
  const { version = '', max_payload: payloadBytesMax = 0, cluster } = info ?? {};
  const { problem, advice } = judgeNatsVersion(version);
  if (problem !== undefined) throw new RequestError('unavailable', `the external NATS is ${problem}`);
  if (advice !== undefined) logger.warn({}, advice);
  if (payloadBytesMax < messageBytesMax) throw new RequestError('unavailable', `the external NATS takes messages of ${payloadBytesMax} bytes, a cluster needs ${messageBytesMax}: set max_payload: 64MB in its configuration`);
  if (replicas > 1 && (cluster ?? '') === '') throw new RequestError('unavailable', `the external NATS is one server, where cluster.nats_replicas asks for ${replicas} copies of each log; 1 accepts that the log is lost with its only disk`);
  if (replicas === 1) logger.warn({}, 'each log has one copy (cluster.nats_replicas): what its server loses is lost');
}

/** @throws RequestError 'unavailable' */
async function judgeDurability({ settings: { monitors, allowsUnsynced }, logger }: Options): Promise<void> {
  if (allowsUnsynced) {
    logger.warn({}, 'the external NATS is taken to sync every write (cluster.nats_allow_unsynced): where it does not, a power cut loses what was acknowledged');
    return;
  }
  if (monitors.length === 0) throw new RequestError('unavailable', 'nothing shows that the external NATS syncs every write: name the monitors of its servers in cluster.nats_monitor_urls, or vouch for it with cluster.nats_allow_unsynced=true');
  const found = await syncOf(monitors);
  for (const { url, isSynced } of found) if (isSynced === false) throw new RequestError('unavailable', `the NATS server at ${url} does not sync every write; set sync_interval: always in its jetstream section`);
  const silent = found.filter(({ isSynced }) => isSynced === undefined).map(({ url }) => url);
  if (silent.length === found.length) throw new RequestError('unavailable', `no monitor of the external NATS answers: ${silent.join(', ')}`);
  if (silent.length > 0) logger.warn({ silent }, 'not every monitor of the external NATS answers');
}

/** undefined where a monitor does not answer. */
async function syncOf(monitors: readonly string[]): Promise<readonly { readonly url: string; readonly isSynced: boolean | undefined }[]> {
  return await Promise.all(monitors.map(async (url) => {
    const config = (await ask(url, 'jsz?config=true'))?.['config'];
    return { url, isSynced: typeof config === 'object' && config !== null ? (config as { readonly sync_always?: boolean }).sync_always === true : undefined };
  }));
}

async function ask(url: string, query: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const answer: unknown = await fetch(new URL(`/${query}`, url), { signal: AbortSignal.timeout(askTimeoutMs) }).then((response) => response.json()).catch(() => undefined);
  return typeof answer === 'object' && answer !== null ? (answer as Readonly<Record<string, unknown>>) : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
