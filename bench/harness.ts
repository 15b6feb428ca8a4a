// What benchmarks share: alternated runs, medians, result lines, the data set, and a folder on the real disk.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { createReadStream } from 'node:fs';
import { seededRandom } from '../src/base/testing/random.ts';

export const root = path.resolve(import.meta.dirname, '../..');
const papersFolder = process.env['NEARKEEP_PAPERS'] ?? path.resolve(root, '../shared/data/arxiv');

export interface Result {
  readonly name: string;
  readonly value: string;
  readonly goal: string;
  readonly met: boolean;
  /** The figures behind the value. */
  readonly detail: string;
}

/** One JSON line on stdout, read by bench/run.mjs. */
export function report(result: Result, more: Readonly<Record<string, unknown>> = {}): void {
  const { met, ...rest } = result;
  const line = { ...rest, met: met ? 'yes' : 'NO', ...more, commit: commit(), cpu: os.cpus()[0]?.model ?? '', node: process.versions.node };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

export function skip(name: string, why: string): void {
  process.stderr.write(`skipped: ${name}: ${why}\n`);
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown'; // a copy without git history
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

export interface Alternated {
  readonly baseline: readonly number[];
  readonly subject: readonly number[];
  /** Median of the ratios subject / baseline of one round: neighbours in time see the same machine. */
  readonly ratio: number;
}

/** Runs both in turn, the order changing with every round. Each answers what it measured (lower is better, or both higher). */
export async function alternate(rounds: number, baseline: () => Promise<number>, subject: () => Promise<number>): Promise<Alternated> {
  const baselines: number[] = [];
  const subjects: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
      if (side === 0) baselines.push(await baseline());
      else subjects.push(await subject());
    }
  }
  return { baseline: baselines, subject: subjects, ratio: median(subjects.map((value, at) => value / (baselines[at] ?? NaN))) };
}

export async function timedMs(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export const ms = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
export const ratioText = (value: number): string => `${value.toFixed(2)}x`;

/** A folder on the disk of the project (a tmpfs would make every sync free), removed at the end of the process. */
export function benchFolder(): string {
  const folder = mkdtempSync(path.join(root, '.test-tmp-bench-'));
  process.on('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** `count` vectors of `size` values in [-1, 1), always the same for one seed. */
export function randomRows(count: number, size: number, seed = 1): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count * size }, () => random.next() * 2 - 1);
}

export const papers = {
  present: existsSync(path.join(papersFolder, 'vectors-768.f16')),
  count: 32_768,
  size: 768,
  folder: papersFolder,
};

/** All vectors of the papers as f32, row-major. */
export function paperVectors(): Float32Array {
  const bytes = Buffer.alloc(papers.count * papers.size * 2);
  const descriptor = openSync(path.join(papersFolder, 'vectors-768.f16'), 'r');
  readSync(descriptor, bytes, 0, bytes.length, 0);
  return floatsOf(bytes);
}

/** Vectors of bare titles, likewise. */
export function paperQueries(): Float32Array {
  const bytes = readFileSync(path.join(papersFolder, 'queries-768.f16'));
  return floatsOf(Buffer.from(bytes)); // on its own even offset
}

function floatsOf(bytes: Buffer): Float32Array {
  const table = Float32Array.from({ length: 65_536 }, (_, bits) => halfToNumber(bits));
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return Float32Array.from(halves, (bits) => table[bits] ?? NaN);
}

/** Payload text of each paper, in order. */
export async function paperPayloads(): Promise<readonly string[]> {
  const payloads: string[] = [];
  for await (const line of createInterface({ input: createReadStream(path.join(papersFolder, 'points.jsonl')) })) {
    const { payload } = JSON.parse(line) as { payload: { title: string; DOI: string | null } };
    payloads.push(JSON.stringify({ title: payload.title, DOI: payload.DOI }));
  }
  return payloads;
}

function halfToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 0x1f ? NaN : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Resident memory of a process in bytes, from the kernel. */
export function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return pages * 4096;
}
