// Every static check and the quick unit tests, side by side; prints one line per check and the output of those that fail.
import { spawn } from 'node:child_process';

const folders = ['src', 'test', 'bench', 'fuzz'];
const checks = {
  tsc: ['npx', 'tsc', '--noEmit', '--incremental', 'false'],
  lint: ['npx', 'oxlint', '--type-aware', ...folders],
  layers: ['npx', 'depcruise', '--config', '.dependency-cruiser.mjs', 'src'],
  tidy: ['node', 'scripts/tidy.mjs', '--project', ...folders, 'native'],
  knip: ['npx', 'knip', '--production'],
};
const withUnit = !process.argv.includes('--static');
if (withUnit) checks.tsc = ['node', 'scripts/build.mjs']; // the same judgement, and the tests need its output

const results = await Promise.all(Object.entries(checks).map(async ([name, command]) => {
  const result = await run(name, command);
  return name === 'tsc' && withUnit && result.ok ? [result, await run('unit', ['node', 'scripts/unit-tests.mjs', '--quick'])] : [result];
})).then((lists) => lists.flat());
for (const { name, ok, seconds } of results) console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${seconds.toFixed(1)} s)`);
process.exit(results.every((result) => result.ok) ? 0 : 1);

function run(name, [program, ...args]) {
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (data) => { output += data; });
    child.stderr.on('data', (data) => { output += data; });
    child.on('close', (code) => {
      if (code !== 0) console.log(`── ${name}\n${output}`);
      resolve({ name, ok: code === 0, seconds: (performance.now() - started) / 1000 });
    });
  });
}
