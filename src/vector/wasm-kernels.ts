// The kernels port over wasm/kernels.ts, for machines without a compiler.
//
// Memory of the module, from its heap base, 16-byte aligned: | query | rows | sums or scores | norms |. It is laid out anew for every call
// and grows to the largest one.
import { invariant } from '../base/assert.ts';
import { DATATYPES, dividesByLength, strideBytes, type Distance, type VectorSpec } from './distance.ts';
import { kernelsWasm } from './generated/kernels-wasm.ts';
import type { Approximation, Kernels } from './kernels.ts';
import { startWasm, type WasmMemory } from './wasm-module.ts';

interface KernelModule {
  readonly memory: WasmMemory;
  heapBase(): number;
  approximate(
    metric: number, datatype: number, query: number, rows: number, count: number, dims: number, sums: number, norms: number,
  ): void;
  exact(metric: number, datatype: number, query: number, rows: number, count: number, dims: number, scores: number): void;
}

interface Layout {
  readonly count: number;
  readonly query: number;
  readonly rows: number;
  readonly sums: number;
  readonly norms: number;
}

const metricOf: Readonly<Record<Distance, number>> = { Cosine: 0, Dot: 0, Euclid: 1, Manhattan: 2 };
const cosineOfBytes = 3;
/** Four accumulators of four floats. */
const lanes = 16;
const pageBytes = 65536;

export async function wasmKernels(): Promise<Kernels> {
  const module = (await startWasm(kernelsWasm)) as KernelModule;
  return {
    name: 'wasm',
    lanes,
    approximate: (spec, vector, rows) => {
      const { count, query, rows: at, sums, norms } = place(module, spec, vector, rows);
      module.approximate(metricOf[spec.distance], DATATYPES.indexOf(spec.datatype), query, at, count, spec.size, sums, norms);
      const found = { sums: copyFloats(module, sums, count), norms: copyFloats(module, norms, count) };
      if (dividesByLength(spec)) divideByLengths(found);
      return found;
    },
    exact: (spec, vector, rows) => {
      const { count, query, rows: at, sums } = place(module, spec, vector, rows);
      const metric = dividesByLength(spec) ? cosineOfBytes : metricOf[spec.distance];
      module.exact(metric, DATATYPES.indexOf(spec.datatype), query, at, count, spec.size, sums);
      return copyFloats(module, sums, count);
    },
  };
}

/** Copies query and rows into the module. */
function place(module: KernelModule, spec: VectorSpec, vector: Float32Array, rows: Uint8Array): Layout {
  const count = rows.length / strideBytes(spec);
  invariant(vector.length === spec.size && Number.isInteger(count), 'the query has the size of the rows, and the rows are whole');
  const query = aligned(module.heapBase());
  const at = aligned(query + vector.byteLength);
  const sums = aligned(at + rows.length);
  const norms = aligned(sums + count * 4);
  const end = norms + count * 4;
  const missing = end - module.memory.buffer.byteLength;
  if (missing > 0) module.memory.grow(Math.ceil(missing / pageBytes));
  new Float32Array(module.memory.buffer, query, vector.length).set(vector);
  new Uint8Array(module.memory.buffer, at, rows.length).set(rows);
  return { count, query, rows: at, sums, norms };
}

function divideByLengths({ sums, norms }: Approximation): void {
  for (let at = 0; at < sums.length; at += 1) {
    const norm = norms[at] as number;
    sums[at] = norm === 0 ? 0 : (sums[at] as number) / Math.sqrt(norm);
  }
}

function aligned(address: number): number {
  return (address + 15) & ~15;
}

function copyFloats(module: KernelModule, at: number, count: number): Float32Array {
  return new Float32Array(module.memory.buffer, at, count).slice();
}
