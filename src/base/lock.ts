// An async mutex: sections run one after another in order of arrival. A failed section releases like any other.

export class Lock {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `section` when all earlier ones have ended; answers its result. */
  run<T>(section: () => Promise<T> | T): Promise<T> {
    const result = this.#tail.then(section);
    this.#tail = result.catch(() => undefined); // the caller of `run` gets the error; the queue goes on
    return result;
  }
}
