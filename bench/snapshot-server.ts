// The built server with a data directory, and what a client does with its snapshots. Archives move by curl, a process of its own that
// costs little, so that what is measured is the server.
import { execFile } from 'node:child_process';
import http from 'node:http';
import { promisify } from 'node:util';
import { startServer, type ServerProcess } from '../test/support/server-process.ts';

const runFile = promisify(execFile);
const pollMs = 5;

export interface Created {
  readonly name: string;
  readonly size: number;
  readonly checksum: string;
}

export async function plainGet(url: string, file: string): Promise<void> {
  await runFile('curl', ['-sSf', '-o', file, url]);
}

export class SnapshotServer implements AsyncDisposable {
  readonly #process: ServerProcess;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

  private constructor(server: ServerProcess) {
    this.#process = server;
  }

  static async start(data: string): Promise<SnapshotServer> {
    return new SnapshotServer(await startServer({ data, env: { NEARKEEP__STORAGE__SNAPSHOTS_CONFIG__UNDO_HOURS: '0' } }));
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Milliseconds of each freeze so far, from the log. */
  freezes(): readonly number[] {
    return [...this.#process.output().matchAll(/"freeze_ms":(\d+)/g)].map(([, ms]) => Number(ms));
  }

  /** The result of a call. @throws RangeError for every status but 2xx */
  call(method: string, path: string, body?: Buffer): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length };
      const request = http.request(`${this.#process.url}${path}`, { method, agent: this.#agent, headers }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(pieces).toString();
          if (Math.floor((response.statusCode ?? 0) / 100) === 2) resolve((JSON.parse(text) as { result: unknown }).result);
          else reject(new RangeError(`${method} ${path}: ${response.statusCode} ${text}`));
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  }

  async create(collection: string): Promise<Created> {
    return (await this.call('POST', `/collections/${collection}/snapshots`)) as Created;
  }

  async delete(collection: string, name: string): Promise<void> {
    await this.call('DELETE', `/collections/${collection}/snapshots/${name}`);
  }

  /** One plain GET, without Range, as a browser sends it. */
  async download(collection: string, name: string, file: string): Promise<void> {
    await plainGet(`${this.#process.url}/collections/${collection}/snapshots/${name}`, file);
  }

  /** Answers when the archive has been received, staged and verified; the restore goes on. */
  async upload(collection: string, file: string): Promise<void> {
    const url = `${this.#process.url}/collections/${collection}/snapshots/upload?priority=snapshot&wait=false`;
    await runFile('curl', ['-sSf', '-o', '/dev/null', '-F', `snapshot=@${file}`, url]);
  }

  /** Resolves with the first answer of a search that the collection, which may not exist yet, gives. @throws RangeError after two minutes */
  async firstAnswer(collection: string, search: Buffer): Promise<unknown> {
    const deadline = performance.now() + 120_000;
    for (;;) {
      try {
        return await this.call('POST', `/collections/${collection}/points/search`, search);
      } catch (error) {
        if (!String(error).includes(': 404 ') || performance.now() > deadline) throw error;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, pollMs);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy();
    const code = await this.#process.stop();
    if (code !== 0) throw new RangeError(`the server ended with ${code}:\n${this.#process.output()}`);
  }
}
