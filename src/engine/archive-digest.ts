// sha256 of a sequence of bytes, and on the way of the files in it: what proves an archive reads every byte once and hashes it for
// both. Where the CPU has instructions for sha256, the addon does both in one go, for two thirds of what two hashes would take.
import { createHash } from 'node:crypto';
import { loadAddon, type Addon } from '../vector/addon.ts';

export interface ArchiveDigest {
  /** Bytes between files. */
  add(bytes: Uint8Array): void;
  /** Bytes of the file at hand. */
  addOfFile(bytes: Uint8Array): void;
  /** Lower-case hex of the file at hand; the next one begins. */
  endFile(): string;
  /** Lower-case hex of everything. Ends the digest. */
  end(): string;
}

type Compress = NonNullable<Addon['compressSha']>;

export function newArchiveDigest(): ArchiveDigest {
  const compress = loadAddon()?.compressSha;
  return compress === undefined ? new PlainDigest() : new NativeDigest(compress);
}

/** @internal for tests */
export class PlainDigest implements ArchiveDigest {
  readonly #whole = createHash('sha256');
  #file = createHash('sha256');

  add(bytes: Uint8Array): void {
    this.#whole.update(bytes);
  }

  addOfFile(bytes: Uint8Array): void {
    this.#whole.update(bytes);
    this.#file.update(bytes);
  }

  endFile(): string {
    const hex = this.#file.digest('hex');
    this.#file = createHash('sha256');
    return hex;
  }

  end(): string {
    return this.#whole.digest('hex');
  }
}

class NativeDigest implements ArchiveDigest {
  readonly #compress: Compress;
  readonly #whole: ShaState;
  #file: ShaState;

  constructor(compress: Compress) {
    this.#compress = compress;
    this.#whole = new ShaState(compress);
    this.#file = new ShaState(compress);
  }

  add(bytes: Uint8Array): void {
    this.#whole.add(bytes);
  }

  /** In an archive files begin at a block of both, and pieces are whole blocks up to the last. */
  addOfFile(bytes: Uint8Array): void {
    const together = this.#whole.isAtBlock && this.#file.isAtBlock ? bytes.length - (bytes.length % blockBytes) : 0;
    if (together > 0) {
      this.#compress(this.#whole.words, this.#file.words, bytes.subarray(0, together));
      this.#whole.countBlocks(together);
      this.#file.countBlocks(together);
    }
    this.#whole.add(bytes.subarray(together));
    this.#file.add(bytes.subarray(together));
  }

  endFile(): string {
    const hex = this.#file.end();
    this.#file = new ShaState(this.#compress);
    return hex;
  }

  end(): string {
    return this.#whole.end();
  }
}

const blockBytes = 64;
const initialWords = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/** FIPS 180-4 around the compression of blocks. */
class ShaState {
  readonly words = Uint32Array.from(initialWords);
  readonly #compress: Compress;
  readonly #rest = new Uint8Array(blockBytes);
  #bytes = 0;

  constructor(compress: Compress) {
    this.#compress = compress;
  }

  get isAtBlock(): boolean {
    return this.#bytes % blockBytes === 0;
  }

  /** Blocks that somebody else has compressed into `words`. */
  countBlocks(bytes: number): void {
    this.#bytes += bytes;
  }

  add(bytes: Uint8Array): void {
    const restBytes = this.#bytes % blockBytes;
    this.#bytes += bytes.length;
    if (restBytes + bytes.length < blockBytes) {
      this.#rest.set(bytes, restBytes);
      return;
    }
    const head = restBytes === 0 ? 0 : blockBytes - restBytes;
    if (head > 0) {
      this.#rest.set(bytes.subarray(0, head), restBytes);
      this.#compress(this.words, undefined, this.#rest);
    }
    const whole = head + Math.floor((bytes.length - head) / blockBytes) * blockBytes;
    if (whole > head) this.#compress(this.words, undefined, bytes.subarray(head, whole));
    this.#rest.set(bytes.subarray(whole));
  }

  /** A one bit, zeros, and the length in bits fill the last block. */
  end(): string {
    const bits = BigInt(this.#bytes) * 8n;
    const padding = Buffer.alloc(((2 * blockBytes - 9 - (this.#bytes % blockBytes)) % blockBytes) + 9);
    padding[0] = 0x80;
    padding.writeBigUInt64BE(bits, padding.length - 8);
    this.add(padding);
    const digest = Buffer.alloc(4 * this.words.length);
    this.words.forEach((word, at) => digest.writeUInt32BE(word, 4 * at));
    return digest.toString('hex');
  }
}
