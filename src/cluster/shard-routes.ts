// How this node reaches the shards of the collections it follows: the routed replica of each, what other nodes may ask of this one's
// own, and waiting until a write has been applied elsewhere.
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { Replica } from '../collection/replica.ts';
import type { Shard } from '../shard/shard.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { peersIn, replicaOf, replicasThatCount, type ShardRecord } from './cluster-record.ts';
import type { PeerMethods } from './peer-server.ts';
import { NotServedError } from './peer-wire.ts';
import type { ReplicaMarks } from './replica-marks.ts';
import { RemoteReplica, replicaMethods, shardKey, unknownInfo, type ShardName } from './remote-replica.ts';
import { RoutedReplica } from './routed-replica.ts';

const followTimeoutMs = 10_000;
const appliedPollMs = 5;
/** A completed write is on every replica that keeps up, so that a read through another node finds it; longer than this none is waited for. */
const slowReplicaMs = 250;
const unknownUri = 'http://unknown.invalid';

export class ShardRoutes {
  readonly #access: () => CatalogAccess;
  readonly #marks: ReplicaMarks;

  constructor(access: () => CatalogAccess, marks: ReplicaMarks) {
    this.#access = access;
    this.#marks = marks;
  }

  route(name: ShardName): Replica {
    const { collectionUuid, shardId, generation } = name;
    const recordNow = (): ShardRecord | undefined => this.#access().record(collectionUuid)?.shards.find((shard) => shard.id === shardId && shard.generation === generation);
    const remotes = new Map<number, RemoteReplica>();
    return new RoutedReplica({
      shardId, generation,
      local: () => this.#activeHere(name),
      joining: () => (this.#isRead(name) ? undefined : this.#localShard(name)),
      isComing: () => this.isActiveHere(collectionUuid, shardId) && !this.#access().isDamaged(name),
      remotes: () => {
        const { membership, peers } = this.#access();
        const shard = recordNow();
        const others = shard === undefined ? [] : peersIn(shard, 'Active').filter((peer) => peer !== membership.self.peerId);
        return others.map((peer) => {
          const replica = remotes.get(peer) ?? new RemoteReplica(peers, () => membership.node(peer)?.uri ?? unknownUri, name, () => membership.shardOf(peer, name)?.info ?? unknownInfo);
          remotes.set(peer, replica);
          return { replica, isLive: membership.isLive(peer) };
        }).sort((a, b) => Number(b.isLive) - Number(a.isLive));
      },
      replicas: () => {
        const shard = recordNow();
        return shard === undefined ? 0 : peersIn(shard).length;
      },
      writesNeeded: () => {
        const shard = recordNow();
        const wanted = this.#access().record(collectionUuid)?.config.params.write_consistency_factor ?? 1;
        return shard === undefined ? 1 : Math.min(wanted, replicasThatCount(shard));
      },
      refuseWrites: () => {
        const shard = recordNow();
        if (shard !== undefined) this.#marks.refuseWrites(collectionUuid, shard);
      },
      successor: () => this.#successor(name),
      appliedElsewhere: (seq, wanted, timeoutMs) => this.#appliedElsewhere(name, recordNow(), { seq, wanted, timeoutMs }),
    });
  }

  /** Whether the shard has an Active replica, on whichever node. */
  isServed({ collectionUuid, shardId, generation }: ShardName): boolean {
    const shard = this.#access().record(collectionUuid)?.shards.find((each) => each.id === shardId && each.generation === generation);
    return shard !== undefined && peersIn(shard, 'Active').length > 0;
  }

  /** What other nodes may ask of this one's replicas. */
  methods(): PeerMethods['calls'] {
    return {
      ...replicaMethods((name) => this.#served(name)),
      'shard-position': async (name: ShardName) => {
        const shard = this.#activeHere(name);
        return shard === undefined ? await Promise.reject(this.#notServed(name)) : shard.applied;
      },
      'shard-applied': ({ seq, timeoutMs, ...name }: ShardName & { readonly seq: number; readonly timeoutMs: number }, { signal }) => this.#whenApplied(name, seq, { timeoutMs, signal }),
    };
  }

  isActiveHere(uuid: string, shardId: number): boolean {
    const shard = this.#access().record(uuid)?.shards.find(({ id }) => id === shardId);
    return shard !== undefined && replicaOf(shard, this.#access().membership.self.peerId) === 'Active';
  }

  async #successor({ collectionUuid, shardId, generation }: ShardName): Promise<Replica | undefined> {
    const access = this.#access();
    const { clock } = access;
    for (const until = clock.monotonic() + followTimeoutMs; clock.monotonic() < until; await sleep(appliedPollMs)) {
      const now = access.slot(collectionUuid, shardId);
      if (now === undefined || now.generation > generation) return now?.replica;
    }
    return undefined;
  }

  #activeHere(name: ShardName): Shard | undefined {
    return this.isActiveHere(name.collectionUuid, name.shardId) && this.#isRead(name) ? this.#localShard(name) : undefined;
  }

  /** Whether what is here may be read where it is Active. */
  #isRead(name: ShardName): boolean {
    const access = this.#access();
    const local = this.#localShard(name);
    return !access.joining.has(shardKey(name)) && (local === undefined || !access.catchingUp.has(local));
  }

  #localShard({ collectionUuid, shardId, generation }: ShardName): Shard | undefined {
    return this.#access().localShard(collectionUuid, shardId, generation);
  }

