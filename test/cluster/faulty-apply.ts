// A fault for one node, loaded into its process by `--import`: the first time that a certain point is stored, one bit of its vector is
// another one than the entry says. It happens once in a process, as faults of memory do: a copy that is replayed is stored as it should be.
import { MutableSegment } from '../../src/segment/mutable-segment.ts';
import type { StoredPoint } from '../../src/segment/segment.ts';
import { faultyPoint } from './faulty-point.ts';

const append = Object.getOwnPropertyDescriptor(MutableSegment.prototype, 'append')?.value as (this: MutableSegment, point: StoredPoint) => number;
let isDone = false;

MutableSegment.prototype.append = function appendWithFault(this: MutableSegment, point: StoredPoint): number {
  if (isDone || String(point.id) !== String(faultyPoint)) return append.call(this, point);
  isDone = true;
  const vectors = new Map([...point.vectors].map(([name, bytes]) => {
    const flipped = Uint8Array.from(bytes);
    flipped[0] = (flipped[0] ?? 0) ^ 1;
    return [name, flipped] as const;
  }));
  return append.call(this, { ...point, vectors });
};
