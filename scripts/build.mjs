// npm run build: the native addon where it is missing or stale, then TypeScript into dist/.
import { spawnSync } from 'node:child_process';

for (const [program, ...args] of [[process.execPath, 'scripts/build-native.mjs', '--if-stale'], ['npx', 'tsc']]) {
  const { status } = spawnSync(program, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
