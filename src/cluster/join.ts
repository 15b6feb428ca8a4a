// How a node comes into a running cluster: it asks one of its nodes, by that node's peer port, for the cluster's name and for the
// routes of its servers; then its own server joins theirs, and its record makes it a member.
//
// The call changes nothing on the node that answers, and the node that asks writes nothing before it has the answer: a refusal leaves
// both as they were, and whoever is killed in between asks again.
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Metastore } from '../collection/metastore.ts';
import { removedPrefix, type Membership } from './membership.ts';
import type { NatsService } from './nats-service.ts';
import { NotAcceptedError, type PeerClient } from './peer-client.ts';
import type { PeerMethods } from './peer-server.ts';

const pollMs = 200;
const waitSilentMs = 1_000;
const waitSayMs = 10_000;
/** A node that is a member already asks only whether the other one is of the same cluster. */
const hintTimeoutMs = 2_000;

export interface JoinRequest {
  /** As others reach the new node; undefined: where the call comes from. */
  readonly uri: string | undefined;
  readonly scheme: 'http' | 'https';
  readonly peerPort: number;
  readonly serverName: string;
}

export interface JoinAnswer {
  /** Of the cluster's NATS servers. */
  readonly name: string;
  readonly uri: string;
  /** host:port of the routes of all nodes. */
  readonly routes: readonly string[];
}

export interface JoinParts {
  readonly name: string;
  readonly membership: Membership;
  readonly metastore: Metastore;
  readonly nats: NatsService;
}

/** What a node of a cluster answers those that want in. */
export function joinMethods({ name, membership, metastore, nats }: JoinParts): PeerMethods['calls'] {
  return {
    'cluster-name': () => Promise.resolve(name),
    'join': async (request: JoinRequest, { peerId, address }): Promise<JoinAnswer> => {
      if (membership.self.route === '') throw new RequestError('bad-request', 'the nodes of this cluster have NATS servers of somebody else: a new one is told of those (cluster.engine), not of a node');
      const uri = request.uri ?? urlOf(address, request);
      const taken = membership.node(peerId);
      if (taken !== undefined) throw new RequestError('forbidden', `peer id ${peerId} is taken by the node at ${taken.uri}; a node has one of its own, and never that of another or earlier one`);
      if ((await metastore.get(removedPrefix + peerId)) !== undefined) throw new RequestError('forbidden', `peer ${peerId} was removed from this cluster; start it with an empty data directory to join as a new one`);
      const there = membership.nodes().find((node) => node.uri === uri && membership.isLive(node.peerId));
      if (there !== undefined) throw new RequestError('forbidden', `${uri} is the address of peer ${there.peerId}, which answers; say with --uri where this node is reached`);
      if (await hasServer(nats, request.serverName)) throw new RequestError('forbidden', `a server of peer id ${peerId} has been in this cluster; a node that comes anew comes with a new id`);
      return { name, uri, routes: membership.nodes().map(({ route }) => route) };
    },
  };
}

interface Asking {
  readonly peers: PeerClient;
  readonly bootstrap: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal?: AbortSignal | undefined;
}

/** Waits for a node that is still starting. @throws RequestError with why it may not, or that nobody answered in time */
export async function askToJoin({ peers, bootstrap, clock, logger, signal }: Asking, request: JoinRequest, timeoutMs: number): Promise<JoinAnswer> {
  const until = clock.monotonic() + timeoutMs;
  let sayAt = clock.monotonic() + waitSilentMs;
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await peers.call<JoinAnswer>(bootstrap, 'join', request);
    } catch (error) {
      if (!isTransient(error)) throw error;
      const now = clock.monotonic();
      if (now > until) throw new RequestError('unavailable', `no node of a cluster answers at ${bootstrap}: is it the address that a running node was started with (--uri)?`, { cause: error });
      if (now > sayAt) {
        logger.info({ bootstrap, error: String(error) }, 'waiting for the node that this one joins');
        sayAt = now + waitSayMs;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, pollMs);
      });
    }
  }
}

/** @throws RequestError where a node answers that is of another cluster than this one; nobody need answer */
export async function refuseOtherCluster({ peers, bootstrap }: Pick<Asking, 'peers' | 'bootstrap'>, name: string): Promise<void> {
  let other: string;
  try {
    other = await peers.call<string>(bootstrap, 'cluster-name', null, { timeoutMs: hintTimeoutMs });
  } catch (error) {
    if (isTransient(error)) return;
    throw error;
  }
  if (other !== name) throw new RequestError('forbidden', `this node is a member of another cluster than ${bootstrap}; to join that one, start with an empty data directory`);
}

function isTransient(error: unknown): boolean {
  return error instanceof RequestError && error.code === 'unavailable' && !(error instanceof NotAcceptedError);
}

async function hasServer(nats: NatsService, serverName: string): Promise<boolean> {
  const facts = await nats.monitor('jsz');
  const { replicas = [], leader } = (facts?.['meta_cluster'] ?? {}) as { readonly leader?: string; readonly replicas?: readonly { readonly name: string }[] };
  return [leader, ...replicas.map(({ name }) => name)].includes(serverName);
}

function urlOf(address: string, { scheme, peerPort }: JoinRequest): string {
  const host = address.replace(/^::ffff:/, '');
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${peerPort}`;
}
