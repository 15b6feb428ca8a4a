// Starts a WASM module of src/vector/generated/. The compiler's library for servers has no types for WebAssembly; these are the few
// that are needed.

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** By pages of 64 KiB. */
  grow(pages: number): number;
}

interface WebAssemblyApi {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ readonly instance: { readonly exports: object } }>;
}

/** The exports of a new instance of the module; their shape and that of `imports` is decided by its source in wasm/. */
export async function startWasm(base64: string, imports: object = {}): Promise<object> {
  const api = Reflect.get(globalThis, 'WebAssembly') as WebAssemblyApi;
  const { instance } = await api.instantiate(Buffer.from(base64, 'base64'), imports);
  return instance.exports;
}
