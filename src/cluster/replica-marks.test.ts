import assert from 'node:assert/strict';
import test from 'node:test';
import type { StateMark } from '../shard/state-marks.ts';
import { judgeMarks, type Disagreement } from './replica-marks.ts';

/** `contents` as text like '10a 20b': the digest at seq 10 is a, at 20 b. */
function marks(text: string, { from = 0, chain = 'c' } = {}): readonly StateMark[] {
  return text.split(' ').filter((each) => each !== '').map((each) => ({ seq: Number.parseInt(each, 10), chain, digest: { from, value: each.replace(/^\d+/, '') } }));
}

const cases: readonly (readonly [string, number, ReadonlyMap<number, readonly StateMark[]>, Partial<Disagreement> | undefined])[] = [
  ['equal marks', 3, new Map([[1, marks('0a 1024b 1030c')], [2, marks('0a 1024b')], [3, marks('1024b 1040d')]]), undefined],
  ['no position in common', 2, new Map([[1, marks('10a')], [2, marks('11b')]]), undefined],
  ['nothing heard of the others', 3, new Map([[1, marks('10a')], [2, []], [3, []]]), undefined],
  ['one against two', 3, new Map([[1, marks('0a 1024b')], [2, marks('0a 1024x')], [3, marks('0a 1024b')]]),
    { kind: 'odd', what: 'contents', seq: 1024, equalSeq: 0, groups: [[1, 3], [2]], odd: [2] }],
  ['the first position at which they differ counts, and the last before it at which they are equal', 3,
    new Map([[1, marks('1024a 2048b 3072c')], [2, marks('1024a 2048b 3072c')], [3, marks('1024a 2048x 3072y')]]), { seq: 2048, equalSeq: 1024, odd: [3] }],
  ['one against one', 2, new Map([[1, marks('10a')], [2, marks('10b')]]), { kind: 'undecided', groups: [[1], [2]], odd: [] }],
  ['one against one while the third is silent', 3, new Map([[1, marks('10a')], [2, marks('10b')], [3, []]]), { kind: 'undecided', odd: [] }],
  ['two alike against one of four are no majority while the fourth is silent', 4, new Map([[1, marks('10a')], [2, marks('10a')], [3, marks('10b')]]), { kind: 'undecided', odd: [] }],
  ['three ways', 3, new Map([[1, marks('10a')], [2, marks('10b')], [3, marks('10c')]]), { kind: 'undecided', groups: [[1], [2], [3]], odd: [] }],
  ['three of five against two that differ from one another', 5, new Map([[1, marks('10a')], [2, marks('10b')], [3, marks('10a')], [4, marks('10c')], [5, marks('10a')]]), { kind: 'odd', odd: [2, 4] }],
  ['digests that began elsewhere are not compared', 2, new Map([[1, marks('10a')], [2, marks('10b', { from: 5 })]]), undefined],
  ['but their logs are', 2, new Map([[1, marks('10a')], [2, marks('10a', { from: 5, chain: 'd' })]]), { kind: 'undecided', what: 'logs' }],
  ['one of another beginning takes no side', 3, new Map([[1, marks('10a')], [2, marks('10b')], [3, marks('10a', { from: 5 })]]), { kind: 'undecided', groups: [[1], [2]] }],
];

for (const [title, replicas, heard, wanted] of cases) {
  test(`marks: ${title}`, () => {
    const found = judgeMarks(heard, replicas);
    if (wanted === undefined || found === undefined) assert.equal(found, wanted);
    else assert.deepEqual({ ...found, ...wanted }, found);
  });
}
