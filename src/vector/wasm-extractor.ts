// The extractor port over wasm/json-floats.ts: for installs without a compiler. It runs on the event loop, in slices.
import { must } from '../base/assert.ts';
import { jsonFloatsWasm } from './generated/json-floats-wasm.ts';
import type { Extractor, Lifted } from './json-extractor.ts';
import { sliceBytes, type SlicePace } from './slice-pace.ts';
import { startWasm, type WasmMemory } from './wasm-module.ts';

interface Module {
  readonly memory: WasmMemory;
  heapBase(): number;
  start(body: number, length: number, skeleton: number, floats: number, rows: number, texts: number): void;
  advance(bytes: number): number;
  skeletonBytes(): number;
  floatsBytes(): number;
  rowsBytes(): number;
  textsBytes(): number;
}

const more = 0;
const done = 1;
const pageBytes = 65536;
/** Per byte of body: the body, its skeleton, floats, rows, texts. Untouched pages cost nothing. */
const regionsPerByte = [1, 5, 2, 3, 3] as const;
/** Addresses are u32. */
const bodyBytesMax = Math.floor((2 ** 32 - pageBytes * 16) / regionsPerByte.reduce<number>((sum, factor) => sum + factor, 0));
/** Faster than JSON.parse several times over, so a slice may be larger than the parser's. */
const extractBytes = 4 * sliceBytes;
const copiedBytes = 1024 * 1024;

/**
 * Every body gets an instance of its own (compiling the few kB takes a fraction of a millisecond): bodies are read side by side,
 * slice by slice, and the memory of a large one must not stay.
 */
export const wasmExtractor: Extractor = wasmExtractorIn(extractBytes);

/** wasmExtractor in slices of about `slice` bytes.  @internal for tests */
export function wasmExtractorIn(slice: number): Extractor {
  return (bytes, pace) => extract(bytes, pace, slice);
}

async function extract(bytes: Buffer, pace: SlicePace, slice: number): Promise<Lifted | undefined> {
  if (bytes.length > bodyBytesMax) return undefined;
  let module: Module | undefined;
  const imports = { host: { exactFloat: (from: number, to: number) => exactFloat(must(module, 'the module has started'), from, to) } };
  module = (await startWasm(jsonFloatsWasm, imports)) as Module;
  const bases = layOut(module, bytes.length);
  const memory = new Uint8Array(module.memory.buffer);
  for (let from = 0; from < bytes.length; from += copiedBytes) {
    memory.set(bytes.subarray(from, from + copiedBytes), bases[0] + from);
    await pace.between(from);
  }
  module.start(bases[0], bytes.length, bases[1], bases[2], bases[3], bases[4]);
  let state = module.advance(slice);
  for (let read = slice; state === more; read += slice) {
    await pace.between(read);
    state = module.advance(slice);
  }
  return state === done ? resultOf(module, bases) : undefined;
}

type Bases = readonly [body: number, skeleton: number, floats: number, rows: number, texts: number];

function layOut(module: Module, length: number): Bases {
  let base = alignUp(module.heapBase());
  const [body, skeleton, floats, rows, texts] = regionsPerByte.map((factor) => {
    const start = base;
    base = alignUp(base + factor * length + pageBytes);
    return start;
  }) as [number, number, number, number, number];
  const missing = base - module.memory.buffer.byteLength;
  if (missing > 0) module.memory.grow(Math.ceil(missing / pageBytes));
  return [body, skeleton, floats, rows, texts];
}

function alignUp(address: number): number {
  return Math.ceil(address / 16) * 16;
}

/** Views: the instance's memory lives as long as the vectors in it. */
function resultOf(module: Module, [, skeleton, floats, rows, texts]: Bases): Lifted {
  const { buffer } = module.memory;
  return {
    skeleton: Buffer.from(buffer, skeleton, module.skeletonBytes()),
    floats: new Float32Array(buffer, floats, module.floatsBytes() / 4),
    rows: new Uint32Array(buffer, rows, module.rowsBytes() / 4),
    texts: new Uint32Array(buffer, texts, module.textsBytes() / 4),
  };
}

function exactFloat(module: Module, from: number, to: number): number {
  return Number(Buffer.from(module.memory.buffer, from, to - from).toString('latin1'));
}
