// Proves what lies at a path without serving from it and without changing it: a data directory whose lock it takes, a snapshot
// folder, an archive file, or a folder that holds some of them.
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RequestError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { thisMachine, type Machine } from './machine.ts';
import { verifyData } from './verify-data.ts';
import { findPlaces } from './verify-places.ts';
import { VerifyFindings, type VerifyProblem, type VerifyReport } from './verify-report.ts';
import { verifyArchive, verifyArchiveStream, verifySnapshotFolder, type SnapshotVerification } from './verify-snapshot.ts';

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

/** An archive that streams in. Deep: it is unpacked into a folder of its own below the system's temporary one. */
export async function verifyStream(disk: Disk, body: AsyncIterable<Uint8Array>, options: Pick<VerifyOptions, 'deep'>): Promise<VerifyReport> {
  const findings = new VerifyFindings();
  const hasher = thisMachine.openHasher();
  try {
    await verifyArchiveStream({ disk, hasher, deep: options.deep, findings }, body, { place: 'standard input', unpackIn: tmpdir() });
    return findings.report();
  } finally {
    await hasher.close();
  }
}

/** The form of a report that crosses a boundary: --json, jobs, the API. */
export function reportJson({ problems, notes, counts }: VerifyReport): Readonly<Record<string, unknown>> {
  return {
    problems: problems.map(({ file, offsetBytes, problem }) => ({ file, ...(offsetBytes === undefined ? {} : { offset_bytes: offsetBytes }), problem })),
    notes,
    counts,
  };
}

/** The opposite, of what a server answered. @throws RequestError where it is no report */
export function parseReport(json: unknown): VerifyReport {
  const { problems, notes, counts } = (json ?? {}) as { readonly problems?: unknown; readonly notes?: unknown; readonly counts?: unknown };
  if (!Array.isArray(problems) || !Array.isArray(notes) || typeof counts !== 'object' || counts === null) throw new RequestError('bad-input', 'the server answered no report');
  const list = problems as readonly { readonly file: string; readonly offset_bytes?: number; readonly problem: string }[];
  return {
    problems: list.map(({ file, offset_bytes: offsetBytes, problem }): VerifyProblem => ({ file, problem, ...(offsetBytes === undefined ? {} : { offsetBytes }) })),
    notes: notes.map(String),
    counts: { points: undefined, keys: 0, ...counts } as VerifyReport['counts'],
  };
}
