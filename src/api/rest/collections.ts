// Collections: list, create, show, change, delete.
import { turboVectors } from '../../command/quantization.ts';
import type { CollectionInfo } from '../../collection/collection-info.ts';
import { checkNewCollectionName } from './collection-name.ts';
import { decodeCreateCollection, decodeUpdateCollection } from './decode-collection-config.ts';
import type { RestContext } from './rest-context.ts';
import type { RestCall, RestRoute } from './route.ts';

export function collectionRoutes({ engine }: RestContext): readonly RestRoute[] {
  const nameOf = ({ params }: RestCall): string => params['collection'] ?? '';
  const one = '/collections/:collection';
  return [
    {
      method: 'GET',
      path: '/collections',
      access: 'read',
      handle: result(() => ({ collections: engine.listCollections().map((name) => ({ name })) })),
    },
    {
      method: 'GET',
      path: one,
      access: 'read',
      handle: result((call) => collectionInfoJson(engine.collectionInfo(nameOf(call)))),
    },
    {
      method: 'GET',
      path: `${one}/exists`,
      access: 'read',
      handle: result((call) => ({ exists: engine.collectionExists(nameOf(call)) })),
    },
    {
      method: 'PUT',
      path: one,
      access: 'manage',
      timeout: 'change',
      handle: result((call) => {
        checkNewCollectionName(nameOf(call));
        return engine.createCollection(nameOf(call), decodeCreateCollection(call.body));
      }),
    },
    {
      method: 'PATCH',
      path: one,
      access: 'manage',
      timeout: 'change',
      handle: result((call) => engine.updateCollection(nameOf(call), decodeUpdateCollection(call.body))),
    },
    {
      method: 'DELETE',
      path: one,
      access: 'manage',
      timeout: 'change',
      handle: result((call) => engine.deleteCollection(nameOf(call))),
    },
  ];
}

/** A handler whose value is the `result` of the envelope. */
export function result(value: (call: RestCall) => unknown): RestRoute['handle'] {
  return async (call) => ({ kind: 'result', value: await value(call) });
}

function collectionInfoJson(info: CollectionInfo): unknown {
  const warnings = [...info.awaitedShards.map(awaitedWarning), ...[...info.scannedVectors].map(scanWarning), ...[...info.damagedGraphs].map(damageWarning), ...turboVectors(info.config).map(turboWarning)];
  return {
    status: info.status,
    optimizer_status: info.optimizerError === undefined ? 'ok' : { error: info.optimizerError },
    indexed_vectors_count: info.indexedVectors,
    points_count: info.points,
    segments_count: info.segments,
    config: info.config,
    payload_schema: payloadSchemaJson(info),
    update_queue: { length: info.unappliedEntries },
    ...(warnings.length === 0 ? {} : { warnings: warnings.map((message) => ({ message })) }),
  };
}

function awaitedWarning(shardId: number): string {
  return `shard ${shardId} is empty: the collection was created by a restore, and no snapshot that holds this shard has been uploaded yet`;
}

function scanWarning([name, rows]: readonly [string, number]): string {
  return `${rows} rows of ${shownVector(name)} are searched by exact scan: a graph over them would miss too many neighbours (dot products of very unequal lengths, or values beyond 1e15)`;
}

function damageWarning([name, rows]: readonly [string, number]): string {
  return `${rows} rows of ${shownVector(name)} are searched by exact scan until their graph is built again: its files were found damaged at the start; the log names them`;
}

function turboWarning(name: string): string {
  return `graphs of ${shownVector(name)} are walked by codes of 8 bits a component: this version has no codes of the form 'turbo'`;
}

function shownVector(name: string): string {
  return name === '' ? 'the vector' : `vector '${name}'`;
}

function payloadSchemaJson(info: CollectionInfo): unknown {
  return Object.fromEntries(
    [...info.payloadSchema].map(([field, { schema, points }]) => [
      field,
      { data_type: schema.type, ...(schema.params === undefined ? {} : { params: schema.params }), points },
    ]),
  );
}
