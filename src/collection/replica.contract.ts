// Runs on every implementation of the replica port: today a local shard, and a broken one for its refusals.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import { parsePointId, type PointId } from '../base/ids.ts';
import type { PointDraft } from '../command/write.ts';
import type { Replica } from './replica.ts';

/** An empty replica with the unnamed vector: 2 dimensions, Dot. */
export interface ReplicaFixture extends AsyncDisposable {
  readonly replica: Replica;
}

const id = (value: number): PointId => must(parsePointId(value), 'a good id');
const draft = (value: number): PointDraft => ({ id: id(value), vectors: new Map([['', Float32Array.of(value, 1)]]), payload: `{"n":${value}}` });
const all = { payload: { kind: 'all' }, vectors: { kind: 'all' } } as const;
const none = { payload: { kind: 'none' }, vectors: { kind: 'none' } } as const;
const query = { using: '', vector: Float32Array.of(1, 0), limit: 3, offset: 0, selectors: none } as const;

export function replicaContract(name: string, open: () => Promise<ReplicaFixture>): void {
  const contractTest = (title: string, check: (replica: Replica) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      await using fixture = await open();
      await check(fixture.replica);
    });
  };

  contractTest('a completed write is read back, with rising seqs', async (replica) => {
    const first = await replica.write({ kind: 'upsert', points: [draft(1), draft(2)] }, { wait: true });
    const second = await replica.write({ kind: 'delete-points', selector: { kind: 'ids', ids: [id(1)] } }, { wait: true });
    assert.deepEqual([first.status, second.status], ['completed', 'completed']);
    assert.ok(second.seq > first.seq);
    const [record, ...more] = await replica.retrieve({ ids: [id(2), id(1)], selectors: all });
    assert.deepEqual([record?.id, record?.payload, record?.version, more.length], [2, '{"n":2}', first.seq, 0]);
    assert.equal(replica.info().points, 1);
  });

  contractTest('it is readable once it has applied what the read must show, and at once for what is of another generation', async (replica) => {
    const { seq, generation } = await replica.write({ kind: 'upsert', points: [draft(1)] }, { wait: true });
    for (const wish of [{}, { after: { generation, seq } }, { after: { generation: generation + 1, seq: seq + 1 } }, { consistency: 'all' }] as const) {
      assert.equal(await (await replica.readable(wish)).count({ exact: true }), 1);
    }
    const next = replica.readable({ after: { generation, seq: seq + 1 } });
    const order: string[] = [];
    const isReadable = next.then(() => order.push('readable'));
    await replica.retrieve({ ids: [id(1)], selectors: none });
    order.push('written');
    await replica.write({ kind: 'upsert', points: [draft(2)] }, { wait: true });
    await isReadable;
    assert.deepEqual(order, ['written', 'readable']);
    const abort = new AbortController();
    const never = replica.readable({ after: { generation, seq: seq + 9 } }, abort.signal);
    abort.abort(new RequestError('timeout', 'enough'));
    await assert.rejects(never, { message: 'enough' });
  });

  contractTest('retrieve keeps the order of the ids, and repeats what is asked for twice', async (replica) => {
    await replica.write({ kind: 'upsert', points: [draft(1), draft(2), draft(3)] }, { wait: true });
    const records = await replica.retrieve({ ids: [id(3), id(9), id(1), id(3)], selectors: none });
    assert.deepEqual(records.map((record) => record.id), [3, 1, 3]);
  });

  contractTest('check rejects what write rejects, and neither changes anything', async (replica) => {
    await replica.write({ kind: 'upsert', points: [draft(1)] }, { wait: true });
    const bad = { kind: 'upsert', points: [draft(2), { ...draft(3), vectors: new Map([['', Float32Array.of(1)]]) }] } as const;
    const missing = { kind: 'set-payload', selector: { kind: 'ids', ids: [id(7)] }, payload: '{}' } as const;
    for (const operation of [bad, missing]) {
      const refusals = await Promise.allSettled([replica.check(operation), replica.write(operation, { wait: true })]);
      const texts = refusals.map((refusal) => (refusal.status === 'rejected' && refusal.reason instanceof RequestError ? refusal.reason.message : 'not refused'));
      assert.equal(texts[0], texts[1]);
      assert.notEqual(texts[0], 'not refused');
    }
    assert.equal(await replica.count({ exact: true }), 1);
  });

  contractTest('search answers limit + offset hits, best first, without the excluded point', async (replica) => {
    await replica.write({ kind: 'upsert', points: [1, 2, 3, 4, 5].map(draft) }, { wait: true });
    const [hits = [], rest = []] = await replica.search([query, { ...query, limit: 2, offset: 1, excludeId: id(5) }]);
    assert.deepEqual(hits.map((hit) => [hit.id, hit.score]), [[5, 5], [4, 4], [3, 3]]);
    assert.deepEqual(rest.map((hit) => hit.id), [4, 3, 2]);
  });

  contractTest('scroll starts at its offset, in order of id, and count agrees with a filter', async (replica) => {
    await replica.write({ kind: 'upsert', points: [5, 3, 1, 4, 2].map(draft) }, { wait: true });
    const page = await replica.scroll({ offset: id(2), limit: 3, selectors: none });
    assert.deepEqual(page.map((record) => record.id), [2, 3, 4]);
    assert.equal(await replica.count({ exact: true, filter: { must: [{ kind: 'has-id', ids: [id(1), id(5), id(8)] }] } }), 2);
  });
}
