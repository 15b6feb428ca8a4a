// This node's NATS server: a child process that is started, watched, restarted, and that never outlives the node.
//
// Invariants:
// - The configuration stands whole on disk before the program reads it.
// - A server that does not sync every write is stopped again: what it acknowledges would not survive a power cut.
// - At most one server runs on the store: one that an earlier process left behind is killed before a new one starts.
import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import { isAlive } from '../base/process-alive.ts';
import type { Logger } from '../base/logger.ts';
import { makeDirectoryDurably, writeFileAtomically } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import type { NatsBinary } from './nats-binary.ts';
import { natsConfigText, natsSecrets, type NatsConfig } from './nats-config.ts';
import type { NatsService, NatsState } from './nats-service.ts';

/** Sends the signal to the child when its parent is gone, however it went. Part of util-linux. */
const parentDeathPrograms = ['/usr/bin/setpriv', '/bin/setpriv'];
const startTimeoutMs = 30_000;
const stopTimeoutMs = 30_000;
const reloadTimeoutMs = 10_000;
const watchMs = 2_000;
const pollMs = 50;
const backOffMs = { first: 500, last: 10_000 } as const;
const lastLines = 12;
const fullDisk = 'JetStream is switched off: the disk is full';
/** JetStream that a full disk has switched off is started again above this much room. */
const restartBytesMin = 64 << 20;

export interface NatsServerOptions {
  readonly binary: NatsBinary;
  /** Of its own; everything of the server lies below it. */
  readonly directory: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Omit<NatsConfig, 'storeDirectory' | 'pidFile'>;
}

export class NatsServer implements NatsService {
  readonly #options: NatsServerOptions;
  readonly #output: string[] = [];
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #watching: Promise<void> = Promise.resolve();
  #isStopping = false;
  #isEnabled = false;
  #restarts = 0;
  #waitMs: number = backOffMs.first;
  #lastError: string | undefined;

  private constructor(options: NatsServerOptions) {
    this.#options = options;
  }

