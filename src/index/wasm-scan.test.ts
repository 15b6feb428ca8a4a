import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../base/testing/random.ts';
import type { VectorSpec } from '../vector/distance.ts';
import { randomRows, randomVector } from '../vector/testing/random-rows.ts';
import { wasmKernels } from '../vector/wasm-kernels.ts';
import { vectorIndexContract } from './vector-index.contract.ts';
import { wasmIndexes } from './wasm-scan.ts';

vectorIndexContract('wasm', async () => wasmIndexes(await wasmKernels()));

test('many searches at once leave the event loop its turns', async () => {
  const indexes = wasmIndexes(await wasmKernels());
  const spec: VectorSpec = { size: 128, distance: 'Euclid', datatype: 'float32' };
  const index = indexes.growing(spec);
  index.append(randomRows(seededRandom(51), spec, 20_000, 'plain'));
  const allowed = new Uint32Array(625).fill(0xffffffff);
  const vector = randomVector(seededRandom(52), 128, 'plain');
  let running = true;
  const gapsCpuMs: number[] = [];
  const watch = (async () => {
    for (let last = process.cpuUsage(); running; last = process.cpuUsage()) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      gapsCpuMs.push(process.cpuUsage(last).user / 1_000); // not wall time: a busy machine stops this process at will
    }
  })();
  await Promise.all(Array.from({ length: 8 }, (_, at) => index.search([{ vector, k: at === 0 ? 20_000 : 10, allowed }])));
  running = false;
  await watch;
  gapsCpuMs.sort((a, b) => b - a);
  assert.ok(gapsCpuMs.length > 8, `${gapsCpuMs.length} turns`);
  // one or two may hold the compiler or the garbage collector
  assert.ok((gapsCpuMs[2] ?? 0) < 20, `longest turns: ${gapsCpuMs.slice(0, 5).map((gap) => gap.toFixed(1)).join(', ')} ms`);
  await indexes.close();
});
