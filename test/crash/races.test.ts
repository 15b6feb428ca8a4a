// Several clients of a real server that create, delete, fill, upload, restore, undo, snapshot, download and cancel under the same few
// names at once, with kills between. Every answer must be one that some order of the calls explains (race-model.ts), every name
// holds exactly what one acknowledged call put there, nothing is left over, and the folder verifies, also after kill -9 and a restart.
// NEARKEEP_RACES says how many phases, NEARKEEP_FAULTS=all runs many; NEARKEEP_SEED repeats the draws, not the timing.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import { sha256Hex } from '../../src/base/checksum.ts';
import { yieldToLoop } from '../../src/base/clock.ts';
import { Lock } from '../../src/base/lock.ts';
import { seededRandom, type Random } from '../../src/base/testing/random.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { call as send, type Answer } from '../support/rest-client.ts';
import { startServer, verifySound, type ServerProcess } from '../support/server-process.ts';
import { Judge, type Call, type Outcome, type SeenWorld, type Source } from './race-model.ts';
import { assertClean, assertSound, readWorld, result, type Point } from './world.ts';

const seed = Number(process.env['NEARKEEP_SEED'] ?? Date.now() % 1_000_000);
const phases = Number(process.env['NEARKEEP_RACES'] ?? (process.env['NEARKEEP_FAULTS'] === 'all' ? 200 : 6));
const again = `NEARKEEP_SEED=${seed} NEARKEEP_RACES=${phases} node --test dist/test/crash/races.test.js`;
const clients = 4;
const callsOfPhase = 30;
/** One of the last calls may be abandoned: what came of it stays open to the end of the phase, and much of that is too much to judge. */
const abandonedAt = 6;
const pointCount = 20;
/** Shards of the archives that are there from the start. */
const startArchives = [1, 2] as const;
const names = ['a', 'a', 'live'] as const;

interface KnownSnapshot {
  readonly folder: string;
  readonly name: string;
  readonly checksum: string;
}

interface Archive {
  readonly bytes: Buffer;
  readonly source: Source;
}

type Kind = Call['kind'] | 'cancel' | 'storage' | 'abandoned upload';

const weights: readonly (readonly [Kind, number])[] = [
  ['create', 6], ['delete', 5], ['write', 8], ['read', 10], ['alias', 7], ['unalias', 2], ['snapshot', 4], ['delete-snapshot', 2], ['download', 3],
  ['upload', 8], ['abandoned upload', 6], ['recover', 6], ['undo', 5], ['verify', 2], ['index', 2], ['stream', 2], ['cancel', 4], ['storage', 1],
];

class Race {
  readonly data: string;
  judge = new Judge(['live']);
  judged = 0;
  readonly counts = new Map<string, number>();
  server: ServerProcess;
  readonly #random: Random;
  /** Reads and writes of points are no single instant over several shards: one at a time, everything else beside them. */
  readonly #points = new Lock();
  readonly #archives: Archive[] = [];
  readonly #snapshots: KnownSnapshot[] = [];
  #value = 10;
  #left = 0;
  #hasAbandoned = false;
  #isKilled = false;
  #cancelled = 0;
  #cancels = 0;

  constructor(data: string, server: ServerProcess, random: Random) {
    this.data = data;
    this.server = server;
    this.#random = random;
  }

  async prepare(): Promise<void> {
    for (const shards of startArchives) {
      const name = `start-${shards}`;
      const { url } = this.server;
      await result(url, 'PUT', `/collections/${name}`, { vectors: { size: 4, distance: 'Dot' }, shard_number: shards });
      await result(url, 'PUT', `/collections/${name}/points?wait=true`, { points: pointsOf(shards) });
      const made = (await result(url, 'POST', `/collections/${name}/snapshots`)) as { name: string };
      const bytes = Buffer.from(await (await fetch(`${url}/collections/${name}/snapshots/${made.name}`)).arrayBuffer());
      this.#archives.push({ bytes, source: { content: { value: shards, shards } } });
      await result(url, 'DELETE', `/collections/${name}`);
    }
  }

