// The archive: written, read, and every way to damage one.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { decodeSize, encodeHeader, layoutOf, type ArchiveMember } from './archive-layout.ts';
import { readArchive, type ArchiveTarget } from './archive-read.ts';
import { archiveBytes, type MemberFiles } from './archive-write.ts';
import type { SealedManifest } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';
import { inChunks, makeArchive } from './testing/archives.ts';

/** Keeps members in memory; counts what was opened and not disposed. */
class MemoryTarget implements ArchiveTarget {
  readonly members = new Map<string, Buffer>();
  began = 0;
  open_ = 0;

  begin(): Promise<void> {
    this.began += 1;
    return Promise.resolve();
  }

  open(member: ArchiveMember): ReturnType<ArchiveTarget['open']> {
    const pieces: Buffer[] = [];
    this.open_ += 1;
    return Promise.resolve({
      write: (bytes: Buffer) => {
        pieces.push(Buffer.from(bytes));
        return Promise.resolve();
      },
      commit: () => {
        this.members.set(member.name, Buffer.concat(pieces));
        return Promise.resolve();
      },
      [Symbol.asyncDispose]: () => {
        this.open_ -= 1;
        return Promise.resolve();
      },
    });
  }
}

async function checkRefused(bytes: Buffer, title: string): Promise<RequestError> {
  const target = new MemoryTarget();
  const error = await readArchive(inChunks(bytes, 4096), target, { checksum: false }).then(() => assert.fail(`${title} was accepted`), (reason: unknown) => reason);
  assert.ok(error instanceof RequestError, `${title}: ${String(error)}`);
  assert.equal(error.code, 'bad-request', title);
  assert.equal(target.open_, 0, `${title}: every sink was disposed`);
  return error;
}

test('an archive reads back member by member, with its checksum, whatever the chunks', async () => {
  await using folder = await temporaryFolder();
  const { bytes, layout, sealed } = await makeArchive(folder.path);
  assert.equal(bytes.length, layout.sizeBytes);
  for (const chunkBytes of [1, 511, 512, 70_000, 1 << 22]) {
    const target = new MemoryTarget();
    const read = await readArchive(inChunks(bytes, chunkBytes), target, { checksum: true });
    assert.equal(read.checksum, sha256Hex(bytes));
    assert.deepEqual(read.sealed, sealed);
    assert.deepEqual([...target.members.keys()], layout.members.slice(2).map(({ name }) => name));
    for (const member of layout.members.slice(2)) assert.equal(sha256Hex(target.members.get(member.name) ?? ''), member.sha256);
  }
});

test('any range of an archive is the same bytes', async () => {
  await using folder = await temporaryFolder();
  const { bytes, layout, files } = await storedArchive(folder.path);
  const edges = layout.members.flatMap(({ offsetBytes, sizeBytes }) => [offsetBytes, offsetBytes + 512, offsetBytes + 512 + sizeBytes]).flatMap((at) => [at - 1, at, at + 1]);
  const points = [...new Set([...edges, 0, bytes.length - 1, bytes.length - 1024].filter((at) => at >= 0 && at < bytes.length))];
  for (const start of points) {
    for (const end of [start, start + 1, start + 700, bytes.length - 1]) {
      const pieces: Buffer[] = [];
      for await (const piece of archiveBytes(files, layout, { start, end })) pieces.push(piece);
      assert.ok(Buffer.concat(pieces).equals(bytes.subarray(start, end + 1)), `range ${start}-${end}`);
    }
  }
});

test('tar opens an archive', async () => {
  await using folder = await temporaryFolder();
  const { bytes, layout } = await makeArchive(folder.path);
  const file = path.join(folder.path, 'x.tar');
  writeFileSync(file, bytes);
  assert.deepEqual(execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).trim().split('\n'), layout.members.map(({ name }) => name));
});

test('headers hold sizes above 8 GiB', () => {
  for (const sizeBytes of [0, 8 ** 11 - 1, 8 ** 11, 2 ** 43, Number.MAX_SAFE_INTEGER]) assert.equal(decodeSize(encodeHeader({ name: 'x', sizeBytes }, 1)), sizeBytes);
  const header = encodeHeader({ name: 'x', sizeBytes: 2 ** 40 }, 1);
  header[128] = 0xff;
  assert.equal(decodeSize(header), undefined, 'sizes beyond 2^53 are refused, not rounded');
});

