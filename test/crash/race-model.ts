// What a server may answer to calls that overlap: a model of names, aliases, kept states and snapshots, and a judge that looks for an
// order of the calls in which the model gives every answer that was seen.
//
// A call is a list of steps, each at one instant between its sending and its answer: a restore finds its target at one and takes its
// place at another, and others may come between. The judge keeps every state that the server may be in (just-in-time
// linearisation): when an answer comes, it takes steps of the calls under way in all orders, and keeps the states in which the
// answered call has ended with this very answer. No state left: no order explains what was seen.
import assert from 'node:assert/strict';
import { must } from '../../src/base/assert.ts';
import { yieldToLoop } from '../../src/base/clock.ts';

/** Every point of a collection carries the number of the write it comes from; 0: there are none. */
export interface Content {
  readonly value: number;
  readonly shards: number;
}

interface State {
  readonly names: Readonly<Record<string, Content>>;
  readonly aliases: Readonly<Record<string, string>>;
  /** What an undo brings back, by name. */
  readonly replaced: Readonly<Record<string, Content>>;
  /** `<collection>/<snapshot>` of those that are there. */
  readonly snapshots: Readonly<Record<string, true>>;
  /** Of every snapshot that was ever made, by name. */
  readonly made: Readonly<Record<string, Content>>;
}

const emptyState: State = { names: {}, aliases: {}, replaced: {}, snapshots: {}, made: {} };

/** What a restore reads: an archive that is known, or one of a snapshot of this run. */
export type Source = { readonly content: Content } | { readonly snapshot: string };

export type Call =
  | { readonly kind: 'create'; readonly name: string; readonly shards: number }
  | { readonly kind: 'delete' | 'undo' | 'read' | 'verify' | 'index' | 'stream'; readonly name: string }
  | { readonly kind: 'write'; readonly name: string; readonly value: number }
  | { readonly kind: 'alias'; readonly alias: string; readonly name: string }
  | { readonly kind: 'unalias'; readonly alias: string }
  | { readonly kind: 'snapshot'; readonly name: string }
  | { readonly kind: 'delete-snapshot' | 'download'; readonly name: string; readonly snapshot: string }
  | { readonly kind: 'upload'; readonly name: string; readonly source: Source; readonly reshard: boolean }
  | { readonly kind: 'recover'; readonly name: string; readonly folder: string; readonly snapshot: string; readonly reshard: boolean };

export interface Outcome {
  readonly status: number;
  /** Of a delete: whether it was there; of a read: the value of all points; of a snapshot: its name. */
  readonly value?: unknown;
}

interface Progress {
  readonly step: number;
  /** The name that the first step found. */
  readonly real?: string;
  /** What a snapshot holds, from the moment of its freeze. */
  readonly frozen?: Content;
  readonly outcome?: Outcome;
}

interface Next {
  readonly state: State;
  readonly progress: Progress;
}

type Step = (state: State, progress: Progress) => readonly Next[];

function ended(state: State, progress: Progress, status: number, value?: unknown): readonly Next[] {
  return [{ state, progress: { ...progress, outcome: { status, ...(value === undefined ? {} : { value }) } } }];
}

function onwards(state: State, progress: Progress, real?: string): readonly Next[] {
  return [{ state, progress: { ...progress, step: progress.step + 1, ...(real === undefined ? {} : { real }) } }];
}

function resolve({ names, aliases }: State, name: string): string | undefined {
  if (Object.hasOwn(names, name)) return name;
  return Object.hasOwn(aliases, name) ? aliases[name] : undefined;
}

function without<T>(all: Readonly<Record<string, T>>, isGone: (key: string, value: T) => boolean): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(all).filter(([key, value]) => !isGone(key, value)));
}

/** Finds an existing collection; all that follows is about that name. */
const find = (name: string): Step => (state, progress) => {
  const real = resolve(state, name);
  return real === undefined ? ended(state, progress, 404) : onwards(state, progress, real);
};

