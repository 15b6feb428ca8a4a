// Distances and stored number types, and what happens to a vector before it is stored.

export type Distance = 'Cosine' | 'Dot' | 'Euclid' | 'Manhattan';
export type Datatype = 'float32' | 'float16' | 'uint8';

export const DISTANCES: readonly Distance[] = ['Cosine', 'Dot', 'Euclid', 'Manhattan'];
export const DATATYPES: readonly Datatype[] = ['float32', 'float16', 'uint8'];

/** What a search structure must know about one named vector. */
export interface VectorSpec {
  readonly size: number;
  readonly distance: Distance;
  readonly datatype: Datatype;
}

/** Larger scores are better for Cosine and Dot; Euclid and Manhattan are distances, smaller is better. */
export function largerIsBetter(distance: Distance): boolean {
  return distance === 'Cosine' || distance === 'Dot';
}

/** Rows of uint8 keep the length they came with (at unit length they would be zeros and ones), so their cosine is the dot product
 *  with the query divided by the row's length; a zero row scores 0. All other Cosine rows are stored at unit length. */
export function dividesByLength(spec: VectorSpec): boolean {
  return spec.distance === 'Cosine' && spec.datatype === 'uint8';
}

function bytesPerValue(datatype: Datatype): 1 | 2 | 4 {
  return datatype === 'float32' ? 4 : datatype === 'float16' ? 2 : 1;
}

/** Bytes of one stored row, without padding. */
export function strideBytes(spec: VectorSpec): number {
  return spec.size * bytesPerValue(spec.datatype);
}
