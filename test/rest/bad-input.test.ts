// Every bad input is a row: what is sent, the status and the text that come back. After each, the server must be as it was: the
// same collections, points, schemas and snapshots, and nothing unfinished on disk.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { errorText } from '../support/raw-client.ts';
import { openWorld, type BadInput, type World } from './bad-input-world.ts';
import { badAccess } from './bad-access.ts';
import { badArchives } from './bad-archives.ts';
import { badNames } from './bad-names.ts';
import { badReads } from './bad-reads.ts';
import { badRequests } from './bad-requests.ts';
import { badRestores } from './bad-restores.ts';
import { badWrites } from './bad-writes.ts';
import { notYet } from './not-yet.ts';

const rows: readonly BadInput[] = [
  ...badRequests,
  ...badAccess,
  ...badNames,
  ...badWrites,
  ...badReads,
  ...badArchives,
  ...badRestores,
  ...notYet,
];

let world: World;
let expected: unknown;

before(async () => {
  world = await openWorld();
  expected = await world.state();
});

after(async () => {
  assert.equal(await world.served.server.stop(), 0);
  await world[Symbol.asyncDispose](); // proves with verify --deep that the folder is sound
});

for (const row of rows) {
  test(`bad input: ${row.title}`, async () => {
    const answer = await row.send(world);
    await assertUnchanged();
    const text = errorText(answer);
    const wanted = typeof row.error === 'function' ? row.error(world) : row.error;
    if (wanted instanceof RegExp) assert.match(text, wanted);
    else assert.equal(text, wanted);
    assert.equal(answer.status, row.status);
  });
}

test('bad input: no title stands twice', () => {
  assert.deepEqual(
    rows.map(({ title }) => title).filter((title, at, all) => all.indexOf(title) !== at),
    [],
  );
});

/** What an aborted request leaves is removed behind its back, so it may take a moment. */
async function assertUnchanged(): Promise<void> {
  const end = performance.now() + 10_000;
  let state = await world.state();
  while (!isDeepStrictEqual(state, expected) && performance.now() < end) state = await world.state();
  const wanted = expected;
  expected = state; // one row that changes something does not fail all that follow
  assert.deepEqual(state, wanted);
}