  /** @param killAfter answers; undefined: nobody kills it */
  async phase(place: string, killAfter: number | undefined): Promise<void> {
    this.#left = callsOfPhase;
    this.#hasAbandoned = false;
    this.#isKilled = false;
    const killAt = killAfter === undefined ? -Infinity : callsOfPhase - killAfter;
    const client = async (): Promise<void> => {
      while (this.#left > 0 && !this.#isKilled) {
        this.#left -= 1;
        if (this.#left <= killAt) await this.#kill();
        else await this.#one(place);
      }
    };
    await Promise.all(Array.from({ length: clients }, client));
    if (this.#isKilled) {
      verifySound(this.data);
      this.server = await startServer({ data: this.data });
    }
    await this.settle(place);
  }

  /** No job is at work: what the clients see now must be explained, and nothing is left over. */
  async settle(place: string): Promise<void> {
    const { url } = this.server;
    for (;;) {
      const { jobs } = (await result(url, 'GET', '/cluster/jobs')) as { jobs: { state: string }[] };
      if (jobs.every(({ state }) => state !== 'running' && state !== 'queued')) break;
      await yieldToLoop();
    }
    if (await this.judge.settled(await seeWorld(url), place)) this.judged += 1;
    else await this.#startAnew();
    await assertClean(this.data, await readWorld(url), place);
    assert.ok(this.#cancelled <= this.#cancels, `${this.#cancelled} calls were answered as cancelled, ${this.#cancels} were; ${place}`);
  }

  /** Without anything that the judge would have to know. */
  async #startAnew(): Promise<void> {
    for (const name of new Set(names)) await result(this.server.url, 'DELETE', `/collections/${name}`);
    this.#snapshots.splice(0);
    this.#archives.splice(startArchives.length);
    this.judge = new Judge(['live'], Infinity);
  }

  /** While no write is under way: one over two shards that nobody acknowledged may be half there. */
  async #kill(): Promise<void> {
    await this.#points.run(async () => {
      if (this.#isKilled) return;
      this.#isKilled = true;
      await this.server.kill();
    });
  }

  async #one(place: string): Promise<void> {
    const kind = this.#draw(weights);
    if (kind === 'cancel') return await this.#settling(() => this.#cancel());
    if (kind === 'storage') return await this.#settling(() => this.#storage());
    if (kind === 'abandoned upload') return await this.#abandon();
    const call = this.#callOf(kind);
    if (call === undefined) return;
    if (kind === 'write' || kind === 'read') return await this.#points.run(() => this.#judged(call, place));
    await this.#judged(call, place);
  }

  /** Calls that the model does not know; a kill may cut them off. */
  async #settling(work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) => {
      if (!this.#isKilled) throw error;
    });
  }

  async #judged(call: Call, place: string): Promise<void> {
    if (this.#isKilled) return;
    const number = this.judge.sent(call);
    let answer: { readonly outcome: Outcome; readonly text: string };
    try {
      answer = await this.#send(call);
    } catch (error) {
      if (!this.#isKilled || error instanceof assert.AssertionError) throw new RangeError(`${JSON.stringify(call)} got no answer (${causeOf(error)}); ${place}`, { cause: error });
      return this.judge.unanswered(number);
    }
    const { outcome, text } = answer;
    this.#count(`${call.kind} ${outcome.status}`);
    const where = `${place}: ${text.slice(0, 300)}`;
    if (outcome.status !== 503) return this.judge.answered(number, outcome, where);
    assert.match(text, /the job was cancelled/);
    this.#cancelled += 1;
    this.judge.withdrawn(number, where);
  }

  #callOf(kind: Call['kind']): Call | undefined {
    const random = this.#random;
    // what makes a collection is seldom sent to the alias: where it is none, a collection takes its name, and it can be no alias any more
    const isMaking = kind === 'create' || kind === 'upload' || kind === 'recover';
    const name = isMaking && random.below(3) > 0 ? 'a' : this.#pick(names);
    const reshard = random.below(4) === 0;
    switch (kind) {
      case 'create': return { kind, name, shards: 1 + random.below(2) };
      case 'write': return { kind, name, value: (this.#value += 1) };
      case 'alias': return { kind, alias: 'live', name: 'a' };
      case 'unalias': return { kind, alias: 'live' };
      case 'upload': return { kind, name, reshard, source: this.#pick(this.#archives).source };
      case 'recover': case 'download': case 'delete-snapshot': {
        if (this.#snapshots.length === 0) return undefined;
        const { folder, name: snapshot } = this.#pick(this.#snapshots);
        return kind === 'recover' ? { kind, name, folder, snapshot, reshard } : { kind, name: random.below(4) === 0 ? name : folder, snapshot };
      }
      case 'delete': case 'undo': case 'read': case 'verify': case 'index': case 'stream': case 'snapshot': return { kind, name };
    }
  }

  async #send(call: Call): Promise<{ readonly outcome: Outcome; readonly text: string }> {
    const at = `/collections/${'name' in call ? call.name : ''}`;
    const ask = async (method: string, path: string, body?: unknown): Promise<Answer> => await send(this.server.url, method, path, body === undefined ? {} : { body });
    const plain = ({ status, text }: Answer): { readonly outcome: Outcome; readonly text: string } => ({ outcome: { status }, text });
    switch (call.kind) {
      case 'create': return plain(await ask('PUT', at, { vectors: { size: 4, distance: 'Dot' }, shard_number: call.shards }));
      case 'delete': {
        const answer = await ask('DELETE', at);
        return { outcome: { status: answer.status, value: answer.result }, text: answer.text };
      }
      case 'undo': return plain(await ask('POST', `${at}/snapshots/undo`));
      case 'write': return plain(await ask('PUT', `${at}/points?wait=true`, { points: pointsOf(call.value) }));
      case 'index': return plain(await ask('PUT', `${at}/index?wait=true`, { field_name: 'value', field_schema: 'integer' }));
      case 'verify': return this.#verified(await ask('POST', `/cluster/collections/${call.name}/verify?deep=true`));
      case 'alias': return plain(await ask('POST', '/collections/aliases', { actions: [{ delete_alias: { alias_name: call.alias } }, { create_alias: { alias_name: call.alias, collection_name: call.name } }] }));
      case 'unalias': return plain(await ask('POST', '/collections/aliases', { actions: [{ delete_alias: { alias_name: call.alias } }] }));
      case 'read': return readOutcome(await ask('POST', `${at}/points/scroll`, { limit: 1000, with_vector: true, with_payload: true }));
      case 'snapshot': return this.#snapshotMade(await ask('POST', `${at}/snapshots`));
      case 'delete-snapshot': return plain(await ask('DELETE', `${at}/snapshots/${call.snapshot}`));
      case 'download': return await this.#download(call);
      case 'stream': {
        const response = await fetch(`${this.server.url}${at}/shards/0/snapshot`);
        const bytes = await response.arrayBuffer();
        return { outcome: { status: response.status }, text: `${bytes.byteLength} bytes` };
      }
      case 'upload': {
        const { bytes } = must(this.#archives.find(({ source }) => source === call.source), 'a known archive');
        return plain(await ask('POST', `${at}/snapshots/upload?priority=snapshot&reshard=${call.reshard}`, formOf(bytes)));
      }
      case 'recover': {
        const location = `file://${path.join(this.data, 'snapshots', call.folder, call.snapshot)}`;
        return plain(await ask('PUT', `${at}/snapshots/recover?reshard=${call.reshard}`, { location, priority: 'snapshot' }));
      }
    }
  }

  #verified({ status, text, result: report }: Answer): { readonly outcome: Outcome; readonly text: string } {
    if (status === 200) assert.deepEqual((report as { problems: unknown }).problems, [], text);
    return { outcome: { status }, text };
  }

  #snapshotMade({ status, text, result: made }: Answer): { readonly outcome: Outcome; readonly text: string } {
    if (status !== 200) return { outcome: { status }, text };
    const { name, checksum } = made as { name: string; checksum: string };
    this.#snapshots.push({ name, checksum, folder: must(name.split('-')[0], 'the collection comes first') });
    if (this.#snapshots.length > 8) this.#snapshots.shift();
    return { outcome: { status, value: name }, text };
  }

  async #download({ name, snapshot }: { readonly name: string; readonly snapshot: string }): Promise<{ readonly outcome: Outcome; readonly text: string }> {
    const known = must(this.#snapshots.find((each) => each.name === snapshot), 'drawn from them');
    const response = await fetch(`${this.server.url}/collections/${name}/snapshots/${snapshot}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    if (response.status === 200) {
      assert.equal(sha256Hex(bytes), known.checksum, `the bytes of ${snapshot}`);
      this.#archives.push({ bytes, source: { snapshot } });
      if (this.#archives.length > 8) this.#archives.splice(startArchives.length, 1);
    }
    return { outcome: { status: response.status }, text: response.status === 200 ? '' : bytes.toString() };
  }

  /** The newest job that is at work. */
  async #cancel(): Promise<void> {
    const { url } = this.server;
    const { jobs } = (await result(url, 'GET', '/cluster/jobs')) as { jobs: { id: string; state: string }[] };
    const running = jobs.find(({ state }) => state === 'running');
    if (running === undefined) return;
    const isCancelled = await result(url, 'DELETE', `/cluster/jobs/${running.id}`);
    if (isCancelled === true) this.#cancels += 1;
    this.#count(`cancel ${String(isCancelled)}`);
  }

  async #storage(): Promise<void> {
    const made = await send(this.server.url, 'POST', '/snapshots');
    this.#count(`storage ${made.status}`);
    if (made.status === 503) this.#cancelled += 1;
    else {
      assert.equal(made.status, 200, made.text);
      await result(this.server.url, 'DELETE', `/snapshots/${(made.result as { name: string }).name}`);
    }
  }

  /** The client leaves somewhere in the middle: what came of it shows later. */
  async #abandon(): Promise<void> {
    if (this.#left > abandonedAt || this.#hasAbandoned) return;
    this.#hasAbandoned = true;
    const { bytes, source } = this.#pick(this.#archives);
    const call: Call = { kind: 'upload', name: this.#pick(names), source, reshard: true };
    const turns = this.#random.below(60);
    const leaving = new AbortController();
    const number = this.judge.sent(call);
    const answered = fetch(`${this.server.url}/collections/${call.name}/snapshots/upload?reshard=true`, { method: 'POST', body: formOf(bytes), signal: leaving.signal }).then(() => 'answered', () => 'left');
    for (let turn = 0; turn < turns; turn += 1) await yieldToLoop();
    leaving.abort();
    this.#count(`abandoned upload ${await answered}`);
    this.judge.unanswered(number);
  }

  #pick<T>(choices: readonly T[]): T {
    return must(choices[this.#random.below(choices.length)], 'there are choices');
  }

  #draw(choices: readonly (readonly [Kind, number])[]): Kind {
    let at = this.#random.below(choices.reduce((sum, [, weight]) => sum + weight, 0));
    return must(choices.find(([, weight]) => (at -= weight) < 0), 'the weights add up')[0];
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}

/** With what is behind it: a request that failed says only that it did. */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? `${error.message}: ${causeOf(error.cause)}` : String(error);
}

function pointsOf(value: number): Point[] {
  return Array.from({ length: pointCount }, (_, id) => ({ id, vector: [value, id, 1, 1], payload: { value } }));
}

function formOf(bytes: Buffer): FormData {
  const form = new FormData();
  form.append('snapshot', new Blob([bytes]), 'x.snapshot');
  return form;
}

/** The one value of all points, or what is wrong with them. */
function valueOf(points: readonly Point[]): unknown {
  if (points.length === 0) return 0;
  const value = points[0]?.payload['value'];
  const isWhole = points.length === pointCount && points.every(({ id, vector, payload }) => payload['value'] === value && vector[0] === value && vector[1] === id);
  return isWhole ? value : `a mixture: ${JSON.stringify(points.map(({ id, payload }) => [id, payload['value']]))}`;
}

function readOutcome({ status, text, result: page }: Answer): { readonly outcome: Outcome; readonly text: string } {
  return { outcome: { status, ...(status === 200 ? { value: valueOf((page as { points: Point[] }).points) } : {}) }, text };
}

async function seeWorld(url: string): Promise<SeenWorld> {
  const { collections } = (await result(url, 'GET', '/collections')) as { collections: { name: string }[] };
  const { aliases } = (await result(url, 'GET', '/aliases')) as { aliases: { alias_name: string; collection_name: string }[] };
  const found: Record<string, { value: number; shards: number }> = {};
  const snapshots: string[] = [];
  for (const { name } of collections) {
    const { config } = (await result(url, 'GET', `/collections/${name}`)) as { config: { params: { shard_number: number } } };
    const { points } = (await result(url, 'POST', `/collections/${name}/points/scroll`, { limit: 1000, with_vector: true, with_payload: true })) as { points: Point[] };
    found[name] = { value: valueOf(points) as number, shards: config.params.shard_number };
    for (const each of (await result(url, 'GET', `/collections/${name}/snapshots`)) as { name: string }[]) snapshots.push(`${name}/${each.name}`);
  }
  return { names: found, aliases: Object.fromEntries(aliases.map(({ alias_name, collection_name }) => [alias_name, collection_name])), snapshots };
}

test(`races under the same names, ${phases} phases, seed ${seed}`, { timeout: 7_200_000 }, async (t) => {
  await using folder = await temporaryFolder();
  const data = path.join(folder.path, 'data');
  const random = seededRandom(seed);
  const race = new Race(data, await startServer({ data }), random);
  try {
    await race.prepare();
    for (let phase = 0; phase < phases; phase += 1) {
      const killAfter = phase % 2 === 1 ? 10 + random.below(callsOfPhase - 10) : undefined;
      await race.phase(`phase ${phase}${killAfter === undefined ? '' : `, killed after ${killAfter} calls`}; ${again}`, killAfter);
    }
    assert.equal(await race.server.stop(), 0);
    assert.deepEqual(await assertSound(data, again), [], 'a server that was stopped leaves nothing to remove');
    race.server = await startServer({ data });
    await race.settle(`after a restart; ${again}`);
    assert.equal(await race.server.stop(), 0);
  } finally {
    await race.server.kill();
  }
  t.diagnostic(`${Array.from(race.counts, ([what, count]) => `${what}: ${count}`).sort((a, b) => (a < b ? -1 : 1)).join(', ')}; ${race.judged} phases judged, at most ${race.judge.peak} states at once`);
  t.diagnostic(again);
  const done = [...race.counts].reduce((sum, [what, count]) => sum + (what.endsWith(' 200') ? count : 0), 0);
  assert.ok(race.judged > 0, 'some phases overlap little enough to be judged');
  assert.ok(done > phases * 2, `${done} calls did something`);
});
