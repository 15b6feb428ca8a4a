// Reading a snapshot folder's own description: snapshot.json, compared with the hash beside it before it is parsed.
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import type { ReadHandle } from '../fs/disk.ts';
import { badSnapshot } from './archive-error.ts';
import { MANIFEST_HASH_NAME, MANIFEST_NAME } from './archive-layout.ts';
import { MANIFEST_BYTES_MAX, type SealedManifest } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';

/** @throws RequestError 'bad-request' where it is no sound snapshot; ENOENT where one of the two files is absent. */
export async function readSealedManifest(open: (name: string) => Promise<ReadHandle>): Promise<SealedManifest> {
  const text = await readSmall(open, MANIFEST_NAME, MANIFEST_BYTES_MAX);
  const stated = await readSmall(open, MANIFEST_HASH_NAME, 64);
  if (stated.toString('latin1') !== sha256Hex(text)) throw badSnapshot(MANIFEST_NAME, 'does not match its sha256');
  return parseManifest(text);
}

async function readSmall(open: (name: string) => Promise<ReadHandle>, name: string, bytesMax: number): Promise<Buffer> {
  await using handle = await open(name);
  if (handle.sizeBytes > bytesMax) throw badSnapshot(name, `has ${handle.sizeBytes} bytes, at most ${bytesMax} are read`);
  return await handle.read(0, handle.sizeBytes);
}

/** What is wrong with a snapshot of our own is damage, not a mistake of whoever asks for it. */
export function asDamage(error: unknown): unknown {
  return error instanceof RequestError && error.cause instanceof CorruptionError ? error.cause : error;
}
