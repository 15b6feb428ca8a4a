// What operators and monitors ask: version, health, metrics, telemetry. Nothing here is sent anywhere by itself.
import { RequestError } from '../../base/errors.ts';
import { apiVersion } from '../../engine/version.ts';
import { metricsText } from './metrics.ts';
import type { ProbeContext } from './probe-context.ts';
import { readFlag, readInteger } from './query-parameters.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';
import { telemetryJson } from './telemetry.ts';

/** Clients read title and version to know whom they talk to; the sources of a build have no commit to name. */
const versionInfo = JSON.stringify({ title: 'qdrant - vector search engine', version: apiVersion, commit: '0'.repeat(40) });
const plain = 'text/plain; charset=utf-8';
const prometheusText = 'text/plain; version=0.0.4; charset=utf-8';

export function probeRoutes(context: ProbeContext): readonly RestRoute[] {
  const healthy = (call: RestCall): Promise<RestAnswer> => sendText(call, 'healthz check passed');
  return [
    { method: 'GET', path: '/', access: 'none', handle: (call) => sendText(call, versionInfo, 'application/json') },
    { method: 'GET', path: '/healthz', access: 'none', handle: healthy },
    { method: 'GET', path: '/livez', access: 'none', handle: healthy },
    {
      method: 'GET',
      path: '/readyz',
      access: 'none',
      handle: (call) => {
        const reason = context.writesRefused();
        if (reason === undefined && context.isReady()) return sendText(call, 'all shards are ready');
        call.reply.code(503);
        return sendText(call, `some shards are not ready${reason === undefined ? '' : `: ${reason}`}`);
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      access: 'read',
      timeout: 'read',
      handle: async (call) => {
        refusePerCollection(call);
        const anonymize = readFlag(call.query, 'anonymize', false);
        return sendText(call, await metricsText(context, { anonymize }), prometheusText);
      },
    },
    {
      method: 'GET',
      path: '/telemetry',
      access: 'read',
      timeout: 'read',
      handle: async (call) => {
        const { query } = call;
        refusePerCollection(call);
        const options = {
          detailsLevel: readInteger(query, 'details_level', { from: 0, fallback: 0 }),
          anonymize: readFlag(query, 'anonymize', false),
        };
        return { kind: 'result', value: await telemetryJson(context, options) };
      },
    },
  ];
}

/** Answers are counted for all collections together. */
function refusePerCollection({ query }: RestCall): void {
  if (readFlag(query, 'per_collection', false)) {
    throw new RequestError('bad-request', 'the parameter per_collection is not supported by this version');
  }
}

async function sendText({ reply }: RestCall, text: string, type = plain): Promise<RestAnswer> {
  await reply.type(type).send(text);
  return { kind: 'sent' };
}
