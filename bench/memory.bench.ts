// Memory a point costs: resident memory at 400k points minus that at 100k, over 300k, with 16-d vectors and no payload, searched by
// the exact scan, and once more with graphs (whose links alone are 132 bytes a point). The
// engine is opened afresh for each, so that it holds what a running server holds and nothing of the filling.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { benchFolder, randomRows, report, residentBytes } from './harness.ts';
import { drafts, fill, openWithCollection, settle } from './points.ts';
import { open } from '../src/nearkeep.ts';

const size = 16;
const [mode, directory, countText, graphsText] = process.argv.slice(2);

if (mode === 'fill' && directory !== undefined) await fillDirectory(directory, Number(countText));
else if (mode === 'measure' && directory !== undefined) await measure(directory);
else {
  compare(false);
  compare(true);
}

async function fillDirectory(folder: string, count: number): Promise<void> {
  const engine = await openWithCollection(folder, size, { graphs: graphsText === 'graphs' });
  await fill(engine, { vectors: randomRows(count, size), size }, { from: 0, to: count, batch: 1000 });
  await settle(engine);
  await engine.close();
}

/** Opens, searches and retrieves, so that what is loaded lazily is loaded, and prints the resident bytes. */
async function measure(folder: string): Promise<void> {
  const engine = await open(folder);
  await settle(engine);
  const selectors = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
  const rows = { vectors: randomRows(10, size, 7), size };
  for (const point of drafts(rows, 0, 10)) {
    const vector = point.vectors.get('') ?? new Float32Array(size);
    await engine.search('bench', [{ target: { kind: 'vector', vector }, using: '', limit: 10, offset: 0, selectors }]);
    await engine.retrieve('bench', { ids: [point.id], selectors });
  }
  globalThis.gc?.();
  globalThis.gc?.();
  process.stdout.write(`${residentBytes(process.pid)}\n`);
  await engine.close();
}

function compare(graphs: boolean): void {
  const folder = benchFolder();
  const resident = [100_000, 400_000].map((count) => {
    const data = path.join(folder, String(count));
    child('fill', data, String(count), graphs ? 'graphs' : 'scan');
    const runs = [0, 1, 2, 3, 4].map(() => Number(child('measure', data))).sort((a, b) => a - b);
    return runs[2] ?? NaN;
  });
  const [small = NaN, large = NaN] = resident;
  const perPoint = (large - small) / 300_000;
  report({
    name: `memory a point, 16-d, no payload, ${graphs ? 'default settings (graphs)' : 'exact scan'}`, value: `${perPoint.toFixed(0)} B`,
    goal: '<= 100 B', met: perPoint <= 100,
    detail: `resident ${(small / 1e6).toFixed(0)} MB at 100k, ${(large / 1e6).toFixed(0)} MB at 400k; the vectors themselves are 64 B`,
  }, { resident_bytes: resident });
}

function child(...args: readonly string[]): string {
  const { status, stdout } = spawnSync(process.execPath, ['--expose-gc', path.join(import.meta.dirname, 'memory.bench.js'), ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new RangeError(`memory ${args.join(' ')} failed`);
  return stdout;
}
