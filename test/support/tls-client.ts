// One HTTPS call, with what it showed of the other side.
import { request, type Agent, type RequestOptions } from 'node:https';
import type { TLSSocket } from 'node:tls';

export interface TlsAnswer {
  readonly status: number | undefined;
  readonly bytes: Buffer;
  readonly text: string;
  readonly socket: TLSSocket;
  /** Of the server's certificate. */
  readonly fingerprint: string;
}

export interface TlsCall {
  readonly agent: Agent;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A value is sent as JSON, bytes as they are. */
  readonly body?: unknown;
}

export function tlsCall(url: string, path: string, { agent, method = 'GET', headers = {}, body }: TlsCall): Promise<TlsAnswer> {
  const bytes = body === undefined || body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  const options: RequestOptions = { agent, method, headers: { ...(bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': bytes.byteLength }), ...headers } };
  return new Promise((resolve, reject) => {
    request(new URL(path, url), options, (response) => {
      const socket = response.socket as TLSSocket;
      const { fingerprint256: fingerprint = '' } = socket.getPeerX509Certificate() ?? {};
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).once('error', reject);
      response.once('end', () => {
        const all = Buffer.concat(chunks);
        resolve({ status: response.statusCode, bytes: all, text: all.toString('utf8'), socket, fingerprint });
      });
    }).once('error', reject).end(bytes);
  });
}
