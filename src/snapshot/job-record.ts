// What is kept of a job: what it is about, how far it came, how it ended. One file each, <data>/jobs/<id>.json, in the form that
// the API answers too, so that a record can be read without nearkeep.
//
// { id, kind, state, target, source?, snapshot?, started_at, finished_at?, phase, bytes_done, bytes_total?, points_done,
//   error? {code, message}, result? }     times: ISO, UTC, ms
// In the file `sha256` follows as the last member: of all bytes before `,"sha256"`, closed by `}`, and a line end.
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError, RequestError } from '../base/errors.ts';

export type JobKind = 'create' | 'restore' | 'verify';
type JobState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

export interface JobError {
  /** Of the table in base/errors.ts, or `corruption`, `interrupted`, `failed`. */
  readonly code: string;
  readonly message: string;
}

export interface JobRecord {
  /** Time and chance; in the order of their starts. */
  readonly id: string;
  readonly kind: JobKind;
  readonly state: JobState;
  /** A collection, `<collection>/shards/<id>`, or `/` for the whole storage. */
  readonly target: string;
  /** Of a restore: `upload`, or where it comes from, without credentials. */
  readonly source?: string;
  /** Of a create: the name of the snapshot. */
  readonly snapshot?: string;
  readonly startedAtMs: number;
  readonly finishedAtMs?: number;
  /** The step at hand, or the last one. */
  readonly phase: string;
  readonly bytesDone: number;
  readonly bytesTotal?: number;
  readonly pointsDone: number;
  readonly error?: JobError;
  readonly result?: unknown;
}

const kinds: readonly JobKind[] = ['create', 'restore', 'verify'];
const states: readonly JobState[] = ['queued', 'running', 'succeeded', 'failed', 'cancelled'];
const hashMember = ',"sha256":"';
const hashTailBytes = hashMember.length + 64 + '"}\n'.length;
const jobIdPattern = /^[0-9a-f]{12}-[0-9a-f]{12}$/;

/** Repeats no id that nobody can have given. */
export function jobNotFound(id: string): RequestError {
  return new RequestError('not-found', `Job ${isJobId(id) ? id : 'of this id'} not found`);
}

export function isJobId(id: string): boolean {
  return jobIdPattern.test(id);
}

export function isFinished({ state }: Pick<JobRecord, 'state'>): boolean {
  return state !== 'queued' && state !== 'running';
}

/** The wire's form and the file's. */
export function jobJson(record: JobRecord): Readonly<Record<string, unknown>> {
  const { id, kind, state, target, source, snapshot, startedAtMs, finishedAtMs, phase, bytesDone, bytesTotal, pointsDone, error, result } = record;
  return {
    id, kind, state, target, source, snapshot,
    started_at: new Date(startedAtMs).toISOString(),
    finished_at: finishedAtMs === undefined ? undefined : new Date(finishedAtMs).toISOString(),
    phase, bytes_done: bytesDone, bytes_total: bytesTotal, points_done: pointsDone, error, result,
  };
}

export function encodeJob(record: JobRecord): Buffer {
  const body = JSON.stringify(jobJson(record));
  return Buffer.from(`${body.slice(0, -1)}${hashMember}${sha256Hex(body)}"}\n`);
}

/** undefined where the bytes are not those of a record. */
export function decodeJob(bytes: Buffer): JobRecord | undefined {
  const tail = bytes.subarray(Math.max(0, bytes.length - hashTailBytes)).toString('latin1');
  const body = Buffer.concat([bytes.subarray(0, Math.max(0, bytes.length - hashTailBytes)), Buffer.from('}')]);
  if (tail !== `${hashMember}${sha256Hex(body)}"}\n`) return undefined;
  const fields = JSON.parse(body.toString('utf8')) as Readonly<Record<string, unknown>>;
  const text = (name: string): string | undefined => (typeof fields[name] === 'string' ? fields[name] : undefined);
  const count = (name: string): number | undefined => (Number.isSafeInteger(fields[name]) ? (fields[name] as number) : undefined);
  const [id, kind, state] = [text('id'), kinds.find((known) => known === fields['kind']), states.find((known) => known === fields['state'])];
  const startedAtMs = Date.parse(text('started_at') ?? '');
  if (id === undefined || !isJobId(id) || kind === undefined || state === undefined || Number.isNaN(startedAtMs)) return undefined;
  const [source, snapshot, finished, bytesTotal, error] = [text('source'), text('snapshot'), Date.parse(text('finished_at') ?? ''), count('bytes_total'), errorOf(fields['error'])];
  return {
    id, kind, state, target: text('target') ?? '', startedAtMs, phase: text('phase') ?? '', bytesDone: count('bytes_done') ?? 0, pointsDone: count('points_done') ?? 0,
    ...(source === undefined ? {} : { source }),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(Number.isNaN(finished) ? {} : { finishedAtMs: finished }),
    ...(bytesTotal === undefined ? {} : { bytesTotal }),
    ...(error === undefined ? {} : { error }),
    ...(fields['result'] === undefined ? {} : { result: fields['result'] }),
  };
}

/** What a job's record says of its failure: the text that a waiting client would get. */
export function jobError(error: unknown): JobError {
  if (error instanceof RequestError) return { code: error.code, message: error.wireText };
  if (error instanceof CorruptionError) return { code: 'corruption', message: error.message };
  return { code: 'failed', message: error instanceof Error ? error.message : String(error) };
}

function errorOf(json: unknown): JobError | undefined {
  if (typeof json !== 'object' || json === null || !('code' in json) || !('message' in json)) return undefined;
  return { code: String(json.code), message: String(json.message) };
}
