// An answer of bytes that are lent: each piece is taken by the system before the next one is asked for, so however long the answer
// is, it takes the memory of a few pieces and leaves nothing to the garbage collector.
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';

/** Status and headers are those of `reply`. @throws what the first piece throws; later failures end the connection */
export async function sendPieces(pieces: AsyncIterable<Buffer>, reply: FastifyReply): Promise<void> {
  const { raw } = reply;
  const iterator = pieces[Symbol.asyncIterator]();
  let step = await iterator.next(); // nothing has gone out yet: its failure can be an ordinary answer
  reply.hijack(); // Fastify would hold pieces that it has not sent yet, and not say when it has
  try {
    raw.statusCode = reply.statusCode;
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value);
    for (; step.done !== true; step = await iterator.next()) await taken(raw, step.value);
    raw.end();
  } catch (error) {
    if (!raw.destroyed) reply.log.error({ err: error }, 'an answer broke off after its headers had gone out');
    raw.destroy();
  } finally {
    await iterator.return?.();
  }
}

/** Resolves when the piece's memory may be used again. @throws where the client has left */
async function taken(raw: ServerResponse, piece: Buffer): Promise<void> {
  if (raw.destroyed) throw gone();
  await new Promise<void>((resolve, reject) => {
    const leave = (): void => {
      reject(gone());
    };
    raw.once('close', leave);
    raw.write(piece, (error) => {
      raw.off('close', leave);
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
}

function gone(): RangeError {
  return new RangeError('the client left');
}
