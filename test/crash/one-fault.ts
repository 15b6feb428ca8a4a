// One operation of the disk fails, anywhere in the script of the whole engine: the caller gets a clear error, what was
// acknowledged stays, a failed step has no effect or its whole effect, the same step succeeds once the fault is gone, and the
// next start finds all of it. Runs of one-fault.test.ts, in a thread of their own.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { must } from '../../src/base/assert.ts';
import { CorruptionError, RequestError } from '../../src/base/errors.ts';
import { seededRandom } from '../../src/base/testing/random.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { FaultyDisk, isChange, type DecideFault, type DiskOperation, type Fault, type OperationKind } from '../../src/fs/testing/faulty-disk.ts';
import { MemoryDisk } from '../../src/fs/testing/memory-disk.ts';
import { dataDirectory, openMemoryEngine, points, readEngine, settle, verifyMemory, type EngineWorld } from './memory-engine.ts';
import { blend, unfinished } from './moments.ts';
import { repeatChance } from './repeatable-chance.ts';
import { script, type Step } from './script.ts';

const reportedMax = 20;
const probeId = 9_999;

/** Snapshots by number: their names differ between two runs. Background work that failed shows until it has succeeded: no fact here. */
function factsOf({ aliases, collections }: EngineWorld): EngineWorld {
  const facts = Object.entries(collections).map(([name, { snapshots, ...rest }]) => [name, { ...rest, isSound: true, snapshots: Array.from(snapshots, () => 'one') }] as const);
  return { aliases, collections: Object.fromEntries(facts) };
}

export interface FaultRequest {
  readonly seed: number;
  readonly draw: 'all' | number;
  /** The second of five is [2, 5]. */
  readonly part: readonly [number, number];
  /** A plan as text, instead of all others. */
  readonly only?: string;
}

export interface FaultReport {
  readonly operations: number;
  readonly plans: number;
  /** Faults whose operation came. */
  readonly met: number;
  /** Calls that failed. */
  readonly reached: number;
  readonly failures: readonly string[];
}

interface Plan {
  readonly at: number;
  readonly fault: Fault;
  /** After a failed step: do it again and go on, or write elsewhere and start anew. */
  readonly next: 'retry' | 'restart';
}

/** Steps that can be refused and have their whole effect all the same: what is half gone is better gone. */
const mayBeDone = / in |drop vector|background|delete the first snapshot/;

const takesSpace: ReadonlySet<OperationKind> = new Set(['create', 'makeDirectory', 'rename', 'link', 'copy']);

function faultsOf({ kind }: DiskOperation): readonly Fault[] {
  const broken: Fault = { kind: 'error', code: 'EIO' };
  const full: Fault = { kind: 'error', code: 'ENOSPC' };
  if (kind === 'append') return [broken, full, { kind: 'short', bytes: 30 }];
  return takesSpace.has(kind) ? [broken, full] : [broken];
}

/** Without a look in between, as most of a run with a fault goes: looks would shift what the background does when. */
async function recordOperations(seed: number): Promise<readonly DiskOperation[]> {
  const operations: DiskOperation[] = [];
  repeatChance(seed);
  const engine = await openMemoryEngine(new FaultyDisk(new MemoryDisk(), (operation) => {
    operations.push(operation);
    return undefined;
  }));
  for (const step of script) await step.run(engine);
  await engine.close();
  return operations;
}

/** What is seen before the first step and after each. */
async function recordFacts(): Promise<readonly EngineWorld[]> {
  const engine = await openMemoryEngine(new MemoryDisk());
  const facts = [factsOf(await readEngine(engine))];
  for (const step of script) {
    await step.run(engine);
    facts.push(factsOf(await readEngine(engine)));
  }
  await engine.close();
  return facts;
}

class Run {
  readonly disk = new MemoryDisk();
  readonly #seed: number;
  readonly #plan: Plan;
  readonly #facts: readonly EngineWorld[];
  #seen = 0;
  /** A look only reads; what changes the disk meanwhile is background work. */
  #isLooking = false;
  #isOver = false;
  hit: DiskOperation | undefined;
  /** Steps that failed. */
  failures = 0;
  /** A write that was refused may be on the disk all the same. */
  #unknown: { readonly after: EngineWorld } | undefined;

  constructor(seed: number, plan: Plan, facts: readonly EngineWorld[]) {
    this.#seed = seed;
    this.#plan = plan;
    this.#facts = facts;
  }

  get place(): string {
    const { at, fault, next } = this.#plan;
    return `${JSON.stringify(fault)} at operation ${at}, ${this.hit === undefined ? 'not met' : `${this.hit.kind} ${this.hit.path}`}, then ${next}; NEARKEEP_SEED=${this.#seed} NEARKEEP_FAULT_AT='${JSON.stringify(this.#plan)}' node --test dist/test/crash/one-fault.test.js`;
  }

