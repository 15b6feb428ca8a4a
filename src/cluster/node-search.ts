// Where in the cluster something of a known name lies: this node is asked first, then all others at once. What no node has is told
// apart from what may lie on a node that does not answer.
import { RequestError } from '../base/errors.ts';
import type { Membership } from './membership.ts';

export type Node = NonNullable<ReturnType<Membership['node']>>;

interface Wanted {
  /** For messages, with its name: `Snapshot x`. */
  readonly what: string;
  readonly isHere: () => boolean | Promise<boolean>;
  readonly isThere: (node: Node) => Promise<boolean>;
}

export class NodeSearch {
  readonly #membership: Membership;

  constructor(membership: Membership) {
    this.#membership = membership;
  }

  isSelf({ peerId }: Node): boolean {
    return peerId === this.#membership.self.peerId;
  }

  all(): readonly Node[] {
    return this.#membership.nodes();
  }

  /** @throws RequestError 'not-found' */
  named(peerId: number): Node {
    const node = this.#membership.node(peerId);
    if (node === undefined) throw new RequestError('not-found', `Peer ${peerId} is no node of this cluster`);
    return node;
  }

  /** @throws RequestError 'not-found', 'unavailable', 'bad-request' where several have it */
  async holder({ what, isHere, isThere }: Wanted): Promise<Node> {
    if (await isHere()) return this.#membership.self;
    const silent: Node[] = [];
    const asked = await Promise.all(this.all().map(async (node) => {
      if (this.isSelf(node)) return [];
      try {
        return (await isThere(node)) ? [node] : [];
      } catch (error) {
        if (!(error instanceof RequestError) || error.code !== 'unavailable') throw error;
        silent.push(node);
        return [];
      }
    }));
    const [holder, ...others] = asked.flat();
    if (holder === undefined) throw silent.length === 0 ? new RequestError('not-found', `${what} not found`) : new RequestError('unavailable', `${what} is on no node that answers; ${silent.map(shownNode).join(' and ')} did not`);
    if (others.length > 0) throw new RequestError('bad-request', `${what} is on ${[holder, ...others].map(shownNode).join(' and ')}: the parameter peer names one`);
    return holder;
  }
}

export function shownNode({ peerId, uri }: Pick<Node, 'peerId' | 'uri'>): string {
  return `peer ${peerId} at ${uri}`;
}
