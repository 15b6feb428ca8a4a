// A proxy between a client and the server under test that holds every answer against its route's schema, so that what the
// official clients see is judged too. Bodies stream through; only JSON answers are collected.
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerJudge } from './schemas.ts';

export interface JudgingProxy extends AsyncDisposable {
  readonly url: string;
  /** How many answers passed through. */
  count(): number;
  /** What was wrong with any of them. */
  complaints(): readonly string[];
}

export async function judgingProxy(target: string): Promise<JudgingProxy> {
  const judge = answerJudge();
  const complaints: string[] = [];
  let count = 0;
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const forward = http.request(new URL(request.url ?? '/', target), { method: request.method ?? 'GET', headers: request.headers, agent }, (answer) => {
      count += 1;
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      const contentType = answer.headers['content-type'] ?? '';
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => {
        if (contentType.includes('json')) pieces.push(piece);
        response.write(piece);
      });
      answer.on('error', () => response.destroy());
      answer.on('end', () => {
        const seen = { method: request.method ?? '', path: new URL(request.url ?? '/', target).pathname, status: answer.statusCode ?? 0, contentType, body: Buffer.concat(pieces).toString() };
        try {
          if (answer.headers['content-encoding'] === undefined && request.method !== 'HEAD') judge(seen);
        } catch (error) {
          complaints.push(error instanceof Error ? error.message : String(error));
        }
        response.end();
      });
    });
    forward.on('error', () => response.destroy());
    request.pipe(forward);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    count: () => count,
    complaints: () => complaints,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => {
      agent.destroy();
      server.closeAllConnections();
      server.close(() => {
        resolve();
      });
    }),
  };
}
