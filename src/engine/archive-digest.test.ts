import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { seededRandom } from '../base/testing/random.ts';
import { newArchiveDigest, PlainDigest, type ArchiveDigest } from './archive-digest.ts';

const implementations: readonly (readonly [string, () => ArchiveDigest])[] = [['as this machine does it', newArchiveDigest], ['node:crypto', () => new PlainDigest()]];

for (const [title, make] of implementations) {
  test(`${title}: whole and files have the sha256 of node:crypto, at every length around blocks and however they are cut`, () => {
    const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1e9);
    const random = seededRandom(seed);
    const bytesOf = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random.below(256)));
    for (let round = 0; round < 200; round += 1) {
      const digest = make();
      const all: Buffer[] = [];
      for (let part = 0; part < 6; part += 1) {
        const isFile = random.below(2) === 0;
        const bytes = bytesOf(random.below(3) === 0 ? 64 * random.below(5) : random.below(300));
        all.push(bytes);
        for (let at = 0; at < bytes.length;) {
          const piece = bytes.subarray(at, at + (random.below(2) === 0 ? 64 : 1 + random.below(150)));
          if (isFile) digest.addOfFile(piece);
          else digest.add(piece);
          at += piece.length;
        }
        if (isFile) assert.equal(digest.endFile(), sha256Hex(bytes), `a file, seed ${seed}`);
      }
      assert.equal(digest.end(), sha256Hex(Buffer.concat(all)), `the whole, seed ${seed}`);
    }
    for (let length = 0; length <= 200; length += 1) {
      const digest = make();
      const bytes = bytesOf(length);
      digest.addOfFile(bytes);
      assert.deepEqual([digest.endFile(), digest.endFile(), digest.end()], [sha256Hex(bytes), sha256Hex(''), sha256Hex(bytes)], `${length} bytes`);
    }
  });
}
