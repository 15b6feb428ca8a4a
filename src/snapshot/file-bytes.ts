// A stored archive as the stream it would be as an upload.
import type { Disk } from '../fs/disk.ts';

const pieceBytes = 256 << 10;

export async function* fileBytes(disk: Disk, file: string): AsyncGenerator<Buffer> {
  await using handle = await disk.openRead(file);
  for (let at = 0; at < handle.sizeBytes; at += pieceBytes) yield await handle.read(at, Math.min(pieceBytes, handle.sizeBytes - at));
}
