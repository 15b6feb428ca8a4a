// The log of one shard in local files: group commit, rotation, purge.
//
// A log whose entries another copy keeps on disk may sync behind its appends (`syncBehind`): an append is then acknowledged when it is
// written, and what a power cut takes comes again from there. `durableSeq` says how far this copy is on disk.
//
// Invariants:
// - An append is acknowledged after its bytes were written whole AND the file was synced, and a new file's name with it; of a log that
//   syncs behind after its bytes were written.
// - No mark, here or in a manifest, names more than was synced. Only the last file may hold what was not: it is synced before another
//   begins, and before `rotate` lists it.
// - Rounds run one at a time; each takes the whole queue up to a limit, writes it as one vector and syncs once.
// - After a failed write the file is cut back to the last good offset before anything else is written: never past a hole.
// - After a failed sync nothing that file holds is trusted until it stands, read back to the very chain hash, in a new synced file.
// - A file that existed at open is never appended to: it may be linked into a snapshot, and its tail may have been torn.
import path from 'node:path';
import { invariant, must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { CorruptionError, isNoSpace, RequestError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { Lock } from '../base/lock.ts';
import type { Logger } from '../base/logger.ts';
import type { Disk, WriteHandle } from '../fs/disk.ts';
import { encodeEntry, entrySizeBytes } from './entry.ts';
import { chainStart, nextChain } from './hash-chain.ts';
import { encodeLogHeader, logFileName, logHeaderBytes, type LogIdentity } from './log-file.ts';
import { copyPrefix, openFiles, readFiles, type LogStart, type LogState } from './open-files.ts';
import { scanFile } from './replay.ts';
import type { ClosedLogFile, Entry, EntryDraft, LogInfo, LogPosition, ShardLog } from './shard-log.ts';

const roundBytesMax = 4 << 20;
const fileBytesMax = 64 << 20;
/** A log that syncs behind begins a sync when so much was written since the last one, or so long after the first of it. */
const behindMax = { bytes: 8 << 20, ms: 200 } as const;

export interface FileLogOptions extends LogIdentity {
  readonly disk: Disk;
  readonly directory: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The checkpoint the log continues: entries up to its seq are in sealed files. */
  readonly applied: LogStart;
  /** A seq that something outside the log says was durable; 0 where nothing does. */
  readonly durableMark: Seq;
}

interface Waiting {
  readonly draft: EntryDraft;
  readonly resolve: (entry: Entry) => void;
  readonly reject: (error: unknown) => void;
}

/** The file that grows; made at the first append, so that a log nobody writes to stays as it is. */
interface GrowingFile {
  readonly path: string;
  readonly firstSeq: Seq;
  readonly isSyncedBehind: boolean;
  readonly handle: WriteHandle;
  goodBytes: number;
}

type Health = 'good' | 'cut-back' | 'rewrite';

export class FileLog implements ShardLog {
  readonly #options: FileLogOptions;
  readonly #disk: Disk;
  readonly #turns = new Lock();
  readonly #queue: Waiting[] = [];
  #closedFiles: ClosedLogFile[];
  /** Of files that were read back once; a snapshot finds most of the files of the one before. */
  readonly #hashes = new WeakMap<ClosedLogFile, string>();
  #growing: GrowingFile | undefined;
  #lastSeq: Seq;
  #chain: Buffer;
  #time: bigint;
  #health: Health = 'good';
  #syncsBehind = false;
  #durableSeq: Seq;
  /** The last file that was found at open, where the end of it may be in memory only. */
  #unsure: ClosedLogFile | undefined;
  /** Of the growing file, under way. */
  #syncing: Promise<void> | undefined;
  #unsyncedBytes = 0;
  #syncTimer: NodeJS.Timeout | undefined;
  #roundPlanned = false;
  #closed = false;
  readonly #tornTailBytes: number;

  private constructor(options: FileLogOptions, state: LogState) {
    this.#options = options;
    this.#disk = options.disk;
    this.#closedFiles = [...state.files];
    this.#lastSeq = state.lastSeq;
    this.#chain = state.chain;
    this.#time = state.lastTime;
    this.#tornTailBytes = state.tornTailBytes;
    this.#durableSeq = state.durableSeq;
    this.#unsure = state.durableSeq < state.lastSeq ? state.files.at(-1) : undefined;
  }

  /** A log for a new shard; the directory must exist and hold no log files. */
  static create(options: Omit<FileLogOptions, 'applied' | 'durableMark'>, start?: LogStart): FileLog {
    const applied: LogStart = start ?? { seq: 0, chain: chainStart.toString('hex') };
    const state = { files: [], lastSeq: applied.seq, chain: Buffer.from(applied.chain, 'hex'), lastTime: applied.time ?? 0n, tornTailBytes: 0, durableSeq: applied.seq };
    return new FileLog({ ...options, applied, durableMark: 0 }, state);
  }

  /** Checks every file, cuts a torn tail. @throws CorruptionError naming file and offset. */
  static async open(options: FileLogOptions): Promise<FileLog> {
    return new FileLog(options, await openFiles(options));
  }

  get lastSeq(): Seq {
    return this.#lastSeq;
  }

  get durableSeq(): Seq {
    return this.#durableSeq;
  }

  /** From the next append on. Only where all that is appended is on the disks of others before: what a power cut takes must come again. */
  syncBehind(isBehind: boolean): void {
    this.#syncsBehind = isBehind;
  }

  async sync(): Promise<void> {
    const wanted = this.#lastSeq;
    while (this.#durableSeq < wanted) {
      if (this.#health === 'good' && this.#unsure === undefined) await this.#syncGrowing();
      else await this.#turns.run(() => this.#makeSound());
    }
  }

  position(): LogPosition {
    return { generation: this.#options.generation, seq: this.#lastSeq, chain: this.#chain.toString('hex') };
  }

  /** Hybrid time of the last entry; 0n for an empty log. */
  get lastTime(): bigint {
    return this.#time;
  }

  append(draft: EntryDraft): Promise<Entry> {
    if (this.#closed) return Promise.reject(new RequestError('unavailable', 'the log is closed'));
    return new Promise((resolve, reject) => {
      this.#queue.push({ draft, resolve, reject });
      this.#planRound();
    });
  }

  read(from: Seq): AsyncIterable<Entry> {
    const growing = this.#growing;
    const files = this.#closedFiles.map((file) => ({ path: file.path, firstSeq: file.firstSeq, lastSeq: file.lastSeq, endBytes: file.sizeBytes }));
    if (growing !== undefined) files.push({ path: growing.path, firstSeq: growing.firstSeq, lastSeq: this.#lastSeq, endBytes: growing.goodBytes });
    return readFiles(this.#disk, files, from);
  }

  info(): LogInfo {
    const closedBytes = this.#closedFiles.reduce((sum, file) => sum + file.sizeBytes, 0);
    return {
      firstSeq: this.#closedFiles[0]?.firstSeq ?? this.#growing?.firstSeq ?? this.#lastSeq + 1,
      lastSeq: this.#lastSeq,
      sizeBytes: closedBytes + (this.#growing?.goodBytes ?? 0),
      fileCount: this.#closedFiles.length + (this.#growing === undefined ? 0 : 1),
      tornTailBytes: this.#tornTailBytes,
    };
  }

  rotate(after: Seq): Promise<readonly ClosedLogFile[]> {
    return this.#turns.run(async () => {
      await this.#makeSound();
      await this.#closeGrowing();
      return this.#closedFiles.filter((file) => file.lastSeq > after);
    });
  }

  async hash(file: ClosedLogFile): Promise<string> {
    const known = this.#hashes.get(file);
    if (known !== undefined) return known;
    const sha256 = await this.#readBack(file);
    this.#hashes.set(file, sha256);
    return sha256;
  }

  /** The sha256 of a file, or of its beginning, that holds what was written. */
  async #readBack({ path: file, firstSeq, lastSeq, sizeBytes, chain }: ClosedLogFile): Promise<string> {
    const scanned = await scanFile(this.#disk, file, { identity: this.#options, firstSeq, chain: undefined, watch: lastSeq, endBytes: sizeBytes });
    if (scanned.badEnd !== undefined) throw new CorruptionError({ file, ...scanned.badEnd });
    if (scanned.lastSeq !== lastSeq || scanned.goodBytes !== sizeBytes || scanned.chain.toString('hex') !== chain) {
      throw new CorruptionError({ file, problem: 'reads back different from what was written' });
    }
    return scanned.hash.digest('hex');
  }

  purgeTo(seq: Seq): Promise<void> {
    return this.#turns.run(async () => {
      const gone = this.#closedFiles.filter((file) => file.lastSeq <= seq);
      if (gone.length === 0) return;
      this.#closedFiles = this.#closedFiles.filter((file) => file.lastSeq > seq);
      if (this.#unsure !== undefined && this.#unsure.lastSeq <= seq) this.#unsure = undefined;
      for (const file of gone) await this.#disk.remove(file.path);
      await this.#disk.syncDirectory(this.#options.directory);
    });
  }

  /** Idempotent; appends already called are written first. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#queue.length > 0) await this.#turns.run(() => this.#round());
    await this.#turns.run(async () => {
      clearTimeout(this.#syncTimer);
      await this.#syncAll().catch((error: unknown) => this.#warn(error, 'the end of a log is not certain to be on disk'));
      const growing = this.#growing;
      this.#growing = undefined;
      await growing?.handle.close();
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #planRound(): void {
    if (this.#roundPlanned) return;
    this.#roundPlanned = true;
    void this.#turns.run(async () => {
      this.#roundPlanned = false;
      await this.#round();
      if (this.#queue.length > 0) this.#planRound();
    });
  }

  /** Never throws: a failure goes to the appends of the round. */
  async #round(): Promise<void> {
    const round = this.#takeRound();
    if (round.length === 0) return;
    try {
      await this.#makeSound();
      await this.#write(round);
    } catch (error) {
      const shown = toRequestError(error);
      for (const waiting of round) waiting.reject(shown);
    }
  }

  #takeRound(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length) {
      bytes += entrySizeBytes(must(this.#queue[count], 'below the length').draft.body.byteLength);
      if (count > 0 && bytes > roundBytesMax) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #write(round: readonly Waiting[]): Promise<void> {
    if (this.#growing !== undefined && (this.#growing.goodBytes >= fileBytesMax || (this.#syncsBehind && !this.#growing.isSyncedBehind))) await this.#closeGrowing();
    const growing = this.#growing ?? (await this.#startFile());
    const written = round.map(({ draft }) => draft);
    const { parts, entries, chain } = this.#encode(written);
    try {
      await growing.handle.append(parts);
    } catch (error) {
      this.#health = 'cut-back';
      throw error;
    }
    const isBehind = growing.isSyncedBehind && this.#syncsBehind;
    if (!isBehind) {
      try {
        await growing.handle.sync();
      } catch (error) {
        this.#health = 'rewrite';
        throw error;
      }
    }
    const before = growing.goodBytes;
    for (const part of parts) growing.goodBytes += part.byteLength;
    this.#lastSeq += entries.length;
    this.#chain = chain;
    this.#time = must(entries.at(-1), 'a round has entries').time;
    if (isBehind) this.#planSync(growing.goodBytes - before);
    else this.#durableSeq = this.#lastSeq;
    for (const [at, waiting] of round.entries()) waiting.resolve(must(entries[at], 'one entry for each append'));
  }

  #encode(drafts: readonly EntryDraft[]): { readonly parts: Uint8Array[]; readonly entries: readonly Entry[]; readonly chain: Buffer } {
    const parts: Uint8Array[] = [];
    const entries: Entry[] = [];
    let chain = this.#chain;
    let time = this.#time;
    for (const draft of drafts) {
      const seq = this.#lastSeq + 1 + entries.length;
      if (draft.stamp !== undefined && draft.stamp.seq !== seq) throw new RequestError('internal', `a copy of entry ${draft.stamp.seq} came where ${seq} is next`);
      time = draft.stamp?.time ?? later(time, this.#options.clock.now());
      const encoded = encodeEntry(draft, { seq, time, durableSeq: this.#durableSeq });
      parts.push(...encoded.parts);
      chain = nextChain(chain, { seq, opUuid: draft.opUuid, bodyCrc: encoded.bodyCrc });
      entries.push({ ...draft, seq, time, bodyCrc: encoded.bodyCrc });
    }
    return { parts, entries, chain };
  }

  async #startFile(): Promise<GrowingFile> {
    const firstSeq = this.#lastSeq + 1;
    const file = path.join(this.#options.directory, logFileName(firstSeq));
    const isSyncedBehind = this.#syncsBehind;
    const header = encodeLogHeader({ ...this.#options, firstSeq, isSyncedBehind, chain: this.#chain });
    const handle = await this.#disk.create(file);
    try {
      await handle.append([header]);
      await handle.sync();
      await this.#disk.syncDirectory(this.#options.directory);
    } catch (error) {
      await handle.close();
      await this.#disk.removeTree(file);
      throw error;
    }
    const growing = { path: file, firstSeq, isSyncedBehind, handle, goodBytes: logHeaderBytes };
    this.#growing = growing;
    return growing;
  }

  /** Closes the growing file, synced; one without entries goes away. */
  async #closeGrowing(): Promise<void> {
    await this.#syncAll();
    const growing = this.#growing;
    if (growing === undefined) return;
    this.#growing = undefined;
    await growing.handle.close();
    if (this.#lastSeq < growing.firstSeq) {
      await this.#disk.remove(growing.path);
      return;
    }
    this.#closedFiles.push(this.#closedForm(growing));
  }

  #closedForm({ path: file, firstSeq, goodBytes: sizeBytes }: GrowingFile): ClosedLogFile {
    return { path: file, firstSeq, lastSeq: this.#lastSeq, sizeBytes, chain: this.#chain.toString('hex') };
  }

  #planSync(bytes: number): void {
    this.#unsyncedBytes += bytes;
    if (this.#unsyncedBytes >= behindMax.bytes) {
      clearTimeout(this.#syncTimer);
      this.#syncInBackground();
    } else if (this.#syncTimer === undefined && !this.#closed) {
      this.#syncTimer = setTimeout(() => this.#syncInBackground(), behindMax.ms).unref();
    }
  }

  /** Tried again until it succeeds; meanwhile nothing more counts as durable. */
  #syncInBackground(): void {
    this.#syncTimer = undefined;
    this.#unsyncedBytes = 0;
    this.sync().catch((error: unknown) => {
      this.#warn(error, 'a log file could not be synced; it is written anew');
      this.#planSync(0);
    });
  }

  /** What the growing file holds so far, or a bit less where a sync is under way: `durableSeq` says. */
  #syncGrowing(): Promise<void> {
    this.#syncing ??= this.#syncOnce().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  async #syncOnce(): Promise<void> {
    const growing = must(this.#growing, 'what is not synced is in the growing file');
    const seq = this.#lastSeq;
    try {
      await growing.handle.sync();
    } catch (error) {
      this.#health = 'rewrite';
      throw error;
    }
    this.#durableSeq = Math.max(this.#durableSeq, seq);
  }

  /** Under the turn. */
  async #syncAll(): Promise<void> {
    while (this.#durableSeq < this.#lastSeq) {
      await this.#makeSound();
      if (this.#durableSeq < this.#lastSeq) await this.#syncGrowing();
    }
  }

  #warn(error: unknown, message: string): void {
    this.#options.logger.warn({ directory: this.#options.directory, error: String(error), durableSeq: this.#durableSeq, lastSeq: this.#lastSeq }, message);
  }

  /** Under the turn: what stands here can be trusted, or it throws and is tried again with the next round. */
  async #makeSound(): Promise<void> {
    if (this.#unsure !== undefined) await this.#rewriteUnsure(this.#unsure);
    if (this.#health !== 'good') await this.#repair();
  }

  /** A sync of its own would not do: it says nothing of pages that a process before this one could not write. */
  async #rewriteUnsure(file: ClosedLogFile): Promise<void> {
    const handle = await copyPrefix(this.#disk, file.path, { bytes: file.sizeBytes, sha256: await this.#readBack(file) });
    await handle.close();
    this.#unsure = undefined;
    this.#durableSeq = Math.max(this.#durableSeq, file.lastSeq);
  }

  async #repair(): Promise<void> {
    await this.#syncing?.catch(() => undefined); // whoever began it is told
    const growing = must(this.#growing, 'only a growing file can be unhealthy');
    if (this.#health === 'cut-back') {
      try {
        await growing.handle.truncate(growing.goodBytes);
        await growing.handle.sync();
        this.#health = 'good';
        this.#durableSeq = this.#lastSeq;
        return;
      } catch (error) {
        this.#options.logger.warn({ file: growing.path, error: String(error) }, 'could not cut the log file back; it is written anew');
        this.#health = 'rewrite';
      }
    }
    invariant(this.#health === 'rewrite', 'a repair cuts back or rewrites');
    const handle = await copyPrefix(this.#disk, growing.path, { bytes: growing.goodBytes, sha256: await this.#readBack(this.#closedForm(growing)) });
    await growing.handle.close();
    this.#growing = { ...growing, handle };
    this.#health = 'good';
    this.#durableSeq = this.#lastSeq;
  }
}

/** Hybrid logical time: wall milliseconds above, a counter below; never backwards. */
export function later(previous: bigint, nowMs: number): bigint {
  const wall = BigInt(Math.max(0, Math.floor(nowMs))) << 16n;
  return wall > previous ? wall : previous + 1n;
}

function toRequestError(error: unknown): unknown {
  if (error instanceof RequestError || error instanceof CorruptionError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  if (isNoSpace(error)) return new RequestError('no-space', `the write was not stored: ${reason}`, { cause: error });
  return new RequestError('internal', `the write was not stored: ${reason}`, { cause: error });
}
