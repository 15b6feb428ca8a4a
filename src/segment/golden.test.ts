// The bytes of one tiny sealed segment, so that a format cannot change unseen. A change of these texts is a change of format:
// new version numbers in FILE_KINDS, and readers for the old.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { plainIndexes } from '../index/testing/plain-indexes.ts';
import { dataOffset, segmentFileName, segmentHeaderBytes } from './files.ts';
import { MutableSegment } from './mutable-segment.ts';
import { sealSegment } from './seal.ts';
import { id, temporaryPlace, uuid } from './testing/segment-fixtures.ts';

const golden = `
11111111-2222-4333-8444-555555555555 rows 3 seqs 7 … 1099511627776 dead 1
ids: 4180 bytes, sha256 19bcc354d64f8a1c01a42864b53377aef8c5edd196f41641cbb48724b339531d
     0  4e4b454550534547696473000100000003000000100000004c00000000000000
    32  000000000000000000000000000000000000000000000000000000003009367d
  4096  0700000000000000080000000000000000000000000100000200000005000000
  4128  0000008000000000000000007746554433221100ffeeddccbbaa998803000000
  4160  0000000000000000000000002458490e3641b8aa
idx: 4116 bytes, sha256 2382ce0bd1e9004c4f41e8c29ec2c2fd21a5d7c7d451670ff8e91fe51a9d0a9c
     0  4e4b454550534547696478000100000003000000040000000c00000000000000
    32  00000000000000000000000000000000000000000000000000000000bf3a3bc7
  4096  020000000000000001000000953f522fa86eb1a7
pay: 4158 bytes, sha256 1d127e2c9209fda44cc8ed31ca6353da4fd945b634ce5e50d6546ec095c9dce7
     0  4e4b454550534547706179000100000003000000000000003600000000000000
    32  16000000000000000000000000000000000000000000000000000000c0fffe1b
  4096  7b2261223a312e307d7b22c3a9223a6e756c6c7d7b7d00000000000000000900
  4128  00000000000014000000000000001600000000000000e094c4045b58daa5
vec of v: 4120 bytes, sha256 4f7e042f97805bc1ed384ee99e7bc70325aa2a3dcd4c0482dd3dd19b431f2273
     0  4e4b454550534547766563000100000002000000080000001000000000000000
    32  020000000000000002000000000000000100000000000000000000004efd26e1
  4096  0000803f000000c00000003f00000000b2b077d4e15ea1b2
has of v: 4108 bytes, sha256 3026595051ebec65601ccb35acf8f75bcd63430e6a30081a437f5cc34384ba9b
     0  4e4b454550534547686173000100000003000000000000000400000000000000
    32  02000000000000000000000000000000000000000000000000000000780916f4
  4096  050000002e2f9a160dd1c22d
del: 4108 bytes, sha256 18b3de803e91bf667749923cde17d377edd05aebe77189d04c12e5845b10cba1
     0  4e4b45455053454764656c000100000003000000000000000400000000000000
    32  0100000000000000000000000000000000000000000000000000000008ffe112
  4096  0200000097174d8b14d80727
`;

test('golden: the files of a segment of three rows', async (t) => {
  const place = await temporaryPlace(t);
  const source = MutableSegment.create({ uuid, specs: new Map([['v', { size: 2, distance: 'Dot', datatype: 'float32' }]]), indexes: plainIndexes(), payloadSchema: new Map() });
  const vector = (a: number, b: number): Uint8Array => new Uint8Array(Float32Array.of(a, b).buffer);
  source.append({ id: id(2n ** 63n + 5n), version: 7, vectors: new Map([['v', vector(1, -2)]]), payload: '{"a":1.0}' });
  source.append({ id: id('00112233-4455-4677-8899-aabbccddeeff'), version: 8, vectors: new Map(), payload: '{"é":null}' });
  source.append({ id: id(3), version: 2 ** 40, vectors: new Map([['v', vector(0.5, 0)]]), payload: '{}' });
  source.markDeleted(1);
  const description = await sealSegment({ ...place, source });
  const lines = [`${description.uuid} rows ${description.rows} seqs ${description.min_seq} … ${description.max_seq} dead ${description.del?.count}`];
  for (const { kind, of, sha256, size } of [...description.files, { kind: 'del', of: undefined, sha256: description.del?.sha256 ?? '', size: description.del?.size }]) {
    const bytes = await readFile(path.join(place.filesDirectory, segmentFileName(sha256, kind)));
    lines.push(`${kind}${of === undefined ? '' : ` of ${of}`}: ${size} bytes, sha256 ${sha256}`);
    for (const [from, to] of [[0, segmentHeaderBytes], [dataOffset, bytes.length]] as const) {
      for (let at = from; at < to; at += 32) lines.push(`${String(at).padStart(6)}  ${bytes.toString('hex', at, Math.min(at + 32, to))}`);
    }
  }
  assert.equal(lines.join('\n'), golden.trim());
});
