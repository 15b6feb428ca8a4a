// The kinds of codes that stand for the rows of a graph while it is walked. What is returned is always scored from the rows themselves.

/** `internal`: 8 bits for each component, where nothing else is asked for. */
export type CodesConfig =
  | { readonly kind: 'internal' }
  /** 8 bits for each component; values outside the quantile are cut to its ends. From 0.5 to 1; 1 cuts none. */
  | { readonly kind: 'scalar'; readonly quantile: number }
  /** So many bytes of float32 become one byte: the nearest of 256 centroids. */
  | { readonly kind: 'product'; readonly compression: 4 | 8 | 16 | 32 | 64 }
  /** 1, 1.5 or 2 bits for each component. */
  | { readonly kind: 'binary'; readonly encoding: 'one-bit' | 'one-and-half-bits' | 'two-bits' };

/** How a query is encoded against binary codes; `default` as the rows are. */
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
