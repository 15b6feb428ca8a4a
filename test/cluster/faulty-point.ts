// The point that faulty-apply.ts gets wrong.
export const faultyPoint = 42;
