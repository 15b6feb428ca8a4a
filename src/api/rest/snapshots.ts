// Snapshots of a collection: create, list, download, delete, and the two ways back: upload and recover. Everything that can be
// refused is refused before a body byte is read; `wait=false` answers 202 and leaves the work to the snapshots' own keeping.
import { RequestError } from '../../base/errors.ts';
import { sha256Pattern } from '../../base/checksum.ts';
import type { Engine } from '../../engine/engine.ts';
import type { RecoverOptions, RecoverRequest, SnapshotDescription, SnapshotPriority } from '../../snapshot/description.ts';
import { checkNewCollectionName } from './collection-name.ts';
import { result } from './collections.ts';
import { answerJob } from './jobs.ts';
import { asObject, bodyPlace, choice, formatError, readObject, requiredText, type Rules } from './json-rules.ts';
import { queryValidationError, readChoice, readFlag } from './query-parameters.ts';
import type { RestContext } from './rest-context.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';
import { sendArchive } from './snapshot-download.ts';
import { openSnapshotForm } from './snapshot-form.ts';

const priorities: readonly SnapshotPriority[] = ['no_sync', 'snapshot', 'replica'];
/** Parameters that change what a restore does in other versions of this API: answered, never ignored. */
const unsupportedParameters = ['dry_run', 'reshard', 'schema', 'aliases', 'keys', 'allow_stale'];
const recoverRules: Rules = { priority: choice(...priorities), checksum: { kind: 'text' }, api_key: { kind: 'text' } };

export function snapshotRoutes({ engine }: RestContext): readonly RestRoute[] {
  const all = '/collections/:collection/snapshots';
  const one = `${all}/:snapshot_name`;
  return [
    {
      method: 'GET',
      path: all,
      access: 'read',
      handle: result(async (call) => (await engine.snapshots.list(existing(engine, call))).map(descriptionJson)),
    },
    { method: 'POST', path: all, access: 'write', body: 'none', handle: (call) => createSnapshot(engine, call) },
    { method: 'GET', path: one, access: 'read', errors: 'text', hasHead: true, handle: (call) => download(engine, call) },
    { method: 'DELETE', path: one, access: 'write', handle: (call) => deleteSnapshot(engine, call) },
    { method: 'PUT', path: `${all}/recover`, access: 'manage', handle: (call) => recover(engine, call) },
    { method: 'POST', path: `${all}/upload`, access: 'manage', body: 'stream', handle: (call) => upload(engine, call) },
  ];
}

async function createSnapshot(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const wait = readFlag(call.query, 'wait', true);
  const job = engine.snapshots.startCreate(existing(engine, call));
  return answerJob(call, { id: job.id, done: job.done.then(descriptionJson) }, { wait });
}

async function deleteSnapshot(engine: Engine, { params, query }: RestCall): Promise<RestAnswer> {
  const wait = readFlag(query, 'wait', true);
  const collection = existing(engine, { params });
  const name = snapshotName(params);
  const work = engine.snapshots.delete(collection, name);
  if (wait) {
    await work;
    return { kind: 'result', value: true };
  }
  engine.snapshots.detach(work, `removal of snapshot ${name}`);
  return { kind: 'accepted' };
}

async function download(engine: Engine, { params, request, reply }: RestCall): Promise<RestAnswer> {
  const archive = await engine.snapshots.openDownload(existing(engine, { params }), snapshotName(params));
  await sendArchive(archive, request, reply);
  return { kind: 'sent' };
}

async function recover(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const wait = readFlag(call.query, 'wait', true);
  const collection = target(engine, call);
  const request = decodeRecover(call.body);
  warnOfOverwrite(engine, call, { collection, priority: request.priority });
  // A client that leaves does not undo a restore that has begun, as on every server of this API.
  return answerJob(call, engine.snapshots.startRecover(collection, request), { wait });
}

