import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeEntryHeader, encodeEntry, entryHeaderBytes, entryOf, entrySizeBytes } from './entry.ts';
import { ENTRY_KINDS, type EntryKind } from './shard-log.ts';

const kinds = Object.keys(ENTRY_KINDS) as EntryKind[];

test('decode(encode(entry)) is the entry, and its size is the announced one', () => {
  fc.assert(fc.property(
    fc.constantFrom(...kinds), fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(), fc.nat(), fc.bigInt({ min: 0n, max: 2n ** 63n }),
    (kind, body, opUuid, seq, durableSeq, time) => {
      const { parts, bodyCrc } = encodeEntry({ kind, version: 3, body, opUuid }, { seq, time, durableSeq });
      const bytes = Buffer.concat(parts);
      assert.equal(bytes.length, entrySizeBytes(body.length));
      const header = decodeEntryHeader(bytes);
      assert.ok(header !== undefined);
      assert.deepEqual([header.bodyCrc, header.durableSeq], [bodyCrc, durableSeq]);
      assert.deepEqual(entryOf(header, bytes.subarray(entryHeaderBytes, entryHeaderBytes + body.length)), {
        kind, version: 3, seq, time, opUuid: Buffer.from(opUuid), body: Buffer.from(body), bodyCrc,
      });
    },
  ));
});

test('a header with any one bit flipped is no header', () => {
  const bytes = Buffer.concat(encodeEntry({ kind: 'cut', version: 1, body: Buffer.alloc(8), opUuid: Buffer.alloc(16, 7) }, { seq: 5, time: 9n, durableSeq: 4 }).parts);
  for (let bit = 0; bit < entryHeaderBytes * 8; bit += 1) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeEntryHeader(damaged), undefined, `bit ${bit}`);
  }
});

test('any bytes are a header or nothing', () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: entryHeaderBytes, maxLength: entryHeaderBytes }), (bytes) => {
    assert.equal(decodeEntryHeader(Buffer.from(bytes)), undefined);
  }));
});
