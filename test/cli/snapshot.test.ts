// `nearkeep snapshot` and `nearkeep verify` against a server process: results, exit codes, JSON lines, resumed downloads, flags at start.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import test from 'node:test';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call } from '../support/rest-client.ts';
import { cleanEnvironment, program, serveFolder, startServer } from '../support/server-process.ts';

interface Ended {
  readonly exit: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly lines: readonly Readonly<Record<string, unknown>>[];
}

/** With --json: every line of stdout is an object, the last one a result or an error as the exit code says, all before it progress. */
async function nearkeep(args: readonly string[], options: { readonly input?: Buffer; readonly env?: Readonly<Record<string, string>>; readonly json?: boolean } = {}): Promise<Ended> {
  const json = options.json ?? true;
  const child = spawn(process.execPath, [program, ...args, ...(json ? ['--json'] : [])], { env: { ...cleanEnvironment(), ...options.env } });
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (piece: Buffer) => stdout.push(piece));
  child.stderr.on('data', (piece: Buffer) => stderr.push(piece));
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input);
  const exit = await new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  const out = Buffer.concat(stdout);
  const lines = json ? out.toString().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>) : [];
  if (json) {
    assert.deepEqual(lines.map(({ v }) => v), lines.map(() => 1));
    assert.deepEqual(lines.map(({ type }) => type), [...lines.slice(1).map(() => 'progress'), exit === 0 ? 'result' : 'error'], args.join(' '));
    if (exit !== 0) assert.equal(lines.at(-1)?.['exit'], exit);
  }
  return { exit, stdout: out, stderr: Buffer.concat(stderr).toString(), lines };
}

async function fill(url: string, collection: string, count: number): Promise<void> {
  await call(url, 'PUT', `/collections/${collection}`, { body: { vectors: { size: 4, distance: 'Dot' } } });
  const points = Array.from({ length: count }, (_, id) => ({ id, vector: [id, 1, 2, 3], payload: { n: id, text: 'x'.repeat(200) } }));
  assert.equal((await call(url, 'PUT', `/collections/${collection}/points?wait=true`, { body: { points } })).status, 200);
}

async function points(url: string, collection: string): Promise<unknown> {
  return ((await call(url, 'GET', `/collections/${collection}`)).result as { readonly points_count: unknown }).points_count;
}

