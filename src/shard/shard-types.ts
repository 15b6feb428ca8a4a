// What a shard is asked and what it answers, beyond the forms of command/.
import type { Seq } from '../base/ids.ts';
import type { PointRecord, SearchRequest } from '../command/read.ts';
import type { FieldSchema } from '../payload/field-schema.ts';

export interface ShardWriteResult {
  readonly seq: Seq;
  /** Of the log that has it. */
  readonly generation: number;
  readonly status: 'acknowledged' | 'completed' | 'wait_timeout';
}

/** Codes by which the graphs in use are walked, by where they lie. */
export interface CodesBytes {
  readonly memory: number;
  readonly mapped: number;
}

export interface ShardInfo {
  readonly points: number;
  /** Live vectors that a graph links. */
  readonly indexedVectors: number;
  /** Vector name → rows that stay on the exact scan because a graph over them would miss too much or cannot be. */
  readonly scannedVectors: ReadonlyMap<string, number>;
  /** Vector name → rows whose graph was found damaged at open and that have no other one yet. */
  readonly damagedGraphs: ReadonlyMap<string, number>;
  /** Since the shard was opened. */
  readonly damagedGraphsFound: number;
  readonly codesBytes: CodesBytes;
  readonly segments: number;
  readonly status: 'green' | 'yellow' | 'grey' | 'red';
  readonly optimizerError?: string;
  /** Field → schema and number of points that have the field. */
  readonly payloadSchema: ReadonlyMap<string, { readonly schema: FieldSchema; readonly points: number }>;
  /** Entries durable in the log but not applied yet. */
  readonly unappliedEntries: number;
  readonly diskBytes: number;
}

/** A search whose target has been resolved to a vector. Answers `limit + offset` hits: the offset is cut after merging shards. */
export interface ShardSearch extends Omit<SearchRequest, 'target'> {
  readonly vector: Float32Array;
  readonly excludeId?: PointRecord['id'];
}
