// The kinds of codes that stand for the rows of a graph while it is walked. What is returned is always scored from the rows themselves.

/** By what a graph is walked. It is always built by the internal codes: bytes, each row with a step of its own. */
export type CodesConfig =
  | { readonly kind: 'internal' }
  /** Bytes with one step for all rows, so that `quantile` (0.5 to 1) of the values need no clamping. */
  | { readonly kind: 'scalar'; readonly quantile: number }
  /** A byte for every `compression` / 4 components: the nearest of 256 centroids. */
  | { readonly kind: 'product'; readonly compression: 4 | 8 | 16 | 32 | 64 }
  /** Bits for a component: its sign, and for more than one bit whether it lies far from the mean. */
  | { readonly kind: 'binary'; readonly encoding: 'one-bit' | 'one-and-half-bits' | 'two-bits' };

/** `default` and `binary`: as many bits as the stored codes have. */
export type BinaryQueryEncoding = 'default' | 'binary' | 'scalar4bits' | 'scalar8bits';

/** A quantile is a whole number of these steps, so that the files of a graph say it exactly. */
export const quantileSteps = 1_000_000;

export function isSameCodes(a: CodesConfig, b: CodesConfig): boolean {
  return JSON.stringify(parameters(a)) === JSON.stringify(parameters(b));
}

function parameters(codes: CodesConfig): readonly unknown[] {
  switch (codes.kind) {
    case 'internal':
      return [codes.kind];
    case 'scalar':
      return [codes.kind, codes.quantile];
    case 'product':
      return [codes.kind, codes.compression];
    case 'binary':
      return [codes.kind, codes.encoding];
  }
}
