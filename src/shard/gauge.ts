// An amount that rises and falls, and who waits for it to be low enough: bounds what has been taken in but not worked off.
interface Waiter {
  readonly atMost: number;
  readonly resolve: () => void;
}

export class Gauge {
  #value = 0;
  #waiting: Waiter[] = [];

  get value(): number {
    return this.#value;
  }

  add(amount: number): void {
    this.#value += amount;
  }

  subtract(amount: number): void {
    this.#value -= amount;
    const ready = this.#waiting.filter(({ atMost }) => this.#value <= atMost);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter(({ atMost }) => this.#value > atMost);
    for (const { resolve } of ready) resolve();
  }

  async waitFor(atMost: number): Promise<void> {
    if (this.#value <= atMost) return;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ atMost, resolve });
    });
  }
}
