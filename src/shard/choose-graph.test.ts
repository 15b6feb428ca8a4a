import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VectorIndexing } from '../command/indexing-config.ts';
import { CorruptionError } from '../base/errors.ts';
import type { BlockFacts } from '../segment/graph-file.ts';
import type { GraphState } from '../segment/sealed-segment.ts';
import { graphTask, type GraphTask } from './choose-graph.ts';

const scalar = { kind: 'scalar', quantile: 0.99 } as const;
const wanted: VectorIndexing = {
  m: 16, payloadM: 16, payloadFields: 'tenants', efConstruct: 100, threadsMax: 3, graphBytesMin: 1_000, scanBytesMax: 0, codes: scalar, codesInMemory: true, binaryQuery: 'default',
};
const facts = { m: 16, efConstruct: 100, outcome: 'built', codes: scalar } as const;
const built: GraphState = { vectors: 100, sizeBytes: 1_000, isIndexed: true, canBeIndexed: true, facts, codes: { isInMemory: true, memoryBytes: 10, mappedBytes: 0 } };
const bare: GraphState = { vectors: 100, sizeBytes: 1_000, isIndexed: false, canBeIndexed: true };

const tenants: BlockFacts = { m: 16, fieldsHash: 7 };
const linked: GraphState = { ...built, facts: { ...facts, blocks: tenants } };
const missed: GraphState = { ...bare, facts: { ...facts, outcome: 'missed', codes: undefined } };
const damage = new CorruptionError({ file: 'f', problem: 'is damaged' });

/** The last: what the files should say of blocks. */
const cases: readonly (readonly [string, GraphState, Partial<VectorIndexing>, GraphTask | undefined, BlockFacts?])[] = [
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
  ['blocks as they should be', linked, {}, undefined, tenants],
  ['no blocks yet', built, {}, 'blocks', tenants],
  ['blocks of other fields', linked, {}, 'blocks', { ...tenants, fieldsHash: 8 }],
  ['blocks of other links', linked, {}, 'blocks', { ...tenants, m: 8 }],
  ['no blocks any more', linked, {}, 'blocks'],
  ['no blocks yet, in a small segment', built, { graphBytesMin: 1_001 }, undefined, tenants],
  ['blocks as they should be, other codes', linked, { codes: { kind: 'internal' } }, 'build', tenants],
  ['blocks as they should be, other links over all rows', linked, { m: 8 }, 'build', tenants],
  ['no blocks yet, and codes that are to be mapped: first the blocks', built, { codesInMemory: false }, 'blocks', tenants],
  ['no blocks yet, of mapped codes', { ...built, codes: { isInMemory: false, memoryBytes: 1, mappedBytes: 10 } }, { codesInMemory: false }, 'blocks', tenants],
  ['blocks alone', bare, { m: 0 }, 'build', tenants],
  ['blocks alone, as they should be', { ...linked, facts: { ...facts, m: 0, blocks: tenants } }, { m: 0 }, undefined, tenants],
  ['blocks alone, none of them large enough', { ...bare, facts: { ...facts, m: 0, outcome: 'empty', codes: undefined, blocks: tenants } }, { m: 0 }, undefined, tenants],
  ['blocks alone, other ones than the too small', { ...bare, facts: { ...facts, m: 0, outcome: 'empty', codes: undefined, blocks: tenants } }, { m: 0 }, 'build', { ...tenants, m: 8 }],
  ['vectors whose walks miss: no blocks either', missed, {}, undefined, tenants],
  ['damage', { ...bare, damage }, {}, 'build', tenants],
  ['damage where there is to be nothing', { ...bare, damage }, { m: 0 }, 'drop'],
  ['damage in a small segment', { ...bare, damage }, { graphBytesMin: 1_001 }, 'drop', tenants],
];
for (const [title, state, changes, task, blocks] of cases) {
  test(`graph task: ${title}`, () => {
    assert.equal(graphTask(state, { ...wanted, ...changes }, blocks), task);
  });
}
