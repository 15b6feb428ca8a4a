import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { EXIT, exitCodeOf, jsonCode, UsageError } from './exit-codes.ts';

const documentFile = path.resolve(import.meta.dirname, '../../../docs/operations.md');

test('docs/operations.md has every exit code with its code in JSON, as the code has it', () => {
  const rows = readFileSync(documentFile, 'utf8').matchAll(/^\| (\d+) \| (?:`([A-Z_]+)`)? ?\| .+ \|$/gm);
  const documented = Array.from(rows, ([, exit, code]) => [Number(exit), code]);
  assert.deepEqual(
    documented,
    Object.values(EXIT).map((exit) => [exit, exit === EXIT.ok ? undefined : jsonCode(exit)]),
  );
});

const system = (code: string): Error => Object.assign(new RangeError(code), { code });
const cases: readonly (readonly [unknown, number])[] = [
  [new UsageError('x'), EXIT.usage],
  [new RequestError('bad-request', 'x'), EXIT.usage],
  [new CorruptionError({ file: 'a', problem: 'x' }), EXIT.verifyFailed],
  [new RequestError('not-found', 'x'), EXIT.notFound],
  [new RequestError('forbidden', 'x'), EXIT.access],
  [system('ECONNREFUSED'), EXIT.unreachable],
  [system('ENOSPC'), EXIT.noSpace],
  [new RequestError('no-space', 'x'), EXIT.noSpace],
  [new RequestError('locked', 'x'), EXIT.locked],
  [system('EADDRINUSE'), EXIT.failed],
  ['not even an error', EXIT.failed],
];
for (const [error, exit] of cases) {
  test(`${error instanceof Error ? `${error.name} ${error.message}` : String(error)} ends with ${exit}`, () => {
    assert.equal(exitCodeOf(error), exit);
  });
}
