// npm run dev: TypeScript rebuilds on change, the server restarts on every build.
import { spawn, spawnSync } from 'node:child_process';

if (spawnSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' }).status !== 0) process.exit(1);
const children = [
  spawn('npx', ['tsc', '--watch', '--preserveWatchOutput'], { stdio: 'inherit' }),
  spawn(process.execPath, ['--watch', '--enable-source-maps', 'bin/nearkeep', 'serve', ...process.argv.slice(2)], { stdio: 'inherit' }),
];
process.on('SIGINT', () => {
  for (const child of children) child.kill('SIGINT');
});