test('create, list, download, inspect, verify, upload, recover, undo, delete', async () => {
  await using folder = await temporaryFolder();
  await using served = await serveFolder();
  const { url } = served.server;
  const at = ['--url', url];
  await fill(url, 'c', 50);
  const created = await nearkeep(['snapshot', 'create', 'c', ...at]);
  assert.equal(created.exit, 0, created.stderr);
  const made = created.lines.at(-1) as { readonly name: string; readonly size: number; readonly checksum: string; readonly ok: boolean };
  assert.equal(made.ok, true);
  const { name } = made;
  const listed = await nearkeep(['snapshot', 'list', 'c', ...at]);
  const items = (listed.lines.at(-1) ?? {})['items'] as readonly { readonly name: string }[];
  assert.deepEqual(items.map((each) => each.name), [name]);
  const file = path.join(folder.path, 'c.snapshot');
  const downloaded = await nearkeep(['snapshot', 'download', 'c', name, '-o', file, ...at]);
  assert.equal(downloaded.exit, 0, downloaded.stderr);
  assert.deepEqual(downloaded.lines.at(-1), { v: 1, type: 'result', ok: true, file, size: made.size, sha256: made.checksum, verified: true });
  assert.equal(downloaded.lines.at(-2)?.['bytes'], made.size, 'the last progress line is the end');
  assert.equal(createHash('sha256').update(readFileSync(file)).digest('hex'), made.checksum);
  assert.equal(downloaded.stderr, '', 'no bars without a terminal');
  assert.equal((await nearkeep(['snapshot', 'download', 'c', name, '-o', file, ...at])).exit, 2, 'a file that exists is not overwritten');
  const piped = await nearkeep(['snapshot', 'download', 'c', name, '-o', '-', ...at], { json: false });
  assert.ok(piped.stdout.equals(readFileSync(file)));
  for (const args of [[file], ['c', name, ...at]]) {
    const { collections } = (await nearkeep(['snapshot', 'inspect', ...args])).lines.at(-1) as { readonly collections: readonly { readonly name: string; readonly points: number }[] };
    assert.deepEqual(collections.map((each) => [each.name, each.points]), [['c', 50]]);
  }
  for (const deep of [[], ['--deep']]) {
    assert.equal((await nearkeep(['verify', '-', ...deep], { input: readFileSync(file) })).exit, 0);
    const report = (await nearkeep(['verify', 'c', ...deep, ...at])).lines.at(-1) as { readonly ok: boolean; readonly counts: { readonly points: number } };
    assert.deepEqual([report.ok, report.counts.points], [true, 50]);
  }
  const flipped = readFileSync(file);
  const place = Math.floor(flipped.length * 0.7);
  flipped[place] = (flipped[place] ?? 0) ^ 1;
  const unsound = await nearkeep(['verify', '-'], { input: flipped });
  assert.deepEqual([unsound.exit, unsound.lines.length, unsound.lines[0]?.['type'], unsound.lines[0]?.['code']], [4, 1, 'error', 'VERIFY_FAILED']);
  const { message, details } = unsound.lines[0] as { readonly message: string; readonly details: { readonly problems: readonly unknown[] } };
  assert.match(message, /^verification failed: \d+ problems?$/);
  assert.ok(details.problems.length > 0);
  const bad = path.join(folder.path, 'bad.snapshot');
  writeFileSync(bad, flipped);
  const refused = await nearkeep(['snapshot', 'upload', 'c', bad, ...at]);
  assert.deepEqual([refused.exit, refused.lines.at(-1)?.['code']], [4, 'VERIFY_FAILED'], refused.stderr);
  await call(url, 'POST', '/collections/c/points/delete?wait=true', { body: { points: [1, 2, 3] } });
  const dry = await nearkeep(['snapshot', 'upload', 'c', file, '--dry-run', ...at]);
  assert.deepEqual([dry.exit, dry.lines.at(-1)?.['dry_run'], await points(url, 'c')], [0, true, 47]);
  assert.equal((await nearkeep(['snapshot', 'upload', 'c', file, '--checksum', made.checksum, ...at])).exit, 0);
  assert.equal(await points(url, 'c'), 50);
  assert.equal((await nearkeep(['snapshot', 'undo', 'c', ...at])).exit, 0);
  assert.equal(await points(url, 'c'), 47);
  assert.equal((await nearkeep(['snapshot', 'upload', 'new', '-', ...at], { input: readFileSync(file) })).exit, 0);
  assert.equal((await nearkeep(['snapshot', 'recover', 'other', `file://${served.data}/snapshots/c/${name}`, ...at])).exit, 0);
  assert.deepEqual([await points(url, 'new'), await points(url, 'other')], [50, 50]);
  assert.equal((await nearkeep(['snapshot', 'delete', 'c', name, ...at])).exit, 2, 'not without --yes');
  assert.equal((await nearkeep(['snapshot', 'delete', 'c', name, '--dry-run', ...at])).exit, 0);
  assert.equal((await nearkeep(['snapshot', 'delete', 'c', name, '--yes', ...at])).exit, 0);
  assert.equal((await nearkeep(['snapshot', 'download', 'c', name, '-o', `${file}2`, ...at])).exit, 5);
});

test('shards and the whole storage', async () => {
  await using folder = await temporaryFolder();
  await using served = await serveFolder();
  const { url } = served.server;
  await fill(url, 'c', 20);
  for (const scope of [['--storage'], ['c', '--shard', '0']]) {
    const at = [...scope, '--url', url];
    const created = (await nearkeep(['snapshot', 'create', ...at])).lines.at(-1) as { readonly name: string };
    const file = path.join(folder.path, created.name);
    assert.equal((await nearkeep(['snapshot', 'download', ...scope, created.name, '-o', file, '--url', url])).exit, 0);
    await call(url, 'POST', '/collections/c/points/delete?wait=true', { body: { points: [1] } });
    assert.equal((await nearkeep(['snapshot', 'upload', ...scope, file, '--url', url])).exit, 0);
    assert.equal(await points(url, 'c'), 20);
    assert.equal((await nearkeep(['snapshot', 'delete', ...scope, created.name, '--yes', '--url', url])).exit, 0);
  }
});

