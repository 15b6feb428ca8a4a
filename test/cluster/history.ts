// What clients of a cluster wrote and were told, kept outside of it, and what a read may then find.
//
// A key has one writer, which writes rising values one after another. After a write whose outcome is unknown the key is left alone: it
// may hold that value, now or later, or the one before.

interface Key {
  /** The value that was acknowledged last; 0: none, the point is not there. */
  acked: number;
  /** Values whose outcome is unknown or that are under way. */
  readonly open: Set<number>;
  readonly deletes: Set<number>;
  isRetired: boolean;
}

export class History {
  readonly #keys = new Map<number, Key>();
  acknowledged = 0;

  /** The next value of a key; `isDelete`: the write takes the point away. */
  begin(id: number, isDelete: boolean): number {
    const key = this.#keys.get(id) ?? { acked: 0, open: new Set(), deletes: new Set([0]), isRetired: false };
    this.#keys.set(id, key);
    const value = key.acked + 1;
    key.open.add(value);
    if (isDelete) key.deletes.add(value);
    return value;
  }

  end(id: number, value: number, isAcknowledged: boolean): void {
    const key = this.#of(id);
    if (!isAcknowledged) {
      key.isRetired = true;
      return;
    }
    key.acked = value;
    key.open.delete(value);
    this.acknowledged += 1;
  }

  isRetired(id: number): boolean {
    return this.#keys.get(id)?.isRetired === true;
  }

  ids(): readonly number[] {
    return [...this.#keys.keys()];
  }

  acked(id: number): number {
    return this.#of(id).acked;
  }

  /** Why a read may not find this; undefined where it may. @param found the value of the point, undefined where there is none
   *  @param from the value that was acknowledged when the read began */
  problemOf(id: number, found: number | undefined, from: number): string | undefined {
    const { acked, open, deletes } = this.#of(id);
    const canBe = (value: number): boolean => value >= from && (value <= acked || open.has(value));
    if (found === undefined) return [...deletes].some(canBe) ? undefined : `${id} is not there; ${from} was acknowledged`;
    if (deletes.has(found) || !canBe(found)) return `${id} has ${found}; ${from} was acknowledged, ${acked} now, ${[...open].join(' ')} may follow`;
    return undefined;
  }

  #of(id: number): Key {
    const key = this.#keys.get(id);
    if (key === undefined) throw new RangeError(`nobody wrote ${id}`);
    return key;
  }
}
