import assert from 'node:assert/strict';
import test from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { RequestError } from '../base/errors.ts';
import { temporaryFolder } from '../fs/testing/temporary-folder.ts';
import { MANIFEST_BYTES_MAX, manifestOf } from './manifest.ts';
import { parseManifest } from './manifest-parse.ts';
import { makeArchive } from './testing/archives.ts';

type Json = Record<string, unknown>;
type Change = (document: Json, collection: Json, shard: Json) => void;

test('a manifest that was written reads back equal', async () => {
  await using folder = await temporaryFolder();
  const { sealed } = await makeArchive(folder.path);
  assert.deepEqual(await parseManifest(sealed.text), sealed);
  assert.equal(sealed.sha256, sha256Hex(sealed.text));
  assert.deepEqual([...sealed.manifest.collections[0]!.payloadSchema.keys()], ['city', '__proto__']);
});

test('unknown fields of a later minor format are ignored', async () => {
  await using folder = await temporaryFolder();
  const { sealed } = await makeArchive(folder.path);
  const document = JSON.parse(sealed.text.toString()) as Json;
  document['format_version'] = 2;
  document['later'] = { any: 'thing' };
  assert.deepEqual((await parseManifest(Buffer.from(JSON.stringify(document)))).manifest, sealed.manifest);
});

/** Three keys: of the two shards in the file, and of one on another node. */
function makeCustom(collection: Json): void {
  paramsOf(collection)['sharding_method'] = 'custom';
  const map = collection['shard_map'] as Json;
  map['shards'] = [{ id: 0, key: '"eu"', replicas: [42] }, { id: 1, key: '18446744073709551615', replication_factor: 2, replicas: [42] }, { id: 5, key: '"7"', replicas: [] }];
}
const mapped = (collection: Json, at: number): Json => ((collection['shard_map'] as Json)['shards'] as Json[])[at]!;

test('under custom sharding the keys of all shards are read back, also of those that are elsewhere', async () => {
  await using folder = await temporaryFolder();
  const { sealed } = await makeArchive(folder.path);
  const document = JSON.parse(sealed.text.toString()) as Json;
  makeCustom((document['collections'] as Json[])[0]!);
  const { manifest } = await parseManifest(Buffer.from(JSON.stringify(document)));
  const shardKeys = [{ id: 0, key: '"eu"' }, { id: 1, key: '18446744073709551615', factor: 2 }, { id: 5, key: '"7"' }];
  assert.deepEqual(manifest.collections[0]?.shardKeys, shardKeys);
  const frozen = await manifestOf(manifest.collections.map((collection) => ({ ...collection, shards: [], release: () => undefined })), { ...manifest, productVersion: '0.1.0' });
  assert.deepEqual((await parseManifest(frozen.text)).manifest.collections[0]?.shardKeys, shardKeys);
});

const big = 2 ** 53;
const segmentOf = (shard: Json): Json => (shard['segments'] as Json[])[0]!;
const fileOf = (shard: Json): Json => (segmentOf(shard)['files'] as Json[])[0]!;
const paramsOf = (collection: Json): Json => (collection['config'] as Json)['params'] as Json;
const vectorsOf = (collection: Json): Json => paramsOf(collection)['vectors'] as Json;

