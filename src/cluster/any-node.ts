// Stored snapshots of every node, as any one node reaches them: lists, archives and removals go to the node that has them, over its
// peer port. A snapshot is looked for on this node first; one that no node has is told apart from one that may lie on a node that does
// not answer. Who may ask is decided before: no key travels.
import { RequestError } from '../base/errors.ts';
import { shardNotFound } from '../collection/shard-set.ts';
import type { ArchiveDownload, SnapshotDescription } from '../snapshot/description.ts';
import type { Snapshots } from '../snapshot/snapshots.ts';
import type { SnapshotScope } from '../snapshot/snapshot-name.ts';
import { peersIn, replicaOf, type ClusterCollection } from './cluster-record.ts';
import type { Membership } from './membership.ts';
import type { PeerClient } from './peer-client.ts';
import { NodeSearch, shownNode, type Node } from './node-search.ts';
import type { PeerMethods } from './peer-server.ts';

/** What a node has by itself. */
export type OwnSnapshots = Pick<Snapshots, 'list' | 'has' | 'openDownload' | 'delete'>;

interface Wanted {
  readonly scope: SnapshotScope;
  readonly name: string;
}

type ArchiveFacts = Pick<ArchiveDownload, 'name' | 'sizeBytes' | 'etag' | 'lastModifiedMs'>;

export class AnyNode {
  readonly #nodes: NodeSearch;
  readonly #peers: PeerClient;
  readonly #own: OwnSnapshots;

  constructor({ membership, peers }: { readonly membership: Membership; readonly peers: PeerClient }, own: OwnSnapshots) {
    this.#nodes = new NodeSearch(membership);
    this.#peers = peers;
    this.#own = own;
  }

  /** Of one node. @throws RequestError 'not-found', 'unavailable' where it does not answer */
  async list(scope: SnapshotScope, peerId: number): Promise<readonly SnapshotDescription[]> {
    const node = this.#nodes.named(peerId);
    return this.#nodes.isSelf(node) ? await this.#own.list(scope) : await this.#peers.call(node.uri, 'snapshot-list', { scope });
  }

  /** Of all nodes. @throws RequestError 'unavailable' where one does not answer: a list without its snapshots would not be of all */
  async listAll(scope: SnapshotScope): Promise<readonly (SnapshotDescription & { readonly peerId: number })[]> {
    const lists = await Promise.all(this.#nodes.all().map(async ({ peerId }) => (await this.list(scope, peerId)).map((found) => ({ ...found, peerId }))));
    return lists.flat();
  }

  /** @param peerId where it lies; undefined: it is looked for. @throws RequestError 'not-found', 'unavailable' */
  async openDownload(scope: SnapshotScope, name: string, peerId?: number): Promise<ArchiveDownload> {
    const node = await this.#holder({ scope, name }, peerId);
    if (this.#nodes.isSelf(node)) return await this.#own.openDownload(scope, name);
    const facts = await this.#peers.call<ArchiveFacts>(node.uri, 'snapshot-facts', { scope, name } satisfies Wanted);
    const { etag } = facts;
    return {
      ...facts,
      read: (start, end) => this.#read(node, { scope, name, etag, start, end }),
      release: () => undefined, // the other node holds its files for each stream
    };
  }

  async delete(scope: SnapshotScope, name: string, peerId?: number): Promise<void> {
    const node = await this.#holder({ scope, name }, peerId);
    if (this.#nodes.isSelf(node)) await this.#own.delete(scope, name);
    else await this.#peers.call(node.uri, 'snapshot-delete', { scope, name } satisfies Wanted);
  }

  async *#read({ uri }: Node, wanted: BytesWanted): AsyncGenerator<Buffer> {
    for await (const piece of await this.#peers.stream(uri, 'snapshot-bytes', wanted)) yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
  }

  #holder(wanted: Wanted, peerId: number | undefined): Promise<Node> | Node {
    if (peerId !== undefined) return this.#nodes.named(peerId);
    return this.#nodes.holder({
      what: `Snapshot ${wanted.name}`, isHere: () => this.#own.has(wanted.scope, wanted.name), isThere: ({ uri }) => this.#peers.call(uri, 'snapshot-has', wanted),
    });
  }
}

/** @throws RequestError 'bad-input' where a shard has no replica on this node, and names those that have; 'not-found' where there is no
 *  such shard */
export function refuseElsewhere({ shards }: ClusterCollection, { membership, shardId, what }: { readonly membership: Membership; readonly shardId: number; readonly what: string }): void {
  const shard = shards.find(({ id }) => id === shardId);
  if (shard === undefined) throw shardNotFound(shardId);
  if (replicaOf(shard, membership.self.peerId) !== undefined) return;
  const holders = peersIn(shard).map((peerId) => shownNode(membership.node(peerId) ?? { peerId, uri: 'an unknown address' }));
  throw new RequestError('bad-input', `Shard ${shardId} is not a ${what}: it lies on ${holders.join(' and ')}`);
}

interface BytesWanted extends Wanted {
  /** Of the archive that the reader began with. */
  readonly etag: string;
  /** Inclusive. */
  readonly start: number;
  readonly end: number;
}

/** The other side. */
export function snapshotMethods(own: OwnSnapshots): PeerMethods {
  return {
    calls: {
      'snapshot-list': ({ scope }: Pick<Wanted, 'scope'>) => own.list(scope),
      'snapshot-has': ({ scope, name }: Wanted) => own.has(scope, name),
      'snapshot-facts': async ({ scope, name }: Wanted): Promise<ArchiveFacts> => {
        const archive = await own.openDownload(scope, name);
        archive.release();
        return { name: archive.name, sizeBytes: archive.sizeBytes, etag: archive.etag, lastModifiedMs: archive.lastModifiedMs };
      },
      'snapshot-delete': ({ scope, name }: Wanted) => own.delete(scope, name),
    },
    streams: {
      'snapshot-bytes': async ({ scope, name, etag, start, end }: BytesWanted, { signal }) => {
        const archive = await own.openDownload(scope, name);
        if (archive.etag !== etag || signal.aborted) {
          archive.release();
          throw new RequestError('unavailable', `Snapshot ${name} is another one than a moment ago`);
        }
        signal.addEventListener('abort', () => archive.release(), { once: true }); // with the end of the answer, however it ends
        return archive.read(start, end);
      },
    },
  };
}
