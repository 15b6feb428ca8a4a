// Which nodes there are, which of them answer, and what each said last of its shards.
//
// Nodes are records `n.<peer id>` of the metastore: they come and go by decision alone. That a node answers is told by its heartbeat,
// a message once a second that nothing stores; its times are this node's own, so that clocks need not agree. Who was not heard for a
// while is only suspected: reads avoid it, and nothing is decided by that alone.
import type { Subscription } from '@nats-io/transport-node';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { RequestError } from '../base/errors.ts';
import type { ReplicaInfo } from '../collection/replica.ts';
import type { Metastore } from '../collection/metastore.ts';
import type { NatsClient } from './nats-client.ts';
import { decodeValue, encodeValue } from './peer-wire.ts';

const beatMs = 1_000;
const suspectedMs = 4_000;
/** Nothing is expected of a node any more that was silent for so long. */
export const goneMs = 10_000;
const subject = 'hb';
const nodePrefix = 'n.';

export interface NodeRecord {
  readonly peerId: number;
  /** Of its peer port, as others reach it. */
  readonly uri: string;
  readonly serverName: string;
  /** host:port of its NATS server's routes. */
  readonly route: string;
  readonly version: string;
  readonly listener: boolean;
}

/** What a node says of one of its shards. */
export interface ShardBeat {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly generation: number;
  /** Entries up to here are applied. */
  readonly applied: number;
  /** Entries up to here are in sealed files: the stream may forget them as far as this replica goes. */
  readonly checkpoint: number;
  /** Positions with what the state was there, for comparison between replicas. */
  readonly marks: readonly { readonly seq: number; readonly chain: string; readonly digest?: string }[];
  readonly info: ReplicaInfo;
}

interface Beat {
  readonly peerId: number;
  readonly shards: readonly ShardBeat[];
}

interface Heard {
  readonly atMs: number;
  /** false: only given the time to be heard. */
  readonly isCertain: boolean;
  readonly shards: ReadonlyMap<string, ShardBeat>;
}

export interface MembershipOptions {
  readonly self: NodeRecord;
  readonly client: NatsClient;
  readonly metastore: Metastore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly shards: () => readonly ShardBeat[];
  /** How many nodes founded the cluster: those that have not come yet count among it all the same. */
  readonly founders: number;
  /** Told once each time a node has gone. */
  readonly onGone: (node: NodeRecord) => void;
}

export interface Quorum {
  /** Nodes that were heard lately, this one included. */
  readonly up: number;
  readonly of: number;
}

export class Membership {
  readonly self: NodeRecord;
  readonly #options: MembershipOptions;
  readonly #nodes = new Map<number, NodeRecord>();
  readonly #heard = new Map<number, Heard>();
  readonly #subscription: Subscription;
  readonly #unwatch: () => void;
  readonly #timer: NodeJS.Timeout;
  /** As the log was told last. */
  #live: ReadonlySet<number> = new Set();
  readonly #gone = new Set<number>();

