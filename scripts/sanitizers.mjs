// npm run test:sanitizers: the tests of native/core under the address, the undefined-behaviour and the thread sanitizer, in two
// programs. --quick, as npm test runs it, compiles with -O1 and takes under the thread sanitizer only the tests that have threads.
// Ends with 0, with 1 for a failure, or with 77 where this machine has no sanitizers; in CI that is a failure too.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findCompiler, root } from '../native/compiler.mjs';

const isQuick = process.argv.includes('--quick');
const withThreads = ['thread', 'at_once', 'cancelled', 'job', 'every_block'];
const runs = [
  { title: 'address and undefined behaviour', flags: ['--asan', '--ubsan'], kinds: ['address', 'undefined'], quickNames: [] },
  { title: 'threads', flags: ['--tsan'], kinds: ['thread'], quickNames: withThreads },
];

/** Sound without an argument, with one a fault of the kind. */
const probes = {
  address: 'int main(int count, char**) { volatile int* one = new int[1]{0}; int read = one[count > 1 ? 1 : 0]; delete[] one; return read & 0; }\n',
  undefined: 'int main(int count, char**) { volatile int most = 2147483647; volatile int sum = most + (count > 1 ? 1 : 0); return sum & 0; }\n',
  thread: '#include <thread>\nint shared = 0;\nint main(int count, char**) { if (count < 2) return 0; std::thread other([] { for (int i = 0; i < 100000; ++i) ++shared; }); for (int i = 0; i < 100000; ++i) ++shared; other.join(); return 0; }\n',
};

const missing = runs.flatMap(({ kinds }) => kinds).map((kind) => [kind, problemOf(kind)]).filter(([, problem]) => problem !== undefined);
if (missing.length > 0) {
  for (const [kind, problem] of missing) console.error(`sanitizers: ${kind}: ${problem}`);
  if (process.env.CI === 'true') {
    console.error('sanitizers: in CI all of them must run');
    process.exit(1);
  }
  console.error('skipped: tests of native/core under sanitizers');
  process.exit(77);
}
for (const { title, flags, quickNames } of runs) {
  console.log(`── sanitizer: ${title}`);
  const { status } = spawnSync(process.execPath, ['scripts/native-tests.mjs', ...flags, ...(isQuick ? ['--quick', ...quickNames] : [])], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

/** Why no program can run under a sanitizer; undefined where one does, and its fault is found. */
function problemOf(kind) {
  const compiler = findCompiler();
  if (compiler === undefined) return 'no C++ compiler found';
  const directory = path.join(root, 'build/native-tests');
  mkdirSync(directory, { recursive: true });
  const [source, program] = [path.join(directory, `probe-${kind}.cc`), path.join(directory, `probe-${kind}`)];
  writeFileSync(source, probes[kind]);
  const [name, ...first] = compiler;
  const compiled = spawnSync(name, [...first, '-std=c++17', '-pthread', '-g1', `-fsanitize=${kind}`, '-fno-sanitize-recover=all', source, '-o', program], { encoding: 'utf8' });
  if (compiled.status !== 0) return `does not link: ${compiled.stderr.trim().split('\n').at(-1)}`;
  const sound = spawnSync(program, [], { encoding: 'utf8' });
  if (sound.status !== 0) return `does not run: ${sound.stderr.trim().split('\n')[0]}`;
  if (spawnSync(program, ['fault']).status === 0) return 'does not find a fault';
  return undefined;
}
