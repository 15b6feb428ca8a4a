// What the fault tests let the engine do: each kind of change once or more, in an order that leaves every kind of file behind.
// A step is one acknowledged call. Its effect is all or nothing, but for writes of points that go to several shards.
import { must } from '../../src/base/assert.ts';
import type { PointId } from '../../src/base/ids.ts';
import type { WriteOperation } from '../../src/command/write.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { parseFilter } from '../../src/payload/parse-filter.ts';
import { points, settle, snapshotUrl, uploadSnapshot } from './memory-engine.ts';

export interface Step {
  readonly name: string;
  /** false: shard by shard. */
  readonly isAtomic: boolean;
  readonly run: (engine: Engine) => Promise<unknown>;
}

const dot = { size: 4, distance: 'Dot' } as const;

function write(name: string, operation: WriteOperation): Step {
  return { name: `${operation.kind} in ${name}`, isAtomic: false, run: (engine) => engine.write(name, operation, { wait: true }) };
}

function step(name: string, run: Step['run']): Step {
  return { name, isAtomic: true, run };
}

const upsert = (name: string, range: { readonly from: number; readonly to: number }, number: number, vector?: string): Step => write(name, { kind: 'upsert', points: points(range, number, vector) });
const ids = (...wanted: readonly number[]): { readonly kind: 'ids'; readonly ids: readonly PointId[] } => ({ kind: 'ids', ids: wanted as readonly number[] as readonly PointId[] });
const where = (gte: number, lt: number): { readonly kind: 'filter'; readonly filter: ReturnType<typeof parseFilter> } => ({ kind: 'filter', filter: parseFilter({ must: [{ key: 'n', range: { gte, lt } }] }) });
const pointAlias = (target: string): Step => step(`alias to ${target}`, (engine) => engine.changeAliases([{ kind: 'delete', alias: 'live' }, { kind: 'create', alias: 'live', collection: target }]));
const rest = step('background work ends', settle);

/** The snapshot of `a` that is the only one at that moment. */
async function firstSnapshot(engine: Engine): Promise<string> {
  return must((await engine.snapshots.list('a'))[0], 'there is one').name;
}

export const script: readonly Step[] = [
  step('create a', (engine) => engine.createCollection('a', { vectors: dot, shardNumber: 2 })),
  upsert('a', { from: 0, to: 24 }, 1),
  step('first alias', (engine) => engine.changeAliases([{ kind: 'create', alias: 'live', collection: 'a' }])),
  upsert('a', { from: 12, to: 40 }, 2),
  write('a', { kind: 'create-index', field: 'n', schema: { type: 'integer' } }),
  write('a', { kind: 'delete-points', selector: ids(1, 2, 3, 14, 15, 39) }),
  upsert('a', { from: 30, to: 50 }, 3),
  rest,
  write('a', { kind: 'set-payload', selector: where(5, 20), payload: '{"set":true}' }),
  step('snapshot a', (engine) => engine.snapshots.create('a')),
  upsert('a', { from: 0, to: 10 }, 4),
  write('a', { kind: 'delete-points', selector: where(20, 35) }),
  step('create b', (engine) => engine.createCollection('b', { vectors: { x: dot } })),
  upsert('b', { from: 0, to: 12 }, 5, 'x'),
  step('add vector y to b', (engine) => engine.write('b', { kind: 'create-vector', name: 'y', params: dot }, { wait: true })),
  upsert('b', { from: 8, to: 20 }, 6, 'y'),
  step('drop vector x of b', (engine) => engine.write('b', { kind: 'drop-vector', name: 'x' }, { wait: true })),
  pointAlias('b'),
  step('restore a as r', async (engine) => uploadSnapshot(engine, { collection: 'a', name: await firstSnapshot(engine) }, 'r')),
  upsert('r', { from: 100, to: 104 }, 7),
  step('restore over a', async (engine) => engine.snapshots.recover('a', { priority: 'snapshot', location: snapshotUrl('a', await firstSnapshot(engine)) })),
  upsert('a', { from: 45, to: 60 }, 8),
  step('second snapshot of a', (engine) => engine.snapshots.create('a')),
  write('a', { kind: 'drop-index', field: 'n' }),
  step('delete the first snapshot', async (engine) => engine.snapshots.delete('a', await firstSnapshot(engine))),
  pointAlias('r'),
  step('delete b', (engine) => engine.deleteCollection('b')),
  write('a', { kind: 'clear-payload', selector: ids(0, 4, 5, 6, 46) }),
  rest,
];
