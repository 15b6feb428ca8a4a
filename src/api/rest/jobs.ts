// Jobs over the API: the list, one record, its changes as server-sent events, and cancelling; and verification, which is one.
// Beyond Qdrant's routes.
import { Readable } from 'node:stream';
import { isFinished, jobJson, type JobRecord } from '../../snapshot/job-record.ts';
import type { StartedJob } from '../../snapshot/jobs.ts';
import { reportJson } from '../../engine/verify.ts';
import { result } from './collections.ts';
import { readFlag } from './query-parameters.ts';
import type { RestContext } from './rest-context.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';

export function jobRoutes({ engine }: RestContext): readonly RestRoute[] {
  const one = '/cluster/jobs/:job_id';
  const id = ({ params }: RestCall): string => params['job_id'] ?? '';
  return [
    {
      method: 'GET',
      path: '/cluster/jobs',
      access: 'manage',
      handle: result(() => Promise.resolve({ jobs: engine.snapshots.jobs.list().map(shownJob) })),
    },
    {
      method: 'GET',
      path: one,
      access: 'manage',
      handle: result(async (call) => shownJob(engine.snapshots.jobs.get(id(call)))),
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
    { method: 'DELETE', path: one, access: 'manage', handle: result((call) => engine.snapshots.jobs.cancel(id(call))) },
    {
      method: 'GET',
      path: `${one}/events`,
      access: 'manage',
      handle: async (call) => {
        const changes = engine.snapshots.jobs.watch(id(call), call.signal);
        call.reply.type('text/event-stream').header('cache-control', 'no-store');
        await call.reply.send(Readable.from(events(changes), { objectMode: false }));
        return { kind: 'sent' };
      },
    },
  ];
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
function shownJob(record: JobRecord): unknown {
  const seconds = (Date.now() - record.startedAtMs) / 1000;
  if (isFinished(record) || record.bytesDone === 0 || seconds <= 0) return jobJson(record);
  const rate = Math.round(record.bytesDone / seconds);
  const left = record.bytesTotal === undefined ? undefined : Math.max(0, record.bytesTotal - record.bytesDone);
  return { ...jobJson(record), rate, ...(left === undefined || rate === 0 ? {} : { eta_s: Math.round(left / rate) }) };
}

async function* events(changes: AsyncIterable<JobRecord>): AsyncGenerator<string> {
  for await (const record of changes) yield `data: ${JSON.stringify(shownJob(record))}\n\n`;
}
