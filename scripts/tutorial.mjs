// npm run tutorial: starts a server with an API key on a free port and an empty data directory, runs the tutorial in Python
// (and with --js in TypeScript) against it, and removes everything it made.
// Usage: node scripts/tutorial.mjs [--js] [--papers FOLDER] [--limit N]
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { pythonEnvironment } from './test-env.mjs';

const { values } = parseArgs({ options: { js: { type: 'boolean' }, papers: { type: 'string' }, limit: { type: 'string' } } });
const root = path.resolve(import.meta.dirname, '..');
const data = mkdtempSync(path.join(tmpdir(), 'nearkeep-tutorial-'));
const key = randomBytes(12).toString('base64url');

const server = spawn(process.execPath, [path.join(root, 'bin/nearkeep'), 'serve', '--data', data, '--port', '0', '--log-format', 'json', '--log-level', 'info'], {
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, QDRANT__SERVICE__API_KEY: key },
});
let status = 1;
try {
  const url = await address(server);
  const env = {
    ...process.env, QDRANT_MAIN_URL: url, QDRANT_NODES: url, QDRANT_API_KEY: key,
    PAPERS: values.papers ?? path.join(root, 'examples/tutorial/papers'), ...(values.limit === undefined ? {} : { LIMIT: values.limit }),
  };
  const python = values.js ? undefined : pythonEnvironment();
  const command = values.js ? [process.execPath, path.join(root, 'dist/examples/tutorial/tutorial.js')] : [python, path.join(root, 'examples/tutorial/tutorial.py')];
  status = command[0] === undefined ? 1 : (spawnSync(command[0], command.slice(1), { stdio: 'inherit', env, cwd: root }).status ?? 1);
} finally {
  const ended = new Promise((resolve) => server.on('close', resolve));
  server.kill('SIGTERM');
  await ended;
  rmSync(data, { recursive: true, force: true });
}
process.exit(status);

/** The address from the line that says `listening`. */
function address(child) {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const found = /"address":"([^"]+)"/.exec(output);
      if (found !== null) resolve(found[1]);
    });
    child.on('close', (code) => reject(new Error(`the server ended with ${code} before it listened`)));
  });
}
