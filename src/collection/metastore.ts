// The port to metadata: small JSON records, each changed only by compare-and-set. On one node one file (file-metastore.ts),
// in a cluster JetStream KV. A change over several things is ONE record, so one set is one commit point:
// `dir` holds all names and aliases, `c.<uuid>` a collection with its shard map.
//
// Contract (metastore.contract.ts): a resolved create, set or delete is durable; a losing compare-and-set changes nothing; nor does
// one that throws, unless it throws InDoubtError.
import { RequestError } from '../base/errors.ts';

/** Whether the change happened shows at the next start, or with the next change that succeeds: then it has not. Until then nothing
 *  may be removed that either outcome needs. */
export class InDoubtError extends RequestError {
  /** @param problem what failed, and when the outcome shows */
  constructor(problem: string, cause: unknown) {
    super('internal', `${problem} (${cause instanceof Error ? cause.message : String(cause)})`, { cause });
  }
}

export interface MetaRecord {
  readonly value: unknown;
  readonly revision: number;
}

export interface Metastore extends AsyncDisposable {
  get(key: string): Promise<MetaRecord | undefined>;
  /** undefined where the key exists. */
  create(key: string, value: unknown): Promise<number | undefined>;
  /** The new revision, or undefined where `revision` is not the current one. */
  set(key: string, value: unknown, revision: number): Promise<number | undefined>;
  delete(key: string, revision: number): Promise<boolean>;
  keys(prefix: string): Promise<readonly string[]>;
  /** Called after each change of a key with this prefix, this process's own included. Answers the unsubscribe. */
  watch(prefix: string, onChange: (key: string, record: MetaRecord | undefined) => void): () => void;
  close(): Promise<void>;
}
