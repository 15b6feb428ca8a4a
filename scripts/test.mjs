// npm test: builds, then runs every test from dist/ with the running Node, those that start clusters of several nodes by themselves at the
// end, the unit and client tests but for the slow ones once more on the current LTS, and the tests of native/core under sanitizers.
// Installs what the tests need.
// Closes with `N passed, N failed, N skipped`; in CI what cannot run is a failure, elsewhere it is named beside the counts.
// Usage: node scripts/test.mjs [--faults] [substring …]   only test files whose path contains one of the substrings, on this Node only
// --faults: every fault where the tests otherwise draw a few (NEARKEEP_FAULTS=all).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installSystemTools, natsServer, nodeLts, pythonEnvironment } from './test-env.mjs';

const root = path.resolve(import.meta.dirname, '..');
process.chdir(root);
const wanted = process.argv.slice(2).filter((word) => word !== '--faults');
if (process.argv.includes('--faults')) process.env.NEARKEEP_FAULTS = 'all';
const inCi = process.env.CI === 'true';
/** Exit of sanitizers.mjs where this machine has none. */
const noSanitizers = 77;
/** Every wait in them ends by itself long before; this is for what nobody thought of. */
const clusterMsMax = 900_000;

if (spawnSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' }).status !== 0) process.exit(1);

const python = pythonEnvironment();
const all = testFiles(['dist/src', 'dist/fuzz', 'dist/test']);
const ofClusters = all.filter(needsNats);
const nats = ofClusters.length > 0 ? process.env.NATS_SERVER_BIN || natsServer() : undefined;
installSystemTools();
const lts = wanted.length === 0 ? nodeLts() : undefined;
const reports = mkdtempSync(path.join(tmpdir(), 'nearkeep-test-'));
const total = { passed: 0, failed: 0, skipped: 0 };
const notRun = [];

if (python === undefined) cannotRun('Python client tests');
runGroup('tests', process.execPath, all.filter((file) => !needsNats(file)));
if (ofClusters.length > 0 && nats === undefined) cannotRun('tests of clusters');
else runGroup('tests of clusters', process.execPath, ofClusters, [`--test-timeout=${clusterMsMax}`]);
if (wanted.length === 0) {
  if (lts === undefined) count({ passed: 0, failed: inCi ? 1 : 0, skipped: inCi ? 0 : 1 });
  else runGroup('tests on Node 24', lts, all.filter((file) => !needsNats(file) && !file.endsWith('.slow.test.js') && !file.startsWith('dist/test/crash/')));
  runSanitizers();
}
rmSync(reports, { recursive: true, force: true });
for (const what of notRun) console.log(`NOT RUN: ${what}, see above`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);

function needsNats(file) {
  return file.startsWith('dist/test/cluster/') || (file.startsWith('dist/src/cluster/') && file.endsWith('.slow.test.js'));
}

function cannotRun(what) {
  notRun.push(what);
  count({ passed: 0, failed: inCi ? 1 : 0, skipped: inCi ? 0 : 1 });
}

function runGroup(title, node, files, options = []) {
  if (files.length === 0) return;
  console.log(`── ${title}: ${files.length} files`);
  const report = path.join(reports, `${title.replaceAll(' ', '-')}.json`);
  const { status } = spawnSync(node, [
    '--test', '--enable-source-maps', '--test-concurrency=2', '--import=./scripts/property-seed.mjs',
    '--test-reporter=dot', '--test-reporter-destination=stdout',
    '--test-reporter=./scripts/count-reporter.mjs', `--test-reporter-destination=${report}`,
    ...options, ...files,
  ], { stdio: 'inherit', env: { ...process.env, NEARKEEP_TEST_PYTHON: python ?? '', NATS_SERVER_BIN: nats ?? '' } });
  let counts = { passed: 0, failed: 1, skipped: 0, failures: [`${title}: the test runner itself failed (exit ${status})`] };
  try {
    counts = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    // no report: the runner died, counted as the failure above
  }
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  for (const failure of counts.failures) console.log(`failed: ${failure}`);
  count(counts);
}

/** As one test of each program. */
function runSanitizers() {
  const { status } = spawnSync(process.execPath, ['scripts/sanitizers.mjs', '--quick'], { stdio: 'inherit' });
  if (status !== 0 && status !== noSanitizers) console.log('failed: tests of native/core under sanitizers');
  count({ passed: status === 0 ? 2 : 0, failed: status === 0 || status === noSanitizers ? 0 : 1, skipped: status === noSanitizers ? 1 : 0 });
}

function count({ passed, failed, skipped }) {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}

function testFiles(folders) {
  const files = [];
  for (const folder of folders) {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.test.js')) continue;
      files.push(path.join(entry.parentPath ?? entry.path, entry.name));
    }
  }
  return files.filter((file) => wanted.length === 0 || wanted.some((text) => file.includes(text))).sort();
}
