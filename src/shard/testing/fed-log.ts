// The log of a replica without a stream: what one appends is kept, and others are fed with it.
import type { Seq } from '../../base/ids.ts';
import type { FileLog } from '../../log/file-log.ts';
import type { ClosedLogFile, Entry, EntryDraft, LogInfo, LogPosition, ShardLog } from '../../log/shard-log.ts';

export class FedLog implements ShardLog {
  readonly #local: FileLog;
  /** In order, also when the files have forgotten them. */
  readonly appended: Entry[] = [];
  #onForeign: (entry: Entry) => Promise<void> = () => Promise.resolve();

  constructor(local: FileLog) {
    this.#local = local;
  }

  get lastSeq(): Seq { return this.#local.lastSeq; }
  get durableSeq(): Seq { return this.#local.durableSeq; }
  get lastTime(): bigint { return this.#local.lastTime; }

  follow(onForeign: (entry: Entry) => Promise<void>): void {
    this.#onForeign = onForeign;
  }

  /** Resolves when the shard has room for the next one. */
  async feed({ kind, version, body, opUuid, seq, time }: Entry): Promise<void> {
    await this.#onForeign(await this.#local.append({ kind, version, body, opUuid, stamp: { seq, time } }));
  }

  async append(draft: EntryDraft): Promise<Entry> {
    const entry = await this.#local.append(draft);
    this.appended.push({ ...entry, body: Buffer.from(entry.body) });
    return entry;
  }

  position(): LogPosition { return this.#local.position(); }
  sync(): Promise<void> { return this.#local.sync(); }
  read(from: Seq): AsyncIterable<Entry> { return this.#local.read(from); }
  info(): LogInfo { return this.#local.info(); }
  rotate(after: Seq): Promise<readonly ClosedLogFile[]> { return this.#local.rotate(after); }
  hash(file: ClosedLogFile): Promise<string> { return this.#local.hash(file); }
  purgeTo(seq: Seq): Promise<void> { return this.#local.purgeTo(seq); }
  close(): Promise<void> { return this.#local.close(); }
  [Symbol.asyncDispose](): Promise<void> { return this.close(); }
}
