// Every field that a request of the API can have, by name: `CreateCollection.hnsw_config.m`. What many requests share stands once,
// under its own name (`Filter.must`), and lists and maps are marked: `Filter.min_should.conditions`, `VectorParams`, `.{name}.`, `[]`.
import type { ApiDescription } from './schemas.ts';

interface Schema {
  readonly $ref?: string;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
}

/** Beside the request schemas themselves. */
const sharedNames = [
  'BatchVectorStruct',
  'Condition',
  'Document',
  'Filter',
  'Image',
  'InferenceObject',
  'LookupLocation',
  'NamedVectorStruct',
  'Payload',
  'Prefetch',
  'QuantizationConfig',
  'QuantizationConfigDiff',
  'Query',
  'QueryInterface',
  'RecommendExample',
  'SearchParams',
  'ShardKeySelector',
  'SparseVector',
  'VectorInput',
  'VectorParams',
  'VectorStruct',
  'WithLookupInterface',
  'WithPayloadInterface',
  'WithVector',
];

/** In the order of the routes; what is shared follows its first use. */
export function requestFields({ routes, schemas }: ApiDescription): readonly string[] {
  const requests = routes.flatMap(({ request }) => (request !== null && Object.hasOwn(schemas, request) ? [request] : []));
  const shared = new Set([...requests, ...sharedNames]);
  const roots = new Set(requests);
  const fields = new Set<string>();
  const walk = (schema: Schema, path: string, within: readonly string[]): void => {
    const name = schema.$ref?.split('/').at(-1);
    if (name !== undefined && within.length > 0 && shared.has(name)) {
      roots.add(name);
      return;
    }
    if (name !== undefined && within.includes(name)) return;
    const inner = name === undefined ? schema : (schemas[name] as Schema);
    const around = name === undefined ? within : [...within, name];
    for (const variant of [...(inner.anyOf ?? []), ...(inner.oneOf ?? []), ...(inner.allOf ?? [])]) walk(variant, path, around);
    if (inner.items !== undefined) walk(inner.items, `${path}[]`, around);
    for (const [key, member] of Object.entries(inner.properties ?? {})) {
      fields.add(`${path}.${key}`);
      walk(member, `${path}.${key}`, around);
    }
    if (typeof inner.additionalProperties === 'object') walk(inner.additionalProperties, `${path}.{name}`, around);
  };
  for (const root of roots) walk({ $ref: root }, root, []); // grows while it is walked
  return [...fields];
}

/** `PUT /collections/{collection_name}?timeout`. */
export function queryParameters({ routes }: ApiDescription): readonly string[] {
  return routes.flatMap(({ method, path, query }) => query.map(({ name }) => `${method} ${path}?${name}`));
}
