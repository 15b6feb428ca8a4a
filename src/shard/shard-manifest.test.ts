import assert from 'node:assert/strict';
import test from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';
import { MemoryDisk } from '../fs/testing/memory-disk.ts';
import { decodeManifest, encodeManifest, readManifest, writeManifest, type ShardManifest } from './shard-manifest.ts';
import { collectionUuid } from './testing/shard-fixtures.ts';

const hash = 'ab'.repeat(32);

const manifest: ShardManifest = {
  collectionUuid, shardId: 3, generation: 2, applied: 17, chain: '0f'.repeat(16), time: 113_254_604_800_000_000n, digest: { from: 5, value: '1e'.repeat(16) }, durable: 21,
  vectors: new Map([['', { size: 4, distance: 'Cosine', datatype: 'float16' }]]),
  payloadSchema: new Map([['b', { type: 'keyword' }], ['a', { type: 'integer', params: { type: 'integer', range: true } }]]),
  segments: [{
    uuid: '0d0c1f0e-7d0c-4b6e-9a70-6a5f3f3f7a12', rows: 9, min_seq: 1, max_seq: 17,
    files: [{ kind: 'ids', chunk: 0, sha256: hash, size: 4_200 }, { kind: 'vec', of: '', chunk: 0, sha256: hash, size: 5_000 }],
    del: { sha256: hash, size: 4_108, count: 2 },
  }],
  opUuids: ['00'.repeat(16), 'ff'.repeat(16)],
};

test('decode(encode(manifest)) is the manifest', () => {
  assert.deepEqual(decodeManifest(encodeManifest(manifest), 'manifest.json'), manifest);
});

test('every single flipped bit is refused', () => {
  const text = encodeManifest(manifest);
  for (let bit = 0; bit < text.length * 8; bit += 1) {
    const bad = Buffer.from(text);
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(() => decodeManifest(bad, 'm'), CorruptionError, `bit ${bit}`);
  }
});

test('a cut or longer text is refused', () => {
  const text = encodeManifest(manifest);
  for (const bad of [text.subarray(0, -1), Buffer.concat([text, Buffer.from('\n')]), Buffer.alloc(0), Buffer.from('{}')]) {
    assert.throws(() => decodeManifest(bad, 'm'), CorruptionError);
  }
});

test('a later format version is refused by a sentence', () => {
  assert.throws(() => decodeManifest(signed({ format: 'nearkeep-shard', format_version: 9 }), '/s/manifest.json'),
    /\/s\/manifest\.json: has format version 9; this version of nearkeep reads up to 1/);
});

const shapes: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
  ['applied', { applied: -1 }], ['chain', { chain: 'x' }], ['time', { time: 5 }], ['vectors', { vectors: [{ name: 'a', size: 0, distance: 'Dot', datatype: 'float32' }] }],
  ['digest', { digest: { from: 5, value: 'x' } }], ['digest', { digest: { from: 18, value: '00'.repeat(16) } }],
  ['segments', { segments: [{ uuid: 'x' }] }], ['op_uuids', { op_uuids: [1] }], ['durable', { durable: 3 }], ['payload_schema', { payload_schema: [{ field: 'a', schema: { type: 'colour' } }] }],
];

for (const [field, change] of shapes) {
  test(`a well-signed manifest with a wrong ${field} is refused`, () => {
    const value: unknown = JSON.parse(encodeManifest(manifest).toString());
    assert.throws(() => decodeManifest(signed({ ...(value as object), ...change }), 'm'), CorruptionError);
  });
}

test('an absent manifest is damage, and a written one reads back', async () => {
  const disk = new MemoryDisk();
  await assert.rejects(readManifest(disk, '/'), /manifest\.json: is missing/);
  const written = await writeManifest(disk, '/', manifest);
  assert.deepEqual(await readManifest(disk, '/'), written);
});

function signed(value: object): Buffer {
  const { sha256: _, ...fields } = value as { readonly sha256?: string };
  const body = JSON.stringify(fields);
  return Buffer.from(`${body.slice(0, -1)},"sha256":"${sha256Hex(body)}"}`);
}
