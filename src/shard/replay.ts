// Start of a shard: the entries behind the manifest, applied again in their order.
import { CorruptionError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import type { Entry } from '../log/shard-log.ts';
import { decodeEntryBody } from './entry-body.ts';
import type { ShardOperation } from './shard-operation.ts';

export interface ReplayTarget {
  apply(entry: Entry, operation: ShardOperation): Promise<unknown>;
  /** After each entry: bounds memory. */
  makeRoom(): Promise<void>;
}

/** Answers the last seq applied. @throws CorruptionError for an entry that cannot be decoded or applied */
export async function replay(entries: AsyncIterable<Entry>, file: string, target: ReplayTarget): Promise<Seq> {
  let last = 0;
  for await (const entry of entries) {
    const operation = decodeEntryBody(entry, file);
    try {
      await target.apply(entry, operation);
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      if (cause instanceof CorruptionError) throw cause;
      throw new CorruptionError({ file, problem: `entry ${entry.seq} cannot be applied: ${String(cause)}` }, { cause });
    }
    await target.makeRoom();
    last = entry.seq;
  }
  return last;
}
