// Servers as child processes for the tutorial: one node, or several that are a cluster, with a key and, where certificates are given,
// over https; and one address in front of several. What is started is stopped in order, and by force where that takes too long.
import { spawn } from 'node:child_process';
import http from 'node:http';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const stopMsMax = 60_000;

/** Resolves when all listen; each has `url`. `ports` of more than one node: dist/src/cluster/testing/node-ports.js. */
export async function startNodes({ folder, key, ports, certificates, secretFile }) {
  const peers = ports.map(({ peer }) => `127.0.0.1:${peer}`).join(',');
  const children = (ports.length === 0 ? [undefined] : ports).map((own, at) => spawn(process.execPath, [
    path.join(root, 'bin/nearkeep'), 'serve', '--data', path.join(folder, `node-${at + 1}`), '--port', '0', '--log-format', 'json', '--log-level', 'info',
    ...(own === undefined ? [] : ['--peer-port', String(own.peer), '--uri', `http://127.0.0.1:${own.peer}`, '--peers', peers, '--cluster-secret-file', secretFile]),
  ], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env, QDRANT__SERVICE__API_KEY: key,
      ...(own === undefined ? {} : { NEARKEEP__CLUSTER__NATS_CLIENT_PORT: String(own.natsClient), NEARKEEP__CLUSTER__NATS_MONITOR_PORT: String(own.natsMonitor) }),
      ...(certificates === undefined ? {} : { QDRANT__SERVICE__ENABLE_TLS: 'true', QDRANT__TLS__CERT: certificates.cert, QDRANT__TLS__KEY: certificates.key }),
    },
  }));
  const ended = children.map((child) => new Promise((resolve) => child.on('close', resolve)));
  const stop = async () => {
    for (const child of children) child.kill('SIGTERM');
    const force = setTimeout(() => children.forEach((child) => child.kill('SIGKILL')), stopMsMax);
    await Promise.all(ended);
    clearTimeout(force);
  };
  try {
    return { urls: await Promise.all(children.map(address)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One URL for several nodes, each request to the next of them. Bodies stream through. */
export async function startRoundRobin({ targets, certificates }) {
  const secure = certificates !== undefined;
  const [module, agent] = secure ? [https, new https.Agent({ keepAlive: true, ca: readFileSync(certificates.ca) })] : [http, new http.Agent({ keepAlive: true })];
  let next = 0;
  const forward = (request, response) => {
    const target = targets[next % targets.length];
    next += 1;
    const onward = module.request(new URL(request.url, target), { method: request.method, headers: request.headers, agent }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.on('error', () => response.destroy()).pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  };
  const server = secure ? https.createServer({ cert: readFileSync(certificates.cert), key: readFileSync(certificates.key) }, forward) : http.createServer(forward);
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `${secure ? 'https' : 'http'}://127.0.0.1:${server.address().port}`,
    stop: () => new Promise((resolve) => {
      agent.destroy();
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}

/** The address from the line that says `listening`. */
function address(child) {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const found = /"address":"([^"]+)"/.exec(output);
      if (found !== null) resolve(found[1]);
    });
    child.on('close', (code) => reject(new Error(`the server ended with ${code} before it listened:\n${output}`)));
  });
}
