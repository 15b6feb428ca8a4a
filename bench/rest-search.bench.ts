// What a search costs over REST beyond the search itself: CPU of the server process a search, without that of the same searches on the
// same files in process. Both warm; rounds alternate.
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (20,000)
import { cpSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { must } from '../src/base/assert.ts';
import { open } from '../src/nearkeep.ts';
import { alternate, benchFolder, median, report } from './harness.ts';
import { fill, openWithCollection, settle } from './points.ts';
import { metrics, send, serve, stop } from './server.ts';
import { cpuUs, size, synthetic } from './vector-sets.ts';

const goalUs = 200;
const rounds = 7;
/** Whole runs over the queries before the first round: the compiler has had its time. */
const warmRuns = 5;
const runsPerRound = 3;

const data = synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 20_000));
const count = data.rows.length / size;
const folder = benchFolder();
const [first, second] = [path.join(folder, 'first'), path.join(folder, 'second')];
const filled = await openWithCollection(first, size);
await fill(filled, { vectors: data.rows, size, payload: (row) => `{"title":"paper number ${row}"}` }, { from: 0, to: count, batch: 100 });
await settle(filled, 600_000);
await filled.close();
cpSync(first, second, { recursive: true });

const engine = await open(first);
const server = await serve(second);
const agent = new http.Agent({ keepAlive: true });
const bodies = data.queries.map((query) => Buffer.from(JSON.stringify({ query: Array.from(query), limit: 10 })));
const searches = data.queries.map((vector) => ({
  target: { kind: 'vector', vector }, using: '', limit: 10, offset: 0, selectors: { payload: { kind: 'none' }, vectors: { kind: 'none' } },
} as const));

async function inProcess(): Promise<void> {
  for (const search of searches) await engine.search('bench', [search]);
}

async function overRest(clients: number): Promise<void> {
  const queue = bodies.values();
  await Promise.all(Array.from({ length: clients }, async () => {
    for (const body of queue) await send(agent, server.port, { method: 'POST', path: '/collections/bench/points/query', body });
  }));
}

async function serverCpuUs(): Promise<number> {
  return must((await metrics(agent, server.port)).get('process_cpu_seconds_total'), 'the metric') * 1e6;
}

/** CPU of one call of `work`, `runsPerRound` times over all queries. */
async function cpuOf(clock: () => Promise<number>, work: () => Promise<void>): Promise<number> {
  const started = await clock();
  for (let run = 0; run < runsPerRound; run += 1) await work();
  return (await clock() - started) / (runsPerRound * bodies.length);
}

for (let run = 0; run < warmRuns; run += 1) {
  await inProcess();
  await overRest(4);
}
for (const clients of [1, 8]) {
  const { baseline, subject } = await alternate(rounds, () => cpuOf(() => Promise.resolve(cpuUs()), inProcess), () => cpuOf(serverCpuUs, () => overRest(clients)));
  const beyond = median(subject.map((value, at) => value - (baseline[at] ?? NaN)));
  report({
    name: `CPU of a REST search beyond the search, ${clients} client${clients === 1 ? '' : 's'}`, value: `${beyond.toFixed(0)} us`, goal: `<= ${goalUs} us`, met: beyond <= goalUs,
    detail: `${data.name}: server ${median(subject).toFixed(0)} us a search, in process ${median(baseline).toFixed(0)} us`,
  }, { in_process_us: baseline, server_us: subject });
}
agent.destroy();
await stop(server);
await engine.close();
