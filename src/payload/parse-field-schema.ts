// The schema of a payload index as requests give it: the type's name, or an object with `type` and parameters. Parameters are
// checked and kept as given; unknown ones are ignored, but stay visible.
import { RequestError } from '../base/errors.ts';
import { describeValue, formatError } from './format-error.ts';
import { FIELD_TYPES, type FieldSchema, type FieldType } from './field-schema.ts';
import { isJsonObject, type JsonObject } from './json-path.ts';

const wireTypes = ['keyword', 'integer', 'float', 'geo', 'text', 'bool', 'datetime', 'uuid'];
const memories = ['cold', 'cached', 'pinned'];
const commonFlags = ['on_disk', 'enable_hnsw'];

const flags: Readonly<Record<FieldType, readonly string[]>> = {
  keyword: ['is_tenant', 'prefix'],
  integer: ['lookup', 'range', 'is_principal'],
  float: ['is_principal'],
  bool: [],
  uuid: ['is_tenant'],
  datetime: ['is_principal'],
};

/** @throws RequestError bad-format, or bad-input for a type that is not built */
export function parseFieldSchema(json: unknown): FieldSchema {
  if (typeof json === 'string') return { type: typeOf(json) };
  if (!isJsonObject(json))
    throw formatError(`invalid type: ${describeValue(json)}, expected a field type or an object with \`type\``);
  const type = typeOf(json['type']);
  checkParams(type, json);
  return { type, params: json };
}

function typeOf(json: unknown): FieldType {
  if (json === undefined) throw formatError('missing field `type`');
  if (typeof json !== 'string') throw formatError(`invalid type: ${describeValue(json)}, expected a field type`);
  const type = FIELD_TYPES.find((one) => one === json);
  if (type !== undefined) return type;
  if (wireTypes.includes(json)) throw new RequestError('bad-input', `${json} index is not supported by this version`);
  throw formatError(`unknown variant \`${json}\`, expected one of ${wireTypes.map((one) => `\`${one}\``).join(', ')}`);
}

function checkParams(type: FieldType, params: JsonObject): void {
  for (const name of [...commonFlags, ...flags[type]]) {
    const value = params[name];
    if (value !== undefined && value !== null && typeof value !== 'boolean') {
      throw formatError(`${name}: invalid type: ${describeValue(value)}, expected a boolean`);
    }
  }
  const memory = params['memory'];
  if (memory !== undefined && memory !== null && !memories.some((one) => one === memory)) {
    throw formatError(
      `memory: unknown variant ${describeValue(memory)}, expected one of ${memories.map((one) => `\`${one}\``).join(', ')}`,
    );
  }
  // Without either the index would answer nothing; Qdrant refuses it too.
  if (type === 'integer' && params['lookup'] === false && params['range'] === false) {
    const rule = "the 'lookup' and 'range' capabilities can't be both disabled";
    throw new RequestError('validation', `Validation error in JSON body: [field_schema.lookup: Validation error: ${rule} [{}]]`);
  }
}
