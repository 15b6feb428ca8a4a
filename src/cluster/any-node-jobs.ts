// Jobs of every node, as any one node reaches them: a job belongs to the node that does its work and is looked for there, over the peer
// port. Its id names it alone.
import { isJobId, jobNotFound, type JobRecord } from '../snapshot/job-record.ts';
import type { Jobs } from '../snapshot/jobs.ts';
import type { Membership } from './membership.ts';
import { NodeSearch, type Node } from './node-search.ts';
import type { PeerClient } from './peer-client.ts';
import type { PeerMethods } from './peer-server.ts';

/** A cancelled job ends at its next step, and what it had made is removed before that is answered. */
const cancelMsMax = 120_000;

/** What a node has by itself. */
export type OwnJobs = Pick<Jobs, 'list' | 'has' | 'get' | 'cancel' | 'watch'>;

interface Wanted {
  readonly id: string;
}

export class AnyNodeJobs {
  readonly #nodes: NodeSearch;
  readonly #peers: PeerClient;
  readonly #own: OwnJobs;

  constructor({ membership, peers }: { readonly membership: Membership; readonly peers: PeerClient }, own: OwnJobs) {
    this.#nodes = new NodeSearch(membership);
    this.#peers = peers;
    this.#own = own;
  }

  /** Of one node, newest first. @throws RequestError 'not-found', 'unavailable' where it does not answer */
  async list(peerId: number): Promise<readonly JobRecord[]> {
    const node = this.#nodes.named(peerId);
    return this.#nodes.isSelf(node) ? this.#own.list() : await this.#peers.call(node.uri, 'job-list', {});
  }

  /** Of all nodes, newest first. @throws RequestError 'unavailable' where one does not answer: a list without its jobs would not be of all */
  async listAll(): Promise<readonly (JobRecord & { readonly peerId: number })[]> {
    const lists = await Promise.all(this.#nodes.all().map(async ({ peerId }) => (await this.list(peerId)).map((record) => ({ ...record, peerId }))));
    return lists.flat().sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** @throws RequestError 'not-found', 'unavailable' where it may be on a node that does not answer */
  async get(id: string): Promise<JobRecord> {
    const node = await this.#holder(id);
    return this.#nodes.isSelf(node) ? this.#own.get(id) : await this.#peers.call(node.uri, 'job', { id } satisfies Wanted);
  }

  /** As Jobs.cancel. @throws RequestError likewise */
  async cancel(id: string): Promise<boolean> {
    const node = await this.#holder(id);
    return this.#nodes.isSelf(node) ? await this.#own.cancel(id) : await this.#peers.call(node.uri, 'job-cancel', { id } satisfies Wanted, { timeoutMs: cancelMsMax });
  }

  /** The record now and after each change, up to its end. @throws RequestError likewise, at once */
  async watch(id: string, signal: AbortSignal): Promise<AsyncIterable<JobRecord>> {
    const node = await this.#holder(id);
    return this.#nodes.isSelf(node) ? this.#own.watch(id, signal) : fromLines(await this.#peers.stream(node.uri, 'job-changes', { id } satisfies Wanted, { signal }));
  }

  async #holder(id: string): Promise<Node> {
    if (!isJobId(id)) throw jobNotFound(id);
    return await this.#nodes.holder({ what: `Job ${id}`, isHere: () => this.#own.has(id), isThere: ({ uri }) => this.#peers.call(uri, 'job-has', { id } satisfies Wanted) });
  }
}

/** The other side. */
export function jobMethods(own: OwnJobs): PeerMethods {
  return {
    calls: {
      'job-list': () => Promise.resolve(own.list()),
      'job-has': ({ id }: Wanted) => Promise.resolve(own.has(id)),
      'job': async ({ id }: Wanted) => own.get(id),
      'job-cancel': ({ id }: Wanted) => own.cancel(id),
    },
    streams: { 'job-changes': ({ id }: Wanted, { signal }) => Promise.resolve(toLines(own.watch(id, signal))) },
  };
}

async function* toLines(changes: AsyncIterable<JobRecord>): AsyncGenerator<Uint8Array> {
  for await (const record of changes) yield Buffer.from(`${JSON.stringify(record)}\n`);
}

/** Whoever reads sees it where the other node broke off: its stream fails. */
async function* fromLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<JobRecord> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line) as JobRecord;
  }
}
