// Proves a shard's log files without changing them: every entry, no gaps, the chain hash from the checkpoint on.
import path from 'node:path';
import { CorruptionError, isNotFound } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import type { Disk } from '../fs/disk.ts';
import { parseLogFileName } from '../log/log-file.ts';
import { damageAt, readEntries, scanFile, type BadEnd, type ScannedFile } from '../log/replay.ts';
import type { Entry, LogPosition } from '../log/shard-log.ts';
import type { ShardManifest } from './shard-manifest.ts';

export interface VerifiedLog {
  /** Where the log leads to. */
  readonly position: LogPosition;
  /** Files with entries behind the checkpoint, in order. */
  readonly files: readonly ScannedFile[];
  /** Names that are neither needed nor harmful: files of entries that the checkpoint holds, unfinished ones, a torn tail. */
  readonly leftovers: readonly string[];
}

/** @throws CorruptionError for the first damage: what follows it in a log means nothing. */
export async function verifyLog(disk: Disk, directory: string, manifest: ShardManifest): Promise<VerifiedLog> {
  const names = await listNames(disk, directory);
  const found = names.flatMap((name) => parseLogFileName(name) ?? []).sort((a, b) => a - b).map((firstSeq, at, all) => ({ firstSeq, nextSeq: all[at + 1] ?? Infinity }));
  const leftovers = names.filter((name) => parseLogFileName(name) === undefined);
  let last: { seq: Seq; chain: string } = { seq: manifest.applied, chain: manifest.chain };
  let mark = manifest.durable;
  const files: ScannedFile[] = [];
  for (const { firstSeq, nextSeq } of found) {
    const file = path.join(directory, String(firstSeq).padStart(20, '0'));
    if (nextSeq <= manifest.applied + 1) {
      leftovers.push(path.basename(file));
      continue;
    }
    if (files.length === 0 ? firstSeq > manifest.applied + 1 : firstSeq !== last.seq + 1) {
      throw new CorruptionError({ file, problem: `starts at seq ${firstSeq}, but ${last.seq + 1} is the next one: log files are missing` });
    }
    const chain = firstSeq === last.seq + 1 ? Buffer.from(last.chain, 'hex') : undefined;
    const scanned = await scanFile(disk, file, { identity: manifest, firstSeq, chain, watch: manifest.applied });
    mark = Math.max(mark, scanned.durableMark);
    if (scanned.chainAtWatch !== undefined && scanned.chainAtWatch.toString('hex') !== manifest.chain) {
      throw new CorruptionError({ file, problem: `its chain hash at seq ${manifest.applied} is not the manifest's` });
    }
    if (scanned.badEnd !== undefined) leftovers.push(await tornTail(disk, scanned, { badEnd: scanned.badEnd, mark, isLast: nextSeq === Infinity }));
    files.push(scanned);
    if (scanned.lastSeq > manifest.applied) last = { seq: scanned.lastSeq, chain: scanned.chain.toString('hex') };
  }
  if (mark > last.seq) throw new CorruptionError({ file: directory, problem: `entries up to ${mark} had been stored, the log ends at ${last.seq}` });
  return { position: { generation: manifest.generation, ...last }, files, leftovers };
}

/** Entries behind the checkpoint, in order. */
export async function* readVerified(disk: Disk, { files }: VerifiedLog, after: Seq): AsyncGenerator<Entry> {
  for (const file of files) {
    await using handle = await disk.openRead(file.path);
    for await (const { entry } of readEntries(handle, file.firstSeq, file.goodBytes)) {
      if (entry.seq > after) yield { ...entry, body: Buffer.from(entry.body) };
    }
  }
}

/** The bad end of a file as a leftover, where it can only be a write that was never acknowledged. @throws CorruptionError else */
async function tornTail(disk: Disk, scanned: ScannedFile, end: { readonly badEnd: BadEnd; readonly mark: Seq; readonly isLast: boolean }): Promise<string> {
  const { path: file, isSyncedBehind, sizeBytes, goodBytes } = scanned;
  const { offsetBytes, problem } = end.badEnd;
  const damage = await damageAt(disk, scanned, end);
  if (damage !== undefined) throw new CorruptionError({ file, offsetBytes, problem: `${problem}; the entry had been stored` });
  return `${path.basename(file)} from byte ${offsetBytes} on: ${sizeBytes - goodBytes} bytes of ${isSyncedBehind ? 'writes that were not synced: their log has them elsewhere' : 'a write that was never acknowledged'}`;
}

async function listNames(disk: Disk, directory: string): Promise<readonly string[]> {
  try {
    return await disk.list(directory);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}
