// What a restore is asked, out of query and body, in the words of the API.
import { sha256Pattern } from '../../base/checksum.ts';
import { RequestError } from '../../base/errors.ts';
import type { RecoverOptions, RecoverRequest, SnapshotPriority } from '../../snapshot/description.ts';
import type { RestorePlan, CollectionPlan } from '../../snapshot/preflight.ts';
import { asObject, bodyPlace, choice, formatError, readObject, requiredText, type Rules } from './json-rules.ts';
import { queryValidationError, readChoice, readFlag, type Query } from './query-parameters.ts';

const priorities: readonly SnapshotPriority[] = ['no_sync', 'snapshot', 'replica'];
/** Parameters that change what a restore does where it has them: answered, never ignored. */
const restoreParameters = ['reshard', 'schema', 'aliases', 'keys', 'allow_stale', 'peer'];
const recoverRules: Rules = { priority: choice(...priorities), checksum: { kind: 'text' }, api_key: { kind: 'text' } };

/** How a restore into one collection may go beyond its points. @throws RequestError for a parameter that this version lacks */
export function readRestoreRules(query: Query): Pick<RecoverOptions, 'aliases' | 'schema' | 'reshard' | 'dryRun'> {
  refuseParameters(query, ['keys', 'allow_stale', 'peer']);
  return {
    ...(query['aliases'] === undefined ? {} : { aliases: readChoice(query, 'aliases', { values: ['restore', 'take', 'keep'], fallback: 'keep' }) }),
    ...(query['schema'] === undefined ? {} : { schema: readChoice(query, 'schema', { values: ['live', 'snapshot'], fallback: 'live' }) }),
    ...(readFlag(query, 'reshard', false) ? { reshard: true } : {}),
    ...(readFlag(query, 'dry_run', false) ? { dryRun: true } : {}),
  };
}

/** For a restore of a shard or of everything, where those choices do not exist. */
export function readDryRun(query: Query): Pick<RecoverOptions, 'dryRun'> {
  refuseParameters(query, restoreParameters);
  return readFlag(query, 'dry_run', false) ? { dryRun: true } : {};
}

export function readUploadOptions(query: Query): RecoverOptions {
  return {
    priority: readChoice(query, 'priority', { values: priorities, fallback: 'snapshot' }),
    ...checksumOf(query['checksum'], (problem) => queryValidationError('checksum', problem)),
  };
}

/** What the rules leave of the body, beside the location. */
interface RecoverBody {
  readonly priority?: SnapshotPriority;
  readonly checksum?: string;
  readonly api_key?: string;
}

/** @param mustBeUrl a shard's location may be the name of a snapshot */
export function decodeRecover(json: unknown, { mustBeUrl = true } = {}): RecoverRequest {
  const place = bodyPlace();
  const body = asObject(json, place);
  const location = requiredText(body, 'location', place);
  if (mustBeUrl && !URL.canParse(location)) throw formatError(place, 'location: relative URL without a base');
  const { priority = 'snapshot', checksum, api_key: apiKey } = readObject(body, recoverRules, place) as RecoverBody;
  const given = checksumOf(
    checksum,
    (problem) => new RequestError('validation', `Validation error in JSON body: [checksum: ${problem}]`),
  );
  return { location, priority, ...given, ...(apiKey === undefined ? {} : { apiKey }) };
}

/** What a dry run answers. */
export function planJson(plan: RestorePlan): unknown {
  return {
    collections: plan.collections.map(collectionPlanJson),
    archive_bytes: plan.archiveBytes,
    bytes_needed: plan.neededBytes,
    bytes_free: plan.freeBytes,
    made_by: plan.madeBy,
    made_at: new Date(plan.madeAtMs).toISOString(),
  };
}

function collectionPlanJson({ pointsReplaced, notApplied, ...rest }: CollectionPlan): unknown {
  return { ...rest, points_replaced: pointsReplaced, not_applied: notApplied };
}

/** @throws RequestError for one that is given, by its name */
export function refuseParameters(query: Query, names: readonly string[]): void {
  const unknown = names.find((name) => query[name] !== undefined);
  if (unknown !== undefined) throw new RequestError('bad-request', `the parameter ${unknown} is not supported here by this version`);
}

/** Lower case. A bad one is 422 in the words of the API. */
function checksumOf(text: string | undefined, refuse: (problem: string) => RequestError): { readonly checksum?: string } {
  if (text === undefined) return {};
  const checksum = text.trim().toLowerCase();
  if (sha256Pattern.test(checksum)) return { checksum };
  throw refuse(`Validation error: invalid_sha256_hash [{"value": String(${JSON.stringify(text)})}]`);
}
