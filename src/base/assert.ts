// Assertions that stay on in production. A failed one is our bug: the process must not go on with a state it cannot trust.

/** A bug in nearkeep itself: a state that must not exist. Never caused by input.  @internal for tests */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** @throws InvariantError with `truth`, the sentence that should hold. */
export function invariant(condition: unknown, truth: string | (() => string)): asserts condition {
  if (!condition) throw new InvariantError(typeof truth === 'string' ? truth : truth());
}

/** The value, where absence would be our bug. @throws InvariantError */
export function must<T>(value: T | undefined | null, truth: string): T {
  if (value === undefined || value === null) throw new InvariantError(truth);
  return value;
}

/** Ends a switch over a union: a new member without a branch is a compile error. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable value ${JSON.stringify(value)}`);
}
