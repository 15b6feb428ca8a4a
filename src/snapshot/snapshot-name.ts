// Names of snapshots and of the folders they lie in. A collection's name is a label: where it is not plainly safe as a file name,
// a hash stands for it, so that no name can lead out of the snapshots folder or into another collection's.
import { sha256Hex } from '../base/checksum.ts';

const SNAPSHOT_SUFFIX = '.snapshot';
export const CHECKSUM_SUFFIX = '.checksum';
export const TEMPORARY_PREFIX = '.tmp-';

/** Leaves room for peer, time and suffixes within 255 bytes. */
const labelBytesMax = 180;
const loneSurrogate = /\p{Surrogate}/u;
const hashedPattern = /^sha256-[0-9a-f]{64}$/;

/** File name that stands for a collection; equal only for equal names. */
export function collectionLabel(collection: string): string {
  const isSafe = /^[^/\\\p{Cc}.][^/\\\p{Cc}]*$/u.test(collection) && Buffer.byteLength(collection) <= labelBytesMax
    && !loneSurrogate.test(collection) && !hashedPattern.test(collection);
  return isSafe ? collection : `sha256-${sha256Hex(Buffer.from(collection, 'utf16le'))}`;
}

/** `<collection>-<peerId>-<UTC YYYY-MM-DD-HH-MM-SS>.snapshot`: one second is the resolution. */
export function snapshotName(collection: string, peerId: number, atMs: number): string {
  const time = new Date(atMs).toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '-');
  return `${collectionLabel(collection)}-${peerId}-${time}${SNAPSHOT_SUFFIX}`;
}

/** Whether a name from a URL can be a snapshot's: a bare, visible file name with our suffix. */
export function isSnapshotName(name: string): boolean {
  return name.endsWith(SNAPSHOT_SUFFIX) && Buffer.byteLength(name) <= 255 && /^[^/\\\0.][^/\\\0]*$/.test(name);
}

/** UTC, whole seconds, no zone. */
export function creationTime(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 19);
}
