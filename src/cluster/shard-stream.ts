// The JetStream stream of one life (generation) of a shard's log: its name, its settings, and the few things ever asked of it.
//
// A stream has no limit of bytes of its own: JetStream reserves such a limit at once, on every server, whatever is stored. What ends a
// full log is the limit of the server's whole store.
//
// Never asked: a purge without a seq, of seq 1, or beyond the end. Depending on the server's version the first two empty the stream,
// and the third moves its next seq. Entries are never deleted singly, so a seq that is missing is loss and nothing else.
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream';
import { RequestError } from '../base/errors.ts';
import type { Seq } from '../base/ids.ts';
import { apiCodes, hasCode, type NatsClient } from './nats-client.ts';

export interface StreamIdentity {
  readonly collectionUuid: string;
  readonly shardId: number;
  readonly generation: number;
}

export interface StreamFacts {
  /** 0 where the stream never had an entry; one below the first otherwise possible. */
  readonly lastSeq: Seq;
  readonly firstSeq: Seq;
  readonly isSealed: boolean;
  /** Entries that are gone from the middle: an alarm. */
  readonly missing: number;
  readonly sizeBytes: number;
  /** That are to keep it; a majority of them has an entry on disk before anybody gets it. */
  readonly servers: number;
}

/** Of an entry; a server must take as much. */
export const messageBytesMax = 33 << 20;
const duplicateWindowNs = 120_000_000_000;
const namePattern = /^L_([0-9a-f-]+)_(\d+)_g(\d+)$/;

export function streamName({ collectionUuid, shardId, generation }: StreamIdentity): string {
  return `L_${collectionUuid}_${shardId}_g${generation}`;
}

export function streamSubject({ collectionUuid, shardId, generation }: StreamIdentity): string {
  return `l.${collectionUuid}.${shardId}.g${generation}`;
}

/** `firstSeq`: that of its first entry, so that seqs go on over generations. @throws RequestError 'unavailable' where too few servers are up */
export async function createStream(client: NatsClient, of: StreamIdentity, options: { readonly firstSeq: Seq; readonly replicas: number; readonly deadlineMs: number }): Promise<void> {
  try {
    await client.ensureStream({
      name: streamName(of), subjects: [streamSubject(of)], storage: StorageType.File, num_replicas: options.replicas, retention: RetentionPolicy.Limits, discard: DiscardPolicy.New,
      max_msgs_per_subject: -1, max_age: 0, max_bytes: -1, max_msg_size: messageBytesMax, duplicate_window: duplicateWindowNs,
      deny_delete: true, allow_direct: false, ...(options.firstSeq > 1 ? { first_seq: options.firstSeq } : {}),
    }, options.deadlineMs);
  } catch (error) {
    if (!hasCode(error, apiCodes.tooFewServers)) throw error;
    throw new RequestError('unavailable', `the log of a new shard needs ${options.replicas} servers at once, and some nodes of the cluster are down`, { cause: error });
  }
}

async function streamExists({ manager }: NatsClient, of: StreamIdentity): Promise<boolean> {
  return (await manager.streams.names(streamSubject(of)).next()).includes(streamName(of));
}

/** Of all collections, or of one. */
export async function shardStreams({ manager }: NatsClient, collectionUuid = '*'): Promise<readonly StreamIdentity[]> {
  const found: StreamIdentity[] = [];
  for await (const name of manager.streams.names(`l.${collectionUuid}.>`)) {
    const [, uuid, shardId, generation] = namePattern.exec(name) ?? [];
    if (uuid !== undefined) found.push({ collectionUuid: uuid, shardId: Number(shardId), generation: Number(generation) });
  }
  return found;
}

/** Asked of the stream's leader. */
export async function streamFacts(client: NatsClient, of: StreamIdentity): Promise<StreamFacts> {
  const { state, config } = await client.leaderInfo(streamName(of));
  return { lastSeq: state.last_seq, firstSeq: state.first_seq, isSealed: config.sealed, missing: state.num_deleted ?? 0, sizeBytes: state.bytes, servers: config.num_replicas };
}

/** No entry is ever added again, as to one that is gone already; idempotent. Cannot be undone. */
export async function sealStream({ manager }: NatsClient, of: StreamIdentity): Promise<void> {
  try {
    const { config } = await manager.streams.info(streamName(of));
    const sealed: Partial<StreamConfig> = { ...config, sealed: true };
    if (!config.sealed) await manager.streams.update(streamName(of), sealed);
  } catch (error) {
    if (!hasCode(error, apiCodes.streamNotFound)) throw error;
  }
}

/** Drops entries below `from`, as far as that is safe. */
export async function purgeStream(client: NatsClient, of: StreamIdentity, from: Seq): Promise<void> {
  const { firstSeq, lastSeq, isSealed } = await streamFacts(client, of);
  const seq = Math.min(from, lastSeq + 1);
  if (isSealed || seq < 2 || seq <= firstSeq) return;
  await client.manager.streams.purge(streamName(of), { seq });
}

/** Idempotent. */
export async function deleteStream(client: NatsClient, of: StreamIdentity): Promise<void> {
  if (await streamExists(client, of)) await client.manager.streams.delete(streamName(of));
}
