// /metrics in Prometheus' text format. Only families whose value is known; none is filled with a guess. Those of a cluster are left out on one node.
import { sha256Hex } from '../../base/checksum.ts';
import type { CollectionInfo } from '../../collection/collection-info.ts';
import { apiVersion } from '../../engine/version.ts';
import type { ProbeContext } from './probe-context.ts';
import { bucketSeconds, type RouteStats } from './response-stats.ts';

type Labels = Readonly<Record<string, string | number>>;

interface Sample {
  /** After the family's name: `_bucket`, `_sum`, `_count`. */
  readonly suffix?: string;
  readonly labels?: Labels;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export async function metricsText(context: ProbeContext, { anonymize }: { readonly anonymize: boolean }): Promise<string> {
  const { metricsPrefix } = context.settings;
  const families = [
    ...appFamilies(context),
    ...(await clusterFamilies(context)),
    ...collectionFamilies(context, anonymize),
    ...snapshotFamilies(context),
    ...responseFamilies(context.stats.all()),
    ...(await processFamilies(context)),
  ];
  return families
    .filter(({ samples }) => samples.length > 0)
    .map((family) => familyText(family, metricsPrefix))
    .join('');
}

/** The name of a collection, or a hash that tells collections apart without naming them. */
export function shownId(name: string, anonymize: boolean): string {
  return anonymize ? sha256Hex(name).slice(0, 16) : name;
}

function appFamilies({ engine }: ProbeContext): readonly Family[] {
  return [
    gauge('app_info', 'Name and version of the server', [
      { labels: { name: 'nearkeep', version: engine.version, api_version: apiVersion, kernel: engine.kernel }, value: 1 },
    ]),
    gauge('graphs_built', 'HNSW graphs built since the start', [{ value: engine.graphsBuilt }]),
    counter('graph_points_kept_total', 'Points whose links a build took over from the graph of a merged segment', engine.graphPointsKept),
    counter('graph_walks_total', 'Walks over HNSW graphs', engine.walked.walks),
    counter('graph_code_evaluations_total', 'Distances that walks computed from codes', engine.walked.codeEvaluations),
    counter('graph_row_evaluations_total', 'Distances that walks computed from rows', engine.walked.rowEvaluations),
    counter('graph_rescored_rows_total', 'Rows that were scored again after walks by codes', engine.walked.rescored),
    gauge('cluster_enabled', 'Whether the server runs as a cluster', [{ value: engine.cluster === undefined ? 0 : 1 }]),
  ];
}

async function clusterFamilies({ engine }: ProbeContext): Promise<readonly Family[]> {
  const { cluster } = engine;
  if (cluster === undefined) return [];
  const status = await cluster.status();
  const isWorking = status.error === undefined;
  const disagreements = engine.listCollections().flatMap((name) => cluster.collectionStatus(name).disagreements);
  return [
    gauge('cluster_peers_total', 'Nodes of the cluster', [{ value: status.peers.size }]),
    gauge('cluster_peers_up', 'Nodes that were heard lately, this one included', [{ value: status.up }]),
    gauge('cluster_term', 'Leaders of the metadata that this node has seen', [{ value: status.term }]),
    gauge('cluster_commit', 'Last change of the metadata that this node knows', [{ value: status.commit }]),
    gauge('cluster_pending_operations_total', 'Changes of the metadata under way', [{ value: status.pending }]),
    gauge('cluster_voter', 'Whether this node has a vote', [{ value: status.isVoter ? 1 : 0 }]),
    gauge('cluster_working_state', 'Whether the metadata has a leader', [{ value: isWorking ? 1 : 0 }]),
    gauge('cluster_disk_full', 'Whether the shards of this node take no writes because its disk is full', [{ value: cluster.isDiskFull ? 1 : 0 }]),
    gauge('cluster_shards_differing', 'Shards whose replicas differ, as far as this node has heard', [{ value: disagreements.length }]),
    gauge('cluster_shards_stopped', 'Those of them that take no writes until an operator has decided', [{ value: disagreements.filter(({ kind }) => kind === 'undecided').length }]),
    gauge('cluster_log_entries_missing', 'Entries that the streams of shards on this node count as missing', [{ value: status.missingEntries }]),
    gauge('cluster_message_send_failures', 'Calls to other nodes that failed since they last answered', [{ value: status.sendFailures.reduce((sum, { count }) => sum + count, 0) }]),
  ];
}

function collectionFamilies({ engine }: ProbeContext, anonymize: boolean): readonly Family[] {
  const infos = engine.listCollections().map((name) => engine.collectionInfo(name));
  const each = (value: (info: (typeof infos)[number]) => number): readonly Sample[] =>
    infos.map((info) => ({ labels: { id: shownId(info.name, anonymize) }, value: value(info) }));
  return [
    gauge('collections_total', 'Number of collections', [{ value: infos.length }]),
    gauge(
      'collection_points',
      'Points in each collection',
      each(({ points }) => points),
    ),
    gauge(
      'collection_active_replicas_min',
      'Lowest number of active replicas of a shard',
      each((info) => Math.min(...replicasOf(engine, info).map(({ active }) => active))),
    ),
    gauge(
      'collection_active_replicas_max',
      'Highest number of active replicas of a shard',
      each((info) => Math.max(...replicasOf(engine, info).map(({ active }) => active))),
    ),
    gauge(
      'collection_dead_replicas',
      'Replicas that do not work',
      each((info) => replicasOf(engine, info).reduce((sum, { dead }) => sum + dead, 0)),
    ),
    gauge(
      'collection_update_queue_length',
      'Writes that are durable but not applied yet',
      each(({ unappliedEntries }) => unappliedEntries),
    ),
    gauge(
      'collection_codes_memory_bytes',
      'Codes of graphs that are held in memory',
      each(({ codesBytes }) => codesBytes.memory),
    ),
    gauge(
      'collection_codes_mapped_bytes',
      'Codes of graphs that are mapped from files',
      each(({ codesBytes }) => codesBytes.mapped),
    ),
    gauge(
      'collection_disk_bytes',
      'Bytes of files in the data directory',
      each(({ diskBytes }) => diskBytes),
    ),
    {
      name: 'collection_damaged_graphs_total',
      type: 'counter',
      help: 'Graphs whose files were found damaged since the start',
      samples: each(({ damagedGraphsFound }) => damagedGraphsFound),
    },
  ];
}

interface ReplicaCounts {
  readonly active: number;
  readonly dead: number;
}

/** For each shard: in a cluster as its records say, on one node by whether the shard works. */
function replicasOf({ cluster }: ProbeContext['engine'], { name, shards }: CollectionInfo): readonly ReplicaCounts[] {
  const placed = cluster?.collectionStatus(name);
  if (placed === undefined) return shards.map(({ status }) => (status === 'red' ? { active: 0, dead: 1 } : { active: 1, dead: 0 }));
  return shards.map(({ id }) => {
    const states = [...placed.local, ...placed.remote].filter(({ shardId }) => shardId === id).map(({ state }) => state);
    return { active: states.filter((state) => state === 'Active').length, dead: states.filter((state) => state === 'Dead').length };
  });
}

function snapshotFamilies({ engine }: ProbeContext): readonly Family[] {
  const { creating, recovering, created } = engine.snapshots.counts();
  return [
    gauge('snapshot_creation_running', 'Snapshots being created', [{ value: creating }]),
    gauge('snapshot_recovery_running', 'Restores that run', [{ value: recovering }]),
    counter('snapshot_created_total', 'Snapshots created since the start', created),
  ];
}

function responseFamilies(stats: readonly RouteStats[]): readonly Family[] {
  const labels = ({ method, endpoint, status }: RouteStats): Labels => ({ method, endpoint, status });
  const each = (value: (route: RouteStats) => number): readonly Sample[] =>
    stats.map((route) => ({ labels: labels(route), value: value(route) }));
  return [
    { name: 'rest_responses_total', type: 'counter', help: 'Answers', samples: each(({ count }) => count) },
    gauge(
      'rest_responses_avg_duration_seconds',
      'Mean time to an answer',
      each(({ sumSeconds, count }) => sumSeconds / count),
    ),
    gauge(
      'rest_responses_min_duration_seconds',
      'Shortest time to an answer',
      each(({ minSeconds }) => minSeconds),
    ),
    gauge(
      'rest_responses_max_duration_seconds',
      'Longest time to an answer',
      each(({ maxSeconds }) => maxSeconds),
    ),
    {
      name: 'rest_responses_duration_seconds',
      type: 'histogram',
      help: 'Time to an answer',
      samples: stats.flatMap((route) => histogram(route, labels(route))),
    },
  ];
}

function histogram(route: RouteStats, labels: Labels): readonly Sample[] {
  let below = 0;
  const buckets = route.buckets.map((count, at): Sample => {
    below += count;
    return { suffix: '_bucket', labels: { ...labels, le: bucketSeconds[at] ?? '+Inf' }, value: below };
  });
  return [...buckets, { suffix: '_sum', labels, value: route.sumSeconds }, { suffix: '_count', labels, value: route.count }];
}

async function processFamilies(context: ProbeContext): Promise<readonly Family[]> {
  const { threads, openFiles, openMaps, diskFreeBytes } = await context.processFacts();
  const memory = process.memoryUsage();
  const usage = process.resourceUsage();
  const known = (value: number | undefined): readonly Sample[] => (value === undefined ? [] : [{ value }]);
  return [
    gauge('memory_resident_bytes', 'Resident memory', [{ value: memory.rss }]),
    gauge('memory_allocated_bytes', 'Heap in use and buffers', [{ value: memory.heapUsed + memory.external }]),
    gauge('disk_free_bytes', 'Room on the file system of the data directory', known(diskFreeBytes)),
    loopFamily(context),
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'CPU time of all threads, user and system',
      samples: [{ value: (usage.userCPUTime + usage.systemCPUTime) / 1e6 }],
    },
    gauge('process_threads', 'Threads', known(threads)),
    gauge('process_open_fds', 'Open file descriptors', known(openFiles)),
    gauge('process_open_mmaps', 'Memory mappings', known(openMaps)),
    {
      name: 'process_minor_page_faults_total',
      type: 'counter',
      help: 'Page faults without I/O',
      samples: [{ value: usage.minorPageFault }],
    },
    {
      name: 'process_major_page_faults_total',
      type: 'counter',
      help: 'Page faults with I/O',
      samples: [{ value: usage.majorPageFault }],
    },
  ];
}

function loopFamily({ takeLoopDelay }: ProbeContext): Family {
  const { p50Seconds, p99Seconds, maxSeconds } = takeLoopDelay();
  return gauge('event_loop_delay_seconds', 'How late the event loop was since the last scrape', [
    { labels: { quantile: '0.5' }, value: p50Seconds },
    { labels: { quantile: '0.99' }, value: p99Seconds },
    { labels: { quantile: '1' }, value: maxSeconds },
  ]);
}

function counter(name: string, help: string, value: number): Family {
  return { name, type: 'counter', help, samples: [{ value }] };
}

function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'gauge', help, samples };
}

function familyText({ name, type, help, samples }: Family, prefix: string): string {
  const full = prefix + name;
  const lines = samples.map(({ suffix = '', labels = {}, value }) => `${full}${suffix}${labelsText(labels)} ${value}\n`);
  return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join('')}`;
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${String(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
