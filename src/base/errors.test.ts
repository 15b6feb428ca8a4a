import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { CorruptionError, ERROR_CLASSES, isNoSpace, isNotFound, RequestError } from './errors.ts';

const documentFile = path.resolve(import.meta.dirname, '../../../docs/errors.md');

test('docs/errors.md has every class of error as the code has it, in the same order', () => {
  const rows = readFileSync(documentFile, 'utf8').matchAll(/^\| `([a-z-]+)` \| (\d+) \| (\d+) \| (?:`([^`]*)`|none) \|$/gm);
  const documented = Array.from(rows, ([, name, http, grpc, prefix = '']) => [
    name,
    { httpStatus: Number(http), grpcCode: Number(grpc), prefix },
  ]);
  assert.deepEqual(documented, Object.entries(ERROR_CLASSES));
});

test('the text on the wire is prefix and message', () => {
  assert.equal(new RequestError('not-found', 'Snapshot x not found').wireText, 'Not found: Snapshot x not found');
  assert.equal(new RequestError('validation', 'out of range').wireText, 'out of range');
});

test('damage names file and offset', () => {
  assert.equal(new CorruptionError({ file: 'a', offsetBytes: 7, problem: 'is bad' }).message, 'a at byte 7: is bad');
  assert.equal(new CorruptionError({ file: 'a', problem: 'is missing' }).message, 'a: is missing');
});

test('errors of the system are told by their code', () => {
  const system = (code: string): Error => Object.assign(new RangeError(code), { code });
  assert.ok(isNotFound(system('ENOENT')) && !isNotFound(new RangeError('ENOENT')));
  assert.ok(isNoSpace(system('ENOSPC')) && isNoSpace(system('EDQUOT')) && !isNoSpace(system('EIO')));
});