test('a file that is missing, cut or grown ends the stream before its first byte', async () => {
  await using folder = await temporaryFolder();
  const { layout, files } = await storedArchive(folder.path);
  const last = layout.members.at(-1)!;
  const cut: MemberFiles = { open: async (name) => {
    const handle = await files.open(name);
    return name === last.name ? { sizeBytes: handle.sizeBytes - 1, read: (at, length) => handle.read(at, length), close: () => handle.close(), [Symbol.asyncDispose]: () => handle.close() } : handle;
  } };
  const seen: Buffer[] = [];
  await assert.rejects(async () => {
    for await (const piece of archiveBytes(cut, layout, { start: 0, end: layout.sizeBytes - 1 })) seen.push(piece);
  }, (error: unknown) => error instanceof CorruptionError && error.file === last.name);
  assert.equal(seen.length, 0);
});

test('advisory 27: a flipped bit is refused wherever it is', async () => {
  await using folder = await temporaryFolder();
  const { bytes } = await makeArchive(folder.path, { shards: 1, fileBytes: [513] });
  let count = 0;
  for (let at = 0; at < bytes.length; at += 97) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8));
    await checkRefused(damaged, `bit flipped in byte ${at}`);
    count += 1;
  }
  assert.ok(count > 80, `${count} places`);
});

test('advisory 27: an archive cut at any block is refused', async () => {
  await using folder = await temporaryFolder();
  const { bytes } = await makeArchive(folder.path, { shards: 1 });
  for (let length = 0; length < bytes.length; length += 512) await checkRefused(bytes.subarray(0, length), `cut to ${length} bytes`);
  await checkRefused(bytes.subarray(0, -1), 'cut by one byte');
});

test('anything behind the end is refused', async () => {
  await using folder = await temporaryFolder();
  const { bytes } = await makeArchive(folder.path, { shards: 1 });
  for (const tail of [Buffer.alloc(1), Buffer.alloc(512), Buffer.alloc(10_240), Buffer.from('x')]) {
    assert.match((await checkRefused(Buffer.concat([bytes, tail]), 'trailing data')).message, /goes on behind its end/);
  }
});

/** The archive with one header replaced or one member put in, left out or renamed. */
async function withMembers(bytes: Buffer, sealed: SealedManifest, change: (blocks: { header: Buffer; content: Buffer }[]) => void): Promise<Buffer> {
  const layout = layoutOf(await parseManifest(sealed.text));
  const blocks = layout.members.map((member, index) => {
    const end = layout.members[index + 1]?.offsetBytes ?? layout.sizeBytes - 1024;
    return { header: Buffer.from(bytes.subarray(member.offsetBytes, member.offsetBytes + 512)), content: Buffer.from(bytes.subarray(member.offsetBytes + 512, end)) };
  });
  change(blocks);
  return Buffer.concat([...blocks.flatMap(({ header, content }) => [header, content]), Buffer.alloc(1024)]);
}

