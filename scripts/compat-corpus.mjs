// Writes the upgrade corpus of the version at hand: test/compat/<version>/, to be committed with its release. Never over an old one.
// Usage, after a build: node scripts/compat-corpus.mjs
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const { productVersion } = await import(path.join(root, 'dist/src/engine/version.js'));
const { makeCorpus } = await import(path.join(root, 'dist/test/compat/corpus.js'));
const folder = path.join(root, 'test/compat', productVersion);
if (existsSync(folder)) {
  console.error(`${folder} is there already: what a version wrote stays as it is`);
  process.exit(1);
}
const work = mkdtempSync(path.join(tmpdir(), 'nearkeep-corpus-'));
try {
  const made = path.join(work, 'made');
  await makeCorpus(made, path.join(work, 'work'));
  cpSync(made, folder, { recursive: true, filter: (file) => !['jobs', 'LOCK'].includes(path.basename(file)) });
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(folder);
