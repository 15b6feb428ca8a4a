// What a machine can check of the documents: links, names of files and folders, shell blocks, configuration keys, metrics, titles of
// tests. Tables of codes have their tests beside the code (base/errors.test.ts, cli/exit-codes.test.ts).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { flatten, resolveConfig } from '../../src/server/config.ts';
import { call } from '../support/rest-client.ts';
import { root, serveFolder } from '../support/server-process.ts';

const textOf = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const documents = [...readdirSync(root), ...readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`)]
  .filter((name) => name.endsWith('.md'))
  .sort();
/** Their sentences name folders with a slash at the end; the others also show folders of data. */
const mapped = new Set(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'docs/hacking.md']);
const skippedFolders = /^(node_modules|dist|build|\..*)$/;

function filesBelow(folder: string): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) return skippedFolders.test(entry.name) ? [] : filesBelow(name);
    return [name];
  });
}

const files = filesBelow('.');
const baseNames = new Set(files.map((file) => path.basename(file)));

/** Code spans outside of fenced blocks. */
function codeSpans(text: string): string[] {
  return Array.from(text.replace(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`\n]+)`/g), ([, span = '']) => span);
}

/** As GitHub makes it of a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

function anchorsOf(file: string): Set<string> {
  return new Set(Array.from(textOf(file).matchAll(/^#{1,6} (.*)$/gm), ([, heading = '']) => anchorOf(heading)));
}

/** The text below a heading of the second level, up to the next. */
function sectionOf(file: string, heading: string): string {
  return (
    textOf(file)
      .split(/^## /m)
      .find((section) => section.startsWith(`${heading}\n`)) ?? ''
  );
}

function hasSource(name: string): boolean {
  return ['', 'src/'].some((prefix) => files.includes(prefix + name)) || (!name.includes('/') && baseNames.has(name));
}

for (const document of documents) {
  test(`${document}: every relative link leads somewhere`, () => {
    for (const [, target = ''] of textOf(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [place = '', anchor] = target.split('#');
      const file = place === '' ? document : path.posix.join(path.posix.dirname(document), place);
      assert.ok(existsSync(path.join(root, file)), `${target} in ${document}`);
      if (anchor !== undefined) assert.ok(anchorsOf(file).has(anchor), `#${anchor} of ${file}, in ${document}`);
    }
  });

  test(`${document}: every source file it names exists`, () => {
    for (const span of codeSpans(textOf(document))) {
      if (/^[\w./-]+\.(ts|mjs|cc|h|py|md|jsonl|f16)$/.test(span) && !span.startsWith('x.'))
        assert.ok(hasSource(span), `\`${span}\` in ${document}`);
      if (!mapped.has(document) || !/^(?!dist\/|build\/)[\w./-]+\/$/.test(span)) continue;
      assert.ok(
        files.some((file) => `/${file}`.includes(`/${span}`)),
        `folder \`${span}\` in ${document}`,
      );
    }
  });

  test(`${document}: shell blocks are shell`, () => {
    for (const [, block = ''] of textOf(document).matchAll(/^```sh\n([\s\S]*?)^```$/gm)) {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: block, encoding: 'utf8' });
      assert.equal(status, 0, `${stderr}\n${block}`);
    }
  });
}

test('npm scripts that documents name exist', () => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
  for (const document of documents) {
    for (const [, name = ''] of textOf(document).matchAll(/\bnpm run ([a-z0-9:]+)/g))
      assert.ok(name in scripts, `npm run ${name} in ${document}`);
  }
});

