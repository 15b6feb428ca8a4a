// Paths into payloads: `a.b`, `a[].b`, `a[0]`, `"key with.dots".b`. One parser for filters, indexes, selectors and payload edits.

export type PathStep = { readonly kind: 'key'; readonly name: string } | { readonly kind: 'all' } | { readonly kind: 'at'; readonly index: number };

/** `text` is the path as given, used as its name on the wire. */
export interface JsonPath {
  readonly text: string;
  readonly steps: readonly PathStep[];
}
