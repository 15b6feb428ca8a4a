// The files of a log at open: checked in order, the torn tail cut, and read back from any seq.
import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { CorruptionError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import type { Disk, WriteHandle } from '../fs/disk.ts';
import { parseLogFileName, type LogIdentity } from './log-file.ts';
import { damageAt, readEntries, scanFile, type ScannedFile } from './replay.ts';
import type { ClosedLogFile, Entry } from './shard-log.ts';

const copyBytes = 1 << 20;

export interface LogState {
  readonly files: readonly ClosedLogFile[];
  readonly lastSeq: Seq;
  readonly chain: Buffer;
  readonly lastTime: bigint;
  readonly tornTailBytes: number;
  /** Entries behind it, all in the last file, were read but may be in memory only: a process that was killed had not synced them. */
  readonly durableSeq: Seq;
}

/** Where a log begins: behind an entry that lies in sealed files. */
export interface LogStart {
  readonly seq: Seq;
  /** Hash at `seq`, 32 hex characters. */
  readonly chain: string;
  /** Hybrid time of that entry; later ones are above it. */
  readonly time?: bigint;
}

interface OpenRequest extends LogIdentity {
  readonly disk: Disk;
  readonly directory: string;
  readonly applied: LogStart;
  readonly durableMark: Seq;
}

/** @throws CorruptionError where entries behind the checkpoint are missing or damaged. */
export async function openFiles(request: OpenRequest): Promise<LogState> {
  const { disk, directory, applied } = request;
  await removeLeftovers(disk, directory);
  const found = await logFiles(disk, directory);
  // A file whose successor starts at or before applied+1 holds only what the checkpoint has: its purge was cut off.
  const needed = found.filter((_, index) => (found[index + 1]?.firstSeq ?? Infinity) > applied.seq + 1);
  const chainAtApplied = Buffer.from(applied.chain, 'hex');
  let state: Omit<LogState, 'durableSeq'> = { files: [], lastSeq: applied.seq, chain: chainAtApplied, lastTime: applied.time ?? 0n, tornTailBytes: 0 };
  let isCut = false;
  let mark = request.durableMark;
  for (const [index, { file, firstSeq }] of needed.entries()) {
    if (index === 0 ? firstSeq > applied.seq + 1 : firstSeq !== state.lastSeq + 1) {
      throw new CorruptionError({ file, problem: `starts at seq ${firstSeq}, but ${state.lastSeq + 1} is the next one: log files are missing` });
    }
    const chain = index > 0 || firstSeq === applied.seq + 1 ? state.chain : undefined;
    let scanned = await scanFile(disk, file, { identity: request, chain, firstSeq, watch: applied.seq });
    mark = Math.max(mark, scanned.durableMark);
    let torn = 0;
    if (scanned.badEnd !== undefined) {
      const { badEnd } = scanned;
      const damage = await damageAt(disk, scanned, { isLast: index === needed.length - 1, badEnd, mark });
      if (damage !== undefined) throw new CorruptionError({ file, offsetBytes: badEnd.offsetBytes, problem: `${badEnd.problem}; ${damage}` });
      torn = scanned.sizeBytes - scanned.goodBytes;
      scanned = await cutTail(disk, scanned);
    } else if (scanned.lastSeq < firstSeq) {
      await removeFile(disk, file); // a header and nothing else: the next append wants the name
    }
    checkChainAt(request, scanned, chainAtApplied);
    isCut = torn > 0;
    const files = scanned.lastSeq < firstSeq ? state.files : [...state.files, closedFile(scanned)];
    state = { files, lastSeq: Math.max(state.lastSeq, scanned.lastSeq), chain: scanned.lastSeq <= applied.seq ? chainAtApplied : scanned.chain, lastTime: scanned.lastTime > state.lastTime ? scanned.lastTime : state.lastTime, tornTailBytes: torn };
  }
  if (mark > state.lastSeq) {
    throw new CorruptionError({ file: directory, problem: `entries up to ${mark} had been stored, the log ends at ${state.lastSeq}` });
  }
  const files = await removeCovered(request, found, state.files);
  const isUnsure = files.length > 0 && !isCut; // what was cut is a new file, and synced
  return { ...state, files, durableSeq: isUnsure ? Math.max(mark, applied.seq) : state.lastSeq };
}

/** Removes files of entries that are all in the checkpoint; answers the others. */
async function removeCovered({ disk, directory, applied }: OpenRequest, found: readonly { readonly file: string }[], files: readonly ClosedLogFile[]): Promise<readonly ClosedLogFile[]> {
  const kept = files.filter(({ lastSeq }) => lastSeq > applied.seq);
  const keptPaths = new Set(kept.map((file) => file.path));
  const covered: string[] = [];
  for (const { file } of found) if (!keptPaths.has(file) && (await disk.findStat(file)) !== undefined) covered.push(file);
  for (const file of covered) await disk.remove(file);
  if (covered.length > 0) await disk.syncDirectory(directory);
  return kept;
}

/** Entries with seq >= from, in order. @throws CorruptionError on damage, a gap, or where the first of them has been purged. */
export async function* readFiles(disk: Disk, files: readonly { readonly path: string; readonly firstSeq: Seq; readonly lastSeq: Seq; readonly endBytes: number }[], from: Seq): AsyncGenerator<Entry> {
  let next = from;
  for (const file of files) {
    if (file.lastSeq < next) continue;
    if (file.firstSeq > next) throw new CorruptionError({ file: file.path, problem: `starts at seq ${file.firstSeq}, ${next} was wanted` });
    await using handle = await disk.openRead(file.path);
    const entries = readEntries(handle, file.firstSeq, file.endBytes);
    let step = await entries.next();
    for (; step.done !== true; step = await entries.next()) {
      const { entry } = step.value;
      if (entry.seq < next) continue;
      yield { ...entry, body: Buffer.from(entry.body) };
      next = entry.seq + 1;
    }
    if (step.value !== undefined) throw new CorruptionError({ file: file.path, ...step.value });
  }
}

/** Replaces a file by its first bytes, proved by their hash; answers a handle that appends to the new file. */
export async function copyPrefix(disk: Disk, file: string, prefix: { readonly bytes: number; readonly sha256: string }): Promise<WriteHandle> {
  const temporary = `${file}.tmp`;
  await disk.removeTree(temporary);
  const target = await disk.create(temporary);
  try {
    const hash = createHash('sha256');
    await copyBytesTo(disk, file, { target, hash, bytes: prefix.bytes });
    if (hash.digest('hex') !== prefix.sha256) throw new CorruptionError({ file, problem: 'reads back different from what was written' });
    await target.sync();
    await disk.rename(temporary, file);
    await disk.syncDirectory(path.dirname(file));
    return target;
  } catch (error) {
    await target.close();
    throw error;
  }
}

async function copyBytesTo(disk: Disk, file: string, to: { readonly target: WriteHandle; readonly hash: Hash; readonly bytes: number }): Promise<void> {
  await using source = await disk.openRead(file);
  for (let at = 0; at < to.bytes; at += copyBytes) {
    const piece = await source.read(at, Math.min(copyBytes, to.bytes - at));
    to.hash.update(piece);
    await to.target.append([piece]);
  }
}

async function cutTail(disk: Disk, scanned: ScannedFile): Promise<ScannedFile> {
  if (scanned.lastSeq < scanned.firstSeq) {
    await removeFile(disk, scanned.path);
  } else {
    const handle = await copyPrefix(disk, scanned.path, { bytes: scanned.goodBytes, sha256: scanned.hash.copy().digest('hex') });
    await handle.close();
  }
  return { ...scanned, sizeBytes: scanned.goodBytes, badEnd: undefined };
}

async function removeFile(disk: Disk, file: string): Promise<void> {
  await disk.remove(file);
  await disk.syncDirectory(path.dirname(file));
}

/** Where the checkpoint lies inside a file, the hash there must be the checkpoint's. */
function checkChainAt(request: OpenRequest, scanned: ScannedFile, want: Buffer): void {
  const found = scanned.chainAtWatch;
  if (found === undefined || found.equals(want)) return;
  throw new CorruptionError({ file: scanned.path, problem: `chain hash at seq ${request.applied.seq} is ${found.toString('hex')}, the manifest has ${want.toString('hex')}` });
}

function closedFile(scanned: ScannedFile): ClosedLogFile {
  return { path: scanned.path, firstSeq: scanned.firstSeq, lastSeq: scanned.lastSeq, sizeBytes: scanned.goodBytes, chain: scanned.chain.toString('hex') };
}

async function logFiles(disk: Disk, directory: string): Promise<{ readonly file: string; readonly firstSeq: Seq }[]> {
  const found: { file: string; firstSeq: Seq }[] = [];
  for (const name of await disk.list(directory)) {
    const firstSeq = parseLogFileName(name);
    if (firstSeq !== undefined) found.push({ file: path.join(directory, name), firstSeq });
  }
  return found.sort((a, b) => a.firstSeq - b.firstSeq);
}

async function removeLeftovers(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) {
    if (name.endsWith('.tmp')) await disk.remove(path.join(directory, name));
  }
}
