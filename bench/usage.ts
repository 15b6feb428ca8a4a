// The most that a piece of work takes beyond what was there before: resident memory of a process, blocks of folders.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { residentBytes } from './harness.ts';

const memoryEveryMs = 1;
const runFile = promisify(execFile);

export interface Usage {
  /** Peaks above the start. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** Left of them at the end. */
  readonly memoryStaysBytes: number;
  readonly diskStaysBytes: number;
}

export async function usageOf(place: { readonly pid: number; readonly folders: readonly string[] }, work: () => Promise<unknown>): Promise<Usage> {
  const memoryBefore = residentBytes(place.pid);
  const diskBefore = await diskBytes(place.folders);
  const peaks = { memory: memoryBefore, disk: diskBefore };
  const timer = setInterval(() => {
    peaks.memory = Math.max(peaks.memory, residentBytes(place.pid));
  }, memoryEveryMs);
  let working = true;
  const watched = (async () => {
    while (working) peaks.disk = Math.max(peaks.disk, await diskBytes(place.folders));
  })();
  try {
    await work();
  } finally {
    working = false;
    clearInterval(timer);
    await watched;
  }
  const memoryAfter = residentBytes(place.pid);
  const diskAfter = await diskBytes(place.folders);
  return {
    memoryBytes: peaks.memory - memoryBefore, memoryStaysBytes: memoryAfter - memoryBefore,
    diskBytes: Math.max(peaks.disk, diskAfter) - diskBefore, diskStaysBytes: diskAfter - diskBefore,
  };
}

/** Blocks on the disk, those of a file with several names once. Files that go while they are counted do not count. */
async function diskBytes(folders: readonly string[]): Promise<number> {
  const { stdout } = await runFile('sh', ['-c', 'du -s -B1 "$@" 2>/dev/null; true', 'du', ...folders]);
  return stdout.trim().split('\n').reduce((sum, line) => sum + Number(line.split('\t')[0]), 0);
}
