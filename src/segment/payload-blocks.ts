// Which rows of a sealed segment get links among themselves beside the graph over all of them: those that share a value of a payload
// field, where the value has enough rows for a walk to be worth it and not so many that a walk over all rows does as well.
import { sha256Hex } from '../base/checksum.ts';
import type { VectorIndexing } from '../command/indexing-config.ts';
import type { FieldIndex } from '../payload/field-index.ts';
import type { FieldSchema } from '../payload/field-schema.ts';
import { answersMatches } from '../payload/stored-index.ts';
import type { BlockFacts } from './graph-file.ts';
import type { RowSlots } from './row-slots.ts';
import { slices } from './slices.ts';

/** Fewer rows are scored one after another in less time than a walk takes, whatever their size. */
const blockRowsMin = 1_000;
/** Of all rows. Where more are allowed, a walk over all rows costs less than one with the longer list that blocks need (index/filter-plan.ts). */
const blockShareMax = 0.35;

/** Fields that are asked for equal values; `enable_hnsw: false` opts one out. */
function getsBlocks(schema: FieldSchema, { payloadFields }: VectorIndexing): boolean {
  const { params = {} } = schema;
  return answersMatches(schema) && params['enable_hnsw'] !== false && (payloadFields === 'all' || params['is_tenant'] === true);
}

/** The fields whose values get blocks, in order of their names. */
function blockFields(fields: ReadonlyMap<string, FieldIndex>, indexing: VectorIndexing): readonly (readonly [string, FieldIndex])[] {
  if (indexing.payloadM === 0) return [];
  return [...fields].filter(([, { schema }]) => getsBlocks(schema, indexing)).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What a segment's files should say; undefined where no field gets blocks. */
export function blockFactsOf(fields: ReadonlyMap<string, FieldIndex>, indexing: VectorIndexing): BlockFacts | undefined {
  const chosen = blockFields(fields, indexing);
  if (chosen.length === 0) return undefined;
  const hash = sha256Hex(JSON.stringify(chosen.map(([field, { schema }]) => [field, schema.type])));
  return { m: indexing.payloadM, fieldsHash: Number.parseInt(hash.slice(0, 12), 16) };
}

/** Blocks as lists of slots, ascending. `strideBytes`: of a vector. */
export async function blockLists(fields: ReadonlyMap<string, FieldIndex>, indexing: VectorIndexing, of: { readonly slots: RowSlots; readonly strideBytes: number }): Promise<readonly Uint32Array[]> {
  const rowsMin = Math.max(blockRowsMin, Math.floor(indexing.scanBytesMax / of.strideBytes) + 1);
  const rowsMax = indexing.m > 0 ? of.slots.length * blockShareMax : Infinity;
  const pause = slices();
  const lists: Uint32Array[] = [];
  for (const [, index] of blockFields(fields, indexing)) {
    for (const rows of index.largeValues?.(rowsMin) ?? []) {
      const due = pause();
      if (due !== undefined) await due;
      if (rows === undefined) continue;
      const found = await slotsOf(rows, of.slots, pause);
      if (found.length >= rowsMin && found.length <= rowsMax) lists.push(found);
    }
  }
  return lists;
}

async function slotsOf(rows: Uint32Array, slots: RowSlots, pause: ReturnType<typeof slices>): Promise<Uint32Array> {
  const found = new Uint32Array(rows.length);
  let count = 0;
  for (let at = 0; at < rows.length; at += 1) {
    const slot = slots.findSlot(rows[at] ?? 0);
    if (slot !== undefined) {
      found[count] = slot;
      count += 1;
    }
    const due = (at & 0xfff) === 0 ? pause() : undefined;
    if (due !== undefined) await due;
  }
  return found.slice(0, count);
}
