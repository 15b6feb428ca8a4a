// The hasher port on the calling thread, for tests below engine/: same checks, same errors, no worker.
import { createHash } from 'node:crypto';
import { CorruptionError } from '../../base/errors.ts';
import type { Disk } from '../../fs/disk.ts';
import { NodeDisk } from '../../fs/node-disk.ts';
import type { HashPart, Hasher } from '../hasher.ts';

const pieceBytes = 1 << 20;

export class PlainHasher implements Hasher {
  readonly #disk: Disk;
  /** Awaited before a job's first byte. */
  before: () => Promise<void> = () => Promise.resolve();

  constructor(disk: Disk = new NodeDisk()) {
    this.#disk = disk;
  }

  async hash(parts: readonly HashPart[], signal?: AbortSignal, onBytes?: (bytes: number) => void): Promise<string> {
    await this.before();
    let readBytes = 0;
    const all = createHash('sha256');
    for (const part of parts) {
      signal?.throwIfAborted();
      if (part.kind === 'bytes') {
        all.update(part.bytes);
        continue;
      }
      await using handle = await this.#disk.openRead(part.path);
      if (handle.sizeBytes !== part.sizeBytes) throw new CorruptionError({ file: part.path, problem: `has ${handle.sizeBytes} bytes instead of ${part.sizeBytes}` });
      const own = createHash('sha256');
      for (let at = 0; at < part.sizeBytes; at += pieceBytes) {
        const piece = await handle.read(at, Math.min(pieceBytes, part.sizeBytes - at));
        all.update(piece);
        own.update(piece);
        readBytes += piece.length;
        onBytes?.(readBytes);
      }
      if (part.sha256 !== undefined && own.digest('hex') !== part.sha256) throw new CorruptionError({ file: part.path, offsetBytes: 0, problem: 'does not match its sha256' });
    }
    return all.digest('hex');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
