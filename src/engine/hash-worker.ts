// The worker thread of hash-pool.ts: reads and hashes files one job at a time.
import os from 'node:os';
import { parentPort } from 'node:worker_threads';
import { must } from '../base/assert.ts';
import { CorruptionError, systemCode } from '../base/errors.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { PieceMemory, readPieces } from '../fs/read-pieces.ts';
import type { FilePart, HashPart } from '../snapshot/hasher.ts';
import { newArchiveDigest, type ArchiveDigest } from './archive-digest.ts';

export interface HashJob {
  readonly id: number;
  readonly parts: readonly HashPart[];
}

/** Job, or the end of the job at hand. */
export type HashRequest = HashJob | { readonly abort: number };

export type HashFailure =
  | { readonly kind: 'corruption'; readonly file: string; readonly offsetBytes: number | undefined; readonly problem: string }
  | { readonly kind: 'other'; readonly message: string; readonly code: string | undefined };

export interface HashAnswer {
  readonly id: number;
  /** Of a job that goes on: bytes of files read so far. */
  readonly readBytes?: number;
  readonly sha256?: string;
  readonly failure?: HashFailure;
}

const reportBytes = 16 << 20;
const disk = new NodeDisk();
const memory = new PieceMemory(); // one job at a time

// Searches and writes come first where the CPU is scarce. Only on Linux is this the priority of a thread and not of the process.
if (process.platform === 'linux') os.setPriority(os.constants.priority.PRIORITY_BELOW_NORMAL);

const port = must(parentPort, 'this module runs in a worker thread');
let abortedId = 0;
let readBytes = 0;

port.on('message', (request: HashRequest) => {
  if ('abort' in request) abortedId = request.abort;
  else void answer(request).then((message: HashAnswer) => {
    port.postMessage(message);
  });
});

async function answer({ id, parts }: HashJob): Promise<HashAnswer> {
  try {
    const digest = newArchiveDigest();
    readBytes = 0;
    for (const part of parts) {
      if (part.kind === 'bytes') digest.add(part.bytes);
      else await hashFile(part, digest, id);
      if (abortedId === id) break;
    }
    return { id, sha256: digest.end() };
  } catch (error) {
    return { id, failure: failureOf(error) };
  }
}

async function hashFile(part: FilePart, digest: ArchiveDigest, id: number): Promise<void> {
  await using handle = await disk.openRead(part.path);
  if (handle.sizeBytes !== part.sizeBytes) {
    throw new CorruptionError({ file: part.path, problem: `has ${handle.sizeBytes} bytes instead of ${part.sizeBytes}` });
  }
  for await (const piece of readPieces(handle, { from: 0, to: part.sizeBytes }, memory)) {
    if (abortedId === id) return;
    digest.addOfFile(piece);
    report(id, piece.length);
  }
  const sha256 = digest.endFile();
  if (part.sha256 === undefined || sha256 === part.sha256) return;
  throw new CorruptionError({ file: part.path, offsetBytes: 0, problem: 'does not match its sha256' });
}

function report(id: number, pieceLength: number): void {
  const before = Math.floor(readBytes / reportBytes);
  readBytes += pieceLength;
  if (Math.floor(readBytes / reportBytes) > before) port.postMessage({ id, readBytes } satisfies HashAnswer);
}

function failureOf(error: unknown): HashFailure {
  if (error instanceof CorruptionError) return { kind: 'corruption', file: error.file, offsetBytes: error.offsetBytes, problem: error.problem };
  return { kind: 'other', message: error instanceof Error ? error.message : String(error), code: systemCode(error) };
}