async function upload(engine: Engine, call: RestCall): Promise<RestAnswer> {
  const wait = readFlag(call.query, 'wait', true);
  const collection = target(engine, call);
  const options: RecoverOptions = {
    priority: readChoice(call.query, 'priority', { values: priorities, fallback: 'snapshot' }),
    ...checksumOf(call.query['checksum'], (problem) => queryValidationError('checksum', problem)),
  };
  const form = openSnapshotForm(call.request.raw);
  warnOfOverwrite(engine, call, { collection, priority: options.priority });
  // The client can end the upload while it still sends; once its archive is here whole, the restore goes on without it.
  const gone = new AbortController();
  const leave = (): void => {
    gone.abort(call.signal.reason);
  };
  call.signal.addEventListener('abort', leave);
  const job = engine.snapshots.startUpload(collection, form.bytes(), options, gone.signal);
  const received = form.received.then(() => {
    call.signal.removeEventListener('abort', leave);
  });
  if (!wait) await Promise.race([received, job.done]);
  return answerJob(call, job, { wait });
}

/** The real name behind the path's name or alias. @throws RequestError 'not-found' */
function existing(engine: Engine, { params }: Pick<RestCall, 'params'>): string {
  return engine.collectionInfo(params['collection'] ?? '').name;
}

/** The collection that a restore fills, which need not exist. */
function target(engine: Engine, { params, query }: RestCall): string {
  const name = params['collection'] ?? '';
  checkNewCollectionName(name);
  const unknown = unsupportedParameters.find((parameter) => query[parameter] !== undefined);
  if (unknown !== undefined) throw new RequestError('bad-request', `the parameter ${unknown} is not supported by this version`);
  return engine.realName(name);
}

/** A bare file name, or no snapshot at all: nothing else reaches the disk. */
function snapshotName(params: RestCall['params']): string {
  const name = params['snapshot_name'] ?? '';
  if (name === '.' || name === '..' || /[/\\\0]/.test(name))
    throw new RequestError('not-found', `Snapshot ${name.replaceAll('\0', '\\0')} not found`);
  return name;
}

/** On one node no other replica holds the points that a restore replaces, so `replica` cannot keep them. */
function warnOfOverwrite(
  engine: Engine,
  { reply }: RestCall,
  restore: { readonly collection: string; readonly priority: SnapshotPriority },
): void {
  if (restore.priority !== 'replica' || !engine.collectionExists(restore.collection)) return;
  const { points } = engine.collectionInfo(restore.collection);
  if (points > 0) reply.header('x-nearkeep-warning', `priority=replica replaces ${points} points: no other replica holds them`);
}

/** What the rules leave of the body, beside the location. */
interface RecoverBody {
  readonly priority?: SnapshotPriority;
  readonly checksum?: string;
  readonly api_key?: string;
}

function decodeRecover(json: unknown): RecoverRequest {
  const place = bodyPlace();
  const body = asObject(json, place);
  const location = requiredText(body, 'location', place);
  if (!URL.canParse(location)) throw formatError(place, 'location: relative URL without a base');
  const { priority = 'snapshot', checksum, api_key: apiKey } = readObject(body, recoverRules, place) as RecoverBody;
  const given = checksumOf(
    checksum,
    (problem) => new RequestError('validation', `Validation error in JSON body: [checksum: ${problem}]`),
  );
  return { location, priority, ...given, ...(apiKey === undefined ? {} : { apiKey }) };
}

/** Lower case. A bad one is 422 in the words of the API. */
function checksumOf(text: string | undefined, refuse: (problem: string) => RequestError): { readonly checksum?: string } {
  if (text === undefined) return {};
  const checksum = text.trim().toLowerCase();
  if (sha256Pattern.test(checksum)) return { checksum };
  throw refuse(`Validation error: invalid_sha256_hash [{"value": String(${JSON.stringify(text)})}]`);
}

function descriptionJson({ name, creationTime, sizeBytes, checksum }: SnapshotDescription): unknown {
  return { name, creation_time: creationTime, size: sizeBytes, ...(checksum === undefined ? {} : { checksum }) };
}
