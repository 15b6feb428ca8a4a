import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { NodeDisk } from '../fs/node-disk.ts';
import { isLoopback } from '../base/loopback.ts';
import { environmentSources, flatten, resolveConfig } from './config.ts';
import { refuseOpenServer } from './refuse-open-server.ts';
import { loadConfig, type ConfigInputs } from './load-config.ts';

const source = (values: Readonly<Record<string, unknown>>, origin = 'test') => ({
  origin,
  values: new Map(Object.entries(values)),
});

test('without any source the defaults hold', () => {
  const { config, warnings } = resolveConfig([]);
  assert.deepEqual(
    [config.service.host, config.service.http_port, config.service.max_request_size_mb, config.service.enable_cors],
    ['127.0.0.1', 6333, 32, false],
  );
  assert.deepEqual(
    [config.storage.storage_path, config.storage.snapshots_path, config.log_level, config.log_format],
    ['./storage', './snapshots', 'info', 'auto'],
  );
  assert.deepEqual(warnings, []);
});

test('later sources win, and null or an empty key is unset', () => {
  const { config } = resolveConfig([
    source({ 'service.http_port': 1, 'service.host': 'a', 'service.api_key': 'k' }),
    source({ 'service.http_port': 2 }),
    source({ 'service.host': null, 'service.api_key': '' }),
  ]);
  assert.deepEqual([config.service.http_port, config.service.host, config.service.api_key], [2, '127.0.0.1', undefined]);
});

test('NEARKEEP__ beats QDRANT__, and neither touches other variables', () => {
  const sources = environmentSources({
    NEARKEEP__SERVICE__HTTP_PORT: '7001',
    QDRANT__SERVICE__HTTP_PORT: '7000',
    QDRANT__SERVICE__API_KEY: 'k',
    PATH: '/bin',
    SERVICE__HOST: 'x',
  });
  const { config, warnings } = resolveConfig(sources);
  assert.deepEqual(
    [config.service.http_port, config.service.api_key, config.service.host, warnings],
    [7001, 'k', '127.0.0.1', []],
  );
});

test('texts of the environment become the type of their key', () => {
  const { config } = resolveConfig(
    environmentSources({
      QDRANT__SERVICE__ENABLE_CORS: 'true',
      NEARKEEP__SERVICE__CORS_ORIGINS: 'http://a, http://b',
      QDRANT__LOG_LEVEL: 'INFO',
      NEARKEEP__SERVICE__ALLOW_NO_KEY: '1',
    }),
  );
  assert.deepEqual(
    [config.service.enable_cors, config.service.cors_origins, config.log_level, config.service.allow_no_key],
    [true, ['http://a', 'http://b'], 'info', true],
  );
});

const bad: readonly [string, unknown, RegExp][] = [
  ['service.http_port', '70000', /service\.http_port from test must be an integer from 0 to 65535, not "70000"/],
  ['service.http_port', 1.5, /must be an integer/],
  ['service.enable_cors', 'maybe', /must be true or false, not "maybe"/],
  ['service.cors_origins', [1], /must be a list of texts/],
  ['service.host', { a: 1 }, /must be text/],
  ['log_format', 'xml', /log_format must be json, text or auto/],
  ['log_level', 'loud', /log_level must be/],
  ['service.jwt_rbac', 'true', /JWT access is not served by this version/],
  ['cluster.p2p.enable_tls', 'maybe', /must be true or false, not "maybe"/],
  ['storage.performance.incoming_shard_transfers_limit', 0, /must be an integer from 1 to 1000/],
  ['storage.node_type', 'Other', /storage\.node_type must be Normal or Listener/],
];
for (const [key, value, text] of bad) {
  test(`${key} = ${JSON.stringify(value)} refuses the start`, () => {
    assert.throws(() => resolveConfig([source({ [key]: value })]), { code: 'bad-request', message: text });
  });
}

