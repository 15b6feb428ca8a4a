// A TCP proxy that says which texts went through it, in either direction, also where a chunk ends in the middle of one.
import { connect, createServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';

export interface RecordingProxy extends AsyncDisposable {
  readonly seen: ReadonlySet<string>;
}

/** What a text may look like on a wire or in a file: itself, in hex, and in both kinds of base64 at any offset. */
export function formsOf(text: string): readonly string[] {
  const bytes = Buffer.from(text);
  const inside = (['base64', 'base64url'] as const).flatMap((encoding) => [0, 1, 2].map((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes]).toString(encoding).replaceAll('=', '');
    return encoded.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.byteLength) * 8) / 6));
  }));
  return [...new Set([text, bytes.toString('hex'), ...inside])];
}

/** Those of `wanted` that stand in the bytes. */
export function formsIn(bytes: Buffer, wanted: readonly string[]): readonly string[] {
  return wanted.filter((form) => bytes.includes(form, 0, 'latin1'));
}

/** On loopback. @param wanted looked for */
export async function recordingProxy(from: number, to: number, wanted: readonly string[]): Promise<RecordingProxy> {
  const longest = Math.max(...wanted.map((form) => form.length));
  const seen = new Set<string>();
  const sockets = new Set<Socket>();
  const look = (): Transform => {
    let tail = Buffer.alloc(0);
    return new Transform({
      transform: (chunk: Buffer, _, done) => {
        const all = Buffer.concat([tail, chunk]);
        for (const form of formsIn(all, wanted)) seen.add(form);
        tail = all.subarray(Math.max(0, all.byteLength - longest + 1));
        done(null, chunk);
      },
    });
  };
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    void Promise.allSettled([pipeline(near, look(), far), pipeline(far, look(), near)]).then(end);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(from, '127.0.0.1', resolve);
  });
  return {
    seen,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
