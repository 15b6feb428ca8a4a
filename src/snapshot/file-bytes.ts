// A stored archive as the stream it would be as an upload.
import type { Disk } from '../fs/disk.ts';
import { readPieces } from '../fs/read-pieces.ts';

export async function* fileBytes(disk: Disk, file: string): AsyncGenerator<Buffer> {
  await using handle = await disk.openRead(file);
  yield* readPieces(handle, { from: 0, to: handle.sizeBytes });
}
