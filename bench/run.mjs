// npm run bench: every benchmark in a process of its own, one after another, then one table. Speed is a ratio against a named
// baseline of the same run; absolute times say more about the machine than about the code.
// Usage: node bench/run.mjs [substring …]   only benchmarks whose name contains one of the substrings
// Those of hours run only where a substring asks for them.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { natsServer } from '../scripts/test-env.mjs';

const folder = path.resolve(import.meta.dirname, '../dist/bench');
const onDemand = ['large.bench.js'];
const wanted = process.argv.slice(2);
const isWanted = (name) => (wanted.length === 0 ? !onDemand.includes(name) : wanted.some((text) => name.includes(text)));
const files = readdirSync(folder).filter((name) => name.endsWith('.bench.js') && isWanted(name)).sort();
if (files.length === 0) {
  console.error(`bench: nothing matches ${wanted.join(' ')}`);
  process.exit(2);
}
if (files.includes('cluster.bench.js')) process.env.NATS_SERVER_BIN ||= natsServer() ?? '';
const rows = [];
let failed = false;
for (const file of files) {
  console.error(`── ${file.replace('.bench.js', '')}`);
  const { status, stdout } = spawnSync(process.execPath, ['--expose-gc', path.join(folder, file)], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
  failed ||= status !== 0;
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    console.log(line);
    rows.push(JSON.parse(line));
  }
}
const cells = rows.map((row) => [row.name, row.value, row.goal, row.met, row.detail]);
const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((cell) => cell[column].length), 5));
console.log();
for (const cell of [['what', 'value', 'goal', 'met', ''], ...cells]) console.log(cell.map((text, column) => text.padEnd(widths[column] ?? 0)).join('  ').trimEnd());
process.exit(failed ? 1 : 0);
