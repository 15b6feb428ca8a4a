// Routes that write, read, scroll and count points.
import { RequestError } from '../../base/errors.ts';
import { parsePointIdText } from '../../base/ids.ts';
import type { WriteOperation } from '../../command/write.ts';
import type { Engine } from '../../engine/engine.ts';
import {
  decodeBatchUpdate, decodeClearPayload, decodeDeletePayload, decodeDeletePoints, decodeDeleteVectors, decodeOverwritePayload,
  decodeSetPayload, decodeUpdateVectors, decodeUpsert, decodeWrite,
} from './decode-points.ts';
import { decodeCount, decodeRetrieve, decodeScroll } from './decode-reads.ts';
import { recordListPieces, recordPieces, scrollPieces } from './encode-points.ts';
import { readOptions, tellPlaces, writeOptions } from './point-options.ts';
import type { RestAnswer, RestCall, RestRoute } from './route.ts';
import { schemaRoutes } from './schema-routes.ts';
import { decodeBody, type WireValue } from './wire-value.ts';
import { collectionOf, updateResult, writeCall } from './write-call.ts';

export type PointEngine = Pick<Engine, 'write' | 'retrieve' | 'scroll' | 'count'>;
type Decode = (body: WireValue) => WriteOperation | Promise<WriteOperation>;

export function pointRoutes({ engine }: { readonly engine: PointEngine }): readonly RestRoute[] {
  const write = (method: RestRoute['method'], path: string, decode: Decode): RestRoute => ({
    method, path: `/collections/:collection/points${path}`, access: 'write', handle: (call) => writeCall(engine, call, () => decodeBody(call.body, (body) => decodeWrite(body, decode))),
  });
  const read = (method: RestRoute['method'], path: string, handle: RestRoute['handle']): RestRoute => ({
    method, path: `/collections/:collection/points${path}`, access: 'read', handle,
  });
  return [
    write('PUT', '', decodeUpsert),
    write('POST', '/delete', decodeDeletePoints),
    write('PUT', '/vectors', decodeUpdateVectors),
    write('POST', '/vectors/delete', decodeDeleteVectors),
    write('POST', '/payload', decodeSetPayload),
    write('PUT', '/payload', decodeOverwritePayload),
    write('POST', '/payload/delete', decodeDeletePayload),
    write('POST', '/payload/clear', decodeClearPayload),
    { method: 'POST', path: '/collections/:collection/points/batch', access: 'write', handle: (call) => writeBatch(engine, call) },
    read('GET', '/:id', (call) => getPoint(engine, call)),
    read('POST', '', (call) => retrieve(engine, call)),
    read('POST', '/scroll', (call) => scroll(engine, call)),
    read('POST', '/count', (call) => count(engine, call)),
    ...schemaRoutes({ engine }),
  ];
}

/** In order, each after the one before; the first that fails ends the batch, and those before it stay. */
async function writeBatch(engine: PointEngine, call: RestCall): Promise<RestAnswer> {
  const options = writeOptions(call.query);
  const requests = await decodeBody(call.body, decodeBatchUpdate);
  const results = [];
  for (const { operation, ...of } of requests) results.push(await engine.write(collectionOf(call), operation, { ...options, ...of }));
  tellPlaces(call, results.flatMap(({ places }) => places));
  return { kind: 'result', value: results.map(updateResult) };
}

async function getPoint(engine: PointEngine, call: RestCall): Promise<RestAnswer> {
  const options = readOptions(call);
  const text = call.params['id'] ?? '';
  const id = parsePointIdText(text);
  if (id === undefined) throw new RequestError('bad-input', `Can not recognize "${text}" as point id`);
  const [record] = await engine.retrieve(collectionOf(call), { ids: [id], selectors: { payload: { kind: 'all' }, vectors: { kind: 'all' } } }, options);
  if (record === undefined) throw new RequestError('not-found', `Point with id ${id} does not exists!`);
  return { kind: 'result-text', pieces: recordPieces(record) };
}

async function retrieve(engine: PointEngine, call: RestCall): Promise<RestAnswer> {
  const options = readOptions(call);
  const request = await decodeBody(call.body, decodeRetrieve);
  return { kind: 'result-text', pieces: recordListPieces(await engine.retrieve(collectionOf(call), request, options)) };
}

async function scroll(engine: PointEngine, call: RestCall): Promise<RestAnswer> {
  const options = readOptions(call);
  const request = await decodeBody(call.body, decodeScroll);
  return { kind: 'result-text', pieces: scrollPieces(await engine.scroll(collectionOf(call), request, options)) };
}

async function count(engine: PointEngine, call: RestCall): Promise<RestAnswer> {
  const options = readOptions(call);
  const request = await decodeBody(call.body, decodeCount);
  return { kind: 'result', value: { count: await engine.count(collectionOf(call), request, options) } };
}
