// A snapshot of 100k x 768 against `cp -r` + `sync` of the same files: it links instead of copying, so what is left is the
// freeze and the one pass that takes the archive's sha256.
import { execFileSync } from 'node:child_process';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { alternate, benchFolder, median, ms, randomRows, ratioText, report, timedMs } from './harness.ts';
import { silentLogger } from '../src/base/logger.ts';
import { fill, openWithCollection, settle } from './points.ts';

const size = 768;
const count = 100_000;
const folder = benchFolder();
const data = path.join(folder, 'data');
const freezes: number[] = [];
const engine = await openWithCollection(data, size, {
  logger: {
    ...silentLogger,
    info: ({ freeze_ms }) => {
      if (typeof freeze_ms === 'number') freezes.push(freeze_ms);
    },
  },
});
await fill(engine, { vectors: randomRows(count, size), size, payload: (row) => `{"title":"paper number ${row}","year":${1990 + (row % 35)}}` }, { from: 0, to: count, batch: 500 });
await settle(engine);
const { segments } = engine.collectionInfo('bench');

let runs = 0;
const { baseline, subject, ratio } = await alternate(5, async () => {
  runs += 1;
  const copy = path.join(folder, `copy-${runs}`);
  const spent = await timedMs(() => {
    execFileSync('cp', ['-r', path.join(data, 'collections'), copy]);
    execFileSync('sync', ['-f', copy]);
    return Promise.resolve();
  });
  await fs.rm(copy, { recursive: true });
  return spent;
}, async () => {
  let name = '';
  const spent = await timedMs(async () => {
    ({ name } = await engine.snapshots.create('bench'));
  });
  await engine.snapshots.delete('bench', name);
  return spent;
});
await engine.close();
const freezeGoal = 100 + segments;
report({ name: 'freeze, link and publish of 100k x 768', value: ms(median(freezes)), goal: `<= ${freezeGoal} ms`, met: median(freezes) <= freezeGoal, detail: `${segments} segments; longest ${ms(Math.max(...freezes))}` }, { runs_ms: freezes });
report({
  name: 'snapshot with size and checksum / cp + sync of the same bytes', value: ratioText(ratio), goal: '<= 2x', met: ratio <= 2,
  detail: `cp + sync ${ms(median(baseline))}, create ${ms(median(subject))}`,
}, { baseline_ms: baseline, subject_ms: subject });
