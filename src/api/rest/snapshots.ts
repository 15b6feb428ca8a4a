// Snapshots of collections and of the whole storage: create, list, download, delete, the two ways back (upload and recover), and
// undo. Everything that can be refused is refused before a body byte is read; `wait=false` answers 202 and leaves the work to its job.
import { RequestError } from '../../base/errors.ts';
import type { Engine } from '../../engine/engine.ts';
import type { RecoverOptions, SnapshotPriority } from '../../snapshot/description.ts';
import type { StartedJob } from '../../snapshot/jobs.ts';
import type { ScopeLike, TargetLike } from '../../snapshot/snapshots.ts';
import { checkNewCollectionName } from './collection-name.ts';
import { result } from './collections.ts';
import { answerJob } from './jobs.ts';
import { readFlag } from './query-parameters.ts';
import type { RestContext } from './rest-context.ts';
import type { RestAnswer, RestCall, RestRoute, RouteAccess } from './route.ts';
import { sendArchive } from './snapshot-download.ts';
import { openSnapshotForm } from './snapshot-form.ts';
import { decodeRecover, planJson, readDryRun, readRestoreRules, readUploadOptions, refuseParameters } from './snapshot-options.ts';
import { deleteStored, listStored, openStored, type PlacedSnapshot } from './snapshot-places.ts';

const wholeStorage = { kind: 'storage' } as const;
/** They name the node that has a snapshot; one is made on the node that is asked. */
const placeParameters = ['peer', 'all'];

export function snapshotRoutes({ engine }: RestContext): readonly RestRoute[] {
  const all = '/collections/:collection/snapshots';
  return [
    ...storedRoutes(engine, all, { scopeOf: (call) => existing(engine, call), change: 'write' }),
    { method: 'PUT', path: `${all}/recover`, access: 'manage', handle: (call) => recoverCollection(engine, call) },
    { method: 'POST', path: `${all}/upload`, access: 'manage', body: 'stream', handle: (call) => uploadCollection(engine, call) },
    {
      method: 'POST',
      path: `${all}/undo`,
      access: 'manage',
      body: 'none',
      handle: result((call) => engine.snapshots.undo(existing(engine, call)).then(() => true)),
    },
    ...storedRoutes(engine, '/snapshots', { scopeOf: () => wholeStorage, change: 'manage' }),
    {
      method: 'PUT',
      path: '/snapshots/recover',
      access: 'manage',
      handle: (call) => recover(engine, call, { into: wholeStorage, options: readDryRun(call.query) }),
    },
    {
      method: 'POST',
      path: '/snapshots/upload',
      access: 'manage',
      body: 'stream',
      handle: (call) => upload(engine, call, { into: wholeStorage, options: { ...readUploadOptions(call.query), ...readDryRun(call.query) } }),
    },
  ];
}

interface StoredRoutes {
  /** @throws RequestError 'not-found' */
  readonly scopeOf: (call: Pick<RestCall, 'params'>) => ScopeLike;
  /** What a create and a delete need. */
  readonly change: RouteAccess;
  readonly download?: (call: RestCall) => Promise<RestAnswer>;
}

/** List, create, download and delete of what is stored below one path. */
export function storedRoutes(engine: Engine, all: string, { scopeOf, change, download }: StoredRoutes): readonly RestRoute[] {
  const one = `${all}/:snapshot_name`;
  return [
    {
      method: 'GET',
      path: all,
      access: 'read',
      handle: result(async (call) => (await listStored(engine, call.query, scopeOf(call))).map(descriptionJson)),
    },
    {
      method: 'POST',
      path: all,
      access: change,
      body: 'none',
      handle: (call) => {
        const wait = readFlag(call.query, 'wait', true);
        refuseParameters(call.query, placeParameters);
        return answerJob(call, engine.snapshots.startCreate(scopeOf(call)), { wait, show: descriptionJson });
      },
    },
    {
      method: 'GET',
      path: one,
      access: 'read',
      errors: 'text',
      hasHead: true,
      handle: download ?? ((call) => sendStored(engine, call, scopeOf(call))),
    },
    { method: 'DELETE', path: one, access: change, handle: (call) => deleteSnapshot(engine, call, scopeOf(call)) },
  ];
}

export async function sendStored(engine: Engine, call: RestCall, scope: ScopeLike): Promise<RestAnswer> {
  const archive = await openStored(engine, call.query, { scope, name: snapshotName(call.params) });
  await sendArchive(archive, call);
  return { kind: 'sent' };
}

async function deleteSnapshot(engine: Engine, { params, query }: RestCall, scope: ScopeLike): Promise<RestAnswer> {
  const wait = readFlag(query, 'wait', true);
  const name = snapshotName(params);
  const work = deleteStored(engine, query, { scope, name });
  if (wait) {
    await work;
    return { kind: 'result', value: true };
  }
  engine.snapshots.detach(work, `removal of snapshot ${name}`);
  return { kind: 'accepted' };
}

function recoverCollection(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const into = target(engine, call);
  return recover(engine, call, { into, options: readRestoreRules(call.query), warn: (priority) => { warnOfOverwrite(engine, call, { collection: into, priority }); } });
}