function reseal(header: Buffer): void {
  header.write('        ', 148, 'latin1');
  header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

const forged = (name: string, type = '0', size = 0): Buffer => {
  const header = encodeHeader({ name, sizeBytes: size }, 1);
  header.write(type, 156, 'latin1');
  reseal(header);
  return header;
};

const hostile: readonly (readonly [string, (blocks: { header: Buffer; content: Buffer }[]) => void])[] = [
  ...(['1', '2', '3', '4', '5', '6', '7', 'S', 'x', 'g', 'L', 'K', 'A', '\0'] as const).map((type) =>
    [`advisory 04: an entry of tar type ${JSON.stringify(type)} in the place of a file`, (blocks: { header: Buffer; content: Buffer }[]) => {
      blocks[3]!.header.write(type, 156, 'latin1');
      reseal(blocks[3]!.header);
    }] as const),
  ...['/etc/passwd', '../../x', '0/../../x', '0\\..\\x', 'C:x', '0/FILES/x', 'snapshot.json'].map((name) =>
    [`advisory 30: a member called ${name} is put in`, (blocks: { header: Buffer; content: Buffer }[]) => {
      blocks.splice(3, 0, { header: forged(name), content: Buffer.alloc(0) });
    }] as const),
  ['advisory 11: a name that is not UTF-8', (blocks) => {
    blocks[3]!.header[0] = 0xff;
    reseal(blocks[3]!.header);
  }],
  ['a link target in the header of a file', (blocks) => {
    blocks[3]!.header.write('/etc/passwd', 157, 'latin1');
    reseal(blocks[3]!.header);
  }],
  ['advisory 31: a size other than the manifest says', (blocks) => {
    blocks[3]!.header.write('00000000001', 124, 'latin1');
    reseal(blocks[3]!.header);
  }],
  ['advisory 33: a member that claims a terabyte', (blocks) => {
    blocks.splice(3, 1, { header: forged('0/logs/00000000000000000001', '0', 2 ** 40), content: Buffer.alloc(512) });
  }],
  ['advisory 33: a manifest that claims a terabyte', (blocks) => {
    blocks[0]!.header = forged('snapshot.json', '0', 2 ** 40);
  }],
  ['advisory 30: a duplicate member', (blocks) => {
    blocks.splice(4, 0, blocks[3]!);
  }],
  ['a missing member', (blocks) => {
    blocks.splice(3, 1);
  }],
  ['two members in the other order', (blocks) => {
    blocks.splice(3, 2, blocks[4]!, blocks[3]!);
  }],
  ['an owner other than 0', (blocks) => {
    blocks[3]!.header.write('0000001', 108, 'latin1');
    reseal(blocks[3]!.header);
  }],
  ['a device number', (blocks) => {
    blocks[3]!.header.write('0000001', 329, 'latin1');
    reseal(blocks[3]!.header);
  }],
  ['a hash of another manifest', (blocks) => {
    blocks[1]!.content.write('0'.repeat(64), 0, 'latin1');
  }],
  ['no hash of the manifest', (blocks) => {
    blocks.splice(1, 1);
  }],
];
for (const [title, change] of hostile) {
  test(`refused: ${title}`, async () => {
    await using folder = await temporaryFolder();
    const { bytes, sealed } = await makeArchive(folder.path, { shards: 1 });
    const error = await checkRefused(await withMembers(bytes, sealed, change), title);
    assert.ok(!error.message.includes('passwd'), 'the text quotes nothing of the archive');
  });
}

const qdrantHeads = ['0/', '0/segments/', './0/wal/', 'version.info', 'config.json', '0/replica_state.json', 'segments/6b1f.tar', 'payload_index.json', '12/segments/x.tar'];
for (const name of qdrantHeads) {
  test(`an archive made by Qdrant that begins with ${name} is recognised`, async () => {
    const error = await checkRefused(Buffer.concat([forged(name, name.endsWith('/') ? '5' : '0'), Buffer.alloc(4096)]), name);
    assert.match(error.message, /made by Qdrant/);
  });
}

test('other bytes are called what they are', async () => {
  assert.match((await checkRefused(Buffer.concat([forged('holiday.jpg'), Buffer.alloc(4096)]), 'a tar')).message, /is a tar file, but not a nearkeep snapshot/);
  assert.match((await checkRefused(Buffer.alloc(4096, 'secret words'), 'text')).message, /^Invalid snapshot: archive at byte 0: is not a nearkeep snapshot$/);
  assert.match((await checkRefused(Buffer.alloc(0), 'nothing')).message, /ends early/);
});

test('a body that fails is not mistaken for one that ends', async () => {
  await using folder = await temporaryFolder();
  const { bytes } = await makeArchive(folder.path);
  async function* failing(): AsyncGenerator<Buffer> {
    yield* inChunks(bytes.subarray(0, 5000));
    throw new RequestError('internal', 'connection lost');
  }
  await assert.rejects(readArchive(failing(), new MemoryTarget(), { checksum: false }), /connection lost/);
});

test('an abort ends a wait for a body that hangs', async () => {
  await using folder = await temporaryFolder();
  const { bytes } = await makeArchive(folder.path);
  const controller = new AbortController();
  let released = false;
  const hanging: AsyncIterable<Buffer> = { [Symbol.asyncIterator]: () => {
    const chunks = inChunks(bytes.subarray(0, 3000));
    return {
      next: async () => {
        const step = await chunks.next();
        if (step.done !== true) return step;
        controller.abort(new RequestError('unavailable', 'stopping'));
        return new Promise<never>(() => undefined);
      },
      return: () => {
        released = true;
        return Promise.resolve({ done: true as const, value: undefined });
      },
    };
  } };
  await assert.rejects(readArchive(hanging, new MemoryTarget(), { checksum: false, signal: controller.signal }), /stopping/);
  assert.ok(released, 'the body was let go');
});

async function storedArchive(folder: string): Promise<{ bytes: Buffer; layout: ReturnType<typeof layoutOf>; files: MemberFiles }> {
  const { bytes, layout, source } = await makeArchive(folder);
  for (const { name, offsetBytes, sizeBytes } of layout.members) {
    writeFileSync(path.join(folder, name.replaceAll('/', '~')), bytes.subarray(offsetBytes + 512, offsetBytes + 512 + sizeBytes));
  }
  return { bytes, layout, files: { open: (name) => source.disk.openRead(path.join(folder, name.replaceAll('/', '~'))) } };
}
