// The port of the fast extractor: native-extractor.ts and wasm-extractor.ts.
//
// It answers the body with vectors, big integers and payload objects cut out: in their places the skeleton holds strings, which
// JSON.parse leaves alone. A marker is `"\b`, one letter and a decimal index, closed by `"` (`\b` stands for the two bytes of
// that escape). A body that has a string of its own beginning with U+0008 is given up on, so no client can forge one.
//   f  index into `rows`:   a vector, a row of a multi-vector, sparse values
//   i  index into `texts`:  an integer outside ±(2^53-1)
//   p  index into `texts`:  a payload object
import type { SlicePace } from './slice-pace.ts';

export interface Lifted {
  readonly skeleton: Buffer;
  readonly floats: Float32Array;
  /** Pairs of from and to in `floats`. */
  readonly rows: Uint32Array;
  /** Pairs of from and to in the body, in bytes. */
  readonly texts: Uint32Array;
}

/** `bytes` is valid UTF-8. undefined: given up, the body may or may not be JSON. A small body may be answered at once. */
export type Extractor = (bytes: Buffer, pace: SlicePace) => Lifted | undefined | Promise<Lifted | undefined>;
