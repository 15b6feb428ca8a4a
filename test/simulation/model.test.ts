// Random operations on a real engine and on a map, with seals, merges, snapshots, restores and restarts in between; both must
// stay equal. NEARKEEP_SEED repeats a run, NEARKEEP_MODEL_OPERATIONS makes it longer, NEARKEEP_FAULTS=all very long.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import type { Clock } from '../../src/base/clock.ts';
import type { PointId } from '../../src/base/ids.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import type { WriteOperation } from '../../src/command/write.ts';
import { Engine } from '../../src/engine/engine.ts';
import { verifyPath } from '../../src/engine/verify.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import type { ArchiveDownload } from '../../src/snapshot/description.ts';
import { verifySound } from '../support/server-process.ts';
import { dim, modelScores, pickFilter, pickId, pickPayload, pickVector, type Model, type ModelPoint } from './model.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const operations = Number(process.env['NEARKEEP_MODEL_OPERATIONS'] ?? (process.env['NEARKEEP_FAULTS'] === 'all' ? 200_000 : 1_000));
const selectors = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
/** Seals every few dozen rows, merges soon; a writer waits where more than two heads are unsealed. (A head of one row takes a MiB.) */
const shardLimits = { headBytesMax: 16 << 20, headRowsMax: 40, unsealedBytesMax: 3 << 20, logBytesMax: 1 << 16, mergedBytesMax: 1 << 30, quietMs: 5, vacuumRowsMin: 20 };

class Twin {
  readonly #data: string;
  readonly #random: Random;
  readonly #model = new Map<PointId, ModelPoint>();
  readonly #snapshots: { readonly name: string; readonly model: Model }[] = [];
  readonly counts = { restarts: 0, snapshots: 0, restores: 0, segments: 0 };
  #engine: Engine;

  private constructor(data: string, random: Random, engine: Engine) {
    this.#data = data;
    this.#random = random;
    this.#engine = engine;
  }

  static async open(data: string, random: Random): Promise<Twin> {
    const engine = await openEngine(data);
    const vector = { size: dim, distance: 'Dot' } as const;
    await engine.createCollection('c', { vectors: { a: vector, b: { ...vector, datatype: 'float16' } }, shardNumber: 2 });
    return new Twin(data, random, engine);
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }

