// What a node needs of the NATS that it works with, whether that is a server of its own or servers that somebody else runs.
export interface NatsState {
  readonly isRunning: boolean;
  /** JetStream answers; false on a full disk, and until a quorum was met once. */
  readonly isEnabled: boolean;
  /** The server of this node is out because its disk is full. */
  readonly isDiskFull: boolean;
  readonly restarts: number;
  readonly lastError: string | undefined;
}

export interface NatsService {
  readonly clientUrl: string;
  readonly state: NatsState;
  /** What a server says of itself under a path of its monitor; undefined where none answers. */
  monitor(query: string): Promise<Readonly<Record<string, unknown>> | undefined>;
  /** Has renewed certificates taken; open connections keep theirs. */
  reload(): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
}
