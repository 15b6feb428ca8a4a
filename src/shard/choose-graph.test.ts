import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { GraphState } from '../segment/sealed-segment.ts';
import { graphConfig, graphTask, type GraphTask } from './choose-graph.ts';

const scalar = { kind: 'scalar', quantile: 0.99 } as const;
const wanted: VectorIndexing = {
  m: 16, efConstruct: 100, threadsMax: 3, graphBytesMin: 1_000, scanBytesMax: 0, codes: scalar, codesInMemory: true, binaryQuery: 'default',
};
const facts = { m: 16, efConstruct: 100, outcome: 'built', codes: scalar } as const;
const built: GraphState = { vectors: 100, sizeBytes: 1_000, isIndexed: true, canBeIndexed: true, facts, codes: { isInMemory: true, memoryBytes: 10, mappedBytes: 0 } };
const bare: GraphState = { vectors: 100, sizeBytes: 1_000, isIndexed: false, canBeIndexed: true };

const cases: readonly (readonly [string, GraphState, Partial<VectorIndexing>, GraphTask | undefined])[] = [
  ['as it should be', built, {}, undefined],
  ['none yet', bare, {}, 'build'],
  ['none yet, and too small', bare, { graphBytesMin: 1_001 }, undefined],
  ['other links', built, { m: 8 }, 'build'],
  ['another list length', built, { efConstruct: 50 }, 'build'],
  ['another kind of codes', built, { codes: { kind: 'product', compression: 8 } }, 'build'],
  ['another parameter of the same kind', built, { codes: { kind: 'scalar', quantile: 1 } }, 'build'],
  ['no quantization any more', built, { codes: { kind: 'internal' } }, 'build'],
  ['other codes for a segment that is small by now', built, { codes: { kind: 'internal' }, graphBytesMin: 1_001 }, undefined],
  ['codes that are to be mapped', built, { codesInMemory: false }, 'reload'],
  ['codes that are to be mapped, of a small segment', built, { codesInMemory: false, graphBytesMin: Infinity }, 'reload'],
  ['codes that are to be in memory', { ...built, codes: { isInMemory: false, memoryBytes: 1, mappedBytes: 10 } }, {}, 'reload'],
  ['other codes that are to be mapped: built first', built, { codesInMemory: false, codes: { kind: 'internal' } }, 'build'],
  ['another encoding of queries', built, { binaryQuery: 'scalar8bits' }, undefined],
  ['vectors that are scanned with these codes', { ...bare, facts: { ...facts, outcome: 'missed', codes: undefined } }, {}, undefined],
  ['vectors that are scanned, wherever codes would lie', { ...bare, facts: { ...facts, outcome: 'unfit', codes: undefined } }, { codesInMemory: false }, undefined],
  ['vectors that are scanned, whatever the codes', { ...bare, facts: { ...facts, outcome: 'missed', codes: undefined } }, { codes: { kind: 'internal' } }, undefined],
  ['vectors that other links may suit', { ...bare, facts: { ...facts, outcome: 'missed', codes: undefined } }, { m: 32 }, 'build'],
  ['no graph any more', built, { m: 0 }, 'drop'],
  ['none wanted, none there', bare, { m: 0 }, undefined],
  ['no vectors', { ...bare, vectors: 0, sizeBytes: 0 }, { graphBytesMin: 0 }, undefined],
  ['an implementation without graphs', { ...bare, canBeIndexed: false }, {}, undefined],
];
for (const [title, state, changes, task] of cases) {
  test(`graph task: ${title}`, () => {
    assert.equal(graphTask(state, { ...wanted, ...changes }), task);
  });
}

test('a graph is built as it is configured', () => {
  assert.deepEqual(graphConfig(wanted), { m: 16, efConstruct: 100, threadsMax: 3, codes: scalar });
});