  /** For another node: only this node's own replica, never a third one's. */
  #served(name: ShardName): Replica {
    if (this.#activeHere(name) === undefined) throw this.#notServed(name);
    return must(this.#access().slot(name.collectionUuid, name.shardId), 'an active shard has a slot').replica;
  }

  /** Whoever asked looks again, unless what is here is damaged and nobody else has any: that does not pass. */
  #notServed(name: ShardName): RequestError {
    const access = this.#access();
    const { collectionUuid, shardId, generation } = name;
    const shard = access.record(collectionUuid)?.shards.find(({ id }) => id === shardId);
    const isOnly = shard !== undefined && peersIn(shard, 'Active').every((peer) => peer === access.membership.self.peerId);
    if (isOnly && access.isDamaged(name)) return new RequestError('unavailable', `shard ${shardId} has no active replica that can be reached`);
    return new NotServedError(`shard ${shardId} of generation ${generation} is not active on this node`);
  }

  async #appliedElsewhere(name: ShardName, shard: ShardRecord | undefined, { seq, wanted, timeoutMs }: { readonly seq: number; readonly wanted: number; readonly timeoutMs: number }): Promise<number> {
    const { membership, peers } = this.#access();
    const others = shard === undefined ? [] : peersIn(shard, 'Active').filter((peer) => peer !== membership.self.peerId && (wanted > 0 || membership.isLive(peer)));
    let done = 0;
    let enough = (): void => undefined;
    const isEnough = new Promise<void>((resolve) => {
      enough = resolve;
    });
    if (wanted <= 0) enough();
    const asked = others.map(async (peer) => {
      const uri = membership.node(peer)?.uri ?? unknownUri;
      const isApplied = await peers.call<boolean>(uri, 'shard-applied', { ...name, seq, timeoutMs }, { timeoutMs: timeoutMs + followTimeoutMs, isRepeatable: true }).catch(() => false);
      if (isApplied) done += 1;
      if (done >= wanted) enough();
    });
    await Promise.race([Promise.all(asked), isEnough.then(() => sleep(slowReplicaMs))]);
    return done;
  }

  async #whenApplied(name: ShardName, seq: number, { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<boolean> {
    const { clock } = this.#access();
    const until = clock.monotonic() + timeoutMs;
    for (;;) {
      const shard = this.#localShard(name);
      if (shard !== undefined && shard.applied >= seq) return true;
      if (signal.aborted || clock.monotonic() > until) return false;
      await sleep(appliedPollMs);
    }
  }
}
