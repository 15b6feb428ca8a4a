// REST ingest of real papers against a bare node:http server that reads and drops the same bodies: what parsing, validation,
// log and apply cost beyond receiving the bytes. Both servers are processes of their own; one client feeds both.
import http from 'node:http';
import path from 'node:path';
import { alternate, benchFolder, median, ms, paperPayloads, papers, paperVectors, ratioText, report, skip, timedMs } from './harness.ts';
import { send, serve, startProcess, stop } from './server.ts';

const batch = 100;
const connections = 2;

const bareServer = `
const server = require('node:http').createServer((request, response) => {
  request.on('data', () => {});
  request.on('end', () => response.end('{}'));
});
server.listen(0, '127.0.0.1', () => console.log('port ' + server.address().port));`;

if (papers.present) await run();
else skip('ingest-rest', `no papers in ${papers.folder}`);

async function run(): Promise<void> {
  const bodies = await makeBodies();
  const folder = benchFolder();
  const bare = await startProcess(['-e', bareServer], /port (\d+)/);
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  let runs = 0;
  const { baseline, subject, ratio } = await alternate(5, () => timedMs(() => sendAll(agent, bare.port, bodies)), async () => {
    runs += 1;
    const server = await serve(path.join(folder, String(runs)));
    await send(agent, server.port, { method: 'PUT', path: '/collections/papers', body: Buffer.from(JSON.stringify({ vectors: { size: papers.size, distance: 'Cosine' } })) });
    const spent = await timedMs(() => sendAll(agent, server.port, bodies));
    await stop(server);
    return spent;
  });
  await stop(bare);
  agent.destroy();
  const bytes = bodies.reduce((sum, body) => sum + body.length, 0);
  const speed = 1 / ratio;
  report({
    name: 'REST ingest of papers / bare node:http reading the bodies', value: ratioText(speed), goal: '>= 0.25x', met: speed >= 0.25,
    detail: `${papers.count} points, ${(bytes / 1e6).toFixed(0)} MB: bare ${ms(median(baseline))}, nearkeep ${ms(median(subject))}`,
  }, { baseline_ms: baseline, subject_ms: subject });
}

async function makeBodies(): Promise<Buffer[]> {
  const vectors = paperVectors();
  const payloads = await paperPayloads();
  const bodies: Buffer[] = [];
  for (let from = 0; from < papers.count; from += batch) {
    const points = Array.from({ length: Math.min(batch, papers.count - from) }, (_, index) => {
      const row = from + index;
      const vector = Array.from(vectors.subarray(row * papers.size, (row + 1) * papers.size));
      return `{"id":${row + 1},"vector":${JSON.stringify(vector)},"payload":${payloads[row] ?? '{}'}}`;
    });
    bodies.push(Buffer.from(`{"points":[${points.join(',')}]}`));
  }
  return bodies;
}

async function sendAll(agent: http.Agent, port: number, bodies: readonly Buffer[]): Promise<void> {
  const queue = bodies.values();
  const worker = async (): Promise<void> => {
    for (const body of queue) await send(agent, port, { method: 'PUT', path: '/collections/papers/points?wait=true', body });
  };
  await Promise.all(Array.from({ length: connections }, worker));
}