test('exit codes: usage, rights, nothing there, nobody there', async () => {
  await using served = await serveFolder({ env: { QDRANT__SERVICE__API_KEY: 'full', QDRANT__SERVICE__READ_ONLY_API_KEY: 'reader' } });
  await using folder = await temporaryFolder();
  const at = ['--url', served.server.url];
  const keyFile = path.join(folder.path, 'key');
  writeFileSync(keyFile, 'full\n');
  for (const args of [['--help'], ['verify', '--help'], ['version'], ['health', ...at]]) {
    const { exit, lines } = await nearkeep(args);
    assert.deepEqual([exit, lines.length, lines[0]?.['ok']], [0, 1, true], args.join(' '));
  }
  const table: readonly (readonly [readonly string[], number, Readonly<Record<string, string>>?])[] = [
    [['burn'], 2], [['verify'], 2], [['health', '--wait', 'x'], 2], [['health', '--url', 'http://127.0.0.1:1'], 7], [['verify', `${keyFile}-no`], 5],
    [['snapshot', 'download', 'c', 'n', '-o', '-', ...at], 2], [['snapshot'], 2], [['snapshot', 'burn', 'c'], 2], [['snapshot', 'list'], 2], [['snapshot', 'list', 'c', '--url', 'ftp://x'], 2],
    [['snapshot', 'create', 'c', '--shard', 'x'], 2], [['snapshot', 'list', 'c', '--api-key-file', `${keyFile}-no`, ...at], 2],
    [['snapshot', 'list', 'c', ...at], 6], [['snapshot', 'create', 'c', ...at], 6, { NEARKEEP_API_KEY: 'reader' }],
    [['snapshot', 'list', 'c', ...at], 5, { NEARKEEP_API_KEY: 'reader' }], [['snapshot', 'list', 'c', '--api-key-file', keyFile, ...at], 5],
    [['snapshot', 'upload', 'c', `${keyFile}-no`, ...at], 5, { QDRANT_API_KEY: 'full' }],
    [['snapshot', 'list', 'c', '--url', 'http://127.0.0.1:1'], 7], [['verify', 'c', '--url', 'http://127.0.0.1:1'], 7],
    [['verify', 'c', ...at], 5, { NEARKEEP_API_KEY: 'full' }],
  ];
  for (const [args, exit, env] of table) {
    const ended = await nearkeep(args, env === undefined ? {} : { env });
    assert.equal(ended.exit, exit, `${args.join(' ')}: ${ended.stderr}`);
    assert.deepEqual([ended.lines.length, ended.lines.at(-1)?.['type'], ended.lines.at(-1)?.['exit']], [1, 'error', exit], args.join(' '));
  }
});

