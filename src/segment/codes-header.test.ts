import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CorruptionError } from '../base/errors.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import { decodeCodes, encodeCodes } from './codes-header.ts';
import { decodeHeader, encodeHeader, type FileHeader } from './files.ts';

function headerOf(fields: readonly number[]): FileHeader {
  return { kind: 'code', rows: 3, stride: 0, dataBytes: 100, fields };
}

const all: readonly (readonly [CodesConfig, readonly [number, number]])[] = [
  [{ kind: 'internal' }, [0, 0]],
  [{ kind: 'scalar', quantile: 1 }, [1, 1_000_000]],
  [{ kind: 'scalar', quantile: 0.5 }, [1, 500_000]],
  [{ kind: 'scalar', quantile: 0.987_654 }, [1, 987_654]],
  ...([4, 8, 16, 32, 64] as const).map((compression) => [{ kind: 'product', compression }, [2, compression]] as const),
  [{ kind: 'binary', encoding: 'one-bit' }, [3, 2]],
  [{ kind: 'binary', encoding: 'one-and-half-bits' }, [3, 3]],
  [{ kind: 'binary', encoding: 'two-bits' }, [3, 4]],
];

test('a code file says its codes in two numbers of the header', () => {
  for (const [codes, fields] of all) {
    assert.deepEqual(encodeCodes(codes), fields);
    assert.deepEqual(decodeCodes(decodeHeader(encodeHeader(headerOf(encodeCodes(codes))), 'f', 'code'), 'f'), codes);
  }
});

test('a code file from before there was a choice holds internal codes', () => {
  assert.deepEqual(decodeCodes(decodeHeader(encodeHeader(headerOf([])), 'f', 'code'), 'f'), { kind: 'internal' });
});

test('codes that are not known are damage', () => {
  for (const fields of [[4, 0], [0, 1], [1, 0], [1, 499_999], [1, 1_000_001], [2, 0], [2, 5], [3, 0], [3, 1], [3, 5]]) {
    assert.throws(() => decodeCodes(headerOf(fields), 'name.code'), (error) => error instanceof CorruptionError && error.message.includes('name.code'), fields.join('/'));
  }
});
