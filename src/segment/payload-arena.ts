// Payload texts of the mutable segment: UTF-8 bytes, one text after the other through chunks of equal size, a text may cross
// from one into the next. Exactly the bytes and offsets of a `pay` file, and a tenth of the objects that a string per row costs.
import { must } from '../base/assert.ts';
import { crc32 } from '../base/checksum.ts';
import { grown } from './grown.ts';

const chunkBytes = 1 << 20;

export class PayloadArena {
  readonly #chunks: Buffer[] = [];
  /** `#offsets[row]` … `#offsets[row + 1]` is the text of the row. */
  #offsets = new Float64Array(64);
  #rows = 0;

  get sizeBytes(): number {
    return this.#offsets[this.#rows] ?? 0;
  }

  get memoryBytes(): number {
    return this.#chunks.length * chunkBytes + this.#offsets.byteLength;
  }

  push(text: string): void {
    const start = this.sizeBytes;
    const length = Buffer.byteLength(text);
    const room = this.#chunks.length * chunkBytes - start;
    if (length <= room) this.#chunks.at(-1)?.write(text, chunkBytes - room);
    else this.#write(Buffer.from(text), start);
    this.#rows += 1;
    this.#offsets = grown(this.#offsets, this.#rows + 1);
    this.#offsets[this.#rows] = start + length;
  }

  lengthBytes(row: number): number {
    return (this.#offsets[row + 1] ?? 0) - (this.#offsets[row] ?? 0);
  }

  checksum(row: number): number {
    let crc = 0;
    const end = this.#offsets[row + 1] ?? 0;
    for (let at = this.#offsets[row] ?? 0; at < end;) {
      const from = at % chunkBytes;
      const length = Math.min(chunkBytes - from, end - at);
      const chunk = must(this.#chunks[Math.floor(at / chunkBytes)], 'texts lie in chunks');
      crc = crc32(chunk.subarray(from, from + length), crc);
      at += length;
    }
    return crc;
  }

  text(row: number): string {
    return this.#read(this.#offsets[row] ?? 0, this.#offsets[row + 1] ?? 0).toString('utf8');
  }

  /** All texts, in pieces. */
  *pieces(): Generator<Buffer, void, undefined> {
    const end = this.sizeBytes;
    for (const [at, chunk] of this.#chunks.entries()) yield chunk.subarray(0, Math.min(chunkBytes, end - at * chunkBytes));
  }

  /** rows + 1 offsets, from 0 to the size. */
  offsets(): Float64Array {
    return this.#offsets.subarray(0, this.#rows + 1);
  }

  #write(bytes: Buffer, start: number): void {
    for (let done = 0; done < bytes.length;) {
      const at = start + done;
      const chunk = Math.floor(at / chunkBytes);
      while (this.#chunks.length <= chunk) this.#chunks.push(Buffer.allocUnsafeSlow(chunkBytes));
      done += bytes.copy(this.#chunks[chunk] ?? bytes, at % chunkBytes, done);
    }
  }

  #read(start: number, end: number): Buffer {
    const parts: Buffer[] = [];
    for (let at = start; at < end;) {
      const from = at % chunkBytes;
      const length = Math.min(chunkBytes - from, end - at);
      const chunk = this.#chunks[Math.floor(at / chunkBytes)];
      if (chunk !== undefined) parts.push(chunk.subarray(from, from + length));
      at += length;
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }
}
