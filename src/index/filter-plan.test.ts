import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planQuery, type GraphFacts, type QueryPlan } from './filter-plan.ts';
import type { IndexSettings } from './vector-index.ts';

const internal = { kind: 'internal', recordBytes: 832 } as const;
const facts = { spec: { size: 768, distance: 'Cosine', datatype: 'float32' }, rowCount: 100_000, efConstruct: 100 } as const;

/** The first `matches` rows are allowed. */
function plan(matches: number, settings: IndexSettings & { readonly k?: number } = {}, codes: GraphFacts['codes'] = internal): QueryPlan {
  const allowed = new Uint32Array(facts.rowCount / 32);
  allowed.fill(0xffffffff, 0, matches >>> 5);
  if ((matches & 31) !== 0) allowed[matches >>> 5] = (1 << (matches & 31)) - 1;
  return planQuery({ vector: new Float32Array(768), k: 10, allowed, ...settings }, { ...facts, codes });
}

function brief(of: QueryPlan): string {
  return of.kind === 'scan' ? `scan ${of.matches}` : `${of.filtering} ${of.ef}/${of.rescored}${of.byRows ? ' rows' : ''}`;
}

const cases: readonly (readonly [string, QueryPlan, string])[] = [
  ['all rows: the graph, with the list length of its build', plan(100_000), 'plain 100/100'],
  ['hnsw_ef is the length of the list', plan(100_000, { hnswEf: 17 }), 'plain 17/17'],
  ['the list holds at least k', plan(100_000, { hnswEf: 17, k: 40 }), 'plain 40/40'],
  ['exact scans', plan(100_000, { exact: true }), 'scan 100000'],
  ['few matches are scanned', plan(1_000), 'scan 1000'],
  ['one match in ten: two hops, with a list that is not too short', plan(10_000, { hnswEf: 32 }), 'two-hop 64/64'],
  ['most rows match: they are walked through', plan(80_000, { hnswEf: 64 }), 'predicate 64/64'],
  ['a list as long as the matches is a scan', plan(100_000, { hnswEf: 50_000 }), 'scan 100000'],
  ['full_scan_threshold lets small filters scan', plan(20_000, { scanBytesMax: 20_000 * 3072 }), 'scan 20000'],
  ['ignore walks by the rows', plan(100_000, { quantization: { ignore: true } }), 'plain 100/100 rows'],
  ['rescore false: true scores for k only', plan(100_000, { quantization: { rescore: false } }), 'plain 100/10'],
  ['oversampling: for so many times k', plan(100_000, { quantization: { oversampling: 2.5 } }), 'plain 100/25'],
  ['oversampling lengthens a short list', plan(100_000, { hnswEf: 16, quantization: { oversampling: 4 } }), 'plain 40/40'],
  ['a list of a tenth of the rows is a scan', plan(100_000, { hnswEf: 10_000 }), 'scan 100000'],
  ['codes of bits are walked all the same', plan(100_000, { hnswEf: 10_000 }, { kind: 'binary', recordBytes: 112 }), 'plain 10000/10000'],
  ['one match in sixteen: two hops', plan(6_000, { hnswEf: 64 }), 'two-hop 64/64'],
  ['looking up each byte costs more than the scan', plan(6_000, { hnswEf: 64 }, { kind: 'product', recordBytes: 768 }), 'scan 6000'],
  ['the same with bits: two hops', plan(6_000, { hnswEf: 64 }, { kind: 'binary', recordBytes: 112 }), 'two-hop 64/64'],
  ['and ignore gains nothing from them', plan(6_000, { hnswEf: 64, quantization: { ignore: true } }, { kind: 'binary', recordBytes: 112 }), 'scan 6000'],
  ['k of all matches is a scan', plan(5_000, { k: 5_000 }), 'scan 5000'],
];
for (const [title, found, wanted] of cases) {
  test(`plan: ${title}`, () => {
    assert.equal(brief(found), wanted);
  });
}

test('plan: bits behind the last row are not matches', () => {
  const allowed = new Uint32Array(2).fill(0xffffffff);
  const found = planQuery({ vector: new Float32Array(768), k: 1, allowed }, { ...facts, codes: internal, rowCount: 33 });
  assert.equal(found.matches, 33);
});
