// One collection: a name, a configuration and a set of shards. Routes writes to shards, spreads reads over them and merges
// the answers. Owns no files: the shards do; which shards there are is the catalog's to decide.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { PointId } from '../base/ids.ts';
import { isCustomSharded, vectorSpecs, type CollectionConfig } from '../command/collection-config.ts';
import type { CountRequest, PointRecord, ReadOptions, RetrieveRequest, ScoredRecord, ScrollPage, ScrollRequest, SearchRequest } from '../command/read.ts';
import type { WriteOperation, WriteOptions, WriteResult } from '../command/write.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import type { VectorSpec } from '../vector/distance.ts';
import type { CollectionInfo } from './collection-info.ts';
import type { CollectionShape } from './compatibility.ts';
import type { DeclaredIndexes } from './declared-indexes.ts';
import { keyedShards } from './key-places.ts';
import { mergeScored, mergeScrolled } from './merge-points.ts';
import type { ReplicaInfo, ReplicaSearch, ReplicaWriteResult } from './replica.ts';
import { routePoint } from './route.ts';
import { shardsByKey, shardsToRead } from './shard-selection.ts';
import { BrokenReplica, type ShardSet, type ShardSlot } from './shard-set.ts';
import { splitOverShards } from './split-operation.ts';

const statusOrder: readonly ReplicaInfo['status'][] = ['green', 'grey', 'yellow', 'red'];

export class Collection {
  readonly name: string;
  readonly uuid: string;
  #config: CollectionConfig;
  #indexes: DeclaredIndexes;
  #set: ShardSet;

  constructor(name: string, uuid: string, contents: { readonly config: CollectionConfig; readonly indexes?: DeclaredIndexes; readonly set: ShardSet }) {
    this.name = name;
    this.uuid = uuid;
    this.#config = contents.config;
    this.#indexes = contents.indexes ?? [];
    this.#set = contents.set;
  }

  get config(): CollectionConfig {
    return this.#config;
  }

  /** With the keys of its shards, under custom sharding. */
  get shape(): CollectionShape {
    const shardKeys = keyedShards(isCustomSharded(this.#config), this.#set.slots);
    return { config: this.#config, ...(shardKeys === undefined ? {} : { shardKeys }) };
  }

  get set(): ShardSet {
    return this.#set;
  }

  /** After the metastore has the change: from here on requests see it. */
  setConfig(config: CollectionConfig): void {
    this.#config = config;
  }

  /** Likewise: what the record says of indexes beside what the shards tell. */
  setIndexes(indexes: DeclaredIndexes = []): void {
    this.#indexes = indexes;
  }

  /** New requests go to `set`; answers the old one, for the caller to retire. */
  replaceSet(set: ShardSet): ShardSet {
    const old = this.#set;
    this.#set = set;
    return old;
  }

  /** Refused as a whole or logged on every shard concerned. @throws RequestError */
  write(operation: WriteOperation, { shardKey, ...options }: WriteOptions): Promise<WriteResult> {
    return this.#set.use(async (slots) => {
      const parts = await splitOverShards(operation, { slots, selector: shardKey, isCustom: isCustomSharded(this.#config) });
      if (parts.length > 1) await Promise.all(parts.map(([slot, part]) => slot.replica.check(part)));
      const outcomes = await Promise.allSettled(parts.map(async ([{ id: shardId, replica }, part]) => ({ shardId, ...(await replica.write(part, options)) })));
      return joinResults(outcomes.map(valueOf), options); // a failure is told when no part of the write is under way any more
    });
  }

  retrieve({ shardKey, ...request }: RetrieveRequest, options: ReadOptions = {}): Promise<readonly PointRecord[]> {
    return this.#read(options, (slots) => retrieveFrom(shardsToRead(slots, shardKey), request));
  }

  scroll({ shardKey, ...request }: ScrollRequest, options: ReadOptions = {}): Promise<ScrollPage> {
    const { signal } = options;
    return this.#read(options, async (slots) => {
      const wanted = { ...request, limit: request.limit + 1 };
      const lists = await Promise.all(shardsToRead(slots, shardKey).map(async (slot) => keyed(slot, await slot.replica.scroll(wanted, signal))));
      const points = mergeScrolled(lists, request.orderBy, request.limit + 1);
      const next = request.orderBy === undefined ? points[request.limit] : undefined;
      return { points: points.slice(0, request.limit), nextPageOffset: next?.id ?? null };
    });
  }

  /** A point that lies under several keys counts as often. */
  count({ shardKey, ...request }: CountRequest, options: ReadOptions = {}): Promise<number> {
    const { signal } = options;
    return this.#read(options, async (slots) => {
      const counts = await Promise.all(shardsToRead(slots, shardKey).map((slot) => slot.replica.count(request, signal)));
      return counts.reduce((sum, count) => sum + count, 0);
    });
  }

