// Routes that change what a collection's points carry: payload indexes and named vectors.
import { RequestError } from '../../base/errors.ts';
import type { VectorParams } from '../../command/collection-config.ts';
import type { WriteOperation } from '../../command/write.ts';
import { vectorNameProblem } from '../../command/names.ts';
import type { Engine } from '../../engine/engine.ts';
import { parseFieldSchema } from '../../payload/parse-field-schema.ts';
import { parseJsonPath } from '../../payload/json-path.ts';
import { DATATYPES, DISTANCES } from '../../vector/distance.ts';
import { readPath } from './decode-selectors.ts';
import type { RestCall, RestRoute } from './route.ts';
import {
  decodeBody, defined, noVariant, notSupported, optional, readCount, readVariant, required, violation, type WireValue,
} from './wire-value.ts';
import { writeCall } from './write-call.ts';

const vectorSizeMax = 65_536;

export function schemaRoutes({ engine }: { readonly engine: Pick<Engine, 'write'> }): readonly RestRoute[] {
  const route = (method: RestRoute['method'], path: string, decode: (call: RestCall) => Promise<WriteOperation>): RestRoute => ({
    method, path: `/collections/:collection${path}`, access: 'write', handle: (call) => writeCall(engine, call, async () => ({ operation: await decode(call) })),
  });
  return [
    route('PUT', '/index', (call) => decodeBody(call.body, decodeCreateIndex)),
    route('DELETE', '/index/:field', async (call) => ({ kind: 'drop-index', field: fieldInPath(call) })),
    route('PUT', '/vectors/:name', (call) => {
      const name = vectorNameInPath(call);
      return decodeBody(call.body, (body) => ({ kind: 'create-vector', name, params: readVectorParams(body) }));
    }),
    route('DELETE', '/vectors/:name', async (call) => ({ kind: 'drop-vector', name: vectorNameInPath(call) })),
  ];
}

function decodeCreateIndex(at: WireValue): WriteOperation {
  const field = readPath(required(at, 'field_name')).text;
  const schema = optional(at, 'field_schema', 'field_type');
  if (schema !== undefined) return { kind: 'create-index', field, schema: parseFieldSchema(schema.value) };
  throw new RequestError('bad-request', "Can't auto-detect field type, please specify `field_schema` in the request");
}

/** `{dense: {size, distance, datatype?}}`. */
function readVectorParams(of: WireValue): VectorParams {
  const sparse = optional(of, 'sparse');
  if (sparse !== undefined) throw notSupported(sparse, 'sparse vectors are');
  const at = optional(of, 'dense');
  if (at === undefined) throw noVariant(of, 'VectorNameConfig');
  const multi = optional(at, 'multivector_config');
  if (multi !== undefined) throw notSupported(multi, 'multi-vectors are');
  const datatype = optional(at, 'datatype');
  if (datatype?.value === 'turbo4') throw notSupported(datatype, 'vectors of datatype turbo4 are');
  return {
    size: readSize(required(at, 'size')),
    distance: readVariant(required(at, 'distance'), DISTANCES),
    ...defined({ datatype: datatype && readVariant(datatype, DATATYPES) }),
  };
}

function readSize(at: WireValue): number {
  const size = readCount(at);
  if (size < 1 || size > vectorSizeMax) violation(at, `value ${size} invalid, must be from 1 to ${vectorSizeMax}`);
  return size;
}

function fieldInPath(call: RestCall): string {
  const field = call.params['field'] ?? '';
  try {
    return parseJsonPath(field).text;
  } catch (error) {
    throw new RequestError('bad-format', `Deserialize error in path parameters: Invalid json path: '${field}'`, { cause: error });
  }
}

function vectorNameInPath(call: RestCall): string {
  const name = call.params['name'] ?? '';
  const problem = vectorNameProblem(name);
  if (problem !== undefined) throw new RequestError('validation', `Validation error in path parameters: [vector_name: ${problem}]`);
  return name;
}
