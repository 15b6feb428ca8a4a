// Snapshots of one shard: stored ones, the streamed one, and the partial ones that follow another copy of the shard.
import { RequestError } from '../../base/errors.ts';
import type { Engine } from '../../engine/engine.ts';
import type { ArchiveDownload } from '../../snapshot/description.ts';
import { heldJson } from '../../snapshot/partial.ts';
import type { RestoreTarget } from '../../snapshot/preflight.ts';
import type { SnapshotScope } from '../../snapshot/snapshot-name.ts';
import { result } from './collections.ts';
import { asObject, bodyPlace, formatError, readObject, requiredText } from './json-rules.ts';
import { answerJob } from './jobs.ts';
import { readFlag } from './query-parameters.ts';
import type { RestContext } from './rest-context.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';
import { sendPieces } from './send-pieces.ts';
import { disposition } from './snapshot-download.ts';
import { openSnapshotForm } from './snapshot-form.ts';
import { readDryRun, readUploadOptions } from './snapshot-options.ts';
import { answerUpload, existing, recover, sendStored, storedRoutes, upload, warnOfOverwrite } from './snapshots.ts';

/** A stream cannot be resumed: its client gets so many times the patience of a download. */
const streamPatience = 5;
const shardIdMax = 2 ** 32 - 1;
const fileNamePattern = /^[0-9a-f]{64}\.[a-z]{2,8}$/;

export function shardSnapshotRoutes({ engine }: RestContext): readonly RestRoute[] {
  const shard = '/collections/:collection/shards/:shard_id';
  const scopeOf = (call: Pick<RestCall, 'params'>): ShardScope => scope(engine, call);
  return [
    ...storedRoutes(engine, `${shard}/snapshots`, { scopeOf, change: 'write', download: (call) => download(engine, call) }),
    { method: 'PUT', path: `${shard}/snapshots/recover`, access: 'manage', handle: (call) => recoverShard(engine, call) },
    { method: 'POST', path: `${shard}/snapshots/upload`, access: 'manage', body: 'stream', handle: (call) => uploadShard(engine, call) },
    {
      method: 'GET',
      path: `${shard}/snapshot`,
      access: 'write',
      errors: 'text',
      handle: async (call) => sendStream(await engine.snapshots.openStream(scopeOf(call), call.signal), call),
    },
    {
      method: 'GET',
      path: `${shard}/snapshot/partial/manifest`,
      access: 'read',
      handle: result(async (call) => heldJson(await engine.snapshots.partial.held(scopeOf(call)))),
    },
    { method: 'POST', path: `${shard}/snapshot/partial/create`, access: 'write', errors: 'text', handle: (call) => sendChanges(engine, call) },
    { method: 'POST', path: `${shard}/snapshot/partial/recover`, access: 'manage', body: 'stream', handle: (call) => recoverPartial(engine, call) },
    { method: 'POST', path: `${shard}/snapshot/partial/recover_from`, access: 'manage', handle: (call) => recoverFrom(engine, call) },
  ];
}

type ShardScope = SnapshotScope & { readonly kind: 'shard' };
type ShardTarget = RestoreTarget & { readonly kind: 'shard' };

/** @throws RequestError 'not-found' for the collection or the shard */
function scope(engine: Engine, { params }: Pick<RestCall, 'params'>): ShardScope {
  const shardId = shardIdOf(params);
  const collection = existing(engine, { params });
  engine.checkShard(collection, shardId);
  return { kind: 'shard', collection, shardId };
}

function target(engine: Engine, call: RestCall, isPartial = false): ShardTarget {
  const { collection: name, shardId } = scope(engine, call);
  return { kind: 'shard', name, shardId, isPartial };
}

function shardIdOf(params: RestCall['params']): number {
  const text = params['shard_id'] ?? '';
  const shardId = /^\d{1,10}$/.test(text) ? Number(text) : Infinity;
  if (shardId <= shardIdMax) return shardId;
  throw new RequestError('bad-format', `Deserialize error in path parameters: can not parse ${JSON.stringify(text)} to a u32`);
}

