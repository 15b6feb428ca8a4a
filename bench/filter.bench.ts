// Filtered search: what the plan of a query costs against the best single strategy for that filter, chosen with hindsight among those
// that reach recall 0.95. Filters keep random rows, or the rows nearest to a few points (so that they go with the vectors).
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (100,000)
import { must } from '../src/base/assert.ts';
import { seededRandom } from '../src/base/testing/random.ts';
import { planQuery } from '../src/index/filter-plan.ts';
import type { IndexHits, IndexQuery, VectorIndex } from '../src/index/vector-index.ts';
import { loadAddon, type Addon } from '../src/vector/addon.ts';
import { benchFolder, median, ratioText, report, skip } from './harness.ts';
import { cpuUs, openIndex, size, synthetic, type DataSet } from './vector-sets.ts';

const k = 10;
const shares = [0.5, 0.1, 0.01, 0.001];
const rounds = 3;
const goalRecall = 0.95;

interface Strategy {
  readonly name: string;
  search(queries: readonly IndexQuery[]): Promise<readonly IndexHits[]>;
}

function randomBits(count: number, share: number): Uint32Array {
  const random = seededRandom(51);
  const bits = new Uint32Array(Math.ceil(count / 32));
  for (let row = 0; row < count; row += 1) if (random.next() < share) bits[row >>> 5] = must(bits[row >>> 5], 'a word') | (1 << (row & 31));
  return bits;
}

/** The rows nearest to each of a few rows. */
async function nearBits(index: VectorIndex, data: DataSet, share: number): Promise<Uint32Array> {
  const count = index.rowCount;
  const bits = new Uint32Array(Math.ceil(count / 32));
  const all = new Uint32Array(bits.length).fill(0xffffffff);
  const centres = Math.min(20, Math.max(1, Math.round(count * share / 50)));
  const queries = Array.from({ length: centres }, (_, at) => {
    const row = Math.floor((at + 0.5) * count / centres);
    return { vector: data.rows.slice(row * size, (row + 1) * size), k: Math.ceil(count * share / centres), allowed: all, exact: true };
  });
  for (const { rows } of await index.search(queries)) for (const row of rows) bits[row >>> 5] = must(bits[row >>> 5], 'a word') | (1 << (row & 31));
  return bits;
}

/** Walks of one kind, whatever the plan says. */
function forced(addon: Addon, open: Awaited<ReturnType<typeof openGraph>>, filtering: number, ef: number): Strategy {
  return {
    name: `${filtering === 1 ? 'predicate' : 'two-hop'} ef ${ef}`,
    search: async (queries) => {
      const settings = Float32Array.from(queries.flatMap(() => [ef, ef, filtering, 0, 0]));
      const hits = await addon.searchGraph(open.rows, open.graph, queries.map(({ vector }) => vector), queries.map(() => k), queries.map(({ allowed }) => allowed), settings, 0);
      let from = 0;
      return Array.from(hits.counts, (count) => ({ rows: hits.rows.subarray(from, from + count), scores: hits.scores.subarray(from, from += count) }));
    },
  };
}

async function openGraph(addon: Addon, data: DataSet): Promise<{ readonly rows: ReturnType<Addon['growRows']>; readonly graph: Parameters<Addon['closeGraph']>[0] }> {
  const rows = addon.growRows(must(addon.kernels[0], 'a kernel').name, size, 'Cosine', 'float32');
  const bytes = new Uint8Array(data.rows.buffer, data.rows.byteOffset, data.rows.byteLength);
  const piece = size * 4 * 1000;
  for (let at = 0; at < bytes.length; at += piece) addon.appendRows(rows, bytes.subarray(at, at + piece));
  const { graph } = await addon.buildGraph(rows, 16, 100, 0, 0, 0, 0);
  return { rows, graph: must(graph, 'unit vectors have a graph') };
}

async function measure(strategy: Strategy, queries: readonly IndexQuery[], truth: readonly IndexHits[]): Promise<{ readonly recall: number; readonly cpu: number }> {
  const times: number[] = [];
  let hits = 0;
  for (let round = 0; round < rounds; round += 1) {
    hits = 0;
    const started = cpuUs();
    for (const [at, query] of queries.entries()) {
      const [found] = await strategy.search([query]);
      for (const row of must(found, 'an answer').rows) if (must(truth[at], 'a truth').rows.includes(row)) hits += 1;
    }
    times.push((cpuUs() - started) / queries.length);
  }
  return { recall: hits / truth.reduce((sum, { rows }) => sum + rows.length, 0), cpu: median(times) };
}

async function run(addon: Addon): Promise<void> {
  const data = synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 100_000));
  const index = await openIndex(addon, benchFolder(), data.rows);
  (await must(index.graph, 'a file has a place for a graph').build({ m: 16, efConstruct: 100, threadsMax: 0, codes: { kind: 'internal' } })).install();
  const open = await openGraph(addon, data);
  const planned: Strategy = { name: 'plan', search: (queries) => index.search(queries) };
  const scan: Strategy = { name: 'scan', search: (queries) => index.search(queries.map((query) => ({ ...query, exact: true }))) };
  const walks = [16, 32, 64, 100, 200].flatMap((ef) => [forced(addon, open, 1, ef), forced(addon, open, 2, ef)]);
  for (const kind of ['random', 'near'] as const) {
    for (const share of shares) {
      const allowed = kind === 'random' ? randomBits(index.rowCount, share) : await nearBits(index, data, share);
      const queries = data.queries.slice(0, 100).map((vector) => ({ vector, k, allowed, hnswEf: 32 }));
      const truth = await scan.search(queries);
      const chosen = planQuery(must(queries[0], 'a query'), { spec: index.spec, rowCount: index.rowCount, efConstruct: 100, codes: { kind: 'internal', recordBytes: index.spec.size } });
      const plan = await measure(planned, queries, truth);
      const others = [];
      for (const strategy of [scan, ...walks]) others.push({ name: strategy.name, ...(await measure(strategy, queries, truth)) });
      const best = must(others.filter(({ recall }) => recall >= goalRecall).sort((a, b) => a.cpu - b.cpu)[0], 'the scan reaches it');
      process.stderr.write(`${kind} ${share}: ${chosen.kind === 'scan' ? 'scan' : chosen.filtering}; ${others.map(({ name, recall, cpu }) => `${name} R ${recall.toFixed(3)} ${cpu.toFixed(0)} us`).join(', ')}\n`);
      report({
        name: `filtered search, ${kind} ${share * 100} %`, value: ratioText(plan.cpu / best.cpu), goal: `<= 1.5x best strategy, recall >= ${goalRecall}`,
        met: plan.cpu / best.cpu <= 1.5 && plan.recall >= goalRecall,
        detail: `${chosen.kind === 'scan' ? 'scan' : chosen.filtering} R ${plan.recall.toFixed(3)} ${plan.cpu.toFixed(0)} us, best ${best.name} R ${best.recall.toFixed(3)} ${best.cpu.toFixed(0)} us`,
      }, { others });
    }
  }
  await index.close();
}

const addon = loadAddon();
if (addon === undefined) skip('filter', 'no addon was built');
else await run(addon);
