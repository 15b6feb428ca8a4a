// The smallest REST client: one call, the whole answer, held against its schema.
import { answerJudge } from './schemas.ts';

const judge = answerJudge();

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** `result` of the envelope. */
  readonly result: unknown;
  /** Text of the error, from the envelope or plain. */
  readonly error: string;
}

export interface CallOptions {
  /** A value is sent as JSON; text and bytes are sent as they are. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function call(url: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const { body } = options;
  const raw = body === undefined || typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData;
  const response = await fetch(url + path, {
    method,
    headers: { ...(body === undefined || body instanceof FormData ? {} : { 'content-type': 'application/json' }), ...options.headers },
    ...(body === undefined ? {} : { body: raw ? (body as NonNullable<RequestInit['body']>) : JSON.stringify(body) }),
  });
  const text = await response.text();
  const contentType = response.headers.get('content-type') ?? '';
  judge({ method, path: path.split('?')[0] ?? path, status: response.status, contentType, body: text });
  const json = contentType.includes('json') ? (JSON.parse(text) as { result?: unknown; status?: { error?: string } }) : undefined;
  return { status: response.status, headers: response.headers, text, result: json?.result, error: json === undefined ? text : (json.status?.error ?? '') };
}