const refused: readonly (readonly [string, Change, RegExp])[] = [
  ['another format', (document) => { document['format'] = 'tar'; }, /not the manifest of a nearkeep snapshot/],
  ['a format that needs a newer reader', (document) => { Object.assign(document, { format_version: 3, min_reader_version: 2 }); }, /made by nearkeep 0.1.0 in format version 3.*up to version 1/],
  ['a snapshot of another kind', (document) => { document['kind'] = 'tenant'; }, /kind must be "collection" or "shard" or "storage"/],
  ['a snapshot of a shard that holds two', (document) => { document['kind'] = 'shard'; }, /collections\[0\]\.shards must be a list of one shard/],
  ['a partial snapshot of a collection', (document) => { document['partial'] = true; }, /partial must be absent/],
  ['two collections of one name', (document, collection) => { Object.assign(document, { kind: 'storage', collections: [collection, collection] }); }, /names and aliases of their own/],
  ['two collections', (document, collection) => { document['collections'] = [collection, collection]; }, /collections must be/],
  ['no collection', (document) => { document['collections'] = []; }, /collections must be/],
  ['a time that is none', (document) => { document['created_at'] = '2026-99-99T00:00:00.000Z'; }, /created_at must be/],
  ['a time that tar headers cannot hold', (document) => { document['created_at'] = '9999-01-01T00:00:00.000Z'; }, /created_at must be/],
  ...['..', '.', '../x', '/etc/x', 'a/b', 'a\0b', '', '\ud800', 'n'.repeat(256)].flatMap((name): (readonly [string, Change, RegExp])[] => [
    [`advisory 10/14: a collection named ${JSON.stringify(name.slice(0, 9))}`, (_, collection) => { collection['name'] = name; }, /^Invalid snapshot: snapshot.json: collections\[0\].name must be a collection name$/],
    [`advisory 10/14: an alias named ${JSON.stringify(name.slice(0, 9))}`, (_, collection) => { collection['aliases'] = [name]; }, /collections\[0\].aliases\[0\] must be a collection name$/],
  ]),
  ['advisory 14: an alias that is the collection\'s name', (_, collection) => { collection['aliases'] = ['x', 'c']; }, /names and aliases of their own/],
  ['advisory 14: an alias that is the name of another collection', (document, collection) => {
    Object.assign(document, { kind: 'storage', collections: [{ ...collection, aliases: ['d'] }, { ...collection, name: 'd', aliases: [] }] });
  }, /names and aliases of their own/],
  ['advisory 14: one alias of two collections', (document, collection) => {
    Object.assign(document, { kind: 'storage', collections: [{ ...collection, aliases: ['x'] }, { ...collection, name: 'd', aliases: ['x'] }] });
  }, /names and aliases of their own/],
  ['advisory 20: a short sha256', (_, __, shard) => { fileOf(shard)['sha256'] = 'a'.repeat(32); }, /sha256 must be/],
  ['advisory 20: a short content root', (_, __, shard) => { shard['content_root'] = 'a'.repeat(32); }, /content_root must be/],
  ['advisory 14: a uuid that is a path', (_, collection) => { collection['uuid'] = '../../x'; }, /uuid must be a UUID/],
  ['advisory 14: a segment that is a path', (_, __, shard) => { segmentOf(shard)['uuid'] = '../../x'; }, /uuid must be/],
  ['advisory 14: a shard number that is a path', (_, __, shard) => { shard['id'] = '../0'; }, /id must be an integer/],
  ['advisory 31: a file whose size is another than the totals say', (_, __, shard) => { fileOf(shard)['size'] = 1; }, /content_root must be|must be the sum|sums below/],
  ['advisory 26: 1e9 shards', (_, collection) => { paramsOf(collection)['shard_number'] = 1e9; }, /shard_number must be an integer from 1 to/],
  ['advisory 26: dimension 2^31', (_, collection) => { vectorsOf(collection)['size'] = 2 ** 31; }, /vectors.size must be an integer from 1 to 65536/],
  ['advisory 26: sizes that overflow', (_, __, shard) => { fileOf(shard)['size'] = big; }, /size must be an integer/],
  ['advisory 26: sums that overflow', (_, __, shard) => { for (const file of segmentOf(shard)['files'] as Json[]) file['size'] = big - 1; }, /content_root must be|sums below/],
  ['an unknown distance', (_, collection) => { vectorsOf(collection)['distance'] = 'Hamming'; }, /distance must be/],
  ['a configuration that lacks params', (_, collection) => { delete (collection['config'] as Json)['params']; }, /config.params must be an object/],
  ['another routing hash', (_, collection) => { ((collection['shard_map'] as Json)['routing'] as Json)['hash'] = 'crc'; }, /routing.hash must be/],
  ['a shard map that disagrees', (_, collection) => { (collection['shard_map'] as Json)['shard_number'] = 3; }, /shard_map.shard_number must be/],
  ['the same shard twice', (_, collection) => { (collection['shards'] as Json[])[1]!['id'] = 0; }, /id must be above/],
  ['more shards than the collection has', (_, collection) => { (collection['shards'] as unknown[]).push({}); }, /shards must be a list of at most 2/],
  ['a shard without a key', (_, collection) => { makeCustom(collection); delete mapped(collection, 1)['key']; }, /shard_map.shards\[1\].key must be a text/],
  ['a key that is not its own JSON text', (_, collection) => { makeCustom(collection); mapped(collection, 1)['key'] = ' 7'; }, /shards\[1\].key must be the JSON text of a shard key/],
  ['a key twice for one shard', (_, collection) => { makeCustom(collection); mapped(collection, 1)['id'] = 0; }, /shards\[1\].id must be an integer from 1 to/],
  ['a shard that has no key', (_, collection) => { makeCustom(collection); mapped(collection, 1)['id'] = 3; }, /shards\[1\].id must be of a shard that shard_map names/],
  ['a shard marked incomplete', (_, __, shard) => { shard['complete'] = false; }, /complete must be true/],
  ['advisory 14: a file kind that is a path', (_, __, shard) => { fileOf(shard)['kind'] = '../../etc/passwd'; }, /kind must be a file kind/],
  ['a hash that is none', (_, __, shard) => { fileOf(shard)['sha256'] = `../${'a'.repeat(61)}`; }, /sha256 must be a sha256/],
  ['a content root of other files', (_, __, shard) => { shard['content_root'] = 'a'.repeat(64); }, /content_root must be/],
  ['a gap between logs', (_, __, shard) => { (shard['log_files'] as Json[])[1]!['first_seq'] = 12; }, /log files without a gap/],
  ['logs that end before the position', (_, __, shard) => { (shard['log'] as Json)['seq'] = 21; }, /end at log.seq/],
  ['totals of other shards', (document) => { (document['totals'] as Json)['points'] = 1; }, /totals.points must be/],
  ['a name with a slash', (_, collection) => { collection['name'] = 'a/b'; }, /name must be a collection name/],
  ['a uuid that is none', (_, collection) => { collection['uuid'] = 'x'; }, /uuid must be a UUID/],
  ['more files than an archive may have', (_, __, shard) => { segmentOf(shard)['files'] = Array.from({ length: 100_001 }, () => 0); }, /list of at most/],
];
for (const [title, change, message] of refused) {
  test(`refuses ${title}`, async () => {
    await using folder = await temporaryFolder();
    const { sealed } = await makeArchive(folder.path);
    const document = JSON.parse(sealed.text.toString()) as Json;
    const collection = (document['collections'] as Json[])[0]!;
    change(document, collection, (collection['shards'] as Json[])[0]!);
    await assert.rejects(parseManifest(Buffer.from(JSON.stringify(document))), (error: unknown) => {
      assert.ok(error instanceof RequestError);
      assert.equal(error.code, 'bad-request');
      assert.match(error.message, message);
      return true;
    });
  });
}