/** What is done to the collection of that name at the last step, or 404 where it has gone. */
const onFound = (work: (state: State, real: string, content: Content) => Outcome & { readonly state?: State }): Step => (state, progress) => {
  const real = resolve(state, must(progress.real, 'found before'));
  if (real === undefined) return ended(state, progress, 404);
  const { status, value, state: next = state } = work(state, real, must(state.names[real], 'a name has a content'));
  return ended(next, progress, status, value);
};

function stepsOf(call: Call): readonly Step[] {
  switch (call.kind) {
    case 'create': return [createStep(call)];
    case 'delete': return [deleteStep(call.name)];
    case 'alias': return [aliasStep(call)];
    case 'unalias': return [(state, progress) => ended({ ...state, aliases: without(state.aliases, (alias) => alias === call.alias) }, progress, 200)];
    case 'write': return [find(call.name), onFound((state, real, { shards }) => ({ status: 200, state: { ...state, names: { ...state.names, [real]: { value: call.value, shards } } } }))];
    case 'read': return [find(call.name), onFound((_state, _real, { value }) => ({ status: 200, value }))];
    case 'index': case 'stream': case 'verify': return [find(call.name), onFound(() => ({ status: 200 }))];
    case 'undo': return [find(call.name), onFound(undone)];
    case 'snapshot': return [find(call.name), freezeStep];
    case 'download': return [find(call.name), (state, progress) => ended(state, progress, hasSnapshot(state, progress, call.snapshot) ? 200 : 404)];
    case 'delete-snapshot': return [find(call.name), deleteSnapshotStep(call.snapshot)];
    case 'upload': return [findTarget(call.name), ...restoreSteps(call)];
    case 'recover': return [findTarget(call.name), sourceStep(`${call.folder}/${call.snapshot}`), ...restoreSteps({ source: { snapshot: call.snapshot }, reshard: call.reshard })];
  }
}

const createStep = ({ name, shards }: { readonly name: string; readonly shards: number }): Step => (state, progress) => {
  if (Object.hasOwn(state.names, name)) return ended(state, progress, 409);
  if (Object.hasOwn(state.aliases, name)) return ended(state, progress, 400);
  return ended({ ...state, names: { ...state.names, [name]: { value: 0, shards } } }, progress, 200);
};

const deleteStep = (name: string): Step => (state, progress) => {
  if (!Object.hasOwn(state.names, name)) return ended(state, progress, 200, false);
  const isIt = (key: string): boolean => key === name;
  return ended({ ...state, names: without(state.names, isIt), replaced: without(state.replaced, isIt), aliases: without(state.aliases, (_alias, target) => target === name) }, progress, 200, true);
};

const aliasStep = ({ alias, name }: { readonly alias: string; readonly name: string }): Step => (state, progress) => {
  if (!Object.hasOwn(state.names, name)) return ended(state, progress, 404);
  if (Object.hasOwn(state.names, alias)) return ended(state, progress, 409);
  return ended({ ...state, aliases: { ...state.aliases, [alias]: name } }, progress, 200);
};

function undone(state: State, real: string, content: Content): Outcome & { readonly state?: State } {
  const kept = state.replaced[real];
  if (kept === undefined) return { status: 404 };
  return { status: 200, state: { ...state, names: { ...state.names, [real]: kept }, replaced: { ...state.replaced, [real]: content } } };
}

function hasSnapshot(state: State, { real }: Progress, snapshot: string): boolean {
  return Object.hasOwn(state.snapshots, `${must(real, 'found before')}/${snapshot}`);
}

/** It is in the model's lists when it is answered: before, nobody knows its name. */
const freezeStep: Step = (state, progress) => {
  const real = resolve(state, must(progress.real, 'found before'));
  return real === undefined ? ended(state, progress, 404) : ended(state, { ...progress, frozen: must(state.names[real], 'a name has a content') }, 200);
};

const deleteSnapshotStep = (snapshot: string): Step => (state, progress) => {
  if (!hasSnapshot(state, progress, snapshot)) return ended(state, progress, 404);
  return ended({ ...state, snapshots: without(state.snapshots, (key) => key === `${must(progress.real, 'found before')}/${snapshot}`) }, progress, 200);
};

