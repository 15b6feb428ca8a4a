// Archives that must not be restored: every way to damage one, and archives of others.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { upload, type BadInput, type World } from './bad-input-world.ts';

const blockBytes = 512;
const endBytes = 2 * blockBytes;

interface Member {
  readonly name: string;
  /** Header, content and padding. */
  readonly bytes: Buffer;
}

/** The members of a tar file, in order. */
function members(archive: Buffer): readonly Member[] {
  const found: Member[] = [];
  for (let at = 0; at < archive.length - endBytes; ) {
    const sizeBytes = Number.parseInt(archive.toString('latin1', at + 124, at + 135), 8);
    const end = at + blockBytes + Math.ceil(sizeBytes / blockBytes) * blockBytes;
    found.push({ name: archive.toString('latin1', at, at + 100).replace(/\0.*$/s, ''), bytes: archive.subarray(at, end) });
    at = end;
  }
  return found;
}

const joined = (all: readonly Member[]): Buffer => Buffer.concat([...all.map(({ bytes }) => bytes), Buffer.alloc(endBytes)]);

/** A copy of a member under another name and type, with the right sum in its header. */
function renamed({ bytes }: Member, name: string, type = '0'): Member {
  const copy = Buffer.from(bytes);
  copy.fill(0, 0, 100).write(name, 0, 'latin1');
  copy.write(`${type}`, 156, 'latin1');
  copy.fill(0x20, 148, 156);
  copy.write(
    `${copy
      .subarray(0, blockBytes)
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  );
  return { name, bytes: copy };
}

function flipped(archive: Buffer, at: number): Buffer {
  const copy = Buffer.from(archive);
  copy[at] = (copy[at] ?? 0) ^ 0x10;
  return copy;
}

/** snapshot.json with other words, and its sha256 made to fit. */
function rewritten(archive: Buffer, change: (text: string) => string): Buffer {
  const [manifest, hash, ...rest] = members(archive);
  assert.ok(manifest !== undefined && hash !== undefined);
  const sizeBytes = Number.parseInt(manifest.bytes.toString('latin1', 124, 135), 8);
  const original = manifest.bytes.toString('utf8', blockBytes, blockBytes + sizeBytes);
  const text = Buffer.from(change(original));
  assert.notEqual(text.toString(), original);
  const padded = Buffer.concat([
    manifest.bytes.subarray(0, blockBytes),
    text,
    Buffer.alloc((blockBytes - (text.length % blockBytes)) % blockBytes),
  ]);
  padded.write(`${text.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  const digest = Buffer.from(hash.bytes);
  digest.write(createHash('sha256').update(text).digest('hex'), blockBytes, 'latin1');
  return joined([renamed({ name: manifest.name, bytes: padded }, manifest.name), { name: hash.name, bytes: digest }, ...rest]);
}

function last(all: readonly Member[]): Member {
  const found = all.at(-1);
  assert.ok(found !== undefined);
  return found;
}

const damaged: readonly (readonly [string, (archive: Buffer) => Buffer, RegExp])[] = [
  ['an archive without content', () => Buffer.alloc(0), /^Bad request: Invalid snapshot: archive.* ends/],
  ['an archive of one byte', () => Buffer.of(1), /^Bad request: Invalid snapshot: archive.* ends/],
  [
    'a flipped bit in the manifest',
    (archive) => flipped(archive, 700),
    /^Bad request: Invalid snapshot: snapshot\.json: does not match its sha256$/,
  ],
  [
    'a flipped bit in the first header',
    (archive) => flipped(archive, 3),
    /^Bad request: Invalid snapshot: archive at byte 0: is a tar file, but not a nearkeep snapshot$/,
  ],
  [
    'a flipped bit in a later header',
    (archive) => flipped(archive, archive.length - endBytes - last(members(archive)).bytes.length + 137),
    /^Bad request: Invalid snapshot: archive at byte \d+: does not have 0\/\S+ here as its manifest says$/,
  ],
  [
    'a flipped bit in a file',
    (archive) => flipped(archive, archive.length - endBytes - last(members(archive)).bytes.length + blockBytes + 1),
    /^Bad request: Invalid snapshot: 0\/\S+ at byte 0: does not match its sha256$/,
  ],
  [
    'a flipped bit in padding',
    (archive) => flipped(archive, archive.length - endBytes - 1),
    /^Bad request: Invalid snapshot: (archive at byte \d+: has a byte other than zero in padding|0\/\S+ at byte 0: does not match its sha256)$/,
  ],
  [
    'a flipped bit in the end',
    (archive) => flipped(archive, archive.length - 1),
    /^Bad request: Invalid snapshot: archive at byte \d+: has a byte other than zero in padding$/,
  ],
  [
    'a cut end',
    (archive) => archive.subarray(0, archive.length - 1),
    /^Bad request: Invalid snapshot: archive at byte \d+: ends/,
  ],
  [
    'a cut file',
    (archive) => archive.subarray(0, archive.length >> 1),
    /^Bad request: Invalid snapshot: archive at byte \d+: ends/,
  ],
  [
    'no last file',
    (archive) => joined(members(archive).slice(0, -1)),
    /^Bad request: Invalid snapshot: archive at byte \d+: does not have 0\/\S+ here as its manifest says$/,
  ],
  [
    'one file more',
    (archive) => joined([...members(archive), renamed(last(members(archive)), '0/files/extra')]),
    /^Bad request: Invalid snapshot: archive at byte \d+: has a byte other than zero in padding$/,
  ],
  [
    'a file behind the end',
    (archive) => Buffer.concat([archive, last(members(archive)).bytes]),
    /^Bad request: Invalid snapshot: archive at byte \d+: goes on behind its end$/,
  ],
  [
    'two files in the wrong order',
    (archive) => {
      const [first, second, ...rest] = members(archive);
      assert.ok(first !== undefined && second !== undefined);
      return joined([first, second, ...rest.toReversed()]);
    },
    /^Bad request: Invalid snapshot: archive at byte \d+: does not have 0\/manifest\.json here/,
  ],
  [
    'a file under a name that leads out (advisories 30, 31)',
    (archive) => joined([...members(archive).slice(0, -1), renamed(last(members(archive)), '../../../escaped')]),
    /^Bad request: Invalid snapshot: archive at byte \d+: does not have 0\/\S+ here/,
  ],
  [
    'a symbolic link in place of a file (advisory 04)',
    (archive) => joined([...members(archive).slice(0, -1), renamed(last(members(archive)), last(members(archive)).name, '2')]),
    /^Bad request: Invalid snapshot: archive at byte \d+: does not have 0\/\S+ here/,
  ],
  [
    'a manifest of a later format',
    (archive) =>
      rewritten(archive, (text) =>
        text.replace('"format_version":1,"min_reader_version":1', '"format_version":99,"min_reader_version":99'),
      ),
    /^Bad request: Invalid snapshot: made by nearkeep \S+ in format version 99, which needs a reader of version 99; this server reads up to version 1\. Restore it with nearkeep/,
  ],
  [
    'a manifest of 10^9 shards (advisory 26)',
    (archive) => rewritten(archive, (text) => text.replaceAll('"shard_number":1', '"shard_number":1000000000')),
    /^Bad request: Invalid snapshot: snapshot\.json/,
  ],
  [
    'a manifest of dimension 2^31 (advisory 26)',
    (archive) => rewritten(archive, (text) => text.replace('"size":4,', '"size":2147483648,')),
    /^Bad request: Invalid snapshot: snapshot\.json/,
  ],
  [
    'a manifest that is no JSON',
    (archive) => rewritten(archive, (text) => text.slice(0, -1)),
    /^Bad request: Invalid snapshot: snapshot\.json/,
  ],
  [
    'an archive made by Qdrant',
    (archive) => joined([renamed(last(members(archive)), '0/segments/x.tar')]),
    /^Bad request: Invalid snapshot: this archive was made by Qdrant, and this version restores snapshots made by nearkeep only$/,
  ],
  [
    'a compressed archive',
    () => Buffer.concat([Buffer.of(0x1f, 0x8b, 8), Buffer.alloc(1024)]),
    /^Bad request: Invalid snapshot: archive at byte 0: is not a nearkeep snapshot$/,
  ],
];

export const badArchives: readonly BadInput[] = damaged.flatMap(([title, change, error]) =>
  ['fresh', 'c'].map((collection) => ({
    title: `an upload of ${title}${collection === 'c' ? ' over a collection' : ''}`,
    status: 400,
    error,
    send: upload(collection, ({ snapshot }: World) => change(snapshot.archive)),
  })),
);