  readonly #decide: DecideFault = (operation) => {
    if (this.#isOver || (this.#isLooking && !isChange(operation))) return undefined;
    this.#seen += 1;
    if (this.#seen !== this.#plan.at) return undefined;
    this.hit = operation;
    return this.#plan.fault;
  };

  async go(): Promise<void> {
    repeatChance(this.#seed);
    const faulty = new FaultyDisk(this.disk, this.#decide);
    const engine = await openMemoryEngine(faulty).catch((error: unknown) => {
      this.#checkError(error);
      return openMemoryEngine(faulty);
    });
    let expected = must(this.#facts.at(-1), 'there are facts');
    try {
      for (const [at, step] of script.entries()) {
        const after = must(this.#facts[at + 1], 'facts for each step');
        const before = must(this.#facts[at], 'facts for each step');
        const ended = await this.#step(engine, step, { before, after });
        if (ended !== undefined) {
          expected = ended;
          break;
        }
      }
      await settle(engine);
      assert.deepEqual(await this.#look(engine), expected, this.place);
    } finally {
      await engine.close();
    }
    await this.#reopen(expected);
  }

  /** Answers what must be found at the end, where the run ends here. */
  async #step(engine: Engine, step: Step, facts: { readonly before: EngineWorld; readonly after: EngineWorld }): Promise<EngineWorld | undefined> {
    try {
      await step.run(engine);
      return undefined;
    } catch (error) {
      this.failures += 1;
      this.#checkError(error);
    }
    const found = await this.#look(engine);
    const isDone = isDeepStrictEqual(found, facts.after);
    assert.ok(!isDone || mayBeDone.test(step.name), `${this.place}: ${step.name} failed, and yet it is done`);
    if (!isDone) assert.deepEqual(found, step.isAtomic ? facts.before : blend(found, facts.before, facts.after), `${this.place}: ${step.name} failed`);
    if (this.#plan.next === 'restart') {
      if (!step.isAtomic) this.#unknown = facts;
      return await this.#probe(engine);
    }
    if (isDone) return undefined;
    await step.run(engine).catch((error: unknown) => assert.fail(`${this.place}: ${step.name} fails again: ${String(error)}`));
    assert.deepEqual(await this.#look(engine), facts.after, `${this.place}: ${step.name} at the second try`);
    return undefined;
  }

  /** A write to every collection that is there: acknowledged, so it must last. */
  async #probe(engine: Engine): Promise<EngineWorld> {
    for (const name of engine.listCollections()) {
      const vector = engine.collectionInfo(name).config.params.vectors;
      const known = typeof vector['size'] === 'number' ? '' : must(Object.keys(vector)[0], 'a collection has a vector');
      await engine.write(name, { kind: 'upsert', points: points({ from: probeId, to: probeId + 1 }, 0, known) }, { wait: true }).catch((error: unknown) => assert.fail(`${this.place}: the next write to ${name} fails: ${String(error)}`));
    }
    return await this.#look(engine);
  }

  async #look(engine: Engine): Promise<EngineWorld> {
    this.#isLooking = true;
    const found = factsOf(await readEngine(engine));
    this.#isLooking = false;
    return found;
  }

  #checkError(error: unknown): void {
    assert.ok(error instanceof RequestError || error instanceof CorruptionError, `${this.place}: ${String(error)}`);
  }

  async #reopen(expected: EngineWorld): Promise<void> {
    this.#isOver = true;
    const engine = await openMemoryEngine(this.disk);
    try {
      await settle(engine);
      const found = await readEngine(engine);
      const wanted = this.#unknown === undefined ? expected : blend(factsOf(found), expected, withProbes(this.#unknown.after, expected));
      assert.deepEqual(factsOf(found), wanted, `${this.place}: after the next start`);
      assert.ok(Object.values(found.collections).every(({ isSound }) => isSound), `${this.place}: all is sound after the next start`);
    } finally {
      await engine.close();
    }
    const { problems, notes } = await verifyMemory(this.disk);
    assert.deepEqual({ problems, notes, unfinished: await unfinished(this.disk, dataDirectory) }, { problems: [], notes: [], unfinished: [] }, this.place);
  }
}

/** The facts with the points that were written for a probe. */
function withProbes(facts: EngineWorld, probed: EngineWorld): EngineWorld {
  const collections = Object.entries(facts.collections).map(([name, collection]) => {
    const probe = probed.collections[name]?.contents[String(probeId)];
    return [name, { ...collection, contents: { ...collection.contents, ...(probe === undefined ? {} : { [String(probeId)]: probe }) } }] as const;
  });
  return { ...facts, collections: Object.fromEntries(collections) };
}

function plansOf(operations: readonly DiskOperation[], { seed, draw, part: [part, parts], only }: FaultRequest): readonly Plan[] {
  if (only !== undefined) return [JSON.parse(only) as Plan];
  const random = seededRandom(seed);
  const nexts = ['retry', 'restart'] as const;
  const all = operations.flatMap((operation, index) => faultsOf(operation).flatMap((fault) => nexts.map((next) => ({ at: index + 1, fault, next }))));
  const plans = draw === 'all' ? all : Array.from({ length: draw }, () => must(all[random.below(all.length)], 'there are plans'));
  return plans.filter((_, index) => index % parts === part - 1);
}

export async function runFaults(request: FaultRequest): Promise<FaultReport> {
  const unhandled: unknown[] = [];
  process.on('unhandledRejection', (reason) => void unhandled.push(reason));
  const facts = await recordFacts();
  const operations = await recordOperations(request.seed);
  const plans = plansOf(operations, request);
  const failures: string[] = [];
  let [met, reached] = [0, 0];
  for (const plan of plans) {
    const run = new Run(request.seed, plan, facts);
    try {
      await run.go();
      assert.deepEqual(unhandled.splice(0), [], run.place);
    } catch (error) {
      failures.push(error instanceof Error ? error.stack ?? error.message : String(error));
      if (failures.length === reportedMax) break;
    }
    reached += run.failures;
    if (run.hit !== undefined) met += 1;
  }
  return { operations: operations.length, plans: plans.length, met, reached, failures };
}
