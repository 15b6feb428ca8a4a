// Changes and selections of a payload's JSON text. Only objects and arrays on the way to a path are taken apart; every other
// value keeps its exact text (`1.0`, 2^60, spaces). Of members with one name the last counts. Rules as in Qdrant 1.19:
// - A null in a merge removes the member. With a key, what stands in the way of the path is replaced by an object or array,
//   an index behind the end of an array changes nothing, and `[]` means every element.
// - Deleting an element of an array by index is no operation (it would not be idempotent); deleting `a[]` empties the array.
// - A selector sees elements of arrays as `[]` only: `a[].b` selects in them, `a.b` and `a[0]` do not. An included path keeps
//   the objects and arrays around it, emptied of all else; a scalar on the way to it stays.
import type { JsonPath, PathStep } from './json-path.ts';
import { elementTexts, joinElements, joinMembers, membersOf, type Member } from './json-slices.ts';

type Steps = readonly PathStep[];

export interface PathSelector {
  readonly kind: 'include' | 'exclude';
  readonly paths: readonly JsonPath[];
}

/** `text` and `patchText` are objects; the patch goes into the object at `key`, which is made where missing. */
export function mergePayload(text: string, patchText: string, key?: JsonPath): string {
  return mergeAt(text, key?.steps ?? [], membersOf(patchText) ?? new Map<string, Member>());
}

export function deletePayloadKeys(text: string, paths: readonly JsonPath[]): string {
  return paths.reduce((edited, path) => deleteAt(edited, path.steps), text);
}

export function selectPayload(text: string, selector: PathSelector): string {
  return selectAt(
    text,
    selector.paths.map(({ steps }) => steps),
    0,
    selector.kind,
  );
}

/** `text`: undefined where nothing is there yet. */
function mergeAt(text: string | undefined, [step, ...rest]: Steps, patch: ReadonlyMap<string, Member>): string {
  if (step?.kind === 'at' || step?.kind === 'all') {
    const elements = elementTexts(text ?? '') ?? [];
    return joinElements(
      elements.map((element, at) => (step.kind === 'all' || step.index === at ? mergeAt(element, rest, patch) : element)),
    );
  }
  const members = membersOf(text ?? '') ?? new Map<string, Member>();
  if (step === undefined) {
    for (const [name, member] of patch) {
      if (member.valueText === 'null') members.delete(name);
      else members.set(name, member);
    }
  } else {
    const { keyText, valueText } = members.get(step.name) ?? { keyText: JSON.stringify(step.name), valueText: undefined };
    members.set(step.name, { keyText, valueText: mergeAt(valueText, rest, patch) });
  }
  return joinMembers(members);
}

function deleteAt(text: string, [step, ...rest]: Steps): string {
  if (step === undefined) return text;
  if (step.kind === 'key') {
    const members = membersOf(text);
    const member = members?.get(step.name);
    if (members === undefined || member === undefined) return text;
    if (rest.length === 0) members.delete(step.name);
    else members.set(step.name, { keyText: member.keyText, valueText: deleteAt(member.valueText, rest) });
    return joinMembers(members);
  }
  const elements = elementTexts(text);
  if (elements === undefined) return text;
  if (rest.length === 0) return step.kind === 'all' ? '[]' : text;
  return joinElements(
    elements.map((element, at) => (step.kind === 'all' || step.index === at ? deleteAt(element, rest) : element)),
  );
}

/** `patterns`: the steps that lead here, and further ones from `depth` on. */
function selectAt(text: string, patterns: readonly Steps[], depth: number, kind: PathSelector['kind']): string {
  const child = (valueText: string, isStep: (step: PathStep) => boolean): string | undefined => {
    const leading = patterns.filter((steps) => steps[depth] !== undefined && isStep(steps[depth]));
    if (leading.length === 0) return kind === 'include' ? undefined : valueText;
    if (leading.some((steps) => steps.length === depth + 1)) return kind === 'include' ? valueText : undefined;
    return selectAt(valueText, leading, depth + 1, kind);
  };
  const members = membersOf(text);
  if (members !== undefined) {
    for (const [name, { keyText, valueText }] of members) {
      const selected = child(valueText, (step) => step.kind === 'key' && step.name === name);
      if (selected === undefined) members.delete(name);
      else members.set(name, { keyText, valueText: selected });
    }
    return joinMembers(members);
  }
  const elements = elementTexts(text);
  if (elements === undefined) return text;
  return joinElements(
    elements.map((element) => child(element, (step) => step.kind === 'all')).filter((element) => element !== undefined),
  );
}
