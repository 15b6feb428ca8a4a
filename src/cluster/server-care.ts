// Keeps the cluster's servers as they should be while nodes come: streams lie on as many servers as there are, three at most, and the
// witness of the first node ends when three nodes are there.
//
// Invariants:
// - Streams only grow, one after another, by the lowest live peer; what fails is tried again.
// - The node that runs the witness ends it, after its vote is no longer needed: three nodes answer.
import { every, type Repeated } from '../base/every.ts';
import type { Logger } from '../base/logger.ts';
import type { Membership } from './membership.ts';
import { removeServer, type SystemAccess } from './meta-group.ts';
import type { NatsClient } from './nats-client.ts';

export const serversMax = 3;
const careMs = 1_000;
/** Streams are looked through again after this time although no node has come; after the other where one could not grow. */
const againMs = 60_000;
const afterFailureMs = 10_000;

export interface Witness {
  readonly serverName: string;
  /** Ends the server; idempotent. */
  stop(): Promise<void>;
  /** It is no member any more, and will not be started again. */
  forget(): Promise<void>;
}

export interface ServerCareOptions extends SystemAccess {
  readonly client: NatsClient;
  readonly membership: Membership;
  readonly logger: Logger;
  /** undefined where this node has none. */
  readonly witness: Witness | undefined;
}

export class ServerCare {
  readonly #options: ServerCareOptions;
  readonly #repeated: Repeated;
  #witness: Witness | undefined;
  /** What all streams were given last, and when they are looked through again. */
  #grown = { servers: 0, againMs: -Infinity };
  #nodesSaid = 0;

  constructor(options: ServerCareOptions) {
    this.#options = options;
    this.#witness = options.witness;
    this.#repeated = every(careMs, () => this.#look(), (error) => options.logger.warn({ error: String(error) }, 'the servers of the cluster could not be looked after; it is tried again'));
  }

  close(): Promise<void> {
    return this.#repeated.close();
  }

  async #look(): Promise<void> {
    const { membership } = this.#options;
    this.#sayTwo(membership.quorum().of); // founders that are on their way count
    if (this.#witness !== undefined && this.#answering() >= serversMax) await this.#endWitness(this.#witness);
    if (membership.isLowestLive()) await this.#growStreams();
  }

  /** Nodes that answer and are to stay. */
  #answering(): number {
    const { membership } = this.#options;
    return membership.nodes().filter(({ peerId }) => membership.isLive(peerId) && !membership.isRemoved(peerId)).length;
  }

  #sayTwo(nodes: number): void {
    if (nodes === this.#nodesSaid) return;
    this.#nodesSaid = nodes;
    if (nodes === 2) this.#options.logger.warn({ nodes }, 'the cluster has two nodes, which both keep every log: while either is away nothing can be written. A third node ends that');
  }

  /** Never fewer; a stream that is sealed is about to be deleted. */
  async #growStreams(): Promise<void> {
    const { clock, client: { manager }, logger } = this.#options;
    const servers = Math.min(serversMax, this.#answering());
    const now = clock.monotonic();
    if (this.#grown.servers === servers && now < this.#grown.againMs) return;
    this.#grown = { servers, againMs: now + afterFailureMs };
    for await (const { config } of manager.streams.list()) {
      if (this.#repeated.signal.aborted || this.#answering() < servers) return; // a node is removed meanwhile, and streams lie on fewer servers for good
      if (config.num_replicas >= servers || config.sealed) continue;
      await manager.streams.update(config.name, { ...config, num_replicas: servers });
      logger.info({ stream: config.name, servers }, 'a stream lies on more servers now');
    }
    this.#grown = { servers, againMs: now + againMs };
  }

  async #endWitness(witness: Witness): Promise<void> {
    await witness.stop(); // hands its vote as a leader on, if it has it
    await removeServer(this.#options, witness.serverName);
    await witness.forget();
    this.#witness = undefined;
    this.#options.logger.info({ server: witness.serverName }, 'three nodes are there: the witness of the first has ended');
  }
}
