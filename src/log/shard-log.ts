// The port to the ordered, durable log that feeds one shard. On one node it is a local file (file-log.ts); in a cluster a
// JetStream stream plus each node's local copy, under the same shard code.
//
// Contract (shard-log.contract.ts runs it on every implementation):
// - `append` resolves when the entry is durable, with its seq; entries get consecutive seqs in the order of the calls. Where durable means
//   that others have it, a power cut may take it from this node's files: it is not in them beyond `durableSeq` then, and comes again.
// - A failed append may or may not have stored the entry: its outcome is unknown until `lastSeq` is read after a reopen.
// - `read(from)` yields every entry with seq >= from, in order, without gaps; a gap or damage throws CorruptionError.
// - `purgeTo(seq)` only ever drops whole prefixes: entries <= seq may disappear, later ones never.
import type { Seq } from '../base/ids.ts';

/** Kinds of entry. Numbers are on disk for ever. */
export const ENTRY_KINDS = {
  upsert: 1,
  'delete-points': 2,
  'update-vectors': 3,
  'delete-vectors': 4,
  'set-payload': 5,
  'overwrite-payload': 6,
  'delete-payload': 7,
  'clear-payload': 8,
  'create-index': 9,
  'drop-index': 10,
  'create-vector': 11,
  'drop-vector': 12,
  restore: 13,
  cut: 14,
  'no-op': 15,
} as const;

export type EntryKind = keyof typeof ENTRY_KINDS;

export interface EntryDraft {
  readonly kind: EntryKind;
  /** Version of the body's format and of the rules that apply it. */
  readonly version: number;
  readonly body: Uint8Array;
  /** 16 bytes naming the operation, so that a retry applies once. */
  readonly opUuid: Uint8Array;
  /** Of a copy of an entry that was stamped elsewhere; without it the log stamps. A seq that is not the next one is refused. */
  readonly stamp?: { readonly seq: Seq; readonly time: bigint };
}

export interface Entry extends EntryDraft {
  readonly seq: Seq;
  /** Hybrid logical time: milliseconds in the upper 48 bits, counter in the lower 16. */
  readonly time: bigint;
  /** crc32 of the body: what the chain hash covers of it. */
  readonly bodyCrc: number;
}

/** Exactly one state of a shard. */
export interface LogPosition {
  readonly generation: number;
  readonly seq: Seq;
  /** Running hash over all entries up to `seq`, 32 hex characters. */
  readonly chain: string;
}

/** A closed log file, as a freeze lists it. */
export interface ClosedLogFile {
  readonly path: string;
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
  readonly sizeBytes: number;
  /** Chain hash after its last entry, 32 hex characters. */
  readonly chain: string;
}

export interface LogInfo {
  readonly firstSeq: Seq;
  readonly lastSeq: Seq;
  readonly sizeBytes: number;
  readonly fileCount: number;
  /** Bytes of a torn tail that opening cut off; 0 on a clean start. */
  readonly tornTailBytes: number;
}

export interface AppendOptions {
  /** An append that others must agree to is given up after that. */
  readonly timeoutMs?: number | undefined;
}

export interface ShardLog extends AsyncDisposable {
  readonly lastSeq: Seq;
  /** Entries up to here stand in this node's files whatever happens to its power. */
  readonly durableSeq: Seq;
  /** Hybrid time of the last entry; 0n for an empty log. */
  readonly lastTime: bigint;
  position(): LogPosition;
  /** @throws RequestError 'no-space' on a full disk, 'unavailable' while the log is recovering from a failed sync. */
  append(draft: EntryDraft, options?: AppendOptions): Promise<Entry>;
  /** Resolves when `durableSeq` is at least what `lastSeq` was. */
  sync(): Promise<void>;
  read(from: Seq): AsyncIterable<Entry>;
  info(): LogInfo;
  /** Closes the growing file, so that every entry so far lies in files that are durable and will not change; lists those with entries > `after`. */
  rotate(after: Seq): Promise<readonly ClosedLogFile[]>;
  /** The sha256 of a file that `rotate` listed and that is kept from being purged. It is read back for it the first time,
   *  every checksum and the chain hash compared. @throws CorruptionError */
  hash(file: ClosedLogFile): Promise<string>;
  purgeTo(seq: Seq): Promise<void>;
  /** Where others append too: hands over their entries, in order, from the log's end at that moment on. To be called once. */
  follow?(onForeign: (entry: Entry) => Promise<void>): void;
  close(): Promise<void>;
}
