// Reading ahead and gathering writes: the bytes are the same, memory is used again, and no failure is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { systemCode } from '../base/errors.ts';
import { seededRandom } from '../base/testing/random.ts';
import type { Disk, WriteHandle } from './disk.ts';
import { GatheringWriter } from './gathering-writer.ts';
import { PieceMemory, readPieces } from './read-pieces.ts';
import { FaultyDisk, type DiskOperation, type Fault } from './testing/faulty-disk.ts';
import { MemoryDisk } from './testing/memory-disk.ts';

const random = seededRandom(1);
const content = Buffer.from(Array.from({ length: 1_700_003 }, () => random.below(256))); // no two pieces alike

async function diskWith(bytes: Buffer): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await using file = await disk.create('/file');
  await file.append([bytes]);
  return disk;
}

const noSpace = (error: unknown): boolean => systemCode(error) === 'ENOSPC';

test('pieces are the stretch that was asked for, in memory of their own or in memory that is used again', async () => {
  const disk = await diskWith(content);
  await using handle = await disk.openRead('/file');
  const memory = new PieceMemory();
  for (const [from, to] of [[0, content.length], [5, 1_048_581], [content.length - 1, content.length], [7, 7]] as const) {
    const own: Buffer[] = [];
    for await (const piece of readPieces(handle, { from, to })) own.push(piece);
    assert.equal(sha256Hex(Buffer.concat(own)), sha256Hex(content.subarray(from, to)));
    const copied: Buffer[] = [];
    const places = new Set<ArrayBufferLike>();
    for await (const piece of readPieces(handle, { from, to }, memory)) {
      places.add(piece.buffer);
      copied.push(Buffer.from(piece));
    }
    assert.equal(sha256Hex(Buffer.concat(copied)), sha256Hex(content.subarray(from, to)));
    assert.ok(places.size <= 2, `${places.size} places`);
  }
});

test('a piece stays as it is until the next one is asked for', async () => {
  const disk = await diskWith(content);
  await using handle = await disk.openRead('/file');
  let at = 0;
  for await (const piece of readPieces(handle, { from: 0, to: content.length }, new PieceMemory())) {
    await new Promise(setImmediate); // the read ahead has ended
    assert.equal(sha256Hex(piece), sha256Hex(content.subarray(at, at += piece.length)));
  }
});

test('a read that fails ends the pieces with its error, and one that nobody waits for is no unhandled rejection', async () => {
  const disk = await diskWith(content);
  let reads = 0;
  const failing = new FaultyDisk(disk, ({ kind }: DiskOperation): Fault | undefined => (kind === 'read' && (reads += 1) > 1 ? { kind: 'error', code: 'EIO' } : undefined));
  const seen: number[] = [];
  await using handle = await failing.openRead('/file');
  await assert.rejects(async () => {
    for await (const piece of readPieces(handle, { from: 0, to: content.length })) seen.push(piece.length);
  }, (error) => systemCode(error) === 'EIO');
  assert.equal(seen.length, 1);
  reads = 0;
  for await (const piece of readPieces(handle, { from: 0, to: content.length })) {
    assert.ok(piece.length > 0);
    await new Promise(setImmediate);
    break; // the piece behind it has failed
  }
});

/** Takes the bytes of an append a moment later, as a real disk does. */
function late(inner: WriteHandle): WriteHandle {
  return {
    sizeBytes: 0,
    append: async (parts) => {
      await new Promise(setImmediate);
      await inner.append(parts);
    },
    sync: () => inner.sync(),
    truncate: (sizeBytes) => inner.truncate(sizeBytes),
    close: () => inner.close(),
    [Symbol.asyncDispose]: () => inner.close(),
  };
}

async function write(disk: Disk, bytes: Buffer, pieceBytes: number): Promise<void> {
  await using writer = new GatheringWriter(late(await disk.create('/copy')), new PieceMemory());
  const lent = Buffer.alloc(pieceBytes);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const length = bytes.copy(lent, 0, at, at + pieceBytes);
    await writer.write(lent.subarray(0, length));
    lent.fill(0);
  }
  await writer.sync();
}

test('what was gathered is what was written, durable after the sync, in few writes', async () => {
  for (const pieceBytes of [1000, 65_536, 1_048_576, 5_000_000]) {
    const disk = new MemoryDisk();
    let appends = 0;
    await write(new FaultyDisk(disk, ({ kind }) => {
      if (kind === 'append') appends += 1;
      return undefined;
    }), content, pieceBytes);
    await disk.syncDirectory('/');
    disk.cutPower();
    assert.equal(sha256Hex(await disk.readFile('/copy')), sha256Hex(content), `pieces of ${pieceBytes}`);
    assert.equal(appends, Math.ceil(content.length / 524_288));
  }
});

test('nothing at all is a file too', async () => {
  const disk = new MemoryDisk();
  await write(disk, Buffer.alloc(0), 1000);
  assert.equal((await disk.readFile('/copy')).length, 0);
});

test('a write or a sync that fails in the background is told, at the latest by the sync', async () => {
  for (const kind of ['append', 'sync'] as const) {
    for (let failing = 1; failing <= 3; failing += 1) {
      let seen = 0;
      const disk = new FaultyDisk(new MemoryDisk(), (operation): Fault | undefined => {
        if (operation.kind === kind && (seen += 1) === failing) return { kind: 'error', code: 'ENOSPC' };
        return operation.kind === 'append' ? { kind: 'ignore' } : undefined; // 80 MB are of no use here
      });
      await assert.rejects(write(disk, Buffer.alloc(80 << 20, 7), 4 << 20), noSpace, `${kind} ${failing}`);
      assert.ok(seen >= failing);
    }
  }
});