  private constructor(options: MembershipOptions) {
    this.self = options.self;
    this.#options = options;
    this.#unwatch = options.metastore.watch(nodePrefix, (key, record) => {
      const peerId = Number(key.slice(nodePrefix.length));
      if (record === undefined) this.#nodes.delete(peerId);
      else this.#meet(record.value as NodeRecord);
    });
    this.#subscription = options.client.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) this.#hear(decodeValue(Buffer.from(message.data)) as Beat);
      },
    });
    this.#timer = setInterval(() => {
      this.beat();
      this.#logChanges();
      this.#tellGone();
    }, beatMs);
    this.#timer.unref();
  }

  /** Resolves when this node's record says what it is now. @throws RequestError where the node was removed from the cluster */
  static async join(options: MembershipOptions): Promise<Membership> {
    const { metastore, self } = options;
    const key = nodePrefix + String(self.peerId);
    const membership = new Membership(options);
    try {
      for (const name of await metastore.keys(nodePrefix)) {
        const record = await metastore.get(name);
        if (record !== undefined) membership.#meet(record.value as NodeRecord);
      }
      for (let joined = false; !joined;) {
        if ((await metastore.get(`gone.${self.peerId}`)) !== undefined) throw new RequestError('forbidden', `peer ${self.peerId} was removed from this cluster; start it with --reinit to join as a new one`);
        const known = await metastore.get(key);
        if (JSON.stringify(known?.value) === JSON.stringify(self)) break;
        joined = (known === undefined ? await metastore.create(key, self) : await metastore.set(key, self, known.revision)) !== undefined;
      }
    } catch (error) {
      await membership.close();
      throw error;
    }
    membership.#nodes.set(self.peerId, self);
    membership.beat();
    membership.#logChanges();
    return membership;
  }

  /** In order of peer id. */
  nodes(): readonly NodeRecord[] {
    return [...this.#nodes.values()].sort((a, b) => a.peerId - b.peerId);
  }

  node(peerId: number): NodeRecord | undefined {
    return this.#nodes.get(peerId);
  }

  /** Heard lately. */
  isLive(peerId: number): boolean {
    if (peerId === this.self.peerId) return true;
    const heard = this.#heard.get(peerId);
    return this.#nodes.has(peerId) && heard !== undefined && this.#options.clock.monotonic() - heard.atMs < suspectedMs;
  }

  /** Of the nodes that answer, the one that does what one alone should do. */
  isLowestLive(): boolean {
    return this.nodes().find(({ peerId }) => this.isLive(peerId))?.peerId === this.self.peerId;
  }

  quorum(): Quorum {
    const nodes = this.nodes();
    return { up: nodes.filter(({ peerId }) => this.#isHeard(peerId)).length, of: Math.max(nodes.length, this.#options.founders) };
  }

  /** Milliseconds since a node was heard; Infinity where it never was. */
  silenceMs(peerId: number): number {
    const heard = this.#heard.get(peerId);
    return heard === undefined ? Infinity : this.#options.clock.monotonic() - heard.atMs;
  }

  /** What a node said last of a shard of that generation. */
  shardOf(peerId: number, of: { readonly collectionUuid: string; readonly shardId: number; readonly generation: number }): ShardBeat | undefined {
    return this.#heard.get(peerId)?.shards.get(keyOf(of));
  }

  /** Tells the others now what they would be told within a second. */
  beat(): void {
    const { client, shards } = this.#options;
    client.connection.publish(subject, encodeValue({ peerId: this.self.peerId, shards: shards() } satisfies Beat));
  }

  close(): Promise<void> {
    clearInterval(this.#timer);
    this.#unwatch();
    this.#subscription.unsubscribe();
    return Promise.resolve();
  }

  #isHeard(peerId: number): boolean {
    return this.isLive(peerId) && (peerId === this.self.peerId || this.#heard.get(peerId)?.isCertain === true);
  }

  #logChanges(): void {
    const { logger } = this.#options;
    const live = new Set(this.nodes().map(({ peerId }) => peerId).filter((peerId) => this.#isHeard(peerId)));
    const before = this.#live;
    this.#live = live;
    for (const peerId of live) if (!before.has(peerId) && peerId !== this.self.peerId) logger.info({ peerId, url: this.node(peerId)?.uri, ...this.quorum() }, 'a node of the cluster is up');
    for (const peerId of before) if (!live.has(peerId)) logger.warn({ peerId, url: this.node(peerId)?.uri, ...this.quorum() }, 'a node of the cluster is not heard');
  }

  #tellGone(): void {
    for (const node of this.nodes()) {
      if (node.peerId === this.self.peerId || this.silenceMs(node.peerId) < goneMs) this.#gone.delete(node.peerId);
      else if (!this.#gone.has(node.peerId)) {
        this.#gone.add(node.peerId);
        this.#options.onGone(node);
      }
    }
  }

  /** A node that is new here has the time to be heard. */
  #meet(node: NodeRecord): void {
    this.#nodes.set(node.peerId, node);
    if (!this.#heard.has(node.peerId)) this.#heard.set(node.peerId, { atMs: this.#options.clock.monotonic(), isCertain: false, shards: new Map() });
  }

  #hear({ peerId, shards }: Beat): void {
    this.#heard.set(peerId, { atMs: this.#options.clock.monotonic(), isCertain: true, shards: new Map(shards.map((shard) => [keyOf(shard), shard])) });
  }
}

function keyOf({ collectionUuid, shardId, generation }: { readonly collectionUuid: string; readonly shardId: number; readonly generation: number }): string {
  return `${collectionUuid}/${shardId}/${generation}`;
}
