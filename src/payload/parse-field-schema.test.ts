import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIELD_TYPES } from './field-schema.ts';
import { parseFieldSchema } from './parse-field-schema.ts';

for (const type of FIELD_TYPES) {
  test(`schema ${type} by name and as an object`, () => {
    assert.deepEqual(parseFieldSchema(type), { type });
    const params = { type, on_disk: true, memory: 'pinned', enable_hnsw: null, unknown: 1 };
    assert.deepEqual(parseFieldSchema(params), { type, params });
  });
}

const refused: readonly (readonly [unknown, string, string])[] = [
  [
    'words',
    'bad-format',
    'Format error in JSON body: unknown variant `words`, expected one of `keyword`, `integer`, `float`, `geo`, `text`, `bool`, `datetime`, `uuid`',
  ],
  ['text', 'bad-input', 'text index is not supported by this version'],
  [{ type: 'geo' }, 'bad-input', 'geo index is not supported by this version'],
  [{}, 'bad-format', 'Format error in JSON body: missing field `type`'],
  [5, 'bad-format', 'Format error in JSON body: invalid type: integer `5`, expected a field type or an object with `type`'],
  [{ type: 5 }, 'bad-format', 'Format error in JSON body: invalid type: integer `5`, expected a field type'],
  [
    { type: 'integer', range: 'yes' },
    'bad-format',
    'Format error in JSON body: range: invalid type: string "yes", expected a boolean',
  ],
  [
    { type: 'bool', memory: 'hot' },
    'bad-format',
    'Format error in JSON body: memory: unknown variant string "hot", expected one of `cold`, `cached`, `pinned`',
  ],
  [
    { type: 'integer', range: false, lookup: false },
    'validation',
    "Validation error in JSON body: [field_schema.lookup: Validation error: the 'lookup' and 'range' capabilities can't be both disabled [{}]]",
  ],
];

for (const [json, code, message] of refused) {
  test(`no schema: ${JSON.stringify(json)}`, () => {
    assert.throws(() => parseFieldSchema(json), { code, message });
  });
}

test('a flag of another type is ignored', () => {
  assert.equal(parseFieldSchema({ type: 'float', lookup: 'yes' }).type, 'float');
});