function uploadCollection(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const into = target(engine, call);
  const options = { ...readUploadOptions(call.query), ...readRestoreRules(call.query) };
  return upload(engine, call, { into, options, warn: (priority) => { warnOfOverwrite(engine, call, { collection: into, priority }); } });
}

export interface RestoreCall<O> {
  readonly into: TargetLike;
  readonly options: O;
  readonly warn?: (priority: SnapshotPriority) => void;
  /** What a waiting client is answered; default true. */
  readonly answer?: unknown;
}

/** A client that leaves does not undo a restore that has begun, as on every server of this API. */
export async function recover(engine: Engine, call: RestCall, { into, options, warn, mustBeUrl = true }: RestoreCall<Partial<RecoverOptions>> & { readonly mustBeUrl?: boolean }): Promise<RestAnswer> {
  const wait = readFlag(call.query, 'wait', true);
  const request = { ...decodeRecover(call.body, { mustBeUrl }), ...options };
  warn?.(request.priority);
  if (options.dryRun === true) return { kind: 'result', value: planJson(await engine.snapshots.planRecover(into, request, call.signal)) };
  return await answerJob(call, engine.snapshots.startRecover(into, request), { wait, show: () => true });
}

export async function upload(engine: Engine, call: RestCall, { into, options, warn, answer = true }: RestoreCall<RecoverOptions>): Promise<RestAnswer> {
  const wait = readFlag(call.query, 'wait', true);
  const form = openSnapshotForm(call.request.raw);
  warn?.(options.priority);
  if (options.dryRun === true) return { kind: 'result', value: planJson(await engine.snapshots.planUpload(into, form.bytes(), options, call.signal)) };
  return await answerUpload(call, form, { wait, answer, start: (gone) => engine.snapshots.startUpload(into, form.bytes(), options, gone) });
}

/** The client can end the upload while it still sends; once its archive is here whole, the restore goes on without it. */
export async function answerUpload(
  call: RestCall,
  form: ReturnType<typeof openSnapshotForm>,
  { wait, start, answer }: { readonly wait: boolean; readonly start: (gone: AbortSignal) => StartedJob<unknown>; readonly answer: unknown },
): Promise<RestAnswer> {
  const gone = new AbortController();
  const leave = (): void => {
    gone.abort(call.signal.reason);
  };
  call.signal.addEventListener('abort', leave);
  const job = start(gone.signal);
  const received = form.received.then(() => {
    call.signal.removeEventListener('abort', leave);
  });
  if (!wait) await Promise.race([received, job.done]);
  return await answerJob(call, job, { wait, show: () => answer });
}

/** The real name behind the path's name or alias. @throws RequestError 'not-found' */
export function existing(engine: Engine, { params }: Pick<RestCall, 'params'>): string {
  return engine.collectionInfo(params['collection'] ?? '').name;
}

/** The collection that a restore fills, which need not exist. */
function target(engine: Engine, { params }: RestCall): string {
  const name = params['collection'] ?? '';
  checkNewCollectionName(name);
  return engine.realName(name);
}

/** A bare file name, or no snapshot at all: nothing else reaches the disk. */
function snapshotName(params: RestCall['params']): string {
  const name = params['snapshot_name'] ?? '';
  if (name === '.' || name === '..' || /[/\\\0]/.test(name))
    throw new RequestError('not-found', `Snapshot ${name.replaceAll('\0', '\\0')} not found`);
  return name;
}

/** `replica` keeps what other nodes hold; points that nobody else holds it cannot keep. */
export function warnOfOverwrite(
  engine: Engine,
  { reply }: RestCall,
  restore: { readonly collection: string; readonly shardId?: number; readonly priority: SnapshotPriority },
): void {
  if (restore.priority !== 'replica' || !engine.collectionExists(restore.collection)) return;
  const { points, shards } = engine.collectionInfo(restore.collection);
  const concerned = shards.filter(({ id }) => restore.shardId === undefined || id === restore.shardId);
  const kept = concerned.filter(({ id }) => engine.cluster?.catalog.isServedElsewhere(restore.collection, id) === true).map(({ id }) => id);
  const lost = kept.length === 0 ? points : concerned.filter(({ id }) => !kept.includes(id)).reduce((sum, shard) => sum + shard.points, 0);
  const warnings = [
    ...(kept.length > 0 ? [`priority=replica keeps shards ${kept.join(', ')} as they are: other nodes hold them, and nothing of the archive is taken for them`] : []),
    ...(lost > 0 ? [`priority=replica replaces ${lost} points: no other replica holds them`] : []),
  ];
  if (warnings.length > 0) reply.header('x-nearkeep-warning', warnings.join('; '));
}

function descriptionJson({ name, creationTime, sizeBytes, checksum, peerId }: PlacedSnapshot): unknown {
  return { name, creation_time: creationTime, size: sizeBytes, ...(checksum === undefined ? {} : { checksum }), ...(peerId === undefined ? {} : { peer_id: peerId }) };
}
