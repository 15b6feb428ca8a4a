// One process per data directory. The lock itself is the operating system's (a lock on the open file, or where there is no
// native addon a bound Unix socket); what the file says about its holder is for people only.
import { promises as fs } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { RequestError } from '../base/errors.ts';

const lockFileName = 'LOCK';
const socketName = 'LOCK.socket';

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Takes the lock on the file at a path, or answers undefined where another process has it. */
export type TakeLock = (file: string) => Promise<{ release(): void | Promise<void> } | undefined>;

/** @throws RequestError 'locked' naming the holder. */
export async function lockDirectory(directory: string, takeLock: TakeLock): Promise<DirectoryLock> {
  const file = path.join(directory, lockFileName);
  const held = await takeLock(file);
  if (held === undefined) {
    const holder = await fs.readFile(file, 'utf8').catch(() => ''); // the name of the holder is a courtesy, the refusal stands without it
    throw new RequestError('locked', `${directory} is in use ${holder === '' ? 'by another process' : `by ${holder.trim()}`}; only one process at a time may have it open`);
  }
  await fs.writeFile(file, `pid ${process.pid} on ${os.hostname()} since ${new Date().toISOString()}\n`);
  return {
    release: async () => {
      await held.release();
    },
  };
}

/** The fallback: a listening socket in the directory. A dead holder's socket refuses connections and is taken over. */
export const socketLock: TakeLock = async (file) => {
  const socket = path.join(path.dirname(file), socketName);
  if (await answers(socket)) return undefined;
  await fs.rm(socket, { force: true });
  const server = net.createServer((connection) => connection.end());
  const bound = await new Promise<boolean>((resolve) => {
    server.once('error', () => {
      resolve(false);
    });
    server.listen(socket, () => {
      resolve(true);
    });
  });
  if (!bound) return undefined;
  server.unref();
  return {
    release: () => new Promise<void>((resolve) => {
      server.close(() => {
        resolve();
      });
    }),
  };
};

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => {
      resolve(false);
    });
  });
}
