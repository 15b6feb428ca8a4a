// Whether the replicas of a shard are what its log should have made of each: their marks, as heartbeats tell them, held side by side.
//
// Where two marks of one position differ, the replicas that have a majority of all replicas behind them are right and the others odd;
// without a majority nobody is, and an operator decides. Replicas that are being brought up again say nothing about the others.
//
// Invariants:
// - Only like is compared: chain hashes of one position; digests of one position that began at the same one.
// - A verdict is a function of marks and record alone. Digests go on from what they were, so what differs once differs until a copy is made.
import { must } from '../base/assert.ts';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { StateMark } from '../shard/state-marks.ts';
import type { CatalogAccess } from './catalog-access.ts';
import { peersIn, replicaOf, type ReplicaState, type ShardRecord } from './cluster-record.ts';
import type { ShardName } from './remote-replica.ts';

export interface Disagreement {
  /** `odd`: a majority agrees on something else. `undecided`: there is none. */
  readonly kind: 'odd' | 'undecided';
  /** What differs: logs, or what became of one and the same log. */
  readonly what: 'logs' | 'contents';
  /** The first position at which they differ. */
  readonly seq: number;
  /** The last position before it at which all of them were equal; 0 where none is known. */
  readonly equalSeq: number;
  /** Peers that are alike, the most first. */
  readonly groups: readonly (readonly number[])[];
  /** Who is not of the majority; nobody where there is none. */
  readonly odd: readonly number[];
}

const upAgain: readonly ReplicaState[] = ['Recovery', 'ManualRecovery', 'Partial', 'Initializing'];

/**
 * @param marks peer id → its marks
 * @param replicas how many there are, heard or not
 * @internal for tests
 */
export function judgeMarks(marks: ReadonlyMap<number, readonly StateMark[]>, replicas: number): Disagreement | undefined {
  const seqs = [...new Set([...marks.values()].flatMap((all) => all.map(({ seq }) => seq)))].sort((a, b) => a - b);
  let equalSeq = 0;
  for (const seq of seqs) {
    const here = [...marks].flatMap(([peer, all]) => all.filter((mark) => mark.seq === seq).map((mark) => ({ peer, mark })));
    if (here.length < 2) continue;
    const found = differing(here);
    if (found === undefined) {
      equalSeq = seq;
      continue;
    }
    const groups = [...found.groups].sort((a, b) => b.length - a.length || must(a[0], 'a group has a peer') - must(b[0], 'a group has a peer'));
    const [largest = []] = groups;
    const isDecided = largest.length * 2 > replicas;
    return { kind: isDecided ? 'odd' : 'undecided', what: found.what, seq, equalSeq, groups, odd: isDecided ? groups.slice(1).flat() : [] };
  }
  return undefined;
}

/** undefined where all that can be compared is equal. */
function differing(here: readonly { readonly peer: number; readonly mark: StateMark }[]): Pick<Disagreement, 'what' | 'groups'> | undefined {
  const chains = groupsBy(here, ({ chain }) => chain);
  if (chains.length > 1) return { what: 'logs', groups: chains };
  for (const from of new Set(here.map(({ mark }) => mark.digest.from))) {
    const digests = groupsBy(here.filter(({ mark }) => mark.digest.from === from), ({ digest }) => digest.value);
    if (digests.length > 1) return { what: 'contents', groups: digests };
  }
  return undefined;
}

function groupsBy(here: readonly { readonly peer: number; readonly mark: StateMark }[], keyOf: (mark: StateMark) => string): readonly (readonly number[])[] {
  const groups = new Map<string, number[]>();
  for (const { peer, mark } of here) groups.set(keyOf(mark), [...(groups.get(keyOf(mark)) ?? []), peer]);
  return [...groups.values()];
}

export class ReplicaMarks {
  readonly #access: () => CatalogAccess;
  /** Shard → what the log was told of it. */
  readonly #told = new Map<string, string>();

  constructor(access: () => CatalogAccess) {
    this.#access = access;
  }

  /** As far as this node has heard. */
  disagreementOf(collectionUuid: string, shard: ShardRecord): Disagreement | undefined {
    const peers = peersIn(shard);
    if (peers.length < 2) return undefined;
    const access = this.#access();
    const { membership } = access;
    const self = membership.self.peerId;
    const name: ShardName = { collectionUuid, shardId: shard.id, generation: shard.generation };
    const compared = peers.filter((peer) => peer === self || !upAgain.some((state) => state === replicaOf(shard, peer)));
    const marks = compared.map((peer) => [peer, peer === self ? access.localShard(collectionUuid, shard.id, shard.generation)?.marks : membership.shardOf(peer, name)?.marks] as const);
    return judgeMarks(new Map(marks.map(([peer, found]) => [peer, found ?? []])), peers.length);
  }

  /** Whether this node's replica, in that state, is to be replaced by a copy of another one. */
  isOwnOdd(collectionUuid: string, shard: ShardRecord, state: ReplicaState): boolean {
    const found = this.disagreementOf(collectionUuid, shard);
    const { self } = this.#access().membership;
    if (found === undefined) return false;
    return found.odd.includes(self.peerId) || (upAgain.includes(state) && found.groups.some((group) => group.includes(self.peerId)));
  }

  /** @throws RequestError 'unavailable' where no write may be taken */
  refuseWrites(collectionUuid: string, shard: ShardRecord): void {
    const found = this.disagreementOf(collectionUuid, shard);
    if (found?.kind === 'undecided') throw new RequestError('unavailable', `${explained(shard.id, found)}: writes are stopped until an operator drops one of them`);
  }

  /** An alarm for what is new, and a line for what has ended. */
  tell(logger: Logger, collectionUuid: string, shard: ShardRecord): void {
    const key = `${collectionUuid}/${shard.id}/${shard.generation}`;
    const found = this.disagreementOf(collectionUuid, shard);
    const gist = found === undefined ? undefined : JSON.stringify([found.kind, found.what, found.groups]);
    if (this.#told.get(key) === gist) return;
    const facts = { collection: collectionUuid, shard: shard.id };
    if (found === undefined || gist === undefined) {
      this.#told.delete(key);
      logger.info(facts, 'replicas of a shard are equal again, as far as this node has heard');
      return;
    }
    this.#told.set(key, gist);
    const { groups, seq, equalSeq } = found;
    const end = found.kind === 'odd' ? 'the majority is right, the others are copied anew' : 'writes are stopped until an operator drops one of them';
    logger.error({ ...facts, groups, seq, equalSeq }, `${explained(shard.id, found)}: ${end}`);
  }
}

function explained(shardId: number, { kind, what, seq, equalSeq, groups }: Disagreement): string {
  const sides = groups.map((group) => group.join(', ')).join(' | ');
  return `the ${what} of the replicas of shard ${shardId} differ since an entry between ${equalSeq + 1} and ${seq} (peers ${sides})${kind === 'odd' ? '' : ', and none has a majority'}`;
}
