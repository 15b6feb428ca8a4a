// Filtered search: what the plan of a query costs against the best single strategy for that filter, chosen with hindsight among those
// that reach recall 0.95. Filters keep random rows, or the rows nearest to a few points (so that they go with the vectors). Queries ask
// with the list length that reaches 0.95 without a filter. Then the same with links within the filter's rows, as the values of a
// tenant field have them, against the plan without.
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (100,000)
import { invariant, must } from '../src/base/assert.ts';
import { seededRandom } from '../src/base/testing/random.ts';
import type { QueryPlan } from '../src/index/filter-plan.ts';
import { NativeGraph } from '../src/index/native-hnsw.ts';
import type { GraphConfig, IndexHits, IndexQuery, VectorIndex } from '../src/index/vector-index.ts';
import { countBits, rowsOf } from '../src/payload/bitmap.ts';
import { loadAddon, type Addon } from '../src/vector/addon.ts';
import { benchFolder, median, papers, ratioText, report, skip } from './harness.ts';
import { arxiv, cpuUs, openIndex, size, synthetic, type DataSet } from './vector-sets.ts';

const k = 10;
const efs = [16, 20, 24, 32, 40, 48, 64, 80, 100];
const shares = [0.5, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001];
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

/** Searches of one kind, whatever the plan says. */
function forced(graph: NativeGraph, filtering: 'plain' | 'predicate' | 'two-hop' | 'no-walk', ef: number): Strategy {
  return {
    name: `${filtering} ef ${ef}`,
    search: (queries) => graph.walk(queries.map((query) => ({ query, plan: { kind: 'walk', ef, rescored: ef, early: false, filtering, byRows: false, matches: 0, costNs: 0 } })), 0),
  };
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

interface Mask {
  readonly name: string;
  readonly share: number;
  readonly allowed: Uint32Array;
}

async function masksOf(index: VectorIndex, data: DataSet): Promise<readonly Mask[]> {
  const masks: Mask[] = [];
  for (const share of shares) masks.push({ name: `random ${share * 100} %`, share, allowed: randomBits(index.rowCount, share) });
  for (const share of shares) masks.push({ name: `near ${share * 100} %`, share, allowed: await nearBits(index, data, share) });
  return masks;
}

interface Case extends Mask {
  readonly queries: readonly IndexQuery[];
  readonly truth: readonly IndexHits[];
  readonly plan: { readonly recall: number; readonly cpu: number };
}

async function run(addon: Addon, data: DataSet, folder: string): Promise<void> {
  const index = await openIndex(addon, folder, data.rows);
  const { graph } = index;
  invariant(graph instanceof NativeGraph, 'a mapped file has a place for a graph');
  const config: GraphConfig = { m: 16, efConstruct: 100, threadsMax: 0, codes: { kind: 'internal' } };
  (await graph.build(config)).install();
  const planned: Strategy = { name: 'plan', search: (queries) => index.search(queries) };
  const scan: Strategy = { name: 'scan', search: (queries) => index.search(queries.map((query) => ({ ...query, exact: true }))) };
  const hnswEf = await efForGoal(graph, scan, data);
  const cases: Case[] = [];
  for (const mask of await masksOf(index, data)) {
    const allowedCount = countBits(mask.allowed); // as a shard counts it, once
    const queries = data.queries.slice(0, 100).map((vector) => ({ vector, k, allowed: mask.allowed, allowedCount, hnswEf }));
    const truth = await scan.search(queries);
    const chosen = must(graph.plan(must(queries[0], 'a query')), 'a graph is loaded');
    const plan = await measure(planned, queries, truth);
    cases.push({ ...mask, queries, truth, plan });
    const others = [];
    for (const strategy of [scan, ...strategies(graph, mask.share)]) others.push({ name: strategy.name, ...(await measure(strategy, queries, truth)) });
    const best = must(others.filter(({ recall }) => recall >= goalRecall).sort((a, b) => a.cpu - b.cpu)[0], 'the scan reaches it');
    process.stderr.write(`${data.name} ${mask.name}: ${nameOf(chosen)}; ${others.map(({ name, recall, cpu }) => `${name} R ${recall.toFixed(3)} ${cpu.toFixed(0)} us`).join(', ')}\n`);
    report({
      name: `filtered search, ${data.name}, ${mask.name}`, value: ratioText(plan.cpu / best.cpu), goal: `<= 1.5x best strategy, recall >= ${goalRecall}`,
      met: plan.cpu / best.cpu <= 1.5 && plan.recall >= goalRecall,
      detail: `${nameOf(chosen)} R ${plan.recall.toFixed(3)} ${plan.cpu.toFixed(0)} us, best ${best.name} R ${best.recall.toFixed(3)} ${best.cpu.toFixed(0)} us`,
    }, { others });
  }
  const tenants = cases.filter(({ share }) => share >= 0.01 && share < 0.5);
  const started = cpuUs();
  const build = await graph.build({ ...config, keepsLinks: true, blocks: { m: 16, lists: tenants.map(({ allowed }) => rowsOf(allowed)) } });
  build.install();
  const linked = tenants.reduce((sum, { allowed }) => sum + countBits(allowed), 0);
  process.stderr.write(`${data.name}: links within ${linked} rows, ${((cpuUs() - started) / linked).toFixed(0)} us and ${(build.sizeBytes(2) / linked).toFixed(0)} bytes a row\n`);
  for (const { name, queries, truth, plan: without } of tenants) {
    const chosen = must(graph.plan(must(queries[0], 'a query')), 'a graph is loaded');
    const plan = await measure(planned, queries, truth);
    report({
      name: `tenant, ${data.name}, ${name}`, value: ratioText(plan.cpu / without.cpu), goal: `< 1.2x without links, recall >= ${goalRecall}`,
      met: plan.cpu / without.cpu < 1.2 && plan.recall >= goalRecall,
      detail: `${nameOf(chosen)} R ${plan.recall.toFixed(3)} ${plan.cpu.toFixed(0)} us, without R ${without.recall.toFixed(3)} ${without.cpu.toFixed(0)} us`,
    });
  }
  await index.close();
}

/** The shortest list that reaches the goal where all rows are allowed. */
async function efForGoal(graph: NativeGraph, scan: Strategy, data: DataSet): Promise<number> {
  const allowed = new Uint32Array(Math.ceil(data.rows.length / size / 32)).fill(0xffffffff);
  const queries = data.queries.slice(0, 100).map((vector) => ({ vector, k, allowed }));
  const truth = await scan.search(queries);
  for (const ef of efs) {
    const { recall } = await measure(forced(graph, 'plain', ef), queries, truth);
    if (recall >= goalRecall) return ef;
  }
  return must(efs.at(-1), 'a length');
}

function strategies(graph: NativeGraph, share: number): readonly Strategy[] {
  const codes = [10, 32, 100].map((ef) => forced(graph, 'no-walk', ef));
  if (share < 0.01) return codes; // a walk to few rows takes very long
  return [...codes, ...[16, 24, 32, 48, 64, 100, 200].flatMap((ef) => [forced(graph, 'predicate', ef), forced(graph, 'two-hop', ef)])];
}

function nameOf(plan: QueryPlan): string {
  return plan.kind === 'scan' ? 'scan' : `${plan.filtering} ef ${plan.ef}${plan.block === undefined ? '' : ' in a block'}`;
}

const addon = loadAddon();
if (addon === undefined) skip('filter', 'no addon was built');
else {
  const folder = benchFolder();
  if (papers.present) await run(addon, arxiv(), folder);
  else skip('filter, arxiv', 'no data set in NEARKEEP_PAPERS');
  await run(addon, synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 100_000)), folder);
}
