// GET and HEAD of one archive: whole or one byte range, resumable by ETag or date. Never compressed, so that ranges are those
// of the archive.
import type { FastifyRequest } from 'fastify';
import type { ArchiveDownload } from '../../snapshot/description.ts';
import { closeWhenIdle } from './request-body.ts';
import type { RestCall } from './route.ts';
import { sendPieces } from './send-pieces.ts';

/** Inclusive. */
interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Answers the request; the download is released when the answer has ended, however it ends. */
export async function sendArchive(download: ArchiveDownload, { request, reply, idleMs }: Pick<RestCall, 'request' | 'reply' | 'idleMs'>): Promise<void> {
  if (reply.raw.destroyed) {
    // the client left while the archive was being opened
    download.release();
    return;
  }
  reply.raw.once('close', () => {
    download.release();
  });
  reply.header('etag', `"${download.etag}"`);
  // never later than the answer: a snapshot of before the clock went back is sent whole rather than taken for known
  reply.header('last-modified', new Date(Math.min(download.lastModifiedMs, Date.now())).toUTCString());
  reply.header('accept-ranges', 'bytes');
  reply.header('content-disposition', disposition(download.name));
  if (isNotModified(download, request.headers)) {
    await reply.code(304).send();
    return;
  }
  reply.type('application/octet-stream');
  const range = rangeApplies(download, request.headers['if-range'])
    ? parseRange(request.headers.range, download.sizeBytes)
    : undefined;
  if (range === 'unsatisfiable') {
    await reply.code(416).header('content-range', `bytes */${download.sizeBytes}`).removeHeader('content-disposition').send();
    return;
  }
  const { start, end } = range ?? { start: 0, end: download.sizeBytes - 1 };
  if (range !== undefined) reply.code(206).header('content-range', `bytes ${start}-${end}/${download.sizeBytes}`);
  reply.header('content-length', end - start + 1);
  if (request.method === 'HEAD') {
    await reply.send();
    return;
  }
  closeWhenIdle(request.raw, idleMs);
  await sendPieces(download.read(start, end, { isLent: true }), reply);
}

/** One range of `bytes=`. Undefined: no range, several, or one that is not understood; then the whole is sent.  @internal for tests */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/.exec(header ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return undefined;
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { start: sizeBytes - length, end: sizeBytes - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= sizeBytes) return 'unsatisfiable';
  return { start, end: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) };
}

/** A range is honoured only on the very archive the client began with. */
function rangeApplies({ etag, lastModifiedMs }: ArchiveDownload, ifRange: string | string[] | undefined): boolean {
  if (ifRange === undefined) return true;
  if (typeof ifRange !== 'string') return false;
  return ifRange === `"${etag}"` || Date.parse(ifRange) === wholeSeconds(lastModifiedMs);
}

function isNotModified({ etag, lastModifiedMs }: ArchiveDownload, headers: FastifyRequest['headers']): boolean {
  const tags = headers['if-none-match'];
  if (tags !== undefined)
    return tags.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === `"${etag}"`);
  const since = headers['if-modified-since'];
  return since !== undefined && wholeSeconds(lastModifiedMs) <= Date.parse(since);
}

/** Dates in headers have no milliseconds. */
function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

/** The name in ASCII for old clients, and in full (RFC 6266). */
export function disposition(name: string): string {
  const ascii = name.replaceAll(/[^\x20-\x7e]|["\\]/g, '_');
  const full = encodeURIComponent(name).replaceAll(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return ascii === name ? `attachment; filename="${ascii}"` : `attachment; filename="${ascii}"; filename*=UTF-8''${full}`;
}
