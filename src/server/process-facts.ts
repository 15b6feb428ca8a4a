// What Linux tells about this process under /proc; elsewhere the facts are absent.
import type { ProcessFacts } from '../api/rest/process-facts.ts';
import type { Disk } from '../fs/disk.ts';

export async function readProcessFacts(disk: Disk): Promise<ProcessFacts> {
  const [threads, openFiles, openMaps, docker, podman] = await Promise.all([
    countNames(disk, '/proc/self/task'),
    countNames(disk, '/proc/self/fd'),
    countNames(disk, '/proc/self/map_files'),
    disk.findStat('/.dockerenv'),
    disk.findStat('/run/.containerenv'),
  ]);
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(openFiles === undefined ? {} : { openFiles }),
    ...(openMaps === undefined ? {} : { openMaps }),
    isContainer: docker !== undefined || podman !== undefined,
  };
}

async function countNames(disk: Disk, directory: string): Promise<number | undefined> {
  const names = await disk.list(directory).catch(() => undefined); // no /proc here, or it is not ours to read
  return names?.length;
}
