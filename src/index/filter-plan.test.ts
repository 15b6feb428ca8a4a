import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planQuery, type GraphFacts, type QueryPlan } from './filter-plan.ts';
import type { IndexSettings } from './vector-index.ts';

const internal = { kind: 'internal', recordBytes: 832 } as const;
const facts = { spec: { size: 768, distance: 'Cosine', datatype: 'float32' }, rowCount: 100_000, efConstruct: 100, codes: internal, isWhole: true } as const;

/** The first `matches` rows are allowed. */
function plan(matches: number, settings: IndexSettings & { readonly k?: number } = {}, changes: Partial<GraphFacts> = {}): QueryPlan {
  const allowed = new Uint32Array(facts.rowCount / 32);
  allowed.fill(0xffffffff, 0, matches >>> 5);
  if ((matches & 31) !== 0) allowed[matches >>> 5] = (1 << (matches & 31)) - 1;
  return planQuery({ vector: new Float32Array(768), k: 10, allowed, ...settings }, { ...facts, ...changes });
}

test('rows that were counted before are not counted again', () => {
  const allowed = new Uint32Array(facts.rowCount / 32).fill(0xffffffff, 0, 10);
  const query = { vector: new Float32Array(768), k: 10, allowed };
  assert.deepEqual([planQuery(query, facts).matches, planQuery({ ...query, allowedCount: 50_000 }, facts).matches], [320, 50_000]);
});

test('true scores may end early by fine codes and by rows, and not where so many are asked for', () => {
  const early = (settings: IndexSettings, changes: Partial<GraphFacts> = {}): boolean | undefined => {
    const found = plan(100_000, settings, changes);
    return found.kind === 'walk' ? found.early : undefined;
  };
  assert.deepEqual([early({}), early({ quantization: { ignore: true } })], [true, true]);
  assert.deepEqual([early({ quantization: { rescore: false } }), early({ quantization: { oversampling: 2 } })], [false, false]);
  for (const kind of ['scalar', 'product', 'binary'] as const) assert.equal(early({}, { codes: { kind, recordBytes: 832 } }), false, kind);
});

const inBlock = (rows: number): Partial<GraphFacts> => ({ findBlock: () => ({ place: 3, rows }) });

function brief(of: QueryPlan): string {
  return of.kind === 'scan' ? `scan ${of.matches}` : `${of.filtering} ${of.ef}/${of.rescored}${of.byRows ? ' rows' : ''}${of.block === undefined ? '' : ` in ${of.block}`}`;
}

const cases: readonly (readonly [string, QueryPlan, string])[] = [
  ['all rows: the graph, with the list length of its build', plan(100_000), 'plain 100/100'],
  ['hnsw_ef is the length of the list', plan(100_000, { hnswEf: 17 }), 'plain 17/17'],
  ['the list holds at least k', plan(100_000, { hnswEf: 17, k: 40 }), 'plain 40/40'],
  ['exact scans', plan(100_000, { exact: true }), 'scan 100000'],
  ['very few matches are scanned', plan(100), 'scan 100'],
  ['few matches: their codes, one after another', plan(1_000), 'no-walk 100/100'],
  ['one match in ten: two hops, with a longer list', plan(10_000, { hnswEf: 24 }), 'two-hop 72/72'],
  ['one match in twenty: codes, where two hops would lose their way', plan(5_000, { hnswEf: 32 }), 'no-walk 32/32'],
  ['most rows match: they are walked through', plan(80_000, { hnswEf: 64 }), 'predicate 64/64'],
  ['a list of half of all rows: no walk', plan(100_000, { hnswEf: 50_000 }), 'no-walk 50000/50000'],
  ['all rows of a block: plain, through its own links, with a longer list', plan(10_000, { hnswEf: 32 }, inBlock(10_000)), 'plain 128/128 in 3'],
  ['half of a block: through its other rows', plan(60_000, { hnswEf: 32 }, { rowCount: 1_000_000, ...inBlock(120_000) }), 'predicate 128/128 in 3'],
  ['few rows of a block: their codes', plan(1_000, {}, inBlock(20_000)), 'no-walk 100/100'],
  ['full_scan_threshold goes before a block', plan(10_000, { scanBytesMax: 10_000 * 3072 }, inBlock(10_000)), 'scan 10000'],
  ['without links over all rows, all are scanned', plan(100_000, {}, { isWhole: false }), 'scan 100000'],
  ['without links over all rows, a block has its own', plan(20_000, { hnswEf: 32 }, { isWhole: false, ...inBlock(20_000) }), 'plain 128/128 in 3'],
  ['without links over all rows, rows of no block are scanned', plan(10_000, {}, { isWhole: false }), 'scan 10000'],
  ['full_scan_threshold lets small filters scan', plan(20_000, { scanBytesMax: 20_000 * 3072 }), 'scan 20000'],
  ['ignore walks by the rows', plan(100_000, { quantization: { ignore: true } }), 'plain 100/100 rows'],
  ['rescore false: true scores for k only', plan(100_000, { quantization: { rescore: false } }), 'plain 100/10'],
  ['oversampling: for so many times k', plan(100_000, { quantization: { oversampling: 2.5 } }), 'plain 100/25'],
  ['oversampling lengthens a short list', plan(100_000, { hnswEf: 16, quantization: { oversampling: 4 } }), 'plain 40/40'],
  ['a list of a tenth of the rows: their codes, one after another', plan(100_000, { hnswEf: 10_000 }), 'no-walk 10000/10000'],
  ['the same by the rows is a scan', plan(100_000, { hnswEf: 10_000, quantization: { ignore: true } }), 'scan 100000'],
  ['one match in ten and a longer list: their codes', plan(10_000, { hnswEf: 64 }), 'no-walk 64/64'],
  ['a quarter of all: they are walked through', plan(25_000, { hnswEf: 64 }), 'predicate 64/64'],
  ['looking up each byte costs more than the scan', plan(10_000, { hnswEf: 32 }, { codes: { kind: 'product', recordBytes: 768 } }), 'scan 10000'],
  ['looking up an eighth of them: two hops', plan(10_000, { hnswEf: 32 }, { codes: { kind: 'product', recordBytes: 96 } }), 'two-hop 96/96'],
  ['and ignore gains nothing from bits', plan(6_000, { hnswEf: 64, quantization: { ignore: true } }, { codes: { kind: 'binary', recordBytes: 112 } }), 'scan 6000'],
  ['product codes of a block are walked as others', plan(10_000, {}, { codes: { kind: 'product', recordBytes: 96 }, ...inBlock(10_000) }), 'plain 400/400 in 3'],
  ['k of all matches is a scan', plan(5_000, { k: 5_000 }), 'scan 5000'],
];
for (const [title, found, wanted] of cases) {
  test(`plan: ${title}`, () => {
    assert.equal(brief(found), wanted);
  });
}

test('plan: bits behind the last row are not matches', () => {
  const allowed = new Uint32Array(2).fill(0xffffffff);
  const found = planQuery({ vector: new Float32Array(768), k: 1, allowed }, { ...facts, rowCount: 33 });
  assert.equal(found.matches, 33);
});
