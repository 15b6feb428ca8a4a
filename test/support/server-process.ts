// The built product as a process of its own, with data in a folder that is removed at the end.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { temporaryFolder, type TemporaryFolder } from '../../src/fs/testing/temporary-folder.ts';

export const root = path.resolve(import.meta.dirname, '../../..');
export const program = path.join(root, 'bin/nearkeep');

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  readonly child: ChildProcess;
  /** stdout and stderr so far. */
  output(): string;
  /** Ends it in order; answers the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

export interface ServerOptions {
  readonly data: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  /** Told all output so far, from the start on. */
  readonly onOutput?: (output: string) => void;
  /** A program that runs the server, with its arguments. */
  readonly under?: readonly string[];
  /** Aborted before it listens, it is killed. */
  readonly signal?: AbortSignal;
}

/** Resolves when the server listens. @throws RangeError with its output where it ends before. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const command = [...(options.under ?? []), process.execPath, program, 'serve', '--data', options.data, '--port', '0', '--log-format', 'json', ...(options.args ?? [])];
  const child = spawn(command[0] ?? process.execPath, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env: { ...cleanEnvironment(), ...options.env } });
  let output = '';
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  const { signal } = options;
  const giveUp = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', giveUp);
  const url = await new Promise<string>((resolve, reject) => {
    const listen = (data: Buffer): void => {
      output += data.toString();
      options.onOutput?.(output);
      const found = /"address":"([^"]+)"/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    void ended.then((code) => {
      const how = signal?.aborted === true ? `was killed (${String(signal.reason)})` : `ended with ${code}`;
      reject(new RangeError(`the server ${how} before it listened:\n${output}`));
    });
  }).finally(() => signal?.removeEventListener('abort', giveUp));
  return {
    url,
    pid: child.pid ?? 0,
    child,
    output: () => output,
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** A server over a fresh folder; the folder is verified when the test ends, then removed. */
export interface ServedFolder extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly data: string;
}

export async function serveFolder(options: Omit<ServerOptions, 'data'> = {}): Promise<ServedFolder> {
  const folder: TemporaryFolder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const server = await startServer({ ...options, data });
  return {
    server,
    data,
    [Symbol.asyncDispose]: async () => {
      try {
        await server.stop();
        verifySound(data);
      } finally {
        await folder[Symbol.asyncDispose]();
      }
    },
  };
}

/** `nearkeep verify --deep` on a folder that no process has open. @throws RangeError with what it found. */
export function verifySound(data: string): void {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'verify', data, '--deep'], { encoding: 'utf8', env: cleanEnvironment() });
  if (status !== 0) throw new RangeError(`nearkeep verify ${data} ended with ${status}:\n${stdout}${stderr}`);
}

/** The environment without anything that would configure the server. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(QDRANT|NEARKEEP__)/.test(name)));
}
