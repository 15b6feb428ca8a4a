// All routes of the REST API.
import { aliasRoutes } from './aliases.ts';
import { collectionRoutes } from './collections.ts';
import { probeRoutes, type ProbeContext } from './probes.ts';
import type { RestRoute } from './route.ts';
import { snapshotRoutes } from './snapshots.ts';

export function restRoutes(context: ProbeContext): readonly RestRoute[] {
  return [...probeRoutes(context), ...collectionRoutes(context), ...aliasRoutes(context), ...snapshotRoutes(context)];
}
