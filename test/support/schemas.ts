// The API's own description as a judge of answers: every JSON answer that a test sees is held against the schema of its route.
// The description lies beside the project (or where NEARKEEP_SPEC says); without it nothing is judged and one line says so.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';

const folder = process.env['NEARKEEP_SPEC'] ?? path.resolve(import.meta.dirname, '../../../../shared/spec');

export interface RouteDescription {
  readonly method: string;
  readonly path: string;
  readonly request: string | null;
  readonly query: readonly { readonly name: string }[];
  readonly response: Readonly<Record<string, string | null>>;
}

type Json = Readonly<Record<string, unknown>>;

export interface ApiDescription {
  readonly routes: readonly RouteDescription[];
  readonly schemas: Readonly<Record<string, Json>>;
}

/** undefined where the description is not there. */
export function findApiDescription(): ApiDescription | undefined {
  const files = ['routes.json', 'schemas.json'].map((name) => path.join(folder, name));
  if (!files.every((file) => existsSync(file))) return undefined;
  const [routes, schemas] = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as unknown);
  return { routes: routes as RouteDescription[], schemas: schemas as Record<string, Json> };
}

export interface SeenAnswer {
  readonly method: string;
  /** Path without the query. */
  readonly path: string;
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Answers that the server of this API gives other than its own description says, and the dry run, which it does not have. */
function isBesideDescription({ path: url, status }: SeenAnswer, body: Json): boolean {
  if (status === 503) return body['status'] === 'already_in_progress';
  if (status !== 200) return false;
  if (/\/shards\/\d+\/snapshots\/upload$/.test(url)) return body['result'] === null;
  return /\/snapshots\/(?:upload|recover)$/.test(url) && typeof body['result'] === 'object' && body['result'] !== null && 'bytes_needed' in body['result'];
}

/** Throws where an answer is not of its route's shape. Answers of routes that the description lacks are not judged. */
export type JudgeAnswer = (answer: SeenAnswer) => void;

export function answerJudge(): JudgeAnswer {
  const description = findApiDescription();
  if (description === undefined) {
    process.stderr.write(`answers are not held against schemas: no ${folder}\n`);
    return () => undefined;
  }
  const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false });
  ajv.addSchema({ $id: 'api', components: { schemas: jsonSchema(description.schemas) } });
  const routes = description.routes.map((route) => ({ ...route, pattern: routePattern(route.path) }));
  const compiled = new Map<string, ValidateFunction | undefined>();
  const validatorOf = (name: string): ValidateFunction | undefined => {
    if (!compiled.has(name)) compiled.set(name, schemaOf(name, description.schemas, ajv));
    return compiled.get(name);
  };
  return (answer) => {
    if (!answer.contentType.includes('application/json')) return;
    const route = routes.find(({ method, pattern }) => method === answer.method && pattern.test(answer.path));
    const body = JSON.parse(answer.body) as Json;
    const where = `${answer.method} ${answer.path} → ${answer.status} ${answer.body.slice(0, 500)}`;
    if (isBesideDescription(answer, body)) return;
    if (answer.status >= 400) {
      assert.deepEqual(Object.keys(body), ['status', 'time'], where);
      assert.equal(typeof (body['status'] as Json | undefined)?.['error'], 'string', where);
    } else if (answer.status === 202) {
      assert.deepEqual([Object.keys(body), body['status']], [['status', 'time'], 'accepted'], where);
    } else if (route !== undefined && answer.path !== '/') {
      assert.deepEqual(Object.keys(body).slice(0, 3), ['result', 'status', 'time'], where);
      assert.equal(body['status'], 'ok', where);
    }
    if (answer.status !== 200 || route === undefined) return;
    const name = route.response['200'];
    const validate = name === null || name === undefined ? undefined : validatorOf(name);
    if (validate === undefined) return;
    const judged = answer.path === '/' ? body : body['result'];
    assert.ok(validate(judged), `${where}: ${ajv.errorsText(validate.errors)}`);
  };
}

function routePattern(route: string): RegExp {
  return new RegExp(`^${route.replaceAll(/\{[^}]+\}/g, '[^/]+')}/?$`);
}

function schemaOf(name: string, schemas: ApiDescription['schemas'], ajv: Ajv): ValidateFunction | undefined {
  if (name === 'boolean' || name === 'object') return ajv.compile({ type: name });
  if (name.endsWith('[]')) {
    const item = name.slice(0, -2);
    const items = item.endsWith('[]') ? { type: 'array', items: reference(item.slice(0, -2)) } : reference(item);
    return ajv.compile({ type: 'array', items });
  }
  return Object.hasOwn(schemas, name) ? ajv.compile(reference(name)) : undefined;
}

const reference = (name: string): Json => ({ $ref: `api#/components/schemas/${name}` });

/** OpenAPI 3.0 → JSON Schema: `nullable` becomes the type null, references point into the one document. */
function jsonSchema(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(jsonSchema);
  if (typeof value !== 'object' || value === null) return value;
  const { nullable, ...rest } = value as Record<string, unknown>;
  const converted = Object.fromEntries(Object.entries(rest).map(([key, member]) => [key, key === '$ref' ? `api${String(member)}` : jsonSchema(member)]));
  if (nullable !== true) return converted;
  return Object.keys(rest).length === 0 ? { type: 'null' } : { anyOf: [converted, { type: 'null' }] };
}
