// Builds native/core with native/test into one program, without Node, and runs it.
// Usage: node scripts/native-tests.mjs [--asan] [--ubsan] [--tsan] [name]   one sanitizer at a time; name: only tests whose name contains it
import path from 'node:path';
import { commonFlags, compileAll, CompileError, findCompiler, root, run, sourcesOf } from '../native/compiler.mjs';

const sanitizers = { '--asan': 'address', '--ubsan': 'undefined', '--tsan': 'thread' };
const modes = process.argv.slice(2).filter((argument) => argument in sanitizers);
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
if (modes.length > 1 || modes.length + names.length !== process.argv.length - 2) {
  console.error('usage: native-tests.mjs [--asan | --ubsan | --tsan] [name]');
  process.exit(2);
}
const compiler = findCompiler();
if (compiler === undefined) {
  console.error('native-tests: no C++ compiler found');
  process.exit(1);
}
const sanitizer = sanitizers[modes[0]];
const sanitizerFlags = sanitizer === undefined ? [] : [`-fsanitize=${sanitizer}`, '-fno-sanitize-recover=all', '-fno-omit-frame-pointer', '-g'];
const directory = path.join(root, 'build/native-tests', sanitizer ?? 'plain');
const program = path.join(directory, 'tests');
try {
  const objects = await compileAll(compiler, [...sourcesOf('core'), ...sourcesOf('test')], [...commonFlags, ...sanitizerFlags], directory);
  if (!(await run(compiler, [...sanitizerFlags, '-pthread', ...objects, '-o', program]))) throw new CompileError(['(link)']);
} catch (error) {
  if (!(error instanceof CompileError)) throw error;
  console.error(`native-tests: ${error.message}`);
  process.exit(1);
}
const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1', TSAN_OPTIONS: 'halt_on_error=1' };
process.exit((await run([program], names, env)) ? 0 : 1);
