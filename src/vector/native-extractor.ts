// The extractor port over native/addon/json-binding.cc.
import { loadAddon } from './addon.ts';
import type { Extractor, Lifted } from './json-extractor.ts';

type Parts = { readonly [part in keyof Lifted]: ArrayBuffer };

/** What json-binding.cc adds to the addon. */
interface JsonAddon {
  liftJsonSync(body: Uint8Array): Parts | undefined;
  liftJson(body: Uint8Array): Promise<Parts | undefined>;
}

/** Up to here a call on this thread (0.5 ms) is cheaper than the way to another and back. */
const syncBytesMax = 256 * 1024;

/** undefined where there is no addon. Looked for once: every body asks. */
export function nativeExtractor(): Extractor | undefined {
  found ??= { extractor: overAddon() };
  return found.extractor;
}

let found: { readonly extractor: Extractor | undefined } | undefined;

function overAddon(): Extractor | undefined {
  const addon = loadAddon() as (object & Partial<JsonAddon>) | undefined;
  if (addon?.liftJson === undefined || addon.liftJsonSync === undefined) return undefined;
  const { liftJson, liftJsonSync } = addon;
  return (bytes) => (bytes.length <= syncBytesMax ? liftedOf(liftJsonSync(bytes)) : liftJson(bytes).then(liftedOf));
}

function liftedOf(parts: Parts | undefined): Lifted | undefined {
  return parts && {
    skeleton: Buffer.from(parts.skeleton),
    floats: new Float32Array(parts.floats),
    rows: new Uint32Array(parts.rows),
    texts: new Uint32Array(parts.texts),
  };
}