  /** Resolves when the server answers; a quorum may still be missing. @throws RequestError with what the server said last */
  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const server = new NatsServer(options);
    try {
      await server.#begin();
    } catch (error) {
      await server.stop();
      throw error;
    }
    server.#plan();
    return server;
  }

  get clientUrl(): string {
    return `nats://127.0.0.1:${this.#options.config.clientPort}`;
  }

  /** Of the running child.  @internal for tests that kill it */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get state(): NatsState {
    return { isRunning: this.#child?.exitCode === null, isEnabled: this.#isEnabled, isDiskFull: this.#lastError === fullDisk, restarts: this.#restarts, lastError: this.#lastError };
  }

  /** What the server says of itself under a path of its monitor; undefined where it does not answer. */
  monitor(query: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    return ask(this.#options.config.monitorPort, query);
  }

  /** Has the server read its certificates again; open connections keep theirs. One that is down reads them when it starts. */
  async reload(): Promise<void> {
    const { clock, logger } = this.#options;
    const loadedAt = async (): Promise<unknown> => (await this.monitor('varz'))?.['config_load_time'];
    const before = await loadedAt();
    this.#child?.kill('SIGHUP');
    for (const until = clock.monotonic() + reloadTimeoutMs; clock.monotonic() < until; await delay(pollMs)) if (before === undefined || (await loadedAt()) !== before) return;
    logger.error({ said: this.#output.slice(-3) }, 'the NATS server does not take the new certificate; the one before stays');
  }

  /** Ends the child: gently at first, after 30 s by force. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#watching;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await this.#exited;
    clearTimeout(force);
  }

  async #begin(): Promise<void> {
    const { disk, directory, config, binary } = this.#options;
    const { storeDirectory, pidFile, file } = placesIn(directory);
    await makeDirectoryDurably(disk, directory);
    await makeDirectoryDurably(disk, storeDirectory);
    await killLeftOver(this.#options);
    await writeFileAtomically(disk, file, Buffer.from(natsConfigText({ ...config, storeDirectory, pidFile })));
    const program = await this.#parentDeathProgram();
    const [command, args] = program === undefined ? [binary.path, ['-c', file]] : [program, ['--pdeathsig', 'KILL', binary.path, '-c', file]];
    // In a process group of its own: an interrupt from the terminal is for the node, which stops its server in good order.
    const child = spawn(command, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'], env: { ...childEnvironment(), ...natsSecrets(config) } });
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#keepLine(error.message);
        resolve();
      });
      child.once('exit', () => resolve());
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => text.split('\n').forEach((line) => this.#keepLine(line)));
    await this.#waitUntilUp(child);
  }

  async #waitUntilUp(child: ChildProcess): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + startTimeoutMs;
    while (clock.monotonic() < until) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) break;
      const found = await this.monitor('jsz?config=true');
      if (found !== undefined && found['disabled'] !== true && typeof found['config'] === 'object' && found['config'] !== null) {
        const { sync_always: isSynced } = found['config'] as { readonly sync_always?: boolean };
        if (isSynced !== true) throw new RequestError('unavailable', 'the NATS server does not sync every write; it is not used');
        return;
      }
      await delay(pollMs);
    }
    throw new RequestError('unavailable', `the NATS server did not start: ${this.#output.join(' | ')}`);
  }

  #plan(): void {
    if (this.#isStopping) return;
    this.#timer = setTimeout(() => {
      this.#watching = this.#watch().finally(() => this.#plan());
    }, this.#child?.exitCode === null ? watchMs : this.#waitMs);
    this.#timer.unref();
  }

  /** Starts the server again where it is gone, or where JetStream was switched off by a disk that has room again. */
  async #watch(): Promise<void> {
    const { disk, directory, logger } = this.#options;
    const child = this.#child;
    const isGone = child === undefined || child.exitCode !== null || child.signalCode !== null;
    if (!isGone) {
      const health = await this.monitor('healthz?js-enabled-only=true');
      this.#isEnabled = health?.['status'] === 'ok';
      if (this.#isEnabled) {
        this.#waitMs = backOffMs.first;
        this.#lastError = undefined;
        return;
      }
      const jetstream = await this.monitor('jsz');
      if (jetstream?.['disabled'] !== true) return;
    }
    const { freeBytes } = await disk.space(directory);
    if (freeBytes < restartBytesMin) return this.#reportFull(freeBytes); // it would stop at once
    if (!isGone) {
      child.kill('SIGTERM');
      await this.#exited;
    }
    if (this.#isStopping) return;
    this.#isEnabled = false;
    this.#restarts += 1;
    logger.warn({ restarts: this.#restarts, said: this.#output.slice(-3) }, 'the NATS server is gone and is started again');
    try {
      await this.#begin();
    } catch (error) {
      this.#lastError = error instanceof Error ? error.message : String(error);
      this.#waitMs = Math.min(this.#waitMs * 2, backOffMs.last);
      logger.error({ error: this.#lastError }, 'the NATS server could not be started');
    }
  }

  /** Once for each time: a server that met a full disk stays out, also when there is room again, until it is started anew. */
  #reportFull(freeBytes: number): void {
    if (this.#lastError === fullDisk) return;
    this.#lastError = fullDisk;
    this.#options.logger.error({ freeBytes, neededBytes: restartBytesMin, said: this.#output.slice(-3) }, fullDisk);
  }

  async #parentDeathProgram(): Promise<string | undefined> {
    if (process.platform !== 'linux') return undefined;
    for (const program of parentDeathPrograms) if ((await this.#options.disk.findStat(program)) !== undefined) return program;
    return undefined;
  }

  #keepLine(line: string): void {
    if (line.trim() === '') return;
    this.#output.push(line.trim());
    if (this.#output.length > lastLines) this.#output.shift();
  }
}

interface Leftover {
  readonly disk: Disk;
  readonly directory: string;
  readonly config: { readonly serverName: string };
}

/** Whether a server of a node has stored anything there. */
export async function hasStore(disk: Disk, directory: string): Promise<boolean> {
  return (await disk.findStat(placesIn(directory).storeDirectory)) !== undefined;
}

/** Removes what a server has stored, and ends it where it still runs. For a store that counts for nothing. */
export async function discardStore(of: Leftover): Promise<void> {
  await killLeftOver(of);
  await of.disk.removeTree(placesIn(of.directory).storeDirectory);
}

function placesIn(directory: string): { readonly storeDirectory: string; readonly pidFile: string; readonly file: string } {
  return { storeDirectory: path.join(directory, 'store'), pidFile: path.join(directory, 'nats.pid'), file: path.join(directory, 'server.conf') };
}

/** Where no parent-death signal was to be had, a server may have outlived its node: the old configuration says where it answers. */
async function killLeftOver({ disk, directory, config }: Leftover): Promise<void> {
  const { pidFile, file } = placesIn(directory);
  const pid = Number((await readOptionalFile(disk, pidFile))?.toString('latin1').trim() ?? '');
  const port = /^http: "127\.0\.0\.1:(\d+)"$/m.exec((await readOptionalFile(disk, file))?.toString('utf8') ?? '')?.[1];
  if (port === undefined || !Number.isSafeInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  const facts = await ask(Number(port), 'varz');
  if (facts?.['server_name'] !== config.serverName) return;
  process.kill(pid, 'SIGKILL');
  for (let tries = 0; tries < startTimeoutMs / pollMs && isAlive(pid); tries += 1) await delay(pollMs);
}

/** undefined where nobody answers. */
async function ask(port: number, query: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const answer: unknown = await fetch(`http://127.0.0.1:${port}/${query}`, { signal: AbortSignal.timeout(watchMs) }).then((response) => response.json()).catch(() => undefined);
  return typeof answer === 'object' && answer !== null ? (answer as Readonly<Record<string, unknown>>) : undefined;
}

/** Bounded, so that the server leaves memory and cores to the node beside it. */
function childEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], GOMEMLIMIT: '512MiB', GOMAXPROCS: '2' };
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
