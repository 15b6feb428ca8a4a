// From starting the process to answering, with 100k x 768 on disk, against a bare Node process that only starts.
import { execFileSync, spawn } from 'node:child_process';
import path from 'node:path';
import { alternate, benchFolder, median, ms, randomRows, report, root } from './harness.ts';
import { fill, openWithCollection, settle } from './points.ts';

const size = 768;
const count = 100_000;
const data = path.join(benchFolder(), 'data');
const engine = await openWithCollection(data, size);
await fill(engine, { vectors: randomRows(count, size), size, payload: (row) => `{"title":"paper number ${row}"}` }, { from: 0, to: count, batch: 500 });
await settle(engine);
await engine.close();

const { baseline, subject } = await alternate(5, () => Promise.resolve(bareStartMs()), serverStartMs);
const startMs = median(subject);
report({
  name: 'start with 100k x 768', value: ms(startMs), goal: '<= 2000 ms', met: startMs <= 2000,
  detail: `a bare node process takes ${ms(median(baseline))}`,
}, { baseline_ms: baseline, subject_ms: subject });

function bareStartMs(): number {
  const started = performance.now();
  execFileSync(process.execPath, ['-e', '0']);
  return performance.now() - started;
}

async function serverStartMs(): Promise<number> {
  const started = performance.now();
  const child = spawn(process.execPath, [path.join(root, 'bin/nearkeep'), 'serve', '--data', data, '--port', '0', '--log-format', 'json'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const url = await new Promise<string>((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString();
      const found = /"address":"([^"]+)"/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on('close', () => {
      reject(new RangeError('the server ended before it listened'));
    });
  });
  const answer = await fetch(`${url}/collections/bench`);
  const { result } = (await answer.json()) as { result: { points_count: number } };
  const spent = performance.now() - started;
  if (result.points_count !== count) throw new RangeError(`${result.points_count} points after the start`);
  await new Promise((resolve) => {
    child.on('close', resolve);
    child.kill('SIGTERM');
  });
  return spent;
}
