// Writing answers: the success envelope `{"result":…,"status":"ok","time":…}`, errors, and long results in slices, so that no
// answer becomes one giant string and no answer holds the event loop.
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { sliceMsMax, yieldToLoop } from '../../base/clock.ts';
import type { RestAnswer } from './route.ts';
import type { WireError } from './wire-error.ts';

const jsonType = 'application/json';
const textType = 'text/plain; charset=utf-8';
/** An answer up to this size is sent whole; a longer one in slices of this size. */
const sliceBytes = 256 * 1024;

export async function sendAnswer(reply: FastifyReply, answer: RestAnswer): Promise<void> {
  switch (answer.kind) {
    case 'result':
      await reply
        .type(jsonType)
        .send(`{"result":${JSON.stringify(answer.value) ?? 'null'},"status":"ok","time":${seconds(reply)}}`);
      return;
    case 'result-text':
      await sendText(reply, answer.pieces);
      return;
    case 'accepted':
      await reply
        .code(202)
        .type(jsonType)
        .send(`{"status":"accepted","time":${seconds(reply)}}`);
      return;
    case 'sent':
      return;
  }
}

/** As JSON: `{"status":{"error":…},"time":…}` without `result`. As text: the text alone. */
export function sendError(reply: FastifyReply, error: Pick<WireError, 'status' | 'text'>, shape: 'json' | 'text'): FastifyReply {
  reply.code(error.status);
  if (shape === 'text') return reply.type(textType).send(error.text);
  return reply.type(jsonType).send(`{"status":{"error":${JSON.stringify(error.text)}},"time":${seconds(reply)}}`);
}

/** Seconds since the request arrived, as JSON. */
function seconds(reply: FastifyReply): string {
  return (reply.elapsedTime / 1000).toFixed(9);
}

/** Nearly all answers are short: those are made and sent in one go. */
async function sendText(reply: FastifyReply, pieces: Iterable<string> | AsyncIterable<string>): Promise<void> {
  if (!(Symbol.iterator in pieces)) return await sendSlices(reply, slices(envelopePieces(reply, pieces)));
  const rest = pieces[Symbol.iterator]();
  const head: string[] = [];
  const end = performance.now() + sliceMsMax;
  for (let next = rest.next(), chars = 0; next.done !== true; next = rest.next()) {
    head.push(next.value);
    chars += next.value.length;
    if (chars > wholeCharsMax || performance.now() > end) return await sendSlices(reply, slices(envelopePieces(reply, joined(head, { [Symbol.iterator]: () => rest }))));
  }
  await reply.type(jsonType).send(`{"result":${head.join('')},"status":"ok","time":${seconds(reply)}}`);
}

async function* envelopePieces(reply: FastifyReply, pieces: Iterable<string> | AsyncIterable<string>): AsyncGenerator<string> {
  yield '{"result":';
  yield* pieces;
  yield `,"status":"ok","time":${seconds(reply)}}`;
}

/** One slice is sent with its length, as text, so that Node writes it together with the headers; several with back-pressure, chunked. */
async function sendSlices(reply: FastifyReply, all: AsyncGenerator<string>): Promise<void> {
  const first = await all.next();
  const second = first.done === true ? first : await all.next();
  reply.type(jsonType);
  if (first.done === true) await reply.send('');
  else if (second.done === true) await reply.send(first.value);
  else
    await reply.send(Readable.from(joined([first.value, second.value], all), { objectMode: false, highWaterMark: sliceBytes }));
}

async function* joined(head: readonly string[], rest: Iterable<string> | AsyncIterable<string>): AsyncGenerator<string> {
  yield* head;
  yield* rest;
}

/** Text of at most `sliceBytes` each in UTF-8; lets the event loop run between slices of work.  @internal for tests */
export async function* slices(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let pending: string[] = [];
  let pendingChars = 0;
  let sliceStart = performance.now();
  for await (const piece of pieces) {
    for (const part of shortParts(piece)) {
      if (pendingChars + part.length > charsMax && pendingChars > 0) {
        yield pending.join('');
        pending = [];
        pendingChars = 0;
      }
      pending.push(part);
      pendingChars += part.length;
    }
    if (performance.now() - sliceStart > sliceMsMax) {
      await yieldToLoop();
      sliceStart = performance.now();
    }
  }
  if (pendingChars > 0) yield pending.join('');
}

/** A UTF-16 unit becomes at most three bytes of UTF-8. */
const charsMax = Math.floor(sliceBytes / 3);
/** Made in well below a millisecond; with the envelope it stays below a slice. */
const wholeCharsMax = 64 * 1024;

/** Never cuts between the two halves of a surrogate pair. */
function* shortParts(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + charsMax, text.length);
    const last = text.charCodeAt(end - 1);
    if (end < text.length && last >= 0xd800 && last <= 0xdbff) end -= 1;
    yield text.slice(at, end);
    at = end;
  }
}
