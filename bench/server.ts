// A server process of its own, requests to it, and what it tells about itself.
import { spawn, type ChildProcess } from 'node:child_process';
import http from 'node:http';
import path from 'node:path';
import { root } from './harness.ts';

export interface Served {
  readonly child: ChildProcess;
  readonly port: number;
}

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: Buffer;
}

/** nearkeep on the data directory; `nodeArgs` go to Node. */
export function serve(data: string, nodeArgs: readonly string[] = []): Promise<Served> {
  const args = [...nodeArgs, path.join(root, 'bin/nearkeep'), 'serve', '--data', data, '--port', '0', '--log-format', 'json'];
  return startProcess(args, /"address":"http:\/\/[^:]+:(\d+)"/);
}

/** A Node process that prints its port. */
export function startProcess(args: readonly string[], ready: RegExp): Promise<Served> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      if (output.length > 65_536) return; // it has long been ready; reading on keeps its pipe empty
      output += data.toString();
      const found = ready.exec(output);
      if (found !== null) resolve({ child, port: Number(found[1]) });
    });
    child.on('close', (code) => {
      reject(new RangeError(`the server ended with ${code}`));
    });
  });
}

export function stop({ child }: Pick<Served, 'child'>): Promise<void> {
  return new Promise((resolve) => {
    child.on('close', () => {
      resolve();
    });
    child.kill('SIGTERM');
  });
}

/** The body of the answer. @throws RangeError for any status but those of 200 to 299 */
export function send(agent: http.Agent, port: number, { body, ...call }: Call): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length };
    const request = http.request({ ...call, port, host: '127.0.0.1', agent, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => {
        pieces.push(piece);
      });
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(pieces);
        if (Math.floor((response.statusCode ?? 0) / 100) === 2) resolve(text);
        else reject(new RangeError(`${call.method} ${call.path}: status ${response.statusCode}: ${text.toString('utf8', 0, 300)}`));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Samples of /metrics by name with labels, as printed. */
export async function metrics(agent: http.Agent, port: number): Promise<ReadonlyMap<string, number>> {
  const text = (await send(agent, port, { method: 'GET', path: '/metrics' })).toString();
  return new Map(Array.from(text.matchAll(/^([a-z].*) ([-+\d.e]+)$/gm), ([, name = '', value = '']) => [name, Number(value)]));
}

/** The body of an upsert of rows with these ids. */
export function upsertBody(rows: Float32Array, size: number, ids: readonly number[]): Buffer {
  const points = ids.map((id, at) => `{"id":${id},"vector":${JSON.stringify(Array.from(rows.subarray(at * size, (at + 1) * size)))},"payload":{"n":${id}}}`);
  return Buffer.from(`{"points":[${points.join(',')}]}`);
}
