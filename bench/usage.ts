// The most that a piece of work takes beyond what was there before: resident memory of a process, blocks of folders.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

const memoryEveryMs = 1;
const pageBytes = 4096;
const runFile = promisify(execFile);

export interface Usage {
  /** Peaks above the start. Memory of the process alone: pages of mapped files are the system's to take back. */
  readonly memoryBytes: number;
  readonly withMappedBytes: number;
  readonly diskBytes: number;
  /** Left of them at the end. */
  readonly memoryStaysBytes: number;
  readonly diskStaysBytes: number;
}

export async function usageOf(place: { readonly pid: number; readonly folders: readonly string[] }, work: () => Promise<unknown>): Promise<Usage> {
  const memoryBefore = residentOf(place.pid);
  const diskBefore = await diskBytes(place.folders);
  const peaks = { ...memoryBefore, disk: diskBefore };
  const timer = setInterval(() => {
    const now = residentOf(place.pid);
    peaks.own = Math.max(peaks.own, now.own);
    peaks.withMapped = Math.max(peaks.withMapped, now.withMapped);
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
  const memoryAfter = residentOf(place.pid);
  const diskAfter = await diskBytes(place.folders);
  return {
    memoryBytes: peaks.own - memoryBefore.own, withMappedBytes: peaks.withMapped - memoryBefore.withMapped, memoryStaysBytes: memoryAfter.own - memoryBefore.own,
    diskBytes: Math.max(peaks.disk, diskAfter) - diskBefore, diskStaysBytes: diskAfter - diskBefore,
  };
}

function residentOf(pid: number): { readonly own: number; readonly withMapped: number } {
  const [, resident = NaN, shared = NaN] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ').map(Number);
  return { own: (resident - shared) * pageBytes, withMapped: resident * pageBytes };
}

/** Blocks on the disk, those of a file with several names once. Files that go while they are counted do not count. */
async function diskBytes(folders: readonly string[]): Promise<number> {
  const { stdout } = await runFile('sh', ['-c', 'du -s -B1 "$@" 2>/dev/null; true', 'du', ...folders]);
  return stdout.trim().split('\n').reduce((sum, line) => sum + Number(line.split('\t')[0]), 0);
}
