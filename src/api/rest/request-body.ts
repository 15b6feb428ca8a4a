// Bodies as they arrive. A body is read only after the request was admitted, never beyond its limit, and a client that stops
// sending does not hold a request open. What is left of a refused body is read and dropped for a moment, so that the client
// sees the answer and not a reset connection.
import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { BufferPool } from '../../base/buffer-pool.ts';
import { yieldToLoop } from '../../base/clock.ts';
import { RequestError } from '../../base/errors.ts';
import { parseBody } from '../../vector/lift-json.ts';

/** Longest pause between two pieces of a body, and between two of a download. */
export const idleMsMax = 60_000;
/** What is dropped of a refused body before the connection is closed: clients read no answer before they have sent their body, so
 *  one that is a little over the limit is dropped whole. */
const lingerBytesMax = 64 * 1024 * 1024;
const lingerMsMax = 5_000;
const lingerCheckMs = 20;

/** Memory kept for the next bodies: one of the default limit. */
const keptBytesMax = 32 * 1024 * 1024;
/** More than that is not set aside on the word of a header alone, and then this many times what has come. */
const trustedBytesMax = 4 * 1024 * 1024;
const trustedFactor = 8;
const firstBytes = 1024;
/** Copied in one go: below a millisecond, memory that is touched for the first time included. */
const copyBytes = 512 * 1024;
const bodies = new BufferPool(keptBytesMax);

/** The parsed body. @throws RequestError 'bad-format' for a wrong type, an empty, too long or malformed body. */
export async function readJsonBody(request: FastifyRequest, limitBytes: number): Promise<unknown> {
  const { raw } = request;
  if (!hasBody(raw)) throw emptyBody();
  refuseOtherTypes(request);
  const declared = Number(raw.headers['content-length'] ?? 0);
  if (declared > limitBytes)
    throw new RequestError('bad-format', `JSON payload (${declared} bytes) is larger than allowed (limit: ${limitBytes} bytes).`);
  const whole = raw.readableLength === declared ? (raw.read() as Buffer | null) : null; // a small body comes with its headers
  if (whole !== null) {
    raw.resume(); // to its end, which may not have been told yet
    return await parseBody(whole);
  }
  const writer = new BodyWriter(declared);
  for await (const piece of bodyBytes(raw)) {
    if (writer.sizeBytes + piece.byteLength > limitBytes) throw new RequestError('bad-format', `JSON payload has exceeded limit (${limitBytes} bytes).`);
    await writer.add(piece);
  }
  if (writer.sizeBytes === 0) throw emptyBody();
  const value = await parseBody(writer.bytes());
  writer.release(); // nothing of the value lies in the bytes
  return value;
}

/** A body in one piece of pooled memory. */
class BodyWriter {
  sizeBytes = 0;
  readonly #declaredBytes: number;
  #memory: Buffer;

  /** 0: the headers do not tell. */
  constructor(declaredBytes: number) {
    this.#declaredBytes = declaredBytes;
    this.#memory = bodies.take(Math.max(Math.min(declaredBytes, trustedBytesMax), firstBytes));
  }

  async add(piece: Uint8Array): Promise<void> {
    const needed = this.sizeBytes + piece.byteLength;
    if (needed > this.#memory.length) await this.#grow(needed);
    this.#memory.set(piece, this.sizeBytes);
    this.sizeBytes = needed;
  }

  async #grow(neededBytes: number): Promise<void> {
    const expectedBytes = this.#declaredBytes === 0 ? 2 * this.sizeBytes : Math.min(this.#declaredBytes, trustedFactor * this.sizeBytes);
    const larger = bodies.take(Math.max(neededBytes, expectedBytes));
    for (let from = 0; from < this.sizeBytes; from += copyBytes) {
      if (from > 0) await yieldToLoop();
      this.#memory.copy(larger, from, from, Math.min(from + copyBytes, this.sizeBytes));
    }
    this.release();
    this.#memory = larger;
  }

  bytes(): Buffer {
    return this.#memory.subarray(0, this.sizeBytes);
  }

  release(): void {
    bodies.give(this.#memory);
  }
}

/** The raw bytes. Leaving the loop early leaves the request readable. @throws RequestError 'timeout' where nothing comes for a minute. */
export async function* bodyBytes(raw: IncomingMessage): AsyncGenerator<Uint8Array> {
  const stopWatching = endWhenIdle(raw);
  try {
    yield* raw.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Uint8Array>;
  } finally {
    stopWatching();
  }
}

/** Whether the headers announce a body. */
export function hasBody(raw: IncomingMessage): boolean {
  const length = raw.headers['content-length'];
  return raw.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}

/** For a request that was answered before its body was read to the end: Node drops what still comes, this bounds it. */
export function dropRest(raw: IncomingMessage): void {
  if (raw.complete || raw.destroyed) return;
  raw.resume();
  const { socket } = raw;
  const startBytes = socket.bytesRead; // dropped bytes raise no event of the request, so the socket is asked
  const deadline = performance.now() + lingerMsMax;
  const timer = setInterval(() => {
    const isOver = socket.bytesRead - startBytes > lingerBytesMax || performance.now() > deadline;
    if (isOver && !raw.complete) socket.destroySoon();
    if (isOver || raw.complete || socket.destroyed) clearInterval(timer);
  }, lingerCheckMs).unref();
}

/** Ends the connection of a download that its client does not read: Node destroys a socket whose time is up, and takes the time
 *  back with the end of the answer. */
export function closeWhenIdle(raw: IncomingMessage, idleMs: number): void {
  raw.socket.setTimeout(idleMs);
}

/** Answers how to stop watching. Bytes that wait for us to read them are not the client's pause. */
function endWhenIdle(raw: IncomingMessage): () => void {
  const { socket } = raw;
  let seenBytes = socket.bytesRead;
  const timer = setInterval(() => {
    if (socket.bytesRead === seenBytes && raw.readableLength === 0) {
      raw.destroy(new RequestError('timeout', `no byte of the body came for ${idleMsMax / 1000} seconds`));
    }
    seenBytes = socket.bytesRead;
  }, idleMsMax).unref();
  return () => {
    clearInterval(timer);
  };
}

function refuseOtherTypes({ headers }: FastifyRequest): void {
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type !== 'application/json' && !/^application\/[\w.-]+\+json$/.test(type)) {
    throw new RequestError(
      'bad-format',
      `Content type error: the body must be application/json, not ${type === '' ? 'without a type' : type}`,
    );
  }
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity')
    throw new RequestError('bad-format', `Content encoding ${encoding} is not supported; send the body as it is`);
}

function emptyBody(): RequestError {
  return new RequestError('bad-format', 'Format error in JSON body: EOF while parsing a value at line 1 column 0');
}
