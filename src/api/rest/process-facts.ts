// What only the composition root can find out about the process; a fact that the platform does not tell is absent.

export interface ProcessFacts {
  readonly threads?: number;
  readonly openFiles?: number;
  readonly openMaps?: number;
  /** On the file system of the data directory. */
  readonly diskFreeBytes?: number;
  readonly isContainer: boolean;
}

/** By how much the event loop was late. */
export interface LoopDelay {
  readonly p50Seconds: number;
  readonly p99Seconds: number;
  readonly maxSeconds: number;
}
