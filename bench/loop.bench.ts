// How late the server's event loop is while it takes writes, searches, seals, merges and builds graphs: 2 clients upsert batches of
// 100 x 768, one upserts 1,000 x 768 at once, 8 search. Baseline: an idle Node process measured by the same means just before; the same
// process is measured once more beside the load, which shows what the machine alone adds.
//   NEARKEEP_BENCH_SECONDS  length of the load (30)
import { spawn } from 'node:child_process';
import http from 'node:http';
import path from 'node:path';
import { must } from '../src/base/assert.ts';
import { benchFolder, median, randomRows, report } from './harness.ts';
import { metrics, send, serve, stop, upsertBody } from './server.ts';

const size = 768;
const seconds = Number(process.env['NEARKEEP_BENCH_SECONDS'] ?? 30);
const goalMs = 5;
/** Written again and again: after the first round every write is an update, and its old row garbage for a merge. */
const idCount = 30_000;

const idle = `
const { monitorEventLoopDelay } = require('node:perf_hooks');
const histogram = monitorEventLoopDelay({ resolution: 10 });
histogram.enable();
setTimeout(() => console.log(histogram.percentile(99) / 1e6 - 10), ${seconds} * 1000);`;

function idleP99Ms(): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', idle], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (text: Buffer) => {
      resolve(Number(text.toString()));
    });
  });
}

/** Bodies over all ids, `batch` points each; vectors of few digits, as models give them. */
function bodies(batch: number, count: number): readonly Buffer[] {
  return Array.from({ length: count }, (_, at) => {
    const rows = randomRows(batch, size, batch + at).map((value) => Math.round(value * 1e6) / 1e6);
    return upsertBody(rows, size, Array.from({ length: batch }, (_unused, index) => (at * batch + index) % idCount));
  });
}

interface Load {
  readonly agent: http.Agent;
  readonly port: number;
  readonly endMs: number;
}

/** One client after another request; answers the time of each. */
async function client({ agent, port, endMs }: Load, all: readonly Buffer[], call: { readonly method: string; readonly path: string; readonly first: number }): Promise<readonly number[]> {
  const times: number[] = [];
  for (let at = call.first; performance.now() < endMs; at += 1) {
    const started = performance.now();
    await send(agent, port, { method: call.method, path: call.path, body: must(all[at % all.length], 'a body') });
    times.push(performance.now() - started);
  }
  return times;
}

function timesText(name: string, lists: readonly (readonly number[])[]): string {
  const times = lists.flat().sort((a, b) => a - b);
  return `${times.length} ${name}, median ${median(times).toFixed(1)} ms, p99 ${(times[Math.floor(times.length * 0.99)] ?? NaN).toFixed(1)} ms`;
}

const hundreds = bodies(100, idCount / 100);
const thousands = bodies(1000, 10);
const searches = Array.from({ length: 100 }, (_, at) => Buffer.from(JSON.stringify({ query: Array.from(randomRows(1, size, 9000 + at)), limit: 10, with_payload: true })));
const server = await serve(path.join(benchFolder(), 'data'), process.env['NEARKEEP_BENCH_NODE_ARGS']?.split(' ') ?? []);
const agent = new http.Agent({ keepAlive: true });
const upsert = '/collections/bench/points?wait=true';
await send(agent, server.port, { method: 'PUT', path: '/collections/bench', body: Buffer.from(JSON.stringify({ vectors: { size, distance: 'Cosine' } })) });
for (const body of hundreds.slice(0, 100)) await send(agent, server.port, { method: 'PUT', path: upsert, body });

const alone = await idleP99Ms();
const before = await metrics(agent, server.port); // also starts the window of the delay
const load = { agent, port: server.port, endMs: performance.now() + seconds * 1000 };
const writer = (all: readonly Buffer[], first: number): Promise<readonly number[]> => client(load, all, { method: 'PUT', path: upsert, first });
const beside = idleP99Ms();
const [first, second, large, ...found] = await Promise.all([
  writer(hundreds, 0), writer(hundreds, hundreds.length / 2), writer(thousands, 0),
  ...Array.from({ length: 8 }, (_, at) => client(load, searches, { method: 'POST', path: '/collections/bench/points/query', first: at * 10 })),
]);
const after = await metrics(agent, server.port);
const besideMs = await beside;
await stop(server);
agent.destroy();

const delayMs = (quantile: string): number => must(after.get(`event_loop_delay_seconds{quantile="${quantile}"}`), 'the metric') * 1000;
const cpu = must(after.get('process_cpu_seconds_total'), 'the metric') - must(before.get('process_cpu_seconds_total'), 'the metric');
const graphs = must(after.get('graphs_built'), 'the metric') - must(before.get('graphs_built'), 'the metric');
const above = delayMs('0.99') - alone;
report({
  name: 'event loop delay of a busy server, p99 above an idle process', value: `${above.toFixed(1)} ms`, goal: `<= ${goalMs} ms`, met: above <= goalMs,
  detail: `median ${delayMs('0.5').toFixed(1)}, p99 ${delayMs('0.99').toFixed(1)}, longest ${delayMs('1').toFixed(0)} ms; idle p99 ${alone.toFixed(1)} ms, beside the load ${besideMs.toFixed(1)} ms; `
    + `${timesText('upserts of 100', [first, second])}; ${timesText('of 1,000', [large])}; ${timesText('searches', found)}; ${graphs} graphs; ${(cpu / seconds).toFixed(2)} cores`,
});
