// What was opened one after another, closed in reverse.

export type Closer = () => Promise<void> | void;

/** All are run; the first failure is thrown after that. */
export async function runClosers(closers: readonly Closer[]): Promise<void> {
  const failures: unknown[] = [];
  for (const close of closers.toReversed()) {
    try {
      await close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
