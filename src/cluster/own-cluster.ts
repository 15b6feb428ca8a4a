// What a node keeps of its cluster in its own data directory: record `cluster` of the local metastore, read before any server starts.
//
// `founding`: the first node is making a cluster out of this directory; until it is a `member` the directory is that of one node by
// itself, and what servers have stored counts for nothing. The change of the phase is the moment at which it becomes a cluster's.
import { RequestError } from '../base/errors.ts';
import { Lock } from '../base/lock.ts';
import type { Metastore } from '../collection/metastore.ts';

const key = 'cluster';

export interface OwnCluster {
  readonly phase: 'founding' | 'member';
  /** Of its NATS servers: servers of another name do not speak with them. */
  readonly name: string;
  readonly peerId: number;
  readonly uri: string;
  readonly routePort: number;
  /** host:port of the routes of every node that was known last, this one included. */
  readonly routes: readonly string[];
  /** A witness runs beside this node's server. */
  readonly hasWitness: boolean;
}

export class OwnClusterRecord {
  readonly #metastore: Metastore;
  readonly #changes = new Lock();

  constructor(metastore: Metastore) {
    this.#metastore = metastore;
  }

  async load(): Promise<OwnCluster | undefined> {
    return (await this.#metastore.get(key))?.value as OwnCluster | undefined;
  }

  async save(own: OwnCluster): Promise<void> {
    await this.#changes.run(() => this.#put(own));
  }

  /** Nothing where there is none, or nothing to change. */
  async change(change: (own: OwnCluster) => OwnCluster): Promise<void> {
    await this.#changes.run(async () => {
      const before = await this.load();
      if (before === undefined) return;
      const after = change(before);
      if (JSON.stringify(after) !== JSON.stringify(before)) await this.#put(after);
    });
  }

  async #put(own: OwnCluster): Promise<void> {
    const found = await this.#metastore.get(key);
    const stored = found === undefined ? await this.#metastore.create(key, own) : await this.#metastore.set(key, own, found.revision);
    if (stored === undefined) throw new RequestError('internal', 'the record of the cluster was changed by somebody else');
  }
}

/** What the directory is of; undefined where it is not a cluster's. */
export async function memberOf(metastore: Metastore): Promise<OwnCluster | undefined> {
  const own = await new OwnClusterRecord(metastore).load();
  return own?.phase === 'member' ? own : undefined;
}

/** @throws RequestError where the directory is a cluster's: served alone, it would show what was true when it last was in it. */
export async function refuseMember(metastore: Metastore): Promise<void> {
  const own = await memberOf(metastore);
  if (own === undefined) return;
  throw new RequestError('bad-request', `this data directory is that of peer ${own.peerId} of a cluster: start it with --uri ${own.uri}, or with QDRANT__CLUSTER__ENABLED=true`);
}
