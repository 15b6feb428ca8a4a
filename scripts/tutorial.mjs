// npm run tutorial: starts a server with an API key on a free port and an empty data directory, runs the tutorial in Python
// (and with --js in TypeScript) against it, and removes everything it made. With --nodes 3 a cluster over https with one address in
// front, and a second, empty cluster, into which the tutorial restores the same archives once more.
// Usage: node scripts/tutorial.mjs [--nodes N] [--js] [--papers FOLDER] [--limit N]
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { startNodes, startRoundRobin } from './nodes.mjs';
import { natsServer, pythonEnvironment } from './test-env.mjs';

const { values } = parseArgs({ options: { nodes: { type: 'string', default: '1' }, js: { type: 'boolean' }, papers: { type: 'string' }, limit: { type: 'string' } } });
const nodes = Number(values.nodes);
if (![1, 2, 3, 4, 5].includes(nodes)) {
  console.error('tutorial: --nodes is a number from 1 to 5');
  process.exit(2);
}
const root = path.resolve(import.meta.dirname, '..');
const key = randomBytes(12).toString('base64url');
const folder = mkdtempSync(path.join(tmpdir(), 'nearkeep-tutorial-'));
const stops = [() => rmSync(folder, { recursive: true, force: true })];
let running;
let isInterrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    isInterrupted = true;
    running?.kill('SIGTERM');
  });
}

let status = 1;
try {
  status = isInterrupted ? 1 : await tutorial(nodes === 1 ? await oneNode() : await clusters());
} catch (error) {
  console.error(`tutorial: ${error.message}`);
} finally {
  for (const stop of stops.reverse()) await stop();
}
process.exit(isInterrupted ? 130 : status);

/** Each answers what the tutorial is told by its environment. */
async function oneNode() {
  const { urls: [url], stop } = await startNodes({ folder, key, ports: [] });
  stops.push(stop);
  return { QDRANT_MAIN_URL: url, QDRANT_NODES: url };
}

async function clusters() {
  process.env.NATS_SERVER_BIN ||= natsServer();
  const { makeCertificates } = await import('../dist/test/support/certificates.js');
  const certificates = await makeCertificates(folder);
  const started = await Promise.allSettled([cluster('first', certificates), cluster('second', certificates)]); // all that starts is known before one failure ends it
  const [main, other] = started.map(({ value, reason }) => {
    if (reason !== undefined) throw reason;
    return value;
  });
  return {
    QDRANT_MAIN_URL: main.url, QDRANT_NODES: main.nodes, QDRANT_OTHER_MAIN_URL: other.url, QDRANT_OTHER_NODES: other.nodes,
    REQUESTS_CA_BUNDLE: certificates.ca, SSL_CERT_FILE: certificates.ca, NODE_EXTRA_CA_CERTS: certificates.ca,
  };
}

async function cluster(name, certificates) {
  const { nodePorts } = await import('../dist/src/cluster/testing/node-ports.js');
  const secretFile = path.join(folder, `${name}-secret`);
  writeFileSync(secretFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
  const { urls, stop } = await startNodes({ folder: path.join(folder, name), key, certificates, secretFile, ports: await nodePorts(nodes) });
  stops.push(stop);
  const front = await startRoundRobin({ targets: urls, certificates });
  stops.push(front.stop);
  return { url: front.url, nodes: urls.join(',') };
}

async function tutorial(told) {
  const program = values.js ? process.execPath : pythonEnvironment();
  if (program === undefined) return 1;
  const env = { ...process.env, QDRANT_API_KEY: key, PAPERS: values.papers ?? path.join(root, 'examples/tutorial/papers'), ...(values.limit === undefined ? {} : { LIMIT: values.limit }), ...told };
  const file = path.join(root, values.js ? 'dist/examples/tutorial/tutorial.js' : 'examples/tutorial/tutorial.py');
  running = spawn(program, [file], { stdio: 'inherit', env, cwd: root });
  return await new Promise((resolve, reject) => running.once('error', reject).once('close', (code) => resolve(code ?? 1)));
}
