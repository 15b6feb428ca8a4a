// A Snapshots over real folders with a fake source: what the tests of the whole path start from.
import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { silentLogger, type Logger } from '../../base/logger.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import { temporaryFolder } from '../../fs/testing/temporary-folder.ts';
import type { ArchiveDownload } from '../description.ts';
import { Snapshots, type SnapshotsOptions } from '../snapshots.ts';
import { FakeSource } from './fake-source.ts';
import { PlainHasher } from './plain-hasher.ts';
import { createdAtMs } from './archives.ts';

/** Wall time that stands still until somebody waits for it. */
export class TestClock implements Clock {
  #ms = createdAtMs;

  now(): number {
    return this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  readonly wait = (timeMs: number): Promise<void> => {
    this.#ms += timeMs;
    return Promise.resolve();
  };
}

export interface Rig extends AsyncDisposable {
  readonly folder: string;
  readonly dataDirectory: string;
  readonly snapshotsPath: string;
  readonly source: FakeSource;
  readonly hasher: PlainHasher;
  readonly clock: TestClock;
  readonly logged: string[];
  readonly snapshots: Snapshots;
  /** Another one over the same folders, as after a restart. */
  reopen(options?: Partial<SnapshotsOptions>): Promise<Snapshots>;
  /** Names in the data directory that a finished restore must not leave. */
  leftovers(): readonly string[];
}

export async function openRig(options: Partial<SnapshotsOptions> = {}): Promise<Rig> {
  const folder = await temporaryFolder();
  const dataDirectory = path.join(folder.path, 'data');
  const snapshotsPath = options.snapshotsPath ?? path.join(dataDirectory, 'snapshots');
  const disk = new NodeDisk();
  await disk.makeDirectory(dataDirectory);
  const source = new FakeSource(path.join(dataDirectory, 'live'));
  await source.add('c');
  const [hasher, clock] = [new PlainHasher(), new TestClock()];
  const logged: string[] = [];
  const logger: Logger = { ...silentLogger, error: (fields, message) => logged.push(`${message} ${JSON.stringify(fields)}`) };
  const open = (more: Partial<SnapshotsOptions>): Promise<Snapshots> => Snapshots.open({
    disk, clock, logger, peerId: 42, hashes: hasher, source, snapshotsPath, stagingRoot: dataDirectory, productVersion: '0.1.0',
    recovery: { urlRecovery: undefined, boundToLoopback: true }, wait: clock.wait, ...options, ...more,
  });
  const snapshots = await open({});
  return {
    folder: folder.path, dataDirectory, snapshotsPath, source, hasher, clock, logged, snapshots,
    reopen: (more = {}) => open(more),
    leftovers: () => readdirSync(dataDirectory).filter((name) => name.startsWith('.')),
    [Symbol.asyncDispose]: async () => {
      await snapshots.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export async function allBytes(download: ArchiveDownload): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of download.read(0, download.sizeBytes - 1)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** A condition that other work makes true; the loop is given to it meanwhile. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}
