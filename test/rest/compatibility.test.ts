// docs/compatibility.md is complete and true: every route, query parameter and request field of the API has its row, every test
// that a row names is in the sources, and everything that is said to be refused has its row in not-yet.ts.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { queryParameters, requestFields } from '../support/api-fields.ts';
import { findApiDescription } from '../support/schemas.ts';
import { root } from '../support/server-process.ts';
import { hasTitle } from '../support/test-titles.ts';

interface Row {
  readonly name: string;
  readonly state: string;
  readonly tests: readonly string[];
  readonly isRefused: boolean;
}

const page = readFileSync(path.join(root, 'docs/compatibility.md'), 'utf8');
const [routes, parameters, fields] = ['Routes', 'Query parameters', 'Request fields'].map(rowsOf);
const tests = new Map(
  sectionOf('Tests').flatMap((line) => {
    const [, name, file, title] = /^\| ([\w-]+) \| `([^`]+)` \| (.+) \|$/.exec(line) ?? [];
    return name === undefined || file === undefined || title === undefined ? [] : [[name, { file, title }] as const];
  }),
);
const all = [...(routes ?? []), ...(parameters ?? []), ...(fields ?? [])];

const description = findApiDescription();
const skip = description === undefined ? 'the API description (routes.json, schemas.json) is not there' : false;

test('compatibility: every route has one row', { skip }, () => {
  assert.deepEqual(
    routes?.map(({ name }) => name).toSorted(),
    description?.routes.map(({ method, path: at }) => `${method} ${at}`).toSorted(),
  );
});

test('compatibility: every query parameter of a route that is served has one row', { skip }, () => {
  assert.ok(description !== undefined);
  const served = new Set(routes?.filter(({ state }) => state !== 'not yet').map(({ name }) => name));
  const wanted = queryParameters(description).filter((parameter) => served.has(parameter.split('?')[0] ?? ''));
  assert.deepEqual(parameters?.map(({ name }) => name).toSorted(), wanted.toSorted());
});

test('compatibility: every field of a request has one row, its own or one of all below a field that is not served', {
  skip,
}, () => {
  assert.ok(description !== undefined);
  const wanted = requestFields(description);
  const exact = new Set(fields?.map(({ name }) => name).filter((name) => !name.endsWith('.*')));
  const below = fields?.filter(({ name }) => name.endsWith('.*')) ?? [];
  assert.deepEqual(
    below.filter(({ state }) => state !== 'not yet').map(({ name }) => name),
    [],
    'only what is not served is told at once',
  );
  const isBelow = (field: string): boolean =>
    below.some(({ name }) => [name.slice(0, -1), `${name.slice(0, -2)}[`].some((start) => field.startsWith(start)));
  assert.deepEqual(
    wanted.filter((field) => !exact.has(field) && !isBelow(field)),
    [],
    'fields without a row',
  );
  assert.deepEqual(
    [...exact].filter((field) => !wanted.includes(field)),
    [],
    'rows without a field',
  );
  assert.deepEqual(
    below.filter((row) => !wanted.some((field) => field.startsWith(row.name.slice(0, -2)))),
    [],
    'rows of no field',
  );
  assert.equal(exact.size + below.length, fields?.length, 'no row stands twice');
});

test('compatibility: each row has a state, and a test unless it is below one that is not served', () => {
  assert.ok(all.length > 400);
  for (const { name, state, tests: named, isRefused } of all) {
    assert.ok(['served', 'kept', 'checked', 'not yet'].includes(state), `${name}: ${state}`);
    assert.ok(state === 'not yet' || (named.length > 0 && !isRefused), `${name} is ${state} and no test says so`);
    for (const short of named) assert.ok(tests.has(short), `${name} names ${short}, which the last table lacks`);
  }
  const used = new Set(all.flatMap(({ tests: named }) => named));
  assert.deepEqual(
    [...tests.keys()].filter((short) => !used.has(short)),
    [],
    'tests that no row names',
  );
});

test('compatibility: every test that is named stands in the sources', () => {
  for (const { file, title } of tests.values()) {
    assert.ok(existsSync(path.join(root, file)), file);
    assert.ok(hasTitle(path.join(root, file), title), `${file} has no test "${title}"`);
  }
});

test('compatibility: everything that is refused has its row in not-yet.ts', () => {
  const file = path.join(root, 'test/rest/not-yet.ts');
  const refused = all.filter(({ isRefused }) => isRefused);
  assert.ok(refused.length > 50);
  for (const { name } of refused) {
    const isRoute = name.includes(' ');
    assert.ok(isRoute ? hasRoute(file, name) : hasTitle(file, name.replace(/\.\*$/, '')), `not-yet.ts has no row "${name}"`);
  }
});

/** Rows of routes stand there as method and path, with names filled in. */
function hasRoute(file: string, route: string): boolean {
  const [method = '', at = ''] = route.split(' ');
  const filled = at
    .replace('{collection_name}', 'c')
    .replace('{shard_id}', '0')
    .replace('{snapshot_name}', 'n')
    .replace('{key}', 'k')
    .replace('{peer_id}', '1');
  return readFileSync(file, 'utf8').includes(`['${method}', '${filled}', `);
}

function sectionOf(title: string): readonly string[] {
  const lines = page.split('\n');
  const start = lines.indexOf(`## ${title}`);
  assert.ok(start >= 0, `docs/compatibility.md has no section ${title}`);
  const end = lines.findIndex((line, at) => at > start && line.startsWith('## '));
  return lines.slice(start, end < 0 ? undefined : end);
}

function rowsOf(title: string): readonly Row[] {
  return sectionOf(title).flatMap((line) => {
    const [, name, state, cell = ''] = /^\| `([^`]+)` \| ([a-z ]+) \| ([^|]*)\| [^|]*\|$/.exec(line) ?? [];
    if (name === undefined || state === undefined) return [];
    const named = cell
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== '');
    return [{ name, state, tests: named.filter((one) => one !== 'refused'), isRefused: named.includes('refused') }];
  });
}
