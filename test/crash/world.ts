// Everything that clients of a server can see, as one value that can be compared; and what a data directory holds beside it.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { yieldToLoop } from '../../src/base/clock.ts';
import { NodeDisk } from '../../src/fs/node-disk.ts';
import { verifyPath } from '../../src/engine/verify.ts';
import { call } from '../support/rest-client.ts';

export interface World {
  readonly collections: Readonly<Record<string, CollectionWorld>>;
  readonly aliases: Readonly<Record<string, string>>;
}

interface CollectionWorld {
  readonly status: string;
  readonly indexes: readonly string[];
  /** Id → vector and payload. */
  readonly points: Readonly<Record<string, unknown>>;
  readonly snapshots: number;
}

export interface Point {
  readonly id: number;
  readonly vector: readonly number[];
  readonly payload: Readonly<Record<string, unknown>>;
}

export async function readWorld(url: string): Promise<World> {
  const { collections } = (await result(url, 'GET', '/collections')) as { collections: { name: string }[] };
  const { aliases } = (await result(url, 'GET', '/aliases')) as { aliases: { alias_name: string; collection_name: string }[] };
  const found: Record<string, CollectionWorld> = {};
  for (const { name } of collections.sort((a, b) => (a.name < b.name ? -1 : 1))) found[name] = await readCollection(url, name);
  return { collections: found, aliases: Object.fromEntries(aliases.map(({ alias_name, collection_name }) => [alias_name, collection_name])) };
}

async function readCollection(url: string, name: string): Promise<CollectionWorld> {
  const { status, payload_schema } = (await result(url, 'GET', `/collections/${name}`)) as { status: string; payload_schema: object };
  const page = (await result(url, 'POST', `/collections/${name}/points/scroll`, { limit: 100_000, with_payload: true, with_vector: true })) as { points: Point[] };
  const snapshots = (await result(url, 'GET', `/collections/${name}/snapshots`)) as unknown[];
  return {
    status: status === 'red' ? status : 'sound',
    indexes: Object.keys(payload_schema).sort(),
    points: Object.fromEntries(page.points.map(({ id, vector, payload }) => [id, { vector, payload }])),
    snapshots: snapshots.length,
  };
}

/** The result of a call that must succeed. */
export async function result(url: string, method: string, at: string, body?: unknown): Promise<unknown> {
  const answer = await call(url, method, at, body === undefined ? {} : { body });
  assert.equal(answer.status, 200, `${method} ${at}: ${answer.text}`);
  return answer.result;
}

/** The directory of no running server is sound, snapshots and all; answers what the next start would remove. */
export async function assertSound(data: string, title: string): Promise<readonly string[]> {
  const { problems, notes } = await verifyPath(new NodeDisk(), data, { deep: true });
  assert.deepEqual(problems, [], title);
  return notes;
}

/** Nothing unfinished lies in the directory of a running server, as soon as the removals of its start are done. */
export async function assertClean(data: string, world: World, title: string): Promise<void> {
  const patienceMs = 60_000;
  for (const startMs = performance.now(); leftovers(data, world).length > 0;) {
    assert.ok(performance.now() - startMs < patienceMs, `${title}: left over: ${leftovers(data, world).join(', ')}`);
    await yieldToLoop();
  }
}

/** Folders of states that a restore replaced and an undo can bring back. */
function keptStates(data: string): number {
  const { records } = JSON.parse(readFileSync(path.join(data, 'metastore.json'), 'utf8')) as { readonly records: { readonly dir?: { readonly value: { readonly replaced?: object } } } };
  return Object.keys(records.dir?.value.replaced ?? {}).length;
}

function leftovers(data: string, world: World): readonly string[] {
  const unfinished = readdirSync(data, { recursive: true, encoding: 'utf8' }).filter((name) => /(^|\/)\.staging-|\.tmp/.test(name));
  const folders = readdirSync(path.join(data, 'collections'));
  const kept = keptStates(data);
  const unnamed = folders.length === Object.keys(world.collections).length + kept ? [] : folders.map((name) => `collections/${name}`);
  return [...unfinished, ...unnamed];
}
