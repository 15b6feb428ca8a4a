// HTTP as it is written: paths are neither normalised nor encoded, bodies may be cut, endless or late. Every JSON answer is held
// against its schema.
import http from 'node:http';
import net from 'node:net';
import { Readable } from 'node:stream';
import { answerJudge } from './schemas.ts';

const judge = answerJudge();

export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

export interface RawAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** Rejects where the connection ends before an answer. An answer that comes before the whole body was sent counts. */
export function sendRaw(url: string, { method, path, headers = {}, body }: RawRequest): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const length =
      body === undefined
        ? {}
        : typeof body === 'string' || body instanceof Uint8Array
          ? { 'content-length': Buffer.byteLength(body) }
          : {};
    const request = http.request(
      { ...target(url), method, path, headers: { ...length, ...headers }, agent: false },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          request.destroy();
          const answer = {
            status: response.statusCode ?? 0,
            contentType: response.headers['content-type'] ?? '',
            headers: response.headers,
            text: Buffer.concat(pieces).toString('utf8'),
          };
          try {
            judge({
              method,
              path: path.split('?')[0] ?? path,
              status: answer.status,
              contentType: answer.contentType,
              body: answer.text,
            });
          } catch (error) {
            reject(error as Error);
          }
          resolve(answer);
        });
      },
    );
    request.on('error', reject);
    if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) {
      request.end(body);
      return;
    }
    const stream = Readable.from(body, { objectMode: false });
    stream.on('error', () => request.destroy());
    stream.pipe(request);
    request.on('close', () => stream.destroy());
  });
}

/** The error's text: of the envelope, or the plain one. */
export function errorText({ contentType, text }: RawAnswer): string {
  if (!contentType.includes('json')) return text;
  return (JSON.parse(text) as { readonly status?: { readonly error?: string } }).status?.error ?? '';
}

/** Bytes on a socket. Answers what came back until the server closed, and how much it let itself be sent. */
export async function sendBytes(
  url: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ readonly text: string; readonly sentBytes: number }> {
  const socket = net.connect({ host: target(url).host, port: target(url).port });
  let text = '';
  socket.on('data', (piece) => {
    text += piece.toString();
  });
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      resolve();
    });
  });
  socket.on('error', () => undefined);
  for await (const piece of bytes) {
    if (socket.destroyed) break;
    if (!socket.write(piece)) await Promise.race([closed, new Promise((resolve) => socket.once('drain', resolve))]);
  }
  await closed;
  return { text, sentBytes: socket.bytesWritten - socket.writableLength };
}

export function target(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}
