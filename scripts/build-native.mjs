// Builds build/nearkeep.node from native/ with the C++ compiler of this machine, against the headers of the npm package
// node-api-headers. npm runs it at install.
// Usage: node scripts/build-native.mjs [--if-stale]   --if-stale: only where sources, flags or compiler have changed
//
// Without a compiler: one line and exit status 0, nearkeep then runs on its WASM fallback and says so. A compile that fails
// exits 1: a broken build must not pass as the fallback.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { commonFlags, compileAll, CompileError, findCompiler, flagsFor, root, run, sourcesOf } from '../native/compiler.mjs';

const target = path.join(root, 'build/nearkeep.node');
const stampFile = path.join(root, 'build/nearkeep.stamp');
const objectDirectory = path.join(root, 'build/native');

const compiler = findCompiler();
if (compiler === undefined) {
  console.log('nearkeep: no C++ compiler found (c++, g++, clang++): searches run on the slower WASM fallback; install one and run `npm rebuild`');
  process.exit(0);
}
const headers = createRequire(import.meta.url)('node-api-headers').include_dir;
const sources = [...sourcesOf('core'), ...sourcesOf('addon')];
const flags = [...commonFlags, '-DNAPI_VERSION=8', '-DNODE_GYP_MODULE_NAME=nearkeep', '-fvisibility=hidden', '-I', headers];
if (sources.some((source) => path.basename(source) === 'json-binding.cc')) flags.push('-DNEARKEEP_JSON_FLOATS');
const linkFlags = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-pthread'];

const stamp = fingerprint();
if (process.argv.includes('--if-stale') && existsSync(target) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) process.exit(0);
try {
  const objects = await compileAll(compiler, sources, flags, objectDirectory);
  const linked = `${target}.${process.pid}`;
  if (!(await run(compiler, [...linkFlags, ...objects, '-o', linked]))) throw new CompileError(['(link)']);
  renameSync(linked, target); // a running process keeps the file it has loaded
  writeFileSync(stampFile, stamp);
} catch (error) {
  if (!(error instanceof CompileError)) throw error;
  console.error(`build-native: ${error.message}`);
  process.exit(1);
}

/** Hash over everything the addon is made of. */
function fingerprint() {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([compiler, flags, linkFlags, sources.map(flagsFor), process.platform, process.arch]));
  for (const folder of ['core', 'addon']) {
    const directory = path.join(root, 'native', folder);
    for (const name of readdirSync(directory).sort()) {
      hash.update(`\n${folder}/${name}\n`);
      hash.update(readFileSync(path.join(directory, name)));
    }
  }
  mkdirSync(path.dirname(stampFile), { recursive: true });
  return hash.digest('hex');
}
