// Lines that are compared with a file beside the tests. NEARKEEP_UPDATE_GOLDEN=1 writes the file instead; the review reads its diff.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './server-process.ts';

/** @param file below test/ @throws AssertionError with the lines that differ, each with its neighbours */
export function matchGolden(file: string, lines: readonly string[]): void {
  const at = path.join(root, 'test', file);
  if (process.env['NEARKEEP_UPDATE_GOLDEN'] === '1') writeFileSync(at, `${lines.join('\n')}\n`);
  const golden = readFileSync(at, 'utf8').trimEnd().split('\n');
  const different = diffLines(golden, lines);
  assert.ok(different.length === 0, `test/${file} (-) and what was done now (+) differ; NEARKEEP_UPDATE_GOLDEN=1 accepts it:\n${different.join('\n')}`);
}

/** Empty for equal lists; else the fewest lines to take out (-) and put in (+), with two lines around them. */
export function diffLines(before: readonly string[], after: readonly string[]): readonly string[] {
  // common[a][b]: length of the longest common sequence of before from a on and after from b on
  const common = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1));
  const length = (a: number, b: number): number => common[a]?.[b] ?? 0;
  for (let a = before.length - 1; a >= 0; a -= 1) {
    const row = common[a];
    for (let b = after.length - 1; row !== undefined && b >= 0; b -= 1) row[b] = before[a] === after[b] ? 1 + length(a + 1, b + 1) : Math.max(length(a + 1, b), length(a, b + 1));
  }
  const all: string[] = [];
  for (let a = 0, b = 0; a < before.length || b < after.length;) {
    if (a < before.length && b < after.length && before[a] === after[b]) {
      all.push(`  ${before[a] ?? ''}`);
      a += 1;
      b += 1;
    } else if (b === after.length || (a < before.length && length(a + 1, b) >= length(a, b + 1))) {
      all.push(`- ${before[a] ?? ''}`);
      a += 1;
    } else {
      all.push(`+ ${after[b] ?? ''}`);
      b += 1;
    }
  }
  const isChanged = (line: string | undefined): boolean => line !== undefined && !line.startsWith(' ');
  return all.filter((_, at) => [-2, -1, 0, 1, 2].some((near) => isChanged(all[at + near])));
}
