// What the sub-commands of `nearkeep snapshot` share: flags, the scope they act on, and how a restore is told.
import { UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';
import type { parseFlags } from './parse.ts';
import { remoteFlags, type Remote, type RemoteCall } from './remote.ts';
import { sizeText } from './size-text.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
export const snapshotFlags = {
  ...remoteFlags, shard: text, storage: flag, output: { type: 'string', short: 'o' }, force: flag, yes: flag,
  priority: text, checksum: text, reshard: flag, aliases: text, schema: text, 'dry-run': flag,
} as const;

export interface SnapshotCommand {
  readonly remote: Remote;
  readonly output: Output;
  readonly signal: AbortSignal;
  /** Of the API, below which the snapshots of the scope are: `/collections/c/snapshots`. */
  readonly path: string;
  /** What follows the scope. */
  readonly rest: readonly string[];
  readonly values: Values;
}

type Values = ReturnType<typeof parseFlags<typeof snapshotFlags>>['values'];
export interface Description {
  readonly name: string;
  readonly creation_time: string | null;
  readonly size: number;
  readonly checksum?: string;
}

export function scopeOf(values: Pick<Values, 'storage' | 'shard'>, positionals: readonly string[]): { readonly path: string; readonly rest: readonly string[] } {
  if (values.storage === true) return { path: '/snapshots', rest: positionals };
  const [collection, ...rest] = positionals;
  if (collection === undefined) throw new UsageError('a COLLECTION is needed, or --storage for all of them');
  const base = `/collections/${encodeURIComponent(collection)}`;
  if (values.shard === undefined) return { path: `${base}/snapshots`, rest };
  if (!/^\d{1,10}$/.test(values.shard)) throw new UsageError(`--shard must be a number, not ${values.shard}`);
  return { path: `${base}/shards/${values.shard}/snapshots`, rest };
}

/** Exactly so many arguments after the scope. */
export function argumentsOf({ rest }: SnapshotCommand, ...names: readonly string[]): readonly string[] {
  if (rest.length !== names.length) throw new UsageError(names.length === 0 ? `unexpected ${rest.join(' ')}` : `${names.join(' and ')} needed after the collection`);
  return rest;
}

/** Parameters of a restore, as the routes take them. */
export function restoreQuery(values: Values): NonNullable<RemoteCall['query']> {
  return {
    wait: 'true', priority: values.priority, checksum: values.checksum, aliases: values.aliases, schema: values.schema,
    reshard: values.reshard === true ? 'true' : undefined, dry_run: values['dry-run'] === true ? 'true' : undefined,
  };
}

/** Of a dry run, as the server answers it. */
interface Plan {
  readonly collections: readonly {
    readonly name: string;
    readonly action: string;
    readonly points: number;
    readonly points_replaced: number;
    readonly shards: { readonly archive: number; readonly target: number };
    readonly not_applied: readonly string[];
  }[];
  readonly bytes_needed: number;
  readonly bytes_free: number;
  readonly made_by: string;
}

/** What a restore answered, or would do. */
export function showRestored(output: Output, answer: unknown, dryRun: boolean): void {
  if (!dryRun) {
    output.line('ok: restored');
    output.result({ restored: true });
    return;
  }
  const plan = answer as Plan;
  for (const { name, action, points, points_replaced: replaced, shards, not_applied: notApplied } of plan.collections) {
    const spread = shards.archive === shards.target ? `${shards.target} shards` : `${shards.archive} to ${shards.target} shards, points spread anew`;
    output.line(`would ${action} ${name}: ${points.toLocaleString('en')} points, ${spread}${replaced > 0 ? `, in place of ${replaced.toLocaleString('en')} points` : ''}`);
    if (notApplied.length > 0) output.line(`  not taken from the archive: ${notApplied.join(', ')}`);
  }
  output.line(`  disk     needs ${sizeText(plan.bytes_needed)}, ${sizeText(plan.bytes_free)} free`);
  output.line(`  version  made by ${plan.made_by}`);
  output.line('nothing changed (dry run)');
  output.result({ dry_run: true, plan });
}
