// npm run build: the native addon where it is missing or stale, then TypeScript into dist/.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

removeOrphans('dist');
for (const [program, ...args] of [[process.execPath, 'scripts/build-native.mjs', '--if-stale'], ['npx', 'tsc']]) {
  const { status } = spawnSync(program, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** Output of sources that are gone: a renamed test would run twice, a deleted module would still be found. */
function removeOrphans(folder) {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const output = path.join(entry.parentPath ?? entry.path, entry.name);
    const source = path.relative(folder, output).replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
    if (entry.isFile() && /\.(d\.ts|js)(\.map)?$/.test(entry.name) && !existsSync(source)) rmSync(output);
  }
}
