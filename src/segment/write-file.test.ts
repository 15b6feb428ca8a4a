import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { InvariantError } from '../base/assert.ts';
import { CorruptionError } from '../base/errors.ts';
import type { Disk, WriteHandle } from '../fs/disk.ts';
import { blockBytes, decodeHeader, encodeHeader, FILE_KINDS, fileSizeBytes, isFileKind, segmentFileName, type FileHeader } from './files.ts';
import { checkContent, readRanges, readSegmentFile, SegmentFileReader } from './read-file.ts';
import { open, randomRows, seal, temporaryPlace } from './testing/segment-fixtures.ts';
import { writeSegmentFile } from './write-file.ts';

function header(dataBytes: number): FileHeader {
  return { kind: 'pay', rows: 1, stride: 0, dataBytes, fields: [dataBytes] };
}

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) bytes[at] = at * 31 + (at >>> 8);
  return bytes;
}

for (const length of [0, 1, blockBytes - 1, blockBytes, blockBytes + 1, 3 * blockBytes + 17, 20 * blockBytes]) {
  test(`a file of ${length} data bytes reads back, whole and in ranges`, async (t) => {
    const place = await temporaryPlace(t);
    const data = pattern(length);
    const cut = Math.floor(length / 3);
    const written = await writeSegmentFile(place, header(length), [data.subarray(0, cut), data.subarray(cut, cut), data.subarray(cut)]);
    const file = { kind: 'pay', ...written } as const;
    assert.equal(written.size, fileSizeBytes(length));
    assert.deepEqual((await readSegmentFile(place, file)).data, data);
    const reader = await SegmentFileReader.open(place, file);
    t.after(() => reader.close());
    const offsets = [0, Math.max(0, length - 5), cut, Math.floor(length / 2)];
    const lengths = offsets.map((offset) => Math.min(length - offset, 9));
    const found: Buffer[] = [];
    await readRanges(reader, { offsets: Float64Array.from(offsets), lengths: Uint32Array.from(lengths) }, (at, bytes) => { found[at] = Buffer.from(bytes); });
    assert.deepEqual(found, offsets.map((offset, at) => data.subarray(offset, offset + lengths[at]!)));
    assert.deepEqual((await reader.readAll()).subarray(4096, 4096 + length), data);
  });
}

test('of many files that are written at once two have a write or a sync under way', async (t) => {
  const place = await temporaryPlace(t);
  let running = 0;
  let most = 0;
  const counted = async <T>(work: () => Promise<T>): Promise<T> => {
    running += 1;
    most = Math.max(most, running);
    try {
      return await work();
    } finally {
      running -= 1;
    }
  };
  const disk = Object.create(place.disk, {
    create: {
      value: async (file: string): Promise<WriteHandle> => {
        const handle = await place.disk.create(file);
        return Object.create(handle, {
          sizeBytes: { get: () => handle.sizeBytes },
          append: { value: (parts: readonly Uint8Array[]) => counted(() => handle.append(parts)) },
          sync: { value: () => counted(() => handle.sync()) },
          [Symbol.asyncDispose]: { value: () => handle.close() },
        }) as WriteHandle;
      },
    },
    findStat: { value: (file: string) => place.disk.findStat(file) },
    rename: { value: (from: string, to: string) => place.disk.rename(from, to) },
  }) as Disk;
  const files = Array.from({ length: 7 }, (_, at) => pattern(3 * blockBytes + at));
  const written = await Promise.all(files.map((data) => writeSegmentFile({ ...place, disk }, header(data.length), [data])));
  for (const [at, file] of written.entries()) assert.deepEqual((await readSegmentFile(place, { kind: 'pay', ...file })).data, files[at]);
  assert.equal(most, 2);
});

test('an equal file takes the place of the one that is there, and nothing temporary stays', async (t) => {
  const place = await temporaryPlace(t);
  const first = await writeSegmentFile(place, header(3), [Buffer.from('{}!')]);
  const file = path.join(place.filesDirectory, segmentFileName(first.sha256, 'pay'));
  assert.deepEqual(await writeSegmentFile(place, header(3), [Buffer.from('{'), Buffer.from('}!')]), first);
  await checkContent(place, { kind: 'pay', ...first });
  assert.deepEqual(await readdir(place.filesDirectory), [path.basename(file)]);
});

for (const [title, damage] of [['cut', (bytes: Buffer): Buffer => bytes.subarray(0, -1)], ['flipped', (bytes: Buffer): Buffer => { bytes[4097] = 0; return bytes; }]] as const) {
  test(`a ${title} file of that name is replaced`, async (t) => {
    const place = await temporaryPlace(t);
    const first = await writeSegmentFile(place, header(3), [Buffer.from('{}!')]);
    const file = path.join(place.filesDirectory, segmentFileName(first.sha256, 'pay'));
    await writeFile(file, damage(await readFile(file)));
    await assert.rejects(checkContent(place, { kind: 'pay', ...first }), CorruptionError);
    await writeSegmentFile(place, header(3), [Buffer.from('{}!')]);
    await checkContent(place, { kind: 'pay', ...first });
  });
}

for (const [title, data] of [['too little', 'ab'], ['too much', 'abcd']] as const) {
  test(`${title} data is refused and leaves nothing`, async (t) => {
    const place = await temporaryPlace(t);
    await assert.rejects(writeSegmentFile(place, header(3), [Buffer.from(data)]), InvariantError);
    assert.deepEqual(await readdir(place.filesDirectory), []);
  });
}

test('what a crash left under a temporary name disturbs nobody', async (t) => {
  const place = await temporaryPlace(t);
  await writeFile(path.join(place.filesDirectory, '.tmp-0123456789abcdef'), 'half a file');
  const rows = randomRows(5, 20);
  const segment = await open(place, await seal(place, rows));
  assert.deepEqual(await segment.payloads([3]), [rows[3]!.payload]);
  await segment.close();
});

test('headers: every kind decodes as encoded, other kinds and versions are refused', () => {
  for (const kind of Object.keys(FILE_KINDS).filter(isFileKind)) {
    const fields = FILE_KINDS[kind].fields.map((_, at) => 2 ** 40 + at);
    const wanted = { kind, rows: 7, stride: 12, dataBytes: 2 ** 33, fields };
    const page = encodeHeader(wanted);
    assert.deepEqual(decodeHeader(page, 'f', kind), wanted);
    assert.throws(() => decodeHeader(page, 'f', kind === 'vec' ? 'has' : 'vec'), CorruptionError);
  }
});
