// All routes of the REST API.
import { aliasRoutes } from './aliases.ts';
import { clusterRoutes } from './cluster.ts';
import { collectionRoutes } from './collections.ts';
import { pointRoutes } from './points.ts';
import { jobRoutes } from './jobs.ts';
import type { ProbeContext } from './probe-context.ts';
import { probeRoutes } from './probes.ts';
import type { RestRoute } from './route.ts';
import { searchRoutes } from './search.ts';
import { shardKeyRoutes } from './shard-keys.ts';
import { shardSnapshotRoutes } from './snapshot-shards.ts';
import { snapshotRoutes } from './snapshots.ts';

export function restRoutes(context: ProbeContext): readonly RestRoute[] {
  return [
    ...probeRoutes(context),
    ...collectionRoutes(context),
    ...clusterRoutes(context),
    ...shardKeyRoutes(context),
    ...aliasRoutes(context),
    ...snapshotRoutes(context),
    ...shardSnapshotRoutes(context),
    ...jobRoutes(context),
    ...pointRoutes(context),
    ...searchRoutes(context),
  ];
}
