// Log and segments in process against a raw write + fdatasync of the same vector bytes: what durability costs beyond the disk.
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { alternate, benchFolder, median, ms, randomRows, ratioText, report, timedMs } from './harness.ts';
import { drafts, openWithCollection } from './points.ts';

const size = 768;
const count = 20_000;
const rows = { vectors: randomRows(count, size), size };
const folder = benchFolder();

async function raw(file: string, batch: number): Promise<void> {
  const handle = await fs.open(file, 'wx');
  for (let at = 0; at < count; at += batch) {
    const piece = rows.vectors.subarray(at * size, (at + batch) * size);
    await handle.write(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
    await handle.datasync();
  }
  await handle.close();
}

for (const batch of [100, 1000]) {
  let run = 0;
  const { baseline, subject, ratio } = await alternate(5, async () => {
    run += 1;
    const file = path.join(folder, `raw-${batch}-${run}`);
    const spent = await timedMs(() => raw(file, batch));
    await fs.rm(file);
    return spent;
  }, async () => {
    run += 1;
    const directory = path.join(folder, `engine-${batch}-${run}`);
    const engine = await openWithCollection(directory, size);
    const batches = Array.from({ length: count / batch }, (_, at) => drafts(rows, at * batch, (at + 1) * batch));
    const spent = await timedMs(async () => {
      for (const points of batches) await engine.write('bench', { kind: 'upsert', points }, { wait: true });
    });
    await engine.close();
    await fs.rm(directory, { recursive: true });
    return spent;
  });
  const speed = 1 / ratio;
  report({
    name: `engine ingest, batches of ${batch}, / raw write + fdatasync`, value: ratioText(speed), goal: '>= 0.8x', met: speed >= 0.8,
    detail: `${count} x ${size} f32: raw ${ms(median(baseline))}, engine ${ms(median(subject))}`,
  }, { baseline_ms: baseline, subject_ms: subject });
}
