// Snapshots of a shard that follow another copy of it: streamed whole, or only what a receiver lacks. Files of sealed segments are
// named by their hashes, so what a receiver has is a set of names; both sides checkpoint first, so that logs are short.
import { invariant } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import { layoutOf } from './archive-layout.ts';
import { archiveBytes } from './archive-write.ts';
import { freezeUnpublished, type CreateContext, type UnpublishedSnapshot } from './create.ts';
import type { ArchiveDownload, RecoverOptions, RecoverRequest, RestoreResult } from './description.ts';
import { checkUrl, openSnapshot } from './fetch.ts';
import type { JobDraft, JobHandle, StartedJob } from './jobs.ts';
import { placedShards, type SealedManifest } from './manifest.ts';
import type { RestoreTarget } from './preflight.ts';
import { refuseUrls, restore, urlOptions, type RestoreContext, type RestoreOrigin } from './restore.ts';
import { snapshotMoment, snapshotName, type SnapshotScope } from './snapshot-name.ts';

type ShardTarget = RestoreTarget & { readonly kind: 'shard' };
type ShardScope = SnapshotScope & { readonly kind: 'shard' };

/** A segment and the names of its files. */
export interface HeldSegment {
  readonly uuid: string;
  /** Seq of its last entry. */
  readonly version: number;
  readonly files: readonly string[];
}

export interface PartialContext {
  readonly create: CreateContext;
  readonly restore: RestoreContext;
  readonly clock: Clock;
  readonly start: <T>(draft: JobDraft, work: (job: JobHandle) => Promise<T>, parent?: AbortSignal) => StartedJob<T>;
}

export class PartialSnapshots {
  readonly #context: PartialContext;
  /** Shards with a partial recovery at work: one at a time each. */
  readonly #recovering = new Set<string>();

  constructor(context: PartialContext) {
    this.#context = context;
  }

  /** The state of now; nothing else reads its files, and they go when it is released. */
  async openWhole(scope: SnapshotScope, signal: AbortSignal): Promise<ArchiveDownload> {
    const { create, clock } = this.#context;
    const atMs = snapshotMoment(clock);
    const made = await freezeUnpublished(create, scope, { atMs, job: { signal, progress: () => undefined } });
    return downloadOf(create, made, { name: snapshotName(scope, create.peerId, atMs), atMs });
  }

  /** What the shard holds, in files; for a sender to leave out. */
  async held({ collection, shardId }: ShardScope): Promise<readonly HeldSegment[]> {
    const { source } = this.#context.create;
    await source.checkpoint(collection, shardId);
    const frozen = await source.freeze(collection, shardId);
    try {
      return frozen.shards.flatMap(({ segments }) => segments).map(({ uuid, maxSeq, files }) => ({
        uuid, version: maxSeq, files: files.map(({ sha256, kind }) => `${sha256}.${kind}`),
      }));
    } finally {
      frozen.release();
    }
  }

  /** What a receiver with these segments lacks; undefined where it lacks nothing. */
  async openChanges(scope: ShardScope, theirs: readonly Omit<HeldSegment, 'version'>[], signal: AbortSignal): Promise<ArchiveDownload | undefined> {
    const { create, clock } = this.#context;
    await create.source.checkpoint(scope.collection, scope.shardId);
    const atMs = snapshotMoment(clock);
    const held = new Set(theirs.flatMap(({ files }) => files));
    const made = await freezeUnpublished(create, scope, { atMs, held, job: { signal, progress: () => undefined } });
    if (!isHeldWhole(made.sealed, theirs)) return downloadOf(create, made, { name: snapshotName(scope, create.peerId, atMs), atMs });
    await made.remove();
    return undefined;
  }

  /** Only one at a time may be started for a shard. */
  isRecovering({ name, shardId }: ShardTarget): boolean {
    return this.#recovering.has(`${name}/shards/${shardId}`);
  }

  startUpload(target: ShardTarget, body: AsyncIterable<Uint8Array>, options: RecoverOptions, signal?: AbortSignal): StartedJob<RestoreResult> {
    return this.#startAlone(target, { source: 'upload' }, (job) => this.#restore(target, { kind: 'body', body }, { ...options, job }), signal);
  }

