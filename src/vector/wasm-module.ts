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

/** The exports of the module, whose shape its source in wasm/ decides. */
export async function startWasm(base64: string): Promise<object> {
  const api = Reflect.get(globalThis, 'WebAssembly') as WebAssemblyApi;
  const { instance } = await api.instantiate(Buffer.from(base64, 'base64'), {});
  return instance.exports;
}