/** Forwards to a server, and cuts the first answer with a body after so many bytes. */
async function cuttingProxy(target: string, afterBytes: number): Promise<{ readonly url: string; readonly ranges: readonly (string | undefined)[]; close(): void }> {
  const ranges: (string | undefined)[] = [];
  const server = http.createServer((request, response) => {
    const forwarded = http.request(target + (request.url ?? ''), { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      if (request.url?.endsWith('.snapshot') !== true) {
        answer.pipe(response);
        return;
      }
      ranges.push(request.headers.range);
      let sent = 0;
      answer.on('data', (piece: Buffer) => {
        sent += piece.length;
        response.write(piece);
        if (ranges.length === 1 && sent > afterBytes) response.destroy();
      });
      answer.on('end', () => response.end());
    });
    forwarded.on('error', () => response.destroy());
    request.pipe(forwarded);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ranges,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('a download that is cut goes on where it was; another archive begins anew; a wrong byte is found', async () => {
  await using folder = await temporaryFolder();
  await using served = await serveFolder();
  const { url } = served.server;
  await fill(url, 'c', 5000);
  const made = (await nearkeep(['snapshot', 'create', 'c', '--url', url])).lines.at(-1) as { readonly name: string; readonly size: number; readonly checksum: string };
  const proxy = await cuttingProxy(url, 300_000);
  try {
    const file = path.join(folder.path, 'x.snapshot');
    const ended = await nearkeep(['snapshot', 'download', 'c', made.name, '-o', file, '--url', proxy.url]);
    assert.equal(ended.exit, 0, ended.stderr);
    assert.match(ended.stderr, /trying again/);
    assert.equal(proxy.ranges.length, 2);
    assert.match(proxy.ranges[1] ?? '', /^bytes=[1-9]\d*-$/);
    assert.equal(createHash('sha256').update(readFileSync(file)).digest('hex'), made.checksum);
    assert.ok(!existsSync(`${file}.part`) && !existsSync(`${file}.part.etag`));
    const whole = readFileSync(file);
    const again = path.join(folder.path, 'y.snapshot');
    const download = (): Promise<Ended> => nearkeep(['snapshot', 'download', 'c', made.name, '-o', again, '--force', '--url', proxy.url]);
    writeFileSync(`${again}.part`, whole);
    truncateSync(`${again}.part`, 100_000);
    writeFileSync(`${again}.part.etag`, '"of another archive"');
    assert.equal((await download()).exit, 0);
    assert.ok(readFileSync(again).equals(whole));
    const etag = (await fetch(`${url}/collections/c/snapshots/${made.name}`, { method: 'HEAD' })).headers.get('etag') ?? '';
    writeFileSync(`${again}.part`, Buffer.concat([whole.subarray(0, 1000), Buffer.alloc(1000, 0xff)]));
    writeFileSync(`${again}.part.etag`, etag);
    const wrong = await download();
    assert.deepEqual([wrong.exit, wrong.lines.at(-1)?.['code']], [4, 'VERIFY_FAILED']);
    assert.ok(!existsSync(`${again}.part`), 'what is wrong is not gone on with');
  } finally {
    proxy.close();
  }
});

test('--snapshot and --storage-snapshot restore before the server listens; existing names need --force-snapshot', async () => {
  await using folder = await temporaryFolder();
  await using served = await serveFolder();
  const { url } = served.server;
  await fill(url, 'c', 20);
  const files: string[] = [];
  for (const scope of [['c'], ['--storage']]) {
    const { name } = (await nearkeep(['snapshot', 'create', ...scope, '--url', url])).lines.at(-1) as { readonly name: string };
    const file = path.join(folder.path, name);
    assert.equal((await nearkeep(['snapshot', 'download', ...scope, name, '-o', file, '--url', url])).exit, 0);
    files.push(file);
  }
  const [one = '', all = ''] = files;
  const data = path.join(folder.path, 'data');
  const start = (...args: string[]): ReturnType<typeof startServer> => startServer({ data, args });
  const first = await start('--snapshot', `${one}:a`, '--snapshot', `${one}:b`);
  assert.deepEqual([await points(first.url, 'a'), await points(first.url, 'b')], [20, 20]);
  await first.stop();
  await assert.rejects(start('--snapshot', `${one}:a`), /Collection a already exists\. Use --force-snapshot to overwrite it\./);
  await assert.rejects(start('--snapshot', `${one}:x`, '--snapshot', `${one}.no:y`), /does not exist/);
  const second = await start('--storage-snapshot', all, '--force-snapshot', '--snapshot', `${one}:a`);
  const names = ((await call(second.url, 'GET', '/collections')).result as { readonly collections: readonly { readonly name: string }[] }).collections.map(({ name }) => name);
  assert.deepEqual(names.sort((a, b) => (a < b ? -1 : 1)), ['a', 'b', 'c']);
  await second.stop();
});
