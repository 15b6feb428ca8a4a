// Builds native/core with native/test into one program, without Node, and runs it.
// Usage: node scripts/native-tests.mjs [--asan] [--ubsan] [--tsan] [--quick] [name…]
// --asan and --ubsan go together in one program, --tsan goes alone; --quick compiles with -O1; names: only tests whose name contains one.
import path from 'node:path';
import { commonFlags, compileAll, CompileError, findCompiler, root, run, sourcesOf } from '../native/compiler.mjs';

const sanitizers = { '--asan': 'address', '--ubsan': 'undefined', '--tsan': 'thread' };
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const wanted = flags.filter((flag) => flag in sanitizers).map((flag) => sanitizers[flag]);
const isQuick = flags.includes('--quick');
if (flags.some((flag) => !(flag in sanitizers) && flag !== '--quick') || (wanted.includes('thread') && wanted.length > 1)) {
  console.error('usage: native-tests.mjs [--asan] [--ubsan] [--quick] [name…] | --tsan [--quick] [name…]');
  process.exit(2);
}
const compiler = findCompiler();
if (compiler === undefined) {
  console.error('native-tests: no C++ compiler found');
  process.exit(1);
}
const sanitizerFlags = wanted.length === 0 ? [] : [`-fsanitize=${wanted.join(',')}`, '-fno-sanitize-recover=all', '-fno-omit-frame-pointer', '-g1'];
const directory = path.join(root, 'build/native-tests', `${wanted.join('-') || 'plain'}${isQuick ? '-quick' : ''}`);
const program = path.join(directory, 'tests');
try {
  const objects = await compileAll(compiler, [...sourcesOf('core'), ...sourcesOf('test')], [...commonFlags, ...(isQuick ? ['-O1'] : []), ...sanitizerFlags], directory);
  if (!(await run(compiler, [...sanitizerFlags, '-pthread', ...objects, '-o', program]))) throw new CompileError(['(link)']);
} catch (error) {
  if (!(error instanceof CompileError)) throw error;
  console.error(`native-tests: ${error.message}`);
  process.exit(1);
}
const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1', TSAN_OPTIONS: 'halt_on_error=1' };
process.exit((await run([program], names, env)) ? 0 : 1);
