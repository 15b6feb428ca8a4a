// What the native core does by itself, over one file of vectors: CPU of a graph build on one thread against hnswlib (its Node binding,
// compiled for this CPU) and usearch, and the bandwidth of an exact scan against what this machine reads sequentially at most.
//   NEARKEEP_BENCH_ROWS  rows of the synthetic set (100,000); a build takes the first 20,000 of a set
import { Worker } from 'node:worker_threads';
import os from 'node:os';
import type { VectorIndex } from '../src/index/vector-index.ts';
import { loadAddon, type Addon } from '../src/vector/addon.ts';
import { baseline, buildHnswlib, buildUsearch, efConstruct, m, type Hnswlib, type Usearch } from './baselines.ts';
import { alternate, benchFolder, median, papers, ratioText, report, skip, timedMs } from './harness.ts';
import { arxiv, cpuUs, openIndex, size, synthetic, type DataSet } from './vector-sets.ts';

const buildRowsMax = 20_000;
const addon = loadAddon();

async function buildOurs(index: VectorIndex): Promise<number> {
  const started = cpuUs();
  const build = await index.graph?.build({ m, efConstruct, threadsMax: 1, codes: { kind: 'internal' } });
  const spent = cpuUs() - started;
  build?.discard();
  return spent / 1e6;
}

async function compareBuilds(ours: Addon, data: DataSet, folder: string): Promise<void> {
  const count = Math.min(data.rows.length / size, buildRowsMax);
  const rows = data.rows.subarray(0, count * size);
  const index = await openIndex(ours, folder, rows);
  const own = await buildOurs(index);
  await index.close();
  const tell = (name: string, theirs: number): void => {
    report({
      name: `vector build, first ${count} of ${data.name}, / ${name}`, value: ratioText(own / theirs), goal: `<= 0.5x ${name}`, met: own / theirs <= 0.5,
      detail: `one thread, CPU ${own.toFixed(1)} s against ${theirs.toFixed(1)} s, m ${m}, ef_construct ${efConstruct}`,
    });
  };
  const hnswlib = baseline('hnswlib-node') as Hnswlib | undefined;
  if (hnswlib !== undefined) tell('hnswlib', buildHnswlib(hnswlib, rows).cpuSeconds);
  const usearch = baseline('usearch') as Usearch | undefined;
  if (usearch !== undefined) tell('usearch', buildUsearch(usearch, rows, 1).cpuSeconds);
}

/** Threads that look for a byte that is not there, each in its part of the memory: memchr, the fastest plain read there is. */
const reader = `
const { parentPort, workerData } = require('node:worker_threads');
const bytes = Buffer.from(workerData.memory, workerData.from, workerData.length);
parentPort.on('message', () => parentPort.postMessage(bytes.indexOf(8)));
parentPort.postMessage('ready');`;

class Readers {
  readonly #workers: readonly Worker[];

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers;
  }

  static async start(sizeBytes: number, threads: number): Promise<Readers> {
    const memory = new SharedArrayBuffer(sizeBytes);
    new Uint8Array(memory).fill(7); // else every page is the one page of zeros
    const length = Math.floor(sizeBytes / threads);
    const workers = Array.from({ length: threads }, (_, at) => new Worker(reader, { eval: true, workerData: { memory, from: at * length, length } }));
    await Promise.all(workers.map(answerOf));
    return new Readers(workers);
  }

  async read(): Promise<void> {
    const answers = this.#workers.map(answerOf);
    for (const worker of this.#workers) worker.postMessage('read');
    await Promise.all(answers);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function answerOf(worker: Worker): Promise<unknown> {
  return new Promise((resolve) => {
    worker.once('message', resolve);
  });
}

async function compareScan(ours: Addon, data: DataSet, folder: string): Promise<void> {
  const threads = Math.max(2, os.availableParallelism()); // as many as the pool has
  const index = await openIndex(ours, folder, data.rows);
  const allowed = new Uint32Array(Math.ceil(index.rowCount / 32)).fill(0xffffffff);
  const [vector] = data.queries;
  if (vector === undefined) return;
  const scan = async (): Promise<unknown> => await index.search([{ vector, k: 10, allowed, exact: true }]);
  await scan(); // every page is mapped
  const readers = await Readers.start(data.rows.byteLength, threads);
  const { baseline: reads, subject: scans, ratio } = await alternate(15, () => timedMs(() => readers.read()), () => timedMs(scan));
  await readers.stop();
  await index.close();
  const speed = (times: readonly number[]): string => (data.rows.byteLength / 1e6 / median(times)).toFixed(1);
  report({
    name: `exact scan, ${data.name}, share of the sequential read bandwidth`, value: `${(100 / ratio).toFixed(0)} %`, goal: '>= 90 %', met: 1 / ratio >= 0.9,
    detail: `${threads} threads: ${speed(scans)} GB/s against ${speed(reads)} GB/s of memchr`,
  }, { reads_ms: reads, scans_ms: scans });
}

if (addon === undefined) {
  skip('vector', 'no addon was built');
} else {
  const folder = benchFolder();
  if (papers.present) await compareBuilds(addon, arxiv(), folder);
  else skip('vector: arxiv', `no data set at ${papers.folder}`);
  const clusters = synthetic(Number(process.env['NEARKEEP_BENCH_ROWS'] ?? 100_000));
  await compareScan(addon, clusters, folder);
  await compareBuilds(addon, clusters, folder);
}
