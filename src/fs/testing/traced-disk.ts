// Records the changes that reach a disk, one line each, for golden files of their order: a missing sync is a red diff.
import path from 'node:path';
import type { Disk } from '../disk.ts';
import { FaultyDisk, isChange, type DiskOperation } from './faulty-disk.ts';

export interface TracedDisk {
  readonly disk: Disk;
  /** Lines like `append logs/00000000000000000001 328`. */
  trace(): readonly string[];
}

/** Paths are shown relative to `root`; `rename` gives what is random (hashes, uuids) a stable name. */
export function tracedDisk(inner: Disk, root: string, rename: (name: string) => string = (name) => name): TracedDisk {
  const lines: string[] = [];
  const shown = (at: string): string => rename(path.relative(root, at));
  const note = (operation: DiskOperation): undefined => {
    if (!isChange(operation)) return undefined;
    const { kind, detail } = operation;
    const target = detail === undefined || kind === 'append' || kind === 'truncate' ? (detail ?? '') : shown(detail);
    lines.push(`${kind} ${shown(operation.path)} ${target}`.trimEnd());
    return undefined;
  };
  return { disk: new FaultyDisk(inner, note), trace: () => lines };
}
