// Jobs over the API: the list, one record, its changes as server-sent events, and cancelling; and verification, which is one. A list is
// of this node, of the one that `peer` names, or of all; a job by its id is this node's, or the other's that has it.
// Beyond Qdrant's routes.
import { Readable } from 'node:stream';
import { isFinished, jobJson, type JobRecord } from '../../snapshot/job-record.ts';
import type { StartedJob } from '../../snapshot/jobs.ts';
import type { Engine } from '../../engine/engine.ts';
import { reportJson } from '../../engine/verify.ts';
import { result } from './collections.ts';
import { readNodes } from './node-parameters.ts';
import { readFlag, type Query } from './query-parameters.ts';
import type { RestContext } from './rest-context.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';

type PlacedJob = JobRecord & { readonly peerId?: number };

export function jobRoutes({ engine }: RestContext): readonly RestRoute[] {
  const one = '/cluster/jobs/:job_id';
  const jobs = engine.cluster?.jobs ?? engine.snapshots.jobs;
  const id = ({ params }: RestCall): string => params['job_id'] ?? '';
  return [
    {
      method: 'GET',
      path: '/cluster/jobs',
      access: 'manage',
      handle: result(async ({ query }) => ({ jobs: (await listJobs(engine, query)).map(shownJob) })),
    },
    {
      method: 'GET',
      path: one,
      access: 'manage',
      handle: result(async (call) => shownJob(await jobs.get(id(call)))),
    },
    {
      method: 'POST',
      path: '/cluster/collections/:name/verify',
      access: 'manage',
      body: 'none',
      handle: (call) => {
        const [wait, deep] = [readFlag(call.query, 'wait', true), readFlag(call.query, 'deep', false)];
        return answerJob(call, engine.startVerify(call.params['name'] ?? '', { deep }), { wait, show: reportJson });
      },
    },
    { method: 'DELETE', path: one, access: 'manage', handle: result((call) => jobs.cancel(id(call))) },
    {
      method: 'GET',
      path: `${one}/events`,
      access: 'manage',
      handle: async (call) => {
        const changes = await jobs.watch(id(call), call.signal);
        call.reply.type('text/event-stream').header('cache-control', 'no-store');
        await call.reply.send(Readable.from(events(changes), { objectMode: false }));
        return { kind: 'sent' };
      },
    },
  ];
}

/** With `all=true` each with its node. */
async function listJobs(engine: Engine, query: Query): Promise<readonly PlacedJob[]> {
  const { peerId, isAll } = readNodes(engine, query);
  const { cluster } = engine;
  if (cluster !== undefined && isAll) return await cluster.jobs.listAll();
  if (cluster !== undefined && peerId !== undefined) return await cluster.jobs.list(peerId);
  const found = engine.snapshots.jobs.list();
  return isAll ? found.map((each) => ({ ...each, peerId: engine.peerId })) : found;
}

/** Waits for a job, or answers 202 and leaves it to itself; its id is in a header either way. */
export async function answerJob<T>(
  { reply }: Pick<RestCall, 'reply'>,
  job: StartedJob<T>,
  { wait, show }: { readonly wait: boolean; readonly show: (value: T) => unknown },
): Promise<RestAnswer> {
  reply.header('x-nearkeep-job', job.id);
  return wait ? { kind: 'result', value: show(await job.done) } : { kind: 'accepted' };
}

/** The record, with how fast it goes while it goes. */
function shownJob(record: PlacedJob): unknown {
  const json = record.peerId === undefined ? jobJson(record) : { ...jobJson(record), peer_id: record.peerId };
  const seconds = (Date.now() - record.startedAtMs) / 1000;
  if (isFinished(record) || record.bytesDone === 0 || seconds <= 0) return json;
  const rate = Math.round(record.bytesDone / seconds);
  const left = record.bytesTotal === undefined ? undefined : Math.max(0, record.bytesTotal - record.bytesDone);
  return { ...json, rate, ...(left === undefined || rate === 0 ? {} : { eta_s: Math.round(left / rate) }) };
}

async function* events(changes: AsyncIterable<JobRecord>): AsyncGenerator<string> {
  for await (const record of changes) yield `data: ${JSON.stringify(shownJob(record))}\n\n`;
}
