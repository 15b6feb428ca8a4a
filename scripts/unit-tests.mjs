// Runs the unit tests (x.test.ts beside its source) from dist/. `node --test` of Node 20 takes no glob, so the files are listed here.
// Usage: node scripts/unit-tests.mjs [--quick] [substring …]   only files whose path contains one of the substrings
// --quick leaves out x.slow.test.ts: fault tests at every operation, oracles over every form, fuzz. `npm test` runs them all.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';

const quick = process.argv.includes('--quick');
const wanted = process.argv.slice(2).filter((text) => text !== '--quick');
const files = [];
for (const folder of ['dist/src', 'dist/fuzz']) {
  for (const entry of listed(folder)) {
    if (!entry.isFile() || !entry.name.endsWith('.test.js') || (quick && entry.name.endsWith('.slow.test.js'))) continue;
    const file = path.join(entry.parentPath ?? entry.path, entry.name);
    if (wanted.length === 0 || wanted.some((text) => file.includes(text))) files.push(file);
  }
}
if (files.length === 0) {
  console.error('unit-tests: no test file matches; run `npm run build` first');
  process.exit(1);
}
const result = spawnSync(process.execPath, ['--test', '--enable-source-maps', ...files.sort()], { stdio: 'inherit' });
process.exit(result.status ?? 1);

function listed(folder) {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
}