  async step(): Promise<void> {
    const die = this.#random.below(100);
    if (die < 45) await this.#upsert();
    else if (die < 55) await this.#write({ kind: 'delete-points', selector: this.#pickIds() }, () => undefined);
    else if (die < 59) await this.#byFilter();
    else if (die < 67) await this.#editPayload();
    else if (die < 74) await this.#editVectors();
    else if (die < 78) await this.#changeIndex();
    else if (die < 92) await this.#compareSearch();
    else if (die < 95) await this.#snapshot();
    else if (die < 97) await this.#restore();
    else await this.#restart();
    this.counts.segments = Math.max(this.counts.segments, this.#engine.collectionInfo('c').segments);
  }

  async compareAll(collection = 'c', model: Model = this.#model): Promise<void> {
    const found = new Map<PointId, ModelPoint>();
    let offset: PointId | undefined;
    do {
      const page = await this.#engine.scroll(collection, { limit: 37, selectors, ...(offset === undefined ? {} : { offset }) });
      for (const record of page.points) {
        assert.ok(!found.has(record.id), `scroll yields ${record.id} once`);
        const vectors = new Map([...must(record.vectors, 'asked for')].map(([name, values]) => [name, Array.from(values)]));
        found.set(record.id, { vectors, payload: JSON.parse(must(record.payload, 'asked for')) as Record<string, unknown> });
      }
      offset = page.nextPageOffset ?? undefined;
    } while (offset !== undefined);
    assert.deepEqual(found, model);
    assert.equal(this.#engine.collectionInfo(collection).points, model.size);
  }

  async #upsert(): Promise<void> {
    const points = Array.from({ length: 1 + this.#random.below(12) }, () => ({ id: pickId(this.#random), vectors: this.#pickVectors(), payload: pickPayload(this.#random) }));
    await this.#send({ kind: 'upsert', points: points.map((point) => ({ ...point, vectors: floats(point.vectors), payload: JSON.stringify(point.payload) })) });
    for (const { id, ...point } of points) this.#model.set(id, point);
  }

  async #byFilter(): Promise<void> {
    const { filter, matches } = pickFilter(this.#random);
    await this.#write({ kind: 'delete-points', selector: { kind: 'filter', filter } }, () => undefined, matches);
  }

  async #editPayload(): Promise<void> {
    const patch = pickPayload(this.#random);
    const payload = JSON.stringify(patch);
    const selector = this.#pickPresent();
    switch (this.#random.below(4)) {
      case 0: return await this.#write({ kind: 'set-payload', selector, payload }, (point) => ({ ...point, payload: { ...point.payload, ...patch } }));
      case 1: return await this.#write({ kind: 'overwrite-payload', selector, payload }, (point) => ({ ...point, payload: patch }));
      case 2: return await this.#write({ kind: 'delete-payload', selector, keys: ['n'] }, ({ vectors, payload: { n: _gone, ...rest } }) => ({ vectors, payload: rest }));
      default: return await this.#write({ kind: 'clear-payload', selector }, (point) => ({ ...point, payload: {} }));
    }
  }

  async #editVectors(): Promise<void> {
    const selector = this.#pickPresent();
    if (this.#random.next() < 0.5) {
      await this.#write({ kind: 'delete-vectors', selector, names: ['b'] }, (point) => ({ ...point, vectors: new Map([...point.vectors].filter(([name]) => name !== 'b')) }));
      return;
    }
    const vectors = new Map([['b', pickVector(this.#random)]]);
    const points = [...new Set(selector.ids)].map((id) => ({ id, vectors: floats(vectors) }));
    if (points.length > 0) await this.#write({ kind: 'update-vectors', points }, (point) => ({ ...point, vectors: new Map([...point.vectors, ...vectors]) }), (id) => selector.ids.includes(id));
  }

  async #changeIndex(): Promise<void> {
    const [field, type] = this.#random.next() < 0.5 ? (['n', 'integer'] as const) : (['tag', 'keyword'] as const);
    await this.#send(this.#random.next() < 0.6 ? { kind: 'create-index', field, schema: { type } } : { kind: 'drop-index', field });
  }

  async #compareSearch(): Promise<void> {
    const name = this.#random.next() < 0.5 ? 'a' : 'b';
    const query = pickVector(this.#random);
    const twin = this.#random.next() < 0.6 ? pickFilter(this.#random) : undefined;
    const limit = 1 + this.#random.below(15);
    const request = { target: { kind: 'vector', vector: Float32Array.from(query) }, using: name, limit, offset: 0, selectors } as const;
    const [hits = []] = await this.#engine.search('c', [{ ...request, ...(twin === undefined ? {} : { filter: twin.filter }) }]);
    const scores = modelScores(this.#model, name, query, twin?.matches ?? (() => true));
    const best = [...scores.values()].sort((a, b) => b - a).slice(0, limit);
    assert.deepEqual(hits.map((hit) => hit.score), best);
    for (const hit of hits) assert.equal(scores.get(hit.id), hit.score, `score of ${hit.id}`);
    const counted = await this.#engine.count('c', { exact: true, ...(twin === undefined ? {} : { filter: twin.filter }) });
    assert.equal(counted, twin === undefined ? this.#model.size : [...this.#model].filter(([id, point]) => twin.matches(id, point)).length);
  }

  async #snapshot(): Promise<void> {
    if (this.#snapshots.length >= 3) return;
    const { name } = await this.#engine.snapshots.create('c');
    this.#snapshots.push({ name, model: new Map(this.#model) });
    this.counts.snapshots += 1;
  }

  /** Into a new name, and sometimes back over the collection itself. */
  async #restore(): Promise<void> {
    const taken = this.#snapshots.shift();
    if (taken === undefined) return;
    const over = this.#random.next() < 0.4;
    const target = over ? 'c' : 'restored';
    const download = await this.#engine.snapshots.openDownload('c', taken.name);
    await this.#engine.snapshots.upload(target, bytesOf(download), { priority: 'snapshot' });
    download.release();
    await this.compareAll(target, taken.model);
    if (over) {
      this.#model.clear();
      for (const [id, point] of taken.model) this.#model.set(id, point);
    } else await this.#engine.deleteCollection('restored');
    await this.#engine.snapshots.delete('c', taken.name);
    this.counts.restores += 1;
  }

  async #restart(): Promise<void> {
    await this.#engine.close();
    // the command now and then; the same in this process is faster
    if (this.counts.restarts % 8 === 0) verifySound(this.#data);
    else assert.deepEqual((await verifyPath(new NodeDisk(), this.#data, { deep: true })).problems, []);
    this.#engine = await openEngine(this.#data);
    await this.compareAll();
    this.counts.restarts += 1;
  }

  /** Sends, then does the same to the model: `edit` answers the new point, undefined removes it. */
  async #write(operation: WriteOperation, edit: (point: ModelPoint) => ModelPoint | undefined, matches?: (id: PointId, point: ModelPoint) => boolean): Promise<void> {
    await this.#send(operation);
    const ids = 'selector' in operation && operation.selector.kind === 'ids' ? operation.selector.ids : [];
    for (const [id, point] of this.#model) {
      if (!(matches?.(id, point) ?? ids.includes(id))) continue;
      const next = edit(point);
      if (next === undefined) this.#model.delete(id);
      else this.#model.set(id, next);
    }
  }

  async #send(operation: WriteOperation): Promise<void> {
    await this.#engine.write('c', operation, { wait: true });
  }

  #pickVectors(): Map<string, number[]> {
    const vectors = new Map<string, number[]>();
    if (this.#random.next() < 0.9) vectors.set('a', pickVector(this.#random));
    if (this.#random.next() < 0.7) vectors.set('b', pickVector(this.#random));
    return vectors;
  }

  #pickIds(): { readonly kind: 'ids'; readonly ids: readonly PointId[] } {
    return { kind: 'ids', ids: Array.from({ length: 1 + this.#random.below(6) }, () => pickId(this.#random)) };
  }

  #pickPresent(): { readonly kind: 'ids'; readonly ids: readonly PointId[] } {
    return { kind: 'ids', ids: this.#pickIds().ids.filter((id) => this.#model.has(id)) };
  }
}

/** Each look at it is a second later, so that no snapshot waits for a free name. */
let seconds = Math.floor(Date.now() / 1000);
const hastyClock: Clock = { now: () => (seconds += 1) * 1000, monotonic: () => performance.now() };

function openEngine(data: string): Promise<Engine> {
  return Engine.open({
    dataDirectory: data, snapshotsDirectory: path.join(data, 'snapshots'), logger: silentLogger, shardLimits, clock: hastyClock,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}

const floats = (vectors: ReadonlyMap<string, readonly number[]>): Map<string, Float32Array> => new Map([...vectors].map(([name, values]) => [name, Float32Array.from(values)]));

function bytesOf(download: ArchiveDownload): AsyncIterable<Buffer> {
  return download.read(0, download.sizeBytes - 1);
}

test(`${operations} random operations agree with a map, seed ${seed}`, async (t) => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const twin = await Twin.open(data, seededRandom(seed));
  try {
    for (let step = 0; step < operations; step += 1) {
      try {
        await twin.step();
        if (step % 50 === 0) await twin.compareAll();
      } catch (error) {
        throw new assert.AssertionError({ message: `operation ${step} of seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}` });
      }
    }
    await twin.compareAll();
  } finally {
    await twin.close();
  }
  verifySound(data);
  t.diagnostic(JSON.stringify(twin.counts));
  t.diagnostic(`NEARKEEP_SEED=${seed} NEARKEEP_MODEL_OPERATIONS=${operations} node --test dist/test/simulation/model.test.js`);
  assert.ok(twin.counts.restarts > 5 && twin.counts.restores > 3 && twin.counts.segments > 4, JSON.stringify(twin.counts));
});