/** Like every download, but for the text of an absent one. */
async function download(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const of = scope(engine, call);
  try {
    return await sendStored(engine, call, of);
  } catch (error) {
    if (!(error instanceof RequestError) || error.code !== 'not-found' || !error.message.startsWith('Snapshot ')) throw error;
    await call.reply.code(404).type('text/plain; charset=utf-8').send('File not found: No such file or directory (os error 2)');
    return { kind: 'sent' };
  }
}

function recoverShard(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const into = target(engine, call);
  const warn = (priority: Parameters<typeof warnOfOverwrite>[2]['priority']): void => {
    warnOfOverwrite(engine, call, { collection: into.name, shardId: into.shardId, priority });
  };
  return recover(engine, call, { into, options: readDryRun(call.query), mustBeUrl: false, warn });
}

function uploadShard(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const into = target(engine, call);
  const warn = (priority: Parameters<typeof warnOfOverwrite>[2]['priority']): void => {
    warnOfOverwrite(engine, call, { collection: into.name, shardId: into.shardId, priority });
  };
  return upload(engine, call, { into, options: { ...readUploadOptions(call.query), ...readDryRun(call.query) }, answer: null, warn });
}

async function sendChanges(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const of = scope(engine, call);
  const changes = await engine.snapshots.partial.openChanges(of, decodeHeld(call.body), call.signal);
  if (changes !== undefined) return await sendStream(changes, call);
  await call.reply.code(304).send();
  return { kind: 'sent' };
}

async function recoverPartial(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const into = target(engine, call, true);
  const options = readUploadOptions(call.query);
  const wait = readFlag(call.query, 'wait', true);
  const form = openSnapshotForm(call.request.raw);
  if (engine.snapshots.partial.isRecovering(into)) return await alreadyInProgress(call);
  return await answerUpload(call, form, { wait, answer: null, start: (gone) => engine.snapshots.partial.startUpload(into, form.bytes(), options, gone) });
}

async function recoverFrom(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const wait = readFlag(call.query, 'wait', true);
  const into = target(engine, call, true);
  const place = bodyPlace();
  const body = asObject(call.body, place);
  const url = requiredText(body, 'peer_url', place);
  if (!URL.canParse(url)) throw formatError(place, 'peer_url: relative URL without a base');
  const { api_key: apiKey } = readObject(body, { api_key: { kind: 'text' } }, place) as { readonly api_key?: string };
  if (engine.snapshots.partial.isRecovering(into)) return await alreadyInProgress(call);
  const job = engine.snapshots.partial.startFrom(into, { url, ...(apiKey === undefined ? {} : { apiKey }) });
  return await answerJob(call, job, { wait, show: (changed) => changed });
}

async function alreadyInProgress({ reply }: RestCall): Promise<RestAnswer> {
  await reply.code(503).type('application/json').send('{"status":"already_in_progress","time":0}');
  return { kind: 'sent' };
}

/** Without length and ETag: the archive is of this call alone. */
async function sendStream(archive: ArchiveDownload, { request, reply, idleMs }: RestCall): Promise<RestAnswer> {
  if (reply.raw.destroyed) {
    archive.release();
    return { kind: 'sent' };
  }
  reply.raw.once('close', () => {
    archive.release();
  });
  reply.type('application/octet-stream').header('content-disposition', disposition(archive.name));
  const patience = { ms: streamPatience * idleMs, cut: () => request.raw.destroy() };
  await sendPieces(withPatience(archive.read(0, archive.sizeBytes - 1, { isLent: true }), patience), reply);
  return { kind: 'sent' };
}

async function* withPatience(pieces: AsyncIterable<Buffer>, { ms, cut }: { readonly ms: number; readonly cut: () => void }): AsyncGenerator<Buffer> {
  for await (const piece of pieces) {
    const timer = setTimeout(cut, ms);
    timer.unref();
    try {
      yield piece;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** `{ <segment>: { segment_id, segment_version, file_versions: { <file>: version | null } } }` */
function decodeHeld(json: unknown): readonly { readonly uuid: string; readonly files: readonly string[] }[] {
  const place = bodyPlace();
  return Object.entries(asObject(json, place)).map(([uuid, segment]) => {
    const versions = asObject(segment, place)['file_versions'];
    return { uuid, files: Object.keys(asObject(versions, place)).filter((name) => fileNamePattern.test(name)) };
  });
}
