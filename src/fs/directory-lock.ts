// One process per data directory. What the lock file says about its holder is for people only; the lock itself is the operating
// system's: a lock on the open file where there is the native addon, and in every process a listening Unix socket beside it, so that
// processes with and without the addon exclude each other too. Both end with the process, however it ends.
import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isNotFound, RequestError, systemCode } from '../base/errors.ts';

const lockFileName = 'LOCK';
const socketName = 'LOCK.socket';
const attemptsMax = 40;
const stepBackMs = 5;

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Takes the lock on the file at a path, or answers undefined where another process has it. @throws where it cannot be taken at all */
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

/** Both locks. Where the second cannot be taken at all (a file system without sockets), the first stands alone. */
export function bothLocks(first: TakeLock, second: TakeLock): TakeLock {
  return async (file) => {
    const held = await first(file);
    if (held === undefined) return undefined;
    const also = await second(file).catch(() => 'impossible' as const);
    if (also === 'impossible') return held;
    if (also === undefined) {
      await held.release();
      return undefined;
    }
    return {
      release: async () => {
        await also.release();
        await held.release();
      },
    };
  };
}

/** A listening socket in the directory; one whose process is dead refuses connections. Whoever wants the lock first listens under a
 *  name of its own, and takes the lock's name only where neither another one of these nor the lock's answers. Of two that meet, at
 *  least one sees the other: it steps back and tries again. */
export const socketLock: TakeLock = async (file) => {
  const place = await openPlace(path.dirname(file));
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const candidate = `${socketName}.${randomBytes(6).toString('hex')}`;
      const server = await listen(place.at(candidate));
      // in this order: one that has become the holder meanwhile answers at the lock's name
      const isAlone = !(await othersAnswer(place, candidate));
      const isHeld = await answers(place.at(socketName));
      if (isAlone && !isHeld && (await renamed(place.at(candidate), place.at(socketName)))) return heldSocket(server, place);
      await closeServer(server);
      if (isHeld) break;
      await sleep(Math.random() * stepBackMs * (attempt + 1));
    }
    await place.close();
    return undefined;
  } catch (error) {
    await place.close();
    throw error;
  }
};

/** false where another start took the candidate for dead, in the moment before it listened. */
async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await fs.rename(from, to);
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Whether another candidate is alive; the dead are removed. */
async function othersAnswer(place: Place, own: string): Promise<boolean> {
  let isAlive = false;
  for (const name of await fs.readdir(place.at('.'))) {
    if (!name.startsWith(`${socketName}.`) || name === own) continue;
    if (await answers(place.at(name))) isAlive = true;
    else await fs.rm(place.at(name), { force: true });
  }
  return isAlive;
}

/** A directory whose sockets have short paths: the system takes about a hundred bytes. */
interface Place {
  at(name: string): string;
  close(): Promise<void>;
}

async function openPlace(directory: string): Promise<Place> {
  if (process.platform !== 'linux') return { at: (name) => path.join(directory, name), close: () => Promise.resolve() };
  const handle = await fs.open(directory, 'r');
  return { at: (name) => `/proc/self/fd/${handle.fd}/${name}`, close: () => handle.close() };
}

function listen(socket: string): Promise<net.Server> {
  const server = net.createServer((connection) => connection.end());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socket, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** Its first name goes with it. */
function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

function heldSocket(server: net.Server, place: Place): { release(): Promise<void> } {
  return {
    release: async () => {
      await fs.rm(place.at(socketName), { force: true });
      await closeServer(server);
      await place.close();
    },
  };
}

/** Only a refusal or an absent file says that nobody has it; one that may not be asked is alive. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', (error) => {
      resolve(!['ECONNREFUSED', 'ENOENT'].includes(systemCode(error) ?? ''));
    });
  });
}