test('a name of 255 characters beyond the first plane is read back: names are counted as the API counts them', async () => {
  await using folder = await temporaryFolder();
  const { sealed } = await makeArchive(folder.path);
  const name = '\u{1f980}'.repeat(255);
  const text = sealed.text.toString().replace('"name":"c"', JSON.stringify({ name }).slice(1, -1));
  assert.equal((await parseManifest(Buffer.from(text))).manifest.collections[0]?.name, name);
});

test('refuses a manifest above its size limit without reading it', async () => {
  await assert.rejects(parseManifest(Buffer.alloc(MANIFEST_BYTES_MAX + 1)), /more than/);
});

test('advisory 26: hostile documents are refused within 50 MB', async () => {
  const hostile = [
    `{"format":"nearkeep-snapshot","x":[${'[],'.repeat(4_000_000)}[]]}`,
    '['.repeat(8_000_000),
    `{"format":"nearkeep-snapshot","x":"${'\\n'.repeat(2_000_000)}"}`,
    `{"format":"nearkeep-snapshot","format_version":1,"min_reader_version":1,"created_at":"2026-01-01T00:00:00.000Z","kind":"collection","collections":[${'{},'.repeat(400_000)}{}]}`,
  ].map((text) => Buffer.from(text));
  for (const text of hostile) {
    const before = process.memoryUsage().rss;
    await assert.rejects(parseManifest(text), RequestError);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 50e6, `grew by ${grown} bytes`);
  }
});