const warned: readonly [string, unknown, RegExp][] = [
  ['service.grpc_port', 6334, /^service\.grpc_port \(test\) has no effect: gRPC/],
  ['cluster.consensus.tick_period_ms', 100, /has no effect in this version/],
  ['storage.performance.max_search_threads', 4, /has no effect in this version/],
  ['service.htpp_port', 1, /^unknown setting service\.htpp_port \(test\); did you mean service\.http_port\?/],
  ['http_port', 1, /did you mean service\.http_port\?/],
  ['nonsense', 1, /^unknown setting nonsense \(test\)$/],
];
for (const [key, value, text] of warned) {
  test(`${key} warns`, () => {
    const { warnings } = resolveConfig([source({ [key]: value })]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', text);
  });
}

test('a switch that is refused only when on is silent when off', () => {
  assert.deepEqual(resolveConfig([source({ 'service.jwt_rbac': false })]).warnings, []);
});

test('a YAML document becomes flat keys; lists stay', () => {
  assert.deepEqual(
    [...flatten({ service: { host: 'a', cors_origins: ['x'] }, log_level: 'warn', none: null })],
    [
      ['service.host', 'a'],
      ['service.cors_origins', ['x']],
      ['log_level', 'warn'],
      ['none', null],
    ],
  );
  assert.equal(flatten('text').size, 0);
});

test('loopback is told from the rest', () => {
  for (const host of ['localhost', '127.0.0.1', '127.9.9.9', '::1', '[::1]']) assert.equal(isLoopback(host), true, host);
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example', 'localhost.example'])
    assert.equal(isLoopback(host), false, host);
});

const hosts: readonly [string, Readonly<Record<string, unknown>>, boolean][] = [
  ['loopback without a key', { 'service.host': '127.0.0.1' }, true],
  ['every address without a key', { 'service.host': '0.0.0.0' }, false],
  ['every IPv6 address without a key', { 'service.host': '::' }, false],
  ['every address with an empty key', { 'service.host': '0.0.0.0', 'service.api_key': '' }, false],
  ['every address with a key', { 'service.host': '0.0.0.0', 'service.api_key': 'k' }, true],
  ['every address with a read-only key', { 'service.host': '0.0.0.0', 'service.read_only_api_key': 'k' }, true],
  ['every address, asked for', { 'service.host': '0.0.0.0', 'service.allow_no_key': 'true' }, true],
];
for (const [title, values, isAllowed] of hosts) {
  test(`${title} ${isAllowed ? 'starts' : 'refuses the start and shows a key'}`, () => {
    const start = (): void => refuseOpenServer(resolveConfig([source(values)]).config);
    if (isAllowed) assert.doesNotThrow(start);
    else
      assert.throws(start, {
        code: 'bad-request',
        message: /refusing to listen on [^]*QDRANT__SERVICE__API_KEY=[\w-]{24}\n[^]*NEARKEEP__SERVICE__ALLOW_NO_KEY=true/,
      });
  });
}

async function folder(
  t: TestContext,
  files: Readonly<Record<string, string>>,
): Promise<(inputs?: Partial<ConfigInputs>) => ReturnType<typeof loadConfig>> {
  const workingDirectory = await mkdtemp(path.join(os.tmpdir(), 'nearkeep-config-'));
  t.after(() => rm(workingDirectory, { recursive: true }));
  await mkdir(path.join(workingDirectory, 'config'));
  for (const [name, content] of Object.entries(files)) await writeFile(path.join(workingDirectory, name), content);
  return (inputs = {}) =>
    loadConfig({ disk: new NodeDisk(), workingDirectory, environment: {}, configPath: undefined, flags: new Map(), ...inputs });
}

test('files, then --config-path, then the environment, then flags', async (t) => {
  const port = (value: number): string => `service:\n  http_port: ${value}\n`;
  const load = await folder(t, {
    'config/config.yaml': port(1),
    'config/development.yaml': port(2),
    'config/staging.yaml': port(3),
    'config/local.yaml': '',
    'nearkeep.yaml': '',
    'own.yaml': port(6),
  });
  const portOf = async (inputs?: Partial<ConfigInputs>): Promise<number> => (await load(inputs)).config.service.http_port;
  assert.equal(await portOf(), 2);
  assert.equal(await portOf({ environment: { RUN_MODE: 'staging' } }), 3);
  assert.equal(await portOf({ configPath: 'own.yaml' }), 6);
  assert.equal(await portOf({ configPath: 'own.yaml', environment: { QDRANT__SERVICE__HTTP_PORT: '7' } }), 7);
  assert.equal(
    await portOf({ environment: { QDRANT__SERVICE__HTTP_PORT: '7' }, flags: new Map([['service.http_port', '8']]) }),
    8,
  );
  const later = await folder(t, { 'config/config.yaml': port(1), 'config/local.yaml': port(4), 'nearkeep.yaml': port(5) });
  assert.equal((await later()).config.service.http_port, 5);
});

test('an absent --config-path and broken YAML say which file', async (t) => {
  const load = await folder(t, { 'nearkeep.yaml': 'service: [' });
  await assert.rejects(load(), { code: 'bad-request', message: /^nearkeep\.yaml is not valid YAML/ });
  const empty = await folder(t, {});
  await assert.rejects(empty({ configPath: 'none.yaml' }), { message: /configuration file none\.yaml does not exist/ });
});
