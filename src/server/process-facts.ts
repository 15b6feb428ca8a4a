// What Linux tells about this process under /proc, elsewhere those facts are absent; and the room that its data has.
import type { ProcessFacts } from '../api/rest/process-facts.ts';
import type { Disk } from '../fs/disk.ts';

export async function readProcessFacts(disk: Disk, dataDirectory: string): Promise<ProcessFacts> {
  const [threads, openFiles, openMaps, docker, podman, { freeBytes }] = await Promise.all([
    countNames(disk, '/proc/self/task'),
    countNames(disk, '/proc/self/fd'),
    countNames(disk, '/proc/self/map_files'),
    disk.findStat('/.dockerenv'),
    disk.findStat('/run/.containerenv'),
    disk.space(dataDirectory),
  ]);
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(openFiles === undefined ? {} : { openFiles }),
    ...(openMaps === undefined ? {} : { openMaps }),
    diskFreeBytes: freeBytes,
    isContainer: docker !== undefined || podman !== undefined,
  };
}

async function countNames(disk: Disk, directory: string): Promise<number | undefined> {
  const names = await disk.list(directory).catch(() => undefined); // no /proc here, or it is not ours to read
  return names?.length;
}
