// /telemetry: a local page about this process, in the shape clients of the API know. It is never sent anywhere.
import os from 'node:os';
import type { CollectionInfo } from '../../collection/collection-info.ts';
import type { Engine } from '../../engine/engine.ts';
import { apiVersion } from '../../engine/version.ts';
import { clusterTelemetryJson, transferJson } from './cluster.ts';
import { shownId } from './metrics.ts';
import type { ProbeContext } from './probe-context.ts';
import type { ResponseStats } from './response-stats.ts';

type StateMark = ReturnType<NonNullable<Engine['cluster']>['collectionStatus']>['local'][number]['mark'];

export interface TelemetryOptions {
  /** 0: counts. 1: the system, collections in brief. From 2: configurations and shards. */
  readonly detailsLevel: number;
  /** Collections appear under a hash of their name. */
  readonly anonymize: boolean;
}

export async function telemetryJson(context: ProbeContext, options: TelemetryOptions): Promise<unknown> {
  const { engine, stats } = context;
  const names = engine.listCollections();
  const isDetailed = options.detailsLevel >= 1;
  return {
    id: String(engine.peerId),
    app: {
      name: 'nearkeep',
      version: apiVersion,
      startup: new Date(engine.startedAtMs).toISOString(),
      nearkeep: { version: engine.version, kernel: engine.kernel, node: process.version, graphs_built: engine.graphsBuilt },
      ...(isDetailed ? { features: features(), system: await system(context) } : {}),
    },
    collections: {
      number_of_collections: names.length,
      ...(isDetailed ? { collections: names.map((name) => collectionJson(engine, engine.collectionInfo(name), options)) } : {}),
      ...(isDetailed ? { snapshots: [snapshotsJson(context)] } : {}),
    },
    cluster: await clusterTelemetryJson(engine, { isDetailed }),
    ...(isDetailed ? { requests: { rest: { responses: responsesJson(stats) }, grpc: { responses: {} } } } : {}),
  };
}

function features(): Readonly<Record<string, boolean>> {
  return { debug: false, service_debug_feature: false, recovery_mode: false, gpu: false, rocksdb: false, staging: false };
}

async function system({ engine, processFacts }: ProbeContext): Promise<unknown> {
  const { isContainer } = await processFacts();
  return {
    distribution: os.platform(),
    distribution_version: os.release(),
    is_docker: isContainer,
    cores: os.availableParallelism(),
    ram_size: Math.floor(os.totalmem() / 1024),
    cpu_flags: engine.kernel,
    cpu_endian: os.endianness() === 'LE' ? 'little' : 'big',
  };
}

function collectionJson(engine: Engine, info: CollectionInfo, { detailsLevel, anonymize }: TelemetryOptions): unknown {
  const status = info.optimizerError === undefined ? 'ok' : { error: info.optimizerError };
  if (detailsLevel < 2)
    return {
      vectors: info.indexedVectors,
      optimizers_status: status,
      params: anonymize ? withoutNames(info) : info.config.params,
    };
  const placed = engine.cluster?.collectionStatus(info.name);
  return {
    id: shownId(info.name, anonymize),
    ...(anonymize ? {} : { config: { ...info.config, uuid: info.uuid } }),
    shards: shardsJson(engine, info),
    transfers: (placed?.transfers ?? []).map(transferJson),
  };
}

/** One row for each shard: what of it is here, and in a cluster where else it is. */
function shardsJson({ cluster }: Engine, { name, shards }: CollectionInfo): unknown {
  const placed = cluster?.collectionStatus(name);
  return shards.map(({ id, points, indexedVectors, status }) => {
    const here = placed?.local.find(({ shardId }) => shardId === id);
    const remote = placed?.remote.filter(({ shardId }) => shardId === id) ?? [];
    const states = [...(here === undefined ? [] : [[String(placed?.peerId), here.state]]), ...remote.map(({ peerId, state }) => [String(peerId), state])];
    return {
      id,
      // what lies in sealed segments now: there is no counter of all that was ever optimised
      ...(placed !== undefined && here === undefined ? {} : { local: { variant_name: 'local', status, num_points: here?.points ?? points, total_optimized_points: indexedVectors, ...stateJson(here?.mark) } }),
      remote: remote.map(({ peerId }) => ({ shard_id: id, peer_id: peerId })),
      replicate_states: Object.fromEntries(states) as unknown,
    };
  });
}

/** What the replica is now: equal on replicas that have taken in the same entries. */
function stateJson(mark: StateMark | undefined): object {
  return mark === undefined ? {} : { nearkeep: { applied: mark.seq, chain: mark.chain, digest: mark.digest.value, digest_from: mark.digest.from } };
}

/** Names of vectors are the user's words too. */
function withoutNames({ config }: CollectionInfo): unknown {
  return { ...config.params, vectors: {} };
}

/** For the whole node: counts are not kept per collection. */
function snapshotsJson({ engine }: ProbeContext): unknown {
  const { creating, recovering, created } = engine.snapshots.counts();
  return { id: 'all', running_snapshots: creating, running_snapshot_recovery: recovering, total_snapshot_creations: created };
}

function responsesJson(stats: ResponseStats): unknown {
  const routes: Record<string, Record<string, unknown>> = {};
  for (const { method, endpoint, status, count, sumSeconds, minSeconds, maxSeconds, lastAtMs } of stats.all()) {
    const statuses = (routes[`${method} ${endpoint}`] ??= {});
    statuses[String(status)] = {
      count,
      avg_duration_micros: (sumSeconds / count) * 1e6,
      min_duration_micros: minSeconds * 1e6,
      max_duration_micros: maxSeconds * 1e6,
      total_duration_micros: Math.round(sumSeconds * 1e6),
      last_responded: new Date(lastAtMs).toISOString(),
    };
  }
  return routes;
}
