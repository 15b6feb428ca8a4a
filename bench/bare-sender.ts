// A node:http server in a process of its own that answers every GET with so many bytes from memory: what the transport alone takes.
import { spawn } from 'node:child_process';

const script = `
const piece = Buffer.alloc(512 << 10, 1);
require('node:http').createServer((request, response) => {
  let left = Number(process.argv[1]);
  response.writeHead(200, { 'content-length': left });
  const next = () => {
    if (left === 0) return response.end();
    const bytes = piece.subarray(0, Math.min(left, piece.length));
    left -= bytes.length;
    response.write(bytes, next);
  };
  next();
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });`;

export interface BareSender extends AsyncDisposable {
  readonly url: string;
}

export async function startBareSender(bytes: number): Promise<BareSender> {
  const child = spawn(process.execPath, ['-e', script, String(bytes)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => {
      resolve();
    });
  });
  const port = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => {
      resolve(data.toString().trim());
    });
    void ended.then(() => {
      reject(new RangeError('the bare server ended before it listened'));
    });
  });
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await ended;
    },
  };
}
