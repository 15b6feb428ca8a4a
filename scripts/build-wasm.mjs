// Builds every wasm/<name>.ts into src/vector/generated/<name>-wasm.ts: the module as base64, committed, so that an install needs no
// AssemblyScript.
// Usage: node scripts/build-wasm.mjs [--check]   --check: writes nothing, exits 1 where a committed file is not what would be built
import asc from 'assemblyscript/asc';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const targetFolder = path.join(root, 'src/vector/generated');
process.chdir(root);
const onlyCheck = process.argv.includes('--check');

mkdirSync(targetFolder, { recursive: true });
let stale = 0;
for (const file of readdirSync(path.join(root, 'wasm')).filter((name) => name.endsWith('.ts')).sort()) {
  const name = path.basename(file, '.ts');
  const text = moduleText(name, await compile(`wasm/${file}`));
  const target = path.join(targetFolder, `${name}-wasm.ts`);
  if (existsSync(target) && readFileSync(target, 'utf8') === text) continue;
  if (onlyCheck) {
    console.error(`build-wasm: ${path.relative(root, target)} is not what wasm/${file} builds; run node scripts/build-wasm.mjs`);
    stale += 1;
  } else {
    writeFileSync(target, text);
  }
}
process.exit(stale === 0 ? 0 : 1);

/** The bytes of the module. */
async function compile(source) {
  let binary;
  const { error, stderr } = await asc.main(
    [source, '--outFile', 'module.wasm', '-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--use', 'abort='],
    {
      readFile: (name, base) => readOptional(path.join(base, name)),
      writeFile: (name, contents) => { if (name === 'module.wasm') binary = contents; },
      listFiles: () => [],
    },
  );
  if (error !== null || binary === undefined) {
    console.error(`build-wasm: ${source} does not compile\n${stderr.toString()}`);
    process.exit(1);
  }
  return binary;
}

function readOptional(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : null;
}

function moduleText(name, binary) {
  const base64 = Buffer.from(binary).toString('base64');
  const constant = `${name.replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase())}Wasm`;
  return `// Made by scripts/build-wasm.mjs from wasm/${name}.ts; do not edit.\nexport const ${constant} =\n  '${base64}';\n`;
}