/** The target of a restore need not exist. */
const findTarget = (name: string): Step => (state, progress) => onwards(state, progress, resolve(state, name) ?? name);

const sourceStep = (key: string): Step => (state, progress) => (Object.hasOwn(state.snapshots, key) ? onwards(state, progress) : ended(state, progress, 400));

interface Restore {
  readonly source: Source;
  readonly reshard: boolean;
}

/** One step, although the manifest is looked at twice: whoever is refused at the first look ends there. */
function restoreSteps({ source, reshard }: Restore): readonly Step[] {
  const contentOf = (state: State): Content => ('content' in source ? source.content : must(state.made[source.snapshot], 'a snapshot that was made'));
  const place = (state: State, { real = '' }: Progress): { readonly name: string; readonly live?: Content } => {
    const name = resolve(state, real);
    return name === undefined ? { name: real } : { name, live: must(state.names[name], 'a name has a content') };
  };
  const fits = (state: State, progress: Progress): boolean => {
    const { live } = place(state, progress);
    return live === undefined || reshard || live.shards === contentOf(state).shards;
  };
  return [
    (state, progress) => {
      if (!fits(state, progress)) return ended(state, progress, 400);
      const { name, live } = place(state, progress);
      const { value, shards } = contentOf(state);
      const replaced = live === undefined ? without(state.replaced, (key) => key === name) : { ...state.replaced, [name]: live };
      return ended({ ...state, names: { ...state.names, [name]: { value, shards: live?.shards ?? shards } }, replaced }, progress, 200);
    },
  ];
}

/** A state that the server may be in, and how far each call under way has come then. */
interface Possible {
  readonly state: State;
  readonly progress: ReadonlyMap<number, Progress>;
}

export interface SeenWorld {
  readonly names: Readonly<Record<string, Content>>;
  readonly aliases: Readonly<Record<string, string>>;
  /** `<collection>/<snapshot>` of the collections that are there. */
  readonly snapshots: readonly string[];
}

const possibleMax = 50_000;

class TooManyStates extends RangeError {}

export class Judge {
  readonly #aliases: readonly string[];
  /** What was seen since the last look at the world. It is judged then: while clients wait, nothing may hold their process. */
  readonly #history: (() => void)[] = [];
  readonly #calls = new Map<number, { readonly call: Call; readonly steps: readonly Step[] }>();
  #possible: readonly Possible[] = [{ state: emptyState, progress: new Map() }];
  /** Snapshots without an answer: they may be there, under names that nobody was told. */
  #untold: number;
  readonly #ids = new WeakMap<State, number>();
  readonly #states = new Map<string, State>();
  readonly #taken = new Map<string, readonly Next[]>();
  #last = 0;
  /** The most states at one time. */
  peak = 1;

  /** @param aliases the only names that ever are one
   *  @param untold how many snapshots there may be of which nothing is known */
  constructor(aliases: readonly string[], untold = 0) {
    this.#aliases = aliases;
    this.#untold = untold;
  }

