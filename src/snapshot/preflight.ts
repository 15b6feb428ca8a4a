// Everything that can be refused from an archive's manifest alone, and what a restore of it would do. A dry run ends here; a restore
// goes through the same before it reads on.
import { isDeepStrictEqual } from 'node:util';
import { RequestError } from '../base/errors.ts';
import type { RestoreRules, SnapshotSource } from '../collection/snapshot-source.ts';
import type { CollectionConfig } from '../command/collection-config.ts';
import { refuseNewName } from '../command/names.ts';
import type { Disk } from '../fs/disk.ts';
import { wantedBytes } from '../fs/reserve.ts';
import { layoutOf } from './archive-layout.ts';
import { isWithoutShards, type SealedManifest, type SnapshotCollection, type SnapshotManifest } from './manifest.ts';
import { checkComplete } from './verify.ts';

/** What an archive is restored into. */
export type RestoreTarget =
  /** `isPart`: other archives of the same restore bring shards that it lacks. */
  | { readonly kind: 'collection'; readonly name: string; readonly isPart?: boolean }
  | { readonly kind: 'shard'; readonly name: string; readonly shardId: number; readonly isPartial: boolean }
  | { readonly kind: 'storage' };

export interface CollectionPlan {
  readonly name: string;
  readonly action: 'create' | 'replace';
  readonly points: number;
  readonly pointsReplaced: number;
  readonly shards: { readonly archive: number; readonly target: number };
  readonly aliases: readonly { readonly alias: string; readonly action: 'create' | 'move' | 'keep' }[];
  /** Parts of the archive that are not taken: `config`, `payload_schema`, `aliases`. */
  readonly notApplied: readonly string[];
}

export interface RestorePlan {
  readonly collections: readonly CollectionPlan[];
  readonly archiveBytes: number;
  /** What must be free for it, and what is. */
  readonly neededBytes: number;
  readonly freeBytes: number;
  readonly madeBy: string;
  readonly madeAtMs: number;
}

export interface PreflightContext {
  readonly disk: Disk;
  readonly source: SnapshotSource;
  /** The data directory. */
  readonly stagingRoot: string;
}

/** @throws RequestError for an archive that does not belong into the target */
export async function preflight({ disk, source, stagingRoot }: PreflightContext, sealed: SealedManifest, order: { readonly target: RestoreTarget; readonly rules: RestoreRules }): Promise<RestorePlan> {
  const { target, rules } = order;
  const { manifest } = sealed;
  checkKind(manifest, target);
  const plans = manifest.collections.map((collection) => planOf(source, collection, { name: target.kind === 'storage' ? collection.name : target.name, target, rules }));
  const archiveBytes = layoutOf(sealed).sizeBytes;
  const { freeBytes } = await disk.space(stagingRoot);
  const spreads = plans.some(({ shards }) => shards.archive !== shards.target) && target.kind !== 'shard';
  const neededBytes = wantedBytes(archiveBytes * (spreads ? 2 : 1)); // new shards are written while the staged ones are still there
  return { collections: plans, archiveBytes, neededBytes, freeBytes, madeBy: manifest.productVersion, madeAtMs: manifest.createdAtMs };
}

/** @throws RequestError 'no-space' */
export function refuseLackOfSpace(plan: RestorePlan, place: string): void {
  if (plan.freeBytes < plan.neededBytes) throw new RequestError('no-space', `needs ${plan.neededBytes} bytes, ${plan.freeBytes} are free on ${place}`);
}

function checkKind({ kind, isPartial, collections }: SnapshotManifest, target: RestoreTarget): void {
  if (kind !== target.kind) {
    const what = { collection: 'a collection', shard: 'one shard', storage: 'the whole storage' } as const;
    throw new RequestError('bad-request', `Invalid snapshot: it is of ${what[kind]}, not of ${what[target.kind]}`);
  }
  if (target.kind !== 'shard') return;
  const shard = collections[0]?.shards[0];
  const segment = shard?.segments[0]?.uuid ?? 'none';
  if (target.isPartial && !isPartial) throw new RequestError('bad-input', `Validation failed: invalid partial snapshot: segment ${segment} does not contain segment manifest; it is a whole snapshot of the shard`);
  if (!target.isPartial && isPartial) throw new RequestError('bad-input', `Validation failed: invalid shard snapshot: segment ${segment} contains segment manifest; it is a partial snapshot`);
  if (shard?.shardId !== target.shardId) throw new RequestError('bad-request', `Invalid snapshot: it is of shard ${shard?.shardId ?? 'none'}, and points of another shard do not belong into shard ${target.shardId}`);
}

function planOf(source: SnapshotSource, collection: SnapshotCollection, at: { readonly name: string; readonly target: RestoreTarget; readonly rules: RestoreRules }): CollectionPlan {
  const { name, target, rules } = at;
  const { shards, shardKeys, config } = collection;
  const isPart = target.kind === 'collection' && target.isPart === true;
  const live = source.config(name);
  if (shards.length === 0 && live === undefined && source.takesSomeShards !== true && !isPart && !isWithoutShards(collection)) throw new RequestError('bad-request', `Invalid snapshot: it holds no shard, so it cannot create collection \`${name}\``);
  if (live === undefined) refuseNewName('collection_name', name);
  source.checkCompatible(name, collection, rules);
  if (shards.length > 0 && target.kind !== 'shard' && source.takesSomeShards !== true && !isPart) checkComplete(collection);
  const kept = live === undefined || rules.config === 'whole' ? config : live;
  return {
    name,
    action: live === undefined ? 'create' : 'replace',
    points: shards.reduce((sum, shard) => sum + shard.points, 0),
    pointsReplaced: source.points(name),
    shards: { archive: shards.length, target: shardKeys === undefined ? kept.params.shard_number : shards.length },
    aliases: collection.aliases.map((alias) => ({ alias, action: aliasAction(source, { alias, name }, rules) })),
    notApplied: live === undefined || rules.config === 'whole' ? [] : notApplied(source, collection, { name, live, rules }),
  };
}

function aliasAction(source: SnapshotSource, { alias, name }: { readonly alias: string; readonly name: string }, rules: RestoreRules): 'create' | 'move' | 'keep' {
  const present = source.resolve(alias);
  if (rules.aliases === 'keep' || present === (source.resolve(name) ?? name)) return 'keep';
  if (present === undefined) return 'create';
  return rules.aliases === 'take' && present !== alias ? 'move' : 'keep';
}

function notApplied(source: SnapshotSource, collection: SnapshotCollection, at: { readonly name: string; readonly live: CollectionConfig; readonly rules: RestoreRules }): readonly string[] {
  const { name, live, rules } = at;
  const found: string[] = [];
  const withoutShards = ({ params, ...rest }: CollectionConfig): unknown => ({ ...rest, params: { ...params, shard_number: 0 } });
  if (!isDeepStrictEqual(withoutShards(live), withoutShards(collection.config))) found.push('config');
  const sorted = (schema: ReadonlyMap<string, unknown> | undefined): unknown => [...(schema ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  if (rules.schema === 'live' && !isDeepStrictEqual(sorted(source.schema(name)), sorted(collection.payloadSchema))) found.push('payload_schema');
  if (collection.aliases.some((alias) => source.resolve(alias) !== source.resolve(name) && aliasAction(source, { alias, name }, rules) === 'keep')) found.push('aliases');
  return found;
}
