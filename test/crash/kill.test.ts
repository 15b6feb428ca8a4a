// The server killed without warning while several clients write, snapshots are made and one is restored: after the restart every
// acknowledged write is there, nothing was invented, and the folder is sound. (A kill keeps the page cache: it tests order and
// start-up. What a power cut would take is tested on simulated disks, where syncs count.)
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['NEARKEEP_KILL_ROUNDS'] ?? 6);
const writers = 4;
const dim = 8;

/** What the clients know: the last acknowledged value of each id, and the values whose fate is unknown. */
interface Ledger {
  readonly acknowledged: Map<number, number>;
  /** Sent after the last acknowledgement of the id, without an answer. */
  readonly unknown: Map<number, Set<number>>;
}

interface Written {
  readonly id: number;
  readonly value: number;
}

test(`kill -9 under load, ${rounds} rounds, seed ${seed}`, async (t) => {
  const random = seededRandom(seed);
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const ledger: Ledger = { acknowledged: new Map(), unknown: new Map() };
  let acknowledgements = 0;
  let snapshots = 0;
  for (let round = 0; round < rounds; round += 1) {
    const server = await startServer({ data });
    if (round === 0) {
      await call(server.url, 'PUT', '/collections/c', { body: { vectors: { size: dim, distance: 'Dot' }, shard_number: 2, optimizers_config: { indexing_threshold: 1 } } });
      await call(server.url, 'PUT', '/collections/c/index?wait=true', { body: { field_name: 'value', field_schema: 'integer' } });
    }
    await checkLedger(server.url, ledger, `round ${round}, seed ${seed}`);
    const done = await writeUntilKilled(server, ledger, { random, round });
    acknowledgements += done.batches;
    snapshots += done.snapshots;
    verifySound(data);
  }
  const server = await startServer({ data });
  await checkLedger(server.url, ledger, `after all rounds, seed ${seed}`);
  const { result } = await call(server.url, 'GET', '/collections/c/snapshots');
  assert.ok((result as unknown[]).length >= snapshots, `${snapshots} snapshots were answered as made, ${(result as unknown[]).length} are there`);
  assert.equal(await server.stop(), 0);
  verifySound(data);
  t.diagnostic(`${rounds} kills, ${acknowledgements} acknowledged batches, ${ledger.acknowledged.size} ids, ${snapshots} snapshots, 0 lost`);
  t.diagnostic(`NEARKEEP_SEED=${seed} NEARKEEP_KILL_ROUNDS=${rounds} node --test dist/test/crash/kill.test.js`);
  assert.ok(acknowledgements > rounds * 5, 'the rounds did some work');
});

/** Kills the server when a random number of batches was acknowledged; answers how many were, and how many snapshots were made. */
async function writeUntilKilled(server: ServerProcess, ledger: Ledger, { random, round }: { readonly random: Random; readonly round: number }): Promise<{ readonly batches: number; readonly snapshots: number }> {
  const killAt = 8 + random.below(60);
  let acknowledged = 0;
  let alive = true;
  const writer = async (lane: number): Promise<void> => {
    for (let count = 0; alive; count += 1) {
      const batch = nextBatch({ lane, round, count }, random);
      for (const { id, value } of batch) unknownOf(ledger, id).add(value);
      try {
        const wait = random.next() < 0.7;
        await send(server.url, batch, wait);
        for (const { id, value } of batch) {
          ledger.acknowledged.set(id, value);
          ledger.unknown.delete(id);
        }
        acknowledged += 1;
        if (acknowledged === killAt) {
          alive = false;
          await server.kill();
        }
      } catch (error) {
        if (alive) throw error;
      }
    }
  };
  let made = 0;
  const snapshots = async (): Promise<void> => {
    while (alive) {
      try {
        if ((await call(server.url, 'POST', '/collections/c/snapshots')).status === 200) made += 1;
      } catch (error) {
        if (alive) throw error;
      }
    }
  };
  await Promise.all([...Array.from({ length: writers }, (_, lane) => writer(lane)), snapshots()]);
  return { batches: acknowledged, snapshots: made };
}

/** Each lane writes ids of its own, so the order of values of an id is known. */
function nextBatch(at: { readonly lane: number; readonly round: number; readonly count: number }, random: Random): Written[] {
  const ids = new Set(Array.from({ length: 1 + random.below(40) }, () => at.lane * 10_000 + random.below(500)));
  return [...ids].map((id) => ({ id, value: at.round * 1_000_000 + at.count }));
}

async function send(url: string, batch: readonly Written[], wait: boolean): Promise<void> {
  const points = batch.map(({ id, value }) => ({ id, vector: Array.from({ length: dim }, (_, at) => id + at), payload: { value } }));
  const { status, text } = await call(url, 'PUT', `/collections/c/points?wait=${wait}`, { body: { points } });
  assert.equal(status, 200, text);
}

function unknownOf(ledger: Ledger, id: number): Set<number> {
  if (!ledger.unknown.has(id)) ledger.unknown.set(id, new Set());
  return must(ledger.unknown.get(id), 'it was put above');
}

/** Every id has its acknowledged value or one whose fate was unknown; no id exists that nobody wrote. What is there is known from now on. */
async function checkLedger(url: string, ledger: Ledger, title: string): Promise<void> {
  const found = new Map<number, number>();
  let offset: unknown = undefined;
  do {
    const { result } = await call(url, 'POST', '/collections/c/points/scroll', { body: { limit: 1000, with_payload: true, with_vector: true, ...(offset === undefined ? {} : { offset }) } });
    const page = result as { points: { id: number; payload: { value: number }; vector: number[] }[]; next_page_offset: number | null };
    for (const point of page.points) {
      found.set(point.id, point.payload.value);
      assert.deepEqual(point.vector, Array.from({ length: dim }, (_, at) => point.id + at), `${title}: vector of ${point.id}`);
    }
    offset = page.next_page_offset ?? undefined;
  } while (offset !== undefined);
  for (const [id, value] of ledger.acknowledged) {
    const there = found.get(id);
    assert.ok(there === value || (there !== undefined && ledger.unknown.get(id)?.has(there) === true), `${title}: id ${id} has ${there}, ${value} was acknowledged`);
  }
  for (const [id, value] of found) {
    assert.ok(ledger.acknowledged.get(id) === value || ledger.unknown.get(id)?.has(value) === true, `${title}: id ${id} has ${value}, which nobody wrote`);
    ledger.acknowledged.set(id, value);
  }
  ledger.unknown.clear();
  const { result } = await call(url, 'POST', '/collections/c/points/count', { body: { exact: true, filter: { must: [{ key: 'value', range: { gte: 0 } }] } } });
  assert.deepEqual(result, { count: found.size }, `${title}: the payload index knows every point`);
}
