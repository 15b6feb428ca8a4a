// Names of snapshots and of the folders they lie in. A collection's name is a label: where it is not plainly safe as a file name,
// a hash stands for it, so that no name can lead out of the snapshots folder or into another collection's.
import path from 'node:path';
import { sha256Hex } from '../base/checksum.ts';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';

const SNAPSHOT_SUFFIX = '.snapshot';
export const CHECKSUM_SUFFIX = '.checksum';
export const TEMPORARY_PREFIX = '.tmp-';
export const SHARDS_FOLDER = 'shards';

/** Seconds stand in the archive's headers as 11 octal digits. */
export const createdAtMsMax = (8 ** 11 - 1) * 1000;
/** Leaves room for peer, time and suffixes within 255 bytes. */
const labelBytesMax = 180;
const loneSurrogate = /\p{Surrogate}/u;
const hashedPattern = /^sha256-[0-9a-f]{64}$/;

/** File name that stands for a collection; equal only for equal names.  @internal for tests */
export function collectionLabel(collection: string): string {
  const isSafe = /^[^/\\\p{Cc}.][^/\\\p{Cc}]*$/u.test(collection) && Buffer.byteLength(collection) <= labelBytesMax
    && !loneSurrogate.test(collection) && !hashedPattern.test(collection) && !collection.endsWith(SNAPSHOT_SUFFIX);
  return isSafe ? collection : `sha256-${sha256Hex(Buffer.from(collection, 'utf16le'))}`;
}

/** What a snapshot is of. */
export type SnapshotScope =
  | { readonly kind: 'collection'; readonly collection: string }
  | { readonly kind: 'shard'; readonly collection: string; readonly shardId: number }
  | { readonly kind: 'storage' };

/** Where the snapshots of a scope lie, below the snapshots folder. No collection's folder ends like a snapshot's name. */
export function scopeFolder(scope: SnapshotScope): string {
  switch (scope.kind) {
    case 'collection': return collectionLabel(scope.collection);
    case 'shard': return path.join(collectionLabel(scope.collection), SHARDS_FOLDER, String(scope.shardId));
    case 'storage': return '.';
  }
}

/** For records: the name of a collection, `<collection>/shards/<id>`, or `/` for the whole storage: no name holds a slash. */
export function scopeText(scope: SnapshotScope): string {
  switch (scope.kind) {
    case 'collection': return scope.collection;
    case 'shard': return `${scope.collection}/${SHARDS_FOLDER}/${scope.shardId}`;
    case 'storage': return '/';
  }
}

/** The time that a snapshot of now gets; 1970 for all that is before. @throws RequestError where the clock shows none that it can have */
export function snapshotMoment(clock: Clock): number {
  const now = clock.now();
  if (now > createdAtMsMax) throw new RequestError('internal', `the clock of this machine shows ${new Date(now).toISOString()}; a snapshot's time lies between 1970 and ${new Date(createdAtMsMax).getUTCFullYear()}`);
  return Math.max(0, now);
}

/** With the time in UTC; one second is the resolution. */
export function snapshotName(scope: SnapshotScope, peerId: number, atMs: number): string {
  const time = new Date(atMs).toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '-');
  switch (scope.kind) {
    case 'collection': return `${collectionLabel(scope.collection)}-${peerId}-${time}${SNAPSHOT_SUFFIX}`;
    case 'shard': return `${collectionLabel(scope.collection)}-shard-${scope.shardId}-${time}${SNAPSHOT_SUFFIX}`;
    case 'storage': return `full-snapshot-${time}${SNAPSHOT_SUFFIX}`;
  }
}

/** Whether a name from a URL can be a snapshot's: a bare, visible file name with our suffix. */
export function isSnapshotName(name: string): boolean {
  return name.endsWith(SNAPSHOT_SUFFIX) && Buffer.byteLength(name) <= 255 && /^[^/\\\0.][^/\\\0]*$/.test(name);
}

/** UTC, whole seconds, no zone. */
export function creationTime(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 19);
}
