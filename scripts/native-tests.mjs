// Builds native/core with native/test into one program, without Node, and runs it.
// Usage: node scripts/native-tests.mjs [--asan] [--ubsan] [--tsan] [--quick] [--arm64] [name…]
// --asan and --ubsan go together in one program, --tsan goes alone; --quick compiles with -O1; names: only tests whose name contains one.
// --arm64: for that architecture, run by an emulator (Debian: g++-aarch64-linux-gnu, qemu-user); without names the tests of kernels, which
// are what differs there.
import path from 'node:path';
import { commonFlags, compileAll, CompileError, findCompiler, root, run, runs, sourcesOf } from '../native/compiler.mjs';

const sanitizers = { '--asan': 'address', '--ubsan': 'undefined', '--tsan': 'thread' };
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const wanted = flags.filter((flag) => flag in sanitizers).map((flag) => sanitizers[flag]);
const isQuick = flags.includes('--quick');
const isArm = flags.includes('--arm64');
const testsOfKernels = ['agree_with', 'halves', 'cosine_of_bytes', 'bits_are', 'code_distances', 'scan_finds'];
if (flags.some((flag) => !(flag in sanitizers) && flag !== '--quick' && flag !== '--arm64') || (isArm && wanted.length > 0) || (wanted.includes('thread') && wanted.length > 1)) {
  console.error('usage: native-tests.mjs [--asan] [--ubsan] [--quick] [name…] | --tsan [--quick] [name…] | --arm64 [name…]');
  process.exit(2);
}
const arm = { compiler: ['aarch64-linux-gnu-g++'], emulator: ['qemu-aarch64'] };
const compiler = isArm ? [arm.compiler].find(runs) : findCompiler();
if (compiler === undefined) {
  console.error(`native-tests: no C++ compiler found${isArm ? ` for this architecture: ${arm.compiler}` : ''}`);
  process.exit(1);
}
const sanitizerFlags = wanted.length === 0 ? [] : [`-fsanitize=${wanted.join(',')}`, '-fno-sanitize-recover=all', '-fno-omit-frame-pointer', '-g1'];
const directory = path.join(root, 'build/native-tests', `${isArm ? 'arm64' : wanted.join('-') || 'plain'}${isQuick ? '-quick' : ''}`);
const program = path.join(directory, 'tests');
try {
  const objects = await compileAll(compiler, [...sourcesOf('core'), ...sourcesOf('test')], [...commonFlags, ...(isQuick ? ['-O1'] : []), ...sanitizerFlags], directory, isArm ? 'arm64' : process.arch);
  if (!(await run(compiler, [...sanitizerFlags, ...(isArm ? ['-static'] : []), '-pthread', ...objects, '-o', program]))) throw new CompileError(['(link)']);
} catch (error) {
  if (!(error instanceof CompileError)) throw error;
  console.error(`native-tests: ${error.message}`);
  process.exit(1);
}
const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1', TSAN_OPTIONS: 'halt_on_error=1' };
process.exit((await run(isArm ? [...arm.emulator, program] : [program], isArm && names.length === 0 ? testsOfKernels : names, env)) ? 0 : 1);
