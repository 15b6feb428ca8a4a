// Proves what lies at a path without serving from it and without changing it: a data directory whose lock it takes, a snapshot
// folder, an archive file, or a folder that holds some of them.
import path from 'node:path';
import type { Disk } from '../fs/disk.ts';
import { thisMachine, type Machine } from './machine.ts';
import { verifyData } from './verify-data.ts';
import { findPlaces } from './verify-places.ts';
import { VerifyFindings, type VerifyReport } from './verify-report.ts';
import { verifyArchive, verifySnapshotFolder, type SnapshotVerification } from './verify-snapshot.ts';

export interface VerifyOptions {
  /** Also every decoder, the log replayed, ids unique, points counted. */
  readonly deep: boolean;
  /** Told what is being looked at. */
  readonly progress?: (place: string) => void;
  /** For tests on a simulated disk. */
  readonly machine?: Pick<Machine, 'lock' | 'openHasher'>;
}

/** @throws RequestError 'locked' where a server has the data directory, 'not-found' or 'bad-input' where there is nothing to verify. */
export async function verifyPath(disk: Disk, target: string, options: VerifyOptions): Promise<VerifyReport> {
  const places = await findPlaces(disk, path.resolve(target));
  const findings = new VerifyFindings();
  const { lock, openHasher } = options.machine ?? thisMachine;
  const hasher = openHasher();
  const verification: SnapshotVerification = { disk, hasher, deep: options.deep, findings };
  try {
    for (const place of places) {
      options.progress?.(place.path);
      switch (place.kind) {
        case 'data': await verifyData({ ...verification, ...options, lock }, place.path); break;
        case 'snapshot-folder': await verifySnapshotFolder(verification, place.path); break;
        case 'archive': await verifyArchive(verification, place.path); break;
      }
    }
    return findings.report();
  } finally {
    await hasher.close();
  }
}
