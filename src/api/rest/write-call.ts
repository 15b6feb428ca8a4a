// What the routes that write have in common.
import type { WriteResult } from '../../command/write.ts';
import type { Engine } from '../../engine/engine.ts';
import type { WriteRequest } from './decode-points.ts';
import { tellPlaces, writeOptions } from './point-options.ts';
import type { RestAnswer, RestCall } from './route.ts';

/** Query parameters and the body are read before anything is written. Answers `UpdateResult`. */
export async function writeCall(engine: Pick<Engine, 'write'>, call: RestCall, decode: () => Promise<WriteRequest>): Promise<RestAnswer> {
  const options = writeOptions(call.query);
  const { operation, ...of } = await decode();
  const result = await engine.write(collectionOf(call), operation, { ...options, ...of });
  tellPlaces(call, result.places);
  return { kind: 'result', value: updateResult(result) };
}

export function collectionOf(call: RestCall): string {
  return call.params['collection'] ?? '';
}

/** `UpdateResult`. An operation that reached no shard has no `operation_id`. */
export function updateResult(result: WriteResult): Readonly<Record<string, unknown>> {
  return { ...(result.operationId === null ? {} : { operation_id: result.operationId }), status: result.status };
}
