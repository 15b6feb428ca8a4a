// What snapshot/ needs hashed off the event loop. engine/hash-pool.ts implements it with a worker thread.

interface BytesPart {
  readonly kind: 'bytes';
  readonly bytes: Uint8Array;
}

/** A whole file. Its length is compared, and its content where `sha256` says what it must be. */
export interface FilePart {
  readonly kind: 'file';
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256?: string;
}

export type HashPart = BytesPart | FilePart;

export interface Hasher {
  /** Lower-case hex sha256 of all parts in order. Jobs run one after another; an abort rejects with the signal's reason.
   *  `onBytes` hears now and then how many bytes of files have been read.
   *  @throws CorruptionError naming the file that is not what its part says, or the disk's error. */
  hash(parts: readonly HashPart[], signal?: AbortSignal, onBytes?: (bytes: number) => void): Promise<string>;
}