  /** @returns the call's number */
  sent(call: Call): number {
    this.#last += 1;
    const number = this.#last;
    const steps = stepsOf(call);
    const start = this.#startOf(call, steps);
    this.#history.push(() => {
      this.#calls.set(number, { call, steps });
      this.#possible = this.#possible.map(({ state, progress }) => ({ state, progress: new Map(progress).set(number, start) }));
    });
    return number;
  }

  /** `place` says where in the run. */
  answered(number: number, outcome: Outcome, place: string): void {
    this.#history.push(() => {
      this.#end(number, outcome, place);
    });
  }

  /** The call was cancelled: it ended without an effect. */
  withdrawn(number: number, place: string): void {
    this.#history.push(() => {
      this.#takeBack(number, place);
    });
  }

  /** Nobody will be told what came of it: it may happen until the next look at the world. */
  unanswered(number: number): void {
    this.#history.push(() => {
      if (this.#calls.get(number)?.call.kind === 'snapshot') this.#untold += 1;
    });
  }

  /** No call is under way any more; those without an answer have happened or will not. Judges everything since the last time; false
   *  where so many calls overlapped that it cannot: then this judge is of no more use.
   *  @throws AssertionError where no order of the calls gives an answer that was seen, or leaves this world */
  async settled(world: SeenWorld, place: string): Promise<boolean> {
    try {
      await this.#settle(world, place);
      return true;
    } catch (error) {
      if (error instanceof TooManyStates) return false;
      throw error;
    }
  }

  async #settle(world: SeenWorld, place: string): Promise<void> {
    for (const event of this.#history.splice(0)) {
      event();
      await yieldToLoop();
    }
    const seen = textOf({ names: world.names, aliases: world.aliases });
    const fitting = this.#reach(() => false).filter(({ state }) => textOf({ names: state.names, aliases: state.aliases }) === seen && this.#hasSnapshots(state, world));
    assert.ok(fitting.length > 0, `no order of the calls leaves ${seen} and ${world.snapshots.join()}; ${place}; possible: ${this.#describe()}`);
    this.#calls.clear();
    this.#taken.clear();
    this.#possible = this.#unique(fitting.map(({ state }) => ({ state, progress: new Map<number, Progress>() })));
  }

  /** A name that never is an alias need not be looked up before the step that is about it: that step finds it, or not. */
  #startOf(call: Call, steps: readonly Step[]): Progress {
    const isAboutSnapshot = call.kind === 'download' || call.kind === 'delete-snapshot'; // which stays when its collection goes
    return steps.length > 1 && 'name' in call && !isAboutSnapshot && !this.#aliases.includes(call.name) ? { step: 1, real: call.name } : { step: 0 };
  }

  #end(number: number, outcome: Outcome, place: string): void {
    const { call } = must(this.#calls.get(number), 'a call under way');
    const found = new Map<string, Possible>();
    for (const possible of this.#reach((progress) => progress.get(number)?.outcome !== undefined)) {
      const end = possible.progress.get(number);
      if (end?.outcome === undefined || !isSame(call, end.outcome, outcome)) continue;
      const progress = new Map(possible.progress);
      progress.delete(number);
      const state = call.kind === 'snapshot' && outcome.status === 200 ? withSnapshot(possible.state, end, String(outcome.value)) : possible.state;
      const next = { state: this.#same(state), progress };
      found.set(this.#keyOf(next), next);
    }
    const before = found.size > 0 ? '' : this.#describe();
    this.#calls.delete(number);
    this.#possible = this.#leastAdvanced(found);
    assert.ok(found.size > 0, `no order of the calls explains ${JSON.stringify(call)} answered ${JSON.stringify(outcome)}; ${place}; before it: ${before}`);
  }

  #takeBack(number: number, place: string): void {
    const { call } = must(this.#calls.get(number), 'a call under way');
    this.#calls.delete(number);
    const left = this.#possible.filter(({ progress }) => progress.get(number)?.outcome === undefined);
    assert.ok(left.length > 0, `${JSON.stringify(call)} was cancelled, and others saw what it did; ${place}`);
    this.#possible = this.#unique(left.map(({ state, progress }) => ({ state, progress: new Map([...progress].filter(([key]) => key !== number)) })));
  }

  #hasSnapshots(state: State, world: SeenWorld): boolean {
    const wanted = Object.keys(state.snapshots).filter((key) => Object.hasOwn(world.names, folderOf(key)));
    const extra = world.snapshots.filter((key) => !Object.hasOwn(state.snapshots, key));
    return wanted.every((key) => world.snapshots.includes(key)) && extra.length <= this.#untold;
  }

  /** Every state that steps of the calls under way lead to; none is led on from where `isEnough`. */
  #reach(isEnough: (progress: ReadonlyMap<number, Progress>) => boolean): readonly Possible[] {
    const known = new Map(this.#possible.map((possible) => [this.#keyOf(possible), possible]));
    for (const possible of known.values()) { // a Map is walked to the end, new entries too
      if (isEnough(possible.progress)) continue;
      for (const number of this.#calls.keys()) {
        if (possible.progress.get(number)?.outcome !== undefined) continue;
        for (const next of this.#take(number, possible)) {
          const reached = { state: next.state, progress: new Map(possible.progress).set(number, next.progress) };
          const key = this.#keyOf(reached);
          if (!known.has(key)) known.set(key, reached);
        }
      }
      if (known.size > possibleMax) throw new TooManyStates('the calls overlap too much to be judged');
    }
    this.peak = Math.max(this.peak, known.size);
    return [...known.values()];
  }

  /** Without those that a step leads to from another one: they will be reached again. */
  #leastAdvanced(all: Map<string, Possible>): readonly Possible[] {
    const reached = new Set<string>();
    for (const possible of all.values()) {
      for (const number of this.#calls.keys()) {
        if (possible.progress.get(number)?.outcome !== undefined) continue;
        for (const next of this.#take(number, possible)) reached.add(this.#keyOf({ state: next.state, progress: new Map(possible.progress).set(number, next.progress) }));
      }
    }
    return [...all].filter(([key]) => !reached.has(key)).map(([, possible]) => possible);
  }

  /** The next step of a call; the same from the same state, so it is taken once. */
  #take(number: number, { state, progress }: Possible): readonly Next[] {
    const at = must(progress.get(number), 'each call has a progress');
    const key = `${this.#idOf(state)} ${number} ${at.step} ${at.real ?? ''}`;
    const known = this.#taken.get(key);
    if (known !== undefined) return known;
    const { steps } = must(this.#calls.get(number), 'a call under way');
    const next = must(steps[at.step], 'a call ends with its last step')(state, at).map((each) => ({ state: this.#same(each.state), progress: each.progress }));
    this.#taken.set(key, next);
    return next;
  }

  /** Equal states are one object. */
  #same(state: State): State {
    if (this.#ids.has(state)) return state;
    const text = textOf(state);
    const known = this.#states.get(text) ?? state;
    this.#states.set(text, known);
    this.#ids.set(known, this.#ids.get(known) ?? this.#states.size);
    return known;
  }

  #idOf(state: State): number {
    return must(this.#ids.get(this.#same(state)), 'a known state has a number');
  }

  #keyOf({ state, progress }: Possible): string {
    let key = String(this.#idOf(state));
    for (const number of this.#calls.keys()) {
      const at = progress.get(number);
      if (at !== undefined) key += ` ${at.step}${at.real ?? ''}${at.outcome === undefined ? '' : textOf([at.outcome, at.frozen])}`;
    }
    return key;
  }

  #unique(all: readonly Possible[]): readonly Possible[] {
    return [...new Map(all.map((possible) => [this.#keyOf(possible), possible])).values()];
  }

  #describe(): string {
    const states = [...new Set(this.#possible.map(({ state: { names, aliases, replaced, snapshots } }) => textOf({ names, aliases, replaced, snapshots })))];
    return `${states.slice(0, 5).join(' | ')}${states.length > 5 ? ` and ${states.length - 5} more` : ''}; under way: ${[...this.#calls.values()].map(({ call }) => JSON.stringify(call)).join(' ')}`;
  }
}

function isSame(call: Call, expected: Outcome, seen: Outcome): boolean {
  if (expected.status !== seen.status) return false;
  return call.kind === 'snapshot' || expected.value === undefined || expected.value === seen.value;
}

function withSnapshot(state: State, { real, frozen }: Progress, name: string): State {
  return {
    ...state,
    snapshots: { ...state.snapshots, [`${must(real, 'found before')}/${name}`]: true },
    made: { ...state.made, [name]: must(frozen, 'a snapshot is of something') },
  };
}

function folderOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}

/** The same for equal values, whatever the order of their keys. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'object' && part !== null ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part));
}
