// Every bad input is a row: what is sent, the status and the text that come back. After each, the server must be as it was: the
// same collections, points, schemas and snapshots, and nothing unfinished on disk.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../support/raw-client.ts';
import { openWorld, type BadInput, type World } from './bad-input-world.ts';
import { badNames } from './bad-names.ts';
import { badPoints } from './bad-points.ts';
import { badRequests } from './bad-requests.ts';

const rows: readonly BadInput[] = [...badPoints, ...badRequests, ...badNames];

let world: World;
let before_: unknown;

before(async () => {
  world = await openWorld();
  before_ = await world.state();
});

after(async () => {
  assert.equal(await world.served.server.stop(), 0);
  await world[Symbol.asyncDispose](); // proves with verify --deep that the folder is sound
});

for (const row of rows) {
  test(`bad input: ${row.title}`, async () => {
    const answer = await row.send(world);
    const text = errorText(answer);
    const wanted = typeof row.error === 'function' ? row.error(world) : row.error;
    if (wanted instanceof RegExp) assert.match(text, wanted);
    else assert.equal(text, wanted);
    assert.equal(answer.status, row.status);
    await assertUnchanged();
  });
}

test('bad input: no title stands twice', () => {
  assert.deepEqual(rows.map(({ title }) => title).filter((title, at, all) => all.indexOf(title) !== at), []);
});

/** What an aborted request leaves is removed behind its back, so it may take a moment. */
async function assertUnchanged(): Promise<void> {
  const end = performance.now() + 10_000;
  for (;;) {
    try {
      assert.deepEqual(await world.state(), before_);
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(20);
    }
  }
}
