// What the replicas of a shard are, as each node tells it: equal where position, chain hash and digest are.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { json } from './json-client.ts';

export interface ReplicaStateTold {
  readonly applied: number;
  readonly chain: string;
  readonly digest: string;
  readonly digest_from: number;
}

const equalMs = 60_000;
const pollMs = 50;

interface Telemetry {
  readonly collections: { readonly collections: readonly { readonly id: string; readonly shards: readonly { readonly id: number; readonly local?: { readonly nearkeep?: ReplicaStateTold } }[] }[] };
}

/** undefined where the node has no open replica of it. */
export async function stateOf(url: string, collection: string, shardId: number): Promise<ReplicaStateTold | undefined> {
  return (await statesOf(url, collection)).get(shardId);
}

async function statesOf(url: string, collection: string): Promise<ReadonlyMap<number, ReplicaStateTold>> {
  const { collections } = (await json(url, 'GET', '/telemetry?details_level=2')) as Telemetry;
  const shards = collections.collections.find(({ id }) => id === collection)?.shards ?? [];
  return new Map(shards.flatMap(({ id, local }) => (local?.nearkeep === undefined ? [] : [[id, local.nearkeep] as const])));
}

/** Resolves when all nodes have the same states of the shards that they hold. Nobody writes meanwhile. */
export async function untilEqual(urls: readonly string[], collection: string): Promise<void> {
  const until = performance.now() + equalMs;
  for (;;) {
    const found = await Promise.all(urls.map((url) => statesOf(url, collection)));
    const ids = new Set(found.flatMap((states) => [...states.keys()]));
    const isEqual = [...ids].every((id) => {
      const [first, ...others] = found.flatMap((states) => states.get(id) ?? []);
      return others.every((other) => isDeepStrictEqual(other, first));
    });
    if (isEqual && ids.size > 0) return;
    if (performance.now() > until) assert.fail(JSON.stringify(found.map((states) => [...states])));
    await new Promise((resolve) => {
      setTimeout(resolve, pollMs);
    });
  }
}