  /** From the same shard of another server: sends what is here, gets what is not. false where nothing had changed.
   *  @throws RequestError for a URL that may not be used */
  startFrom(target: ShardTarget, peer: { readonly url: string; readonly apiKey?: string }): StartedJob<boolean> {
    const { restore: context } = this.#context;
    const base = checkUrl(new URL(peer.url.endsWith('/') ? peer.url : `${peer.url}/`));
    refuseUrls(context.recovery);
    const url = new URL(`collections/${encodeURIComponent(target.name)}/shards/${target.shardId}/snapshot/partial/create`, base);
    return this.#startAlone(target, { source: `${base.protocol}//${base.host}${base.pathname}` }, async (job) => {
      job.progress({ phase: 'comparing' });
      const held = await this.held({ kind: 'shard', collection: target.name, shardId: target.shardId });
      const post = JSON.stringify(heldJson(held));
      const body = await openSnapshot(url, { ...urlOptions(context), post, signal: job.signal, ...(peer.apiKey === undefined ? {} : { apiKey: peer.apiKey }) });
      if (body === undefined) return false;
      await this.#restore(target, { kind: 'body', body }, { priority: 'snapshot', job });
      return true;
    });
  }

  /** The location of a shard's recover: a URL, or the name of one of its snapshots. @throws RequestError with the texts of the API */
  async shardOrigin({ name, shardId }: ShardTarget, { location, apiKey }: RecoverRequest): Promise<RestoreOrigin> {
    const { restore: context, create } = this.#context;
    if (URL.canParse(location)) {
      const url = new URL(location);
      const scheme = url.protocol.slice(0, -1);
      if (scheme !== 'http' && scheme !== 'https') throw new RequestError('bad-input', `Invalid snapshot URL ${scheme}:…: URLs with ${scheme} scheme are not supported`);
      refuseUrls(context.recovery);
      return { kind: 'url', url: checkUrl(url), ...(apiKey === undefined ? {} : { apiKey }) };
    }
    const stored = await create.catalog.get({ kind: 'shard', collection: name, shardId }, location);
    return { kind: stored.kind === 'folder' ? 'folder' : 'archive', path: stored.path };
  }

  #restore(target: ShardTarget, origin: RestoreOrigin, options: RecoverOptions & { readonly job: JobHandle }): Promise<RestoreResult> {
    const { priority, checksum, job } = options;
    return restore(this.#context.restore, origin, {
      target: { ...target, isPartial: true }, priority, job, origin: 'upload', ...(checksum === undefined ? {} : { checksum }),
      rules: { config: 'content', schema: 'live', aliases: 'keep', reshard: false },
    });
  }

  #startAlone<T>(target: ShardTarget, about: { readonly source: string }, work: (job: JobHandle) => Promise<T>, parent?: AbortSignal): StartedJob<T> {
    const key = `${target.name}/shards/${target.shardId}`;
    invariant(!this.#recovering.has(key), 'the caller asks isRecovering first');
    const started = this.#context.start({ kind: 'restore', target: key, ...about }, work, parent);
    this.#recovering.add(key);
    const done = started.done.finally(() => this.#recovering.delete(key));
    done.catch(() => undefined); // in the record, and for whoever awaits it
    return { id: started.id, done };
  }
}

/** The form in which servers tell each other what they hold. */
export function heldJson(held: readonly HeldSegment[]): unknown {
  return Object.fromEntries(held.map(({ uuid, version, files }) => [uuid, {
    segment_id: uuid, segment_version: version, file_versions: Object.fromEntries(files.map((name) => [name, version])),
  }]));
}

/** No entry behind the files, and every file of exactly these segments. */
function isHeldWhole({ manifest }: SealedManifest, theirs: readonly Omit<HeldSegment, 'version'>[]): boolean {
  const uuids = new Set(theirs.map(({ uuid }) => uuid));
  return placedShards(manifest).every(({ shard: { logFiles, segments, absent = [] } }) => logFiles.length === 0 && segments.length === uuids.size
    && segments.every(({ uuid }) => uuids.has(uuid)) && new Set(segments.flatMap(({ files }) => files.map(({ sha256 }) => sha256))).size === new Set(absent.map((name) => name.slice(6, 70))).size);
}

function downloadOf({ disk }: CreateContext, { folder, sealed, remove }: UnpublishedSnapshot, about: { readonly name: string; readonly atMs: number }): ArchiveDownload {
  const layout = layoutOf(sealed);
  let released = false;
  return {
    name: about.name, sizeBytes: layout.sizeBytes, etag: sealed.sha256, lastModifiedMs: about.atMs,
    read: (start, end, how) => archiveBytes({ open: (name) => disk.openRead(`${folder}/${name}`) }, layout, { start, end, ...how }),
    release: () => {
      if (!released) void remove();
      released = true;
    },
  };
}
