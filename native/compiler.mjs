// What the native builds share: which compiler, which flags for which file, two compiles side by side.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..');

/** -ffp-contract=off: scores must be the same bits everywhere, and a fused multiply-add changes bits. */
export const commonFlags = ['-std=c++17', '-O2', '-fPIC', '-ffp-contract=off', '-Wall', '-Wextra', '-pthread'];

/** Each instruction set has a file of its own; everything else runs on any CPU of the architecture. */
const kernelFlags = {
  'kernels-avx512.cc': ['-mavx512f', '-Wno-uninitialized', '-Wno-maybe-uninitialized'], // false alarms in GCC's own headers
  'kernels-avx2.cc': ['-mavx2', '-mfma', '-mf16c'],
  'codes-vnni.cc': ['-mavx512f', '-mavx512bw', '-mavx512vnni', '-Wno-uninitialized', '-Wno-maybe-uninitialized'],
  'codes-avx2.cc': ['-mavx2'],
  'sha256-x86.cc': ['-msha', '-mssse3', '-msse4.1'],
  'compact-avx512.cc': ['-mavx512f', '-mavx512vpopcntdq', '-Wno-uninitialized', '-Wno-maybe-uninitialized'],
  'compact-avx2.cc': ['-mavx2', '-mpopcnt'],
};

/**
 * The C++ compiler: $CXX if set, else the first of the usual names. Undefined where there is none.
 * A $CXX that does not run is a mistake and ends the program.
 */
export function findCompiler() {
  const wanted = process.env.CXX;
  if (wanted !== undefined && wanted !== '') {
    const command = wanted.split(' ').filter((word) => word !== '');
    if (runs(command)) return command;
    console.error(`build-native: CXX names '${wanted}', which does not run`);
    process.exit(1);
  }
  return ['c++', 'g++', 'clang++'].map((name) => [name]).find(runs);
}

/** Whether there is such a program. */
export function runs([program, ...args]) {
  return spawnSync(program, [...args, '--version'], { stdio: 'ignore' }).status === 0;
}

/** Sources of a folder of native/, sorted. */
export function sourcesOf(folder) {
  const directory = path.join(root, 'native', folder);
  return readdirSync(directory).filter((name) => name.endsWith('.cc')).sort().map((name) => path.join(directory, name));
}

export function flagsFor(source, arch = process.arch) {
  return arch === 'x64' ? kernelFlags[path.basename(source)] ?? [] : [];
}

/** Compiles `sources` into `directory`; answers the object files. @throws after all have ended, where one failed. */
export async function compileAll(compiler, sources, flags, directory, arch = process.arch) {
  mkdirSync(directory, { recursive: true });
  const objects = sources.map((source) => path.join(directory, `${path.relative(path.join(root, 'native'), source).replaceAll(path.sep, '-')}.o`));
  const queue = sources.entries();
  const failed = [];
  const worker = async () => {
    for (const [at, source] of queue) {
      const ok = await run(compiler, [...flags, ...flagsFor(source, arch), '-c', source, '-o', objects[at]]);
      if (!ok) failed.push(path.relative(root, source));
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  if (failed.length > 0) throw new CompileError(failed);
  return objects;
}

export class CompileError extends Error {
  constructor(files) {
    super(`could not compile ${files.join(', ')}`);
  }
}

/** Whether the program ended well; its output goes to ours. */
export function run([program, ...first], args, env = process.env) {
  return new Promise((resolve) => {
    const child = spawn(program, [...first, ...args], { stdio: ['ignore', 'inherit', 'inherit'], env, cwd: root });
    child.on('error', (error) => {
      console.error(`${program}: ${error.message}`);
      resolve(false);
    });
    child.on('close', (code) => resolve(code === 0));
  });
}