  /** One list per request, best first. @throws RequestError for an unknown vector name, dimension or id. */
  search(requests: readonly SearchRequest[], options: ReadOptions = {}): Promise<readonly (readonly ScoredRecord[])[]> {
    const { signal } = options;
    return this.#read(options, async (slots) => {
      const specs = vectorSpecs(this.#config.params.vectors);
      for (const request of requests) specOf(specs, request.using);
      const targets = await Promise.allSettled(requests.map((request) => resolveTarget(slots, request)));
      const asked = targets.map(valueOf); // of several that fail the first request's failure is told, whichever shard was faster
      const perShard = await Promise.all(slots.map((slot) => searchShard(slot, asked, signal)));
      return requests.map((request, at) => {
        const lists = perShard.flatMap((results) => results[at] ?? []);
        const { distance } = specOf(specs, request.using);
        return mergeScored(lists, distance, request.limit + request.offset).slice(request.offset);
      });
    });
  }

  /** Replicas are waited for outside of `use`: a restore does not wait for a read that waits. */
  async #read<T>(options: ReadOptions, work: (slots: readonly ShardSlot[]) => Promise<T>): Promise<T> {
    if (options.consistency === undefined && options.after === undefined) return await this.#set.use(work);
    for (;;) {
      const set = this.#set;
      const chosen = await readableSlots(set.slots, options).catch((error: unknown) => {
        if (set === this.#set) throw error;
        return [];
      });
      if (set === this.#set) return await set.use(() => work(chosen));
    }
  }

  info(aliases: readonly string[]): CollectionInfo {
    const infos = this.#set.slots.map((slot) => ({ id: slot.id, key: slot.key, info: shardInfo(slot) }));
    const total = (pick: (info: ReplicaInfo) => number): number => infos.reduce((sum, { info }) => sum + pick(info), 0);
    const error = infos.find(({ info }) => info.optimizerError !== undefined)?.info.optimizerError;
    return {
      name: this.name,
      uuid: this.uuid,
      config: this.#config,
      status: infos.map(({ info }) => info.status).reduce((a, b) => (statusOrder.indexOf(a) >= statusOrder.indexOf(b) ? a : b), 'green'),
      ...(error === undefined ? {} : { optimizerError: error }),
      points: total((info) => info.points),
      indexedVectors: total((info) => info.indexedVectors),
      scannedVectors: sumByName(infos.map(({ info }) => info.scannedVectors)),
      damagedGraphs: sumByName(infos.map(({ info }) => info.damagedGraphs)),
      damagedGraphsFound: total((info) => info.damagedGraphsFound),
      codesBytes: { memory: total((info) => info.codesBytes.memory), mapped: total((info) => info.codesBytes.mapped) },
      segments: total((info) => info.segments),
      payloadSchema: joinSchemas(infos.map(({ info }) => info), this.#indexes),
      unappliedEntries: total((info) => info.unappliedEntries),
      diskBytes: total((info) => info.diskBytes),
      aliases,
      awaitedShards: [],
      shards: infos.map(({ id, key, info }) => ({ id, ...(key === undefined ? {} : { key }), points: info.points, indexedVectors: info.indexedVectors, status: info.status })),
    };
  }
}

/** Each shard by the replica that the read may use. @throws RequestError where there is none in time */
async function readableSlots(slots: readonly ShardSlot[], { consistency, after = [], signal }: ReadOptions): Promise<readonly ShardSlot[]> {
  const unknown = after.find(({ shardId }) => !slots.some(({ id }) => id === shardId));
  if (unknown !== undefined) throw new RequestError('bad-request', `the collection has no shard ${unknown.shardId}`);
  return await Promise.all(slots.map(async (slot) => {
    const wanted = after.find(({ shardId }) => shardId === slot.id);
    const wish = { ...(consistency === undefined ? {} : { consistency }), ...(wanted === undefined ? {} : { after: wanted }) };
    return { ...slot, replica: await slot.replica.readable(wish, signal) };
  }));
}

/** @throws what it was rejected with */
function valueOf<T>(outcome: PromiseSettledResult<T>): T {
  if (outcome.status === 'rejected') throw outcome.reason;
  return outcome.value;
}

function sumByName(counts: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  const sums = new Map<string, number>();
  for (const [name, count] of counts.flatMap((each) => [...each])) sums.set(name, (sums.get(name) ?? 0) + count);
  return sums;
}

interface AskedSearch {
  readonly chosen: ReadonlySet<ShardSlot>;
  readonly search: ReplicaSearch;
}

/** By the index of the request: a list of the one answer, or of none where the request is not for this shard. One call for all. */
async function searchShard(slot: ShardSlot, asked: readonly AskedSearch[], signal: AbortSignal | undefined): Promise<readonly (readonly (readonly ScoredRecord[])[])[]> {
  const mine = asked.filter(({ chosen }) => chosen.has(slot));
  const found = mine.length === 0 ? [] : await slot.replica.search(mine.map(({ search }) => search), signal);
  const lists = found.values();
  return asked.map(({ chosen }) => (chosen.has(slot) ? [keyed(slot, must(lists.next().value, 'a replica answers every request'))] : []));
}

/** With the key of the shard that they come from. */
function keyed<T extends PointRecord>({ key }: ShardSlot, records: readonly T[]): readonly T[] {
  return key === undefined ? records : records.map((record) => ({ ...record, shardKey: key }));
}

function specOf(specs: ReadonlyMap<string, VectorSpec>, using: string): VectorSpec {
  const spec = specs.get(using);
  if (spec === undefined) throw new RequestError('bad-input', `Not existing vector name error: ${using}`);
  return spec;
}

/** Of an id that lies under several keys the first found. */
async function retrieveFrom(slots: readonly ShardSlot[], request: RetrieveRequest): Promise<readonly PointRecord[]> {
  const [only, ...others] = slots;
  if (only !== undefined && others.length === 0) return keyed(only, await only.replica.retrieve(request));
  const lists = await Promise.all([...shardsByKey(slots).values()].flatMap((group) => group.map(async (slot, index) => {
    const ids = request.ids.filter((id) => routePoint(id, group.length) === index);
    return ids.length === 0 ? [] : keyed(slot, await slot.replica.retrieve({ ...request, ids }));
  })));
  const found = new Map(lists.flat().reverse().map((record) => [record.id, record]));
  return request.ids.flatMap((id) => found.get(id) ?? []);
}

/** A search by id becomes a search by that point's vector, without the point itself. */
async function resolveTarget(slots: readonly ShardSlot[], { shardKey, target, ...request }: SearchRequest): Promise<AskedSearch> {
  const chosen = shardsToRead(slots, shardKey);
  const limits = { limit: request.limit + request.offset, offset: 0 };
  if (target.kind === 'vector') return { chosen: new Set(chosen), search: { ...request, ...limits, vector: target.vector } };
  const vector = await vectorOfPoint(chosen, target.id, request.using);
  return { chosen: new Set(chosen), search: { ...request, ...limits, vector, excludeId: target.id } };
}

async function vectorOfPoint(slots: readonly ShardSlot[], id: PointId, using: string): Promise<Float32Array> {
  const selectors = { payload: { kind: 'none' }, vectors: { kind: 'names', names: [using] } } as const;
  const [record] = await retrieveFrom(slots, { ids: [id], selectors });
  if (record === undefined) throw new RequestError('not-found', `No point with id ${id} found`);
  const vector = record.vectors?.get(using);
  if (vector === undefined) throw new RequestError('bad-input', `Point ${id} does not have vector '${using}'`);
  return vector;
}

function joinResults(results: readonly (ReplicaWriteResult & { readonly shardId: number })[], options: Pick<WriteOptions, 'wait'>): WriteResult {
  const operationId = results.length === 0 ? null : Math.max(...results.map((result) => result.seq));
  const late = results.some((result) => result.status === 'wait_timeout');
  const places = results.map(({ shardId, generation, seq }) => ({ shardId, generation, seq }));
  return { operationId, status: late ? 'wait_timeout' : options.wait ? 'completed' : 'acknowledged', places };
}

function shardInfo(slot: ShardSlot): ReplicaInfo {
  if (!(slot.replica instanceof BrokenReplica)) return slot.replica.info();
  return {
    points: 0, indexedVectors: 0, scannedVectors: new Map(), damagedGraphs: new Map(), damagedGraphsFound: 0, codesBytes: { memory: 0, mapped: 0 }, segments: 0, status: 'red', optimizerError: slot.replica.reason,
    payloadSchema: new Map(), unappliedEntries: 0, diskBytes: 0,
  };
}

function joinSchemas(infos: readonly ReplicaInfo[], declared: DeclaredIndexes): ReplicaInfo['payloadSchema'] {
  const joined = new Map<string, { readonly schema: FieldSchema; readonly points: number }>(declared.map(({ field, schema }) => [field, { schema, points: 0 }]));
  for (const info of infos) {
    for (const [field, { schema, points }] of info.payloadSchema) {
      joined.set(field, { schema, points: points + (joined.get(field)?.points ?? 0) });
    }
  }
  return joined;
}