test('ARCHITECTURE.md describes every layer that exists', () => {
  const described = Array.from(textOf('ARCHITECTURE.md').matchAll(/^\| `(\w+)\/` \|/gm), ([, name = '']) => name);
  const present = readdirSync(path.join(root, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  assert.deepEqual(new Set(described), new Set(present));
});

test('every contract suite stands in ARCHITECTURE.md', () => {
  const text = textOf('ARCHITECTURE.md');
  for (const file of files.filter((name) => name.startsWith('src/') && name.endsWith('.contract.ts')))
    assert.ok(text.includes(`\`${file.slice('src/'.length)}\``), file);
});

test('docs/operations.md has every configuration key with its default', () => {
  const rows = new Map(
    Array.from(textOf('docs/operations.md').matchAll(/^\| `([a-z_.\d]+)` \| ([^|]+) \| [^|]*\|$/gm), ([, key, fallback = '']) => [
      key,
      fallback.trim().replaceAll('`', ''),
    ]),
  );
  const words = new Map<unknown, string>([
    [undefined, 'unset'],
    ['', 'empty'],
  ]);
  const shown = (value: unknown): string =>
    words.get(value) ?? (typeof value === 'string' ? value : JSON.stringify(value).replace('[]', 'none'));
  const keys = [...flatten(resolveConfig([]).config)];
  assert.ok(keys.length >= 36, 'the configuration shows all its keys');
  for (const [key, value] of keys) assert.equal(rows.get(key), shown(value), key);
});

test('docs/operations.md names the keys without effect, each with the reason that the server gives', () => {
  const block = /withoutEffect[^{]*\{([\s\S]*?)\n\};/.exec(textOf('src/server/config.ts'))?.[1] ?? '';
  const keys = Array.from(block.matchAll(/^ {2}\[?'?([a-z_.]+)'?\]?: '/gm), ([, key = '']) => key);
  assert.ok(keys.length > 10, 'the table was found in the source');
  const text = textOf('docs/operations.md');
  for (const key of keys) {
    const [warning = ''] = resolveConfig([{ origin: 'a test', values: new Map([[key, 'x']]) }]).warnings;
    const reason = warning.replace(`${key} (a test) has no effect: `, '');
    assert.ok(text.includes(`| \`${key}\` | ${reason} |`), `${key}: ${reason}`);
  }
});

test('docs/operations.md names every metric, and no other', {
  skip: process.platform === 'linux' ? false : 'some are of Linux only',
}, async () => {
  await using served = await serveFolder();
  const { url } = served.server;
  await call(url, 'PUT', '/collections/c', { body: { vectors: { size: 2, distance: 'Dot' } } }); // families without a sample are left out
  const { text } = await call(url, 'GET', '/metrics');
  const families = Array.from(text.matchAll(/^# TYPE (\S+) /gm), ([, name]) => name);
  const section = sectionOf('docs/operations.md', 'Metrics');
  const listed = Array.from(section.matchAll(/^\| (`[^|]+) \|/gm), ([, cell = '']) =>
    Array.from(cell.matchAll(/`([a-z_]+)`/g), ([, name]) => name),
  ).flat();
  assert.ok(families.length > 20, text);
  assert.deepEqual(new Set(listed), new Set(families));
});

test('docs/operations.md names the log lines as the code has them', () => {
  const section = sectionOf('docs/operations.md', 'Logs');
  const messages = Array.from(section.matchAll(/^\| `([^`]+)` \|/gm), ([, message = '']) => message);
  const product = files
    .filter((file) => /^src\/.*(?<!\.test)\.ts$/.test(file))
    .map(textOf)
    .join('\n');
  assert.ok(messages.length >= 6);
  for (const message of messages) assert.ok(product.includes(`'${message}'`), message);
});

for (const [document, quotedMin] of [['docs/snapshots.md', 16], ['docs/security.md', 30]] as const) {
  test(`tests that ${document} quotes exist under that title`, () => {
    let quoted = 0;
    for (const part of textOf(document).split(/;\s|\|/)) {
      const file = /`((?:src|test)\/[\w./-]+\.ts)`/.exec(part)?.[1];
      if (file === undefined) continue;
      for (const [, title = ''] of part.matchAll(/"([^"]{12,})"/g)) {
        quoted += 1;
        assert.ok(textOf(file).includes(title), `"${title}" in ${file}`);
      }
    }
    assert.ok(quoted >= quotedMin, `${quoted} titles were found`);
  });
}

test('docs/security.md has every advisory row, with a test or the reason why there is none', () => {
  const rows = new Map(Array.from(textOf('docs/security.md').matchAll(/^\| (\d\d) \|.*\| (.*) \|$/gm), ([, row = '', proof = '']) => [row, proof]));
  assert.equal(rows.size, 33);
  for (const [row, proof] of rows) assert.match(proof, /`(src|test)\/|^does not apply: |\brows? \d\d/, row);
  const named = files
    .filter((file) => /^(src|test)\/.*\.ts$/.test(file))
    .flatMap((file) => Array.from(textOf(file).matchAll(/\badvisory (\d\d(?:\/\d\d)*)[:,)]/g), ([, list = '']) => list.split('/')))
    .flat();
  assert.ok(new Set(named).size > 15);
  for (const row of named) assert.doesNotMatch(rows.get(row) ?? 'does not apply', /^does not apply/, `row ${row}`);
});

test('headers of our own stand in the documents, and no other', () => {
  const named = (text: string): readonly string[] => Array.from(text.matchAll(/x-nearkeep-[a-z]+/g), ([header]) => header);
  const sent = files.filter((file) => /^src\/api\/.*(?<!\.test)\.ts$/.test(file)).flatMap((file) => named(textOf(file)));
  const written = ['docs/cluster.md', 'docs/snapshots.md'].flatMap((file) => named(textOf(file)));
  assert.ok(sent.length >= 3);
  assert.deepEqual(new Set(written), new Set(sent));
});

test('docs/cluster.md has every priority, consistency and parameter of its own as the code does', () => {
  const section = (heading: string): string => sectionOf('docs/cluster.md', heading);
  const listIn = (file: string, pattern: RegExp): readonly string[] => Array.from(pattern.exec(textOf(file))?.[1]?.matchAll(/'(\w+)'/g) ?? [], ([, word = '']) => word);
  const rows = (heading: string): readonly string[] => Array.from(section(heading).matchAll(/^ *\| `(\w+)`/gm), ([, word = '']) => word);
  const priorities = listIn('src/api/rest/snapshot-options.ts', /const priorities[^=]*= \[([^\]]+)\]/);
  assert.equal(priorities.length, 3);
  assert.deepEqual(new Set(rows('Snapshots and restores')), new Set(priorities));
  const quorums = listIn('src/api/rest/point-options.ts', /const quorums = \[([^\]]+)\]/);
  const orderings = listIn('src/api/rest/point-options.ts', /const orderings = \[([^\]]+)\]/);
  assert.equal(quorums.length + orderings.length, 6);
  for (const word of [...quorums, ...orderings]) assert.match(section('Reads'), new RegExp(`\\b${word}\``), word);
  const places = listIn('src/api/rest/snapshots.ts', /const placeParameters = \[([^\]]+)\]/);
  assert.equal(places.length, 2);
  for (const parameter of places) assert.match(section('Snapshots of any node'), new RegExp(`\`\\?${parameter}=`), parameter);
});
