// The library: the engine in your process, without sockets.
import path from 'node:path';
import { silentLogger, type Logger } from './base/logger.ts';
import { Engine } from './engine/engine.ts';

export type { Engine } from './engine/engine.ts';
export { CorruptionError, RequestError } from './base/errors.ts';

export interface OpenOptions {
  /** Default: `<directory>/snapshots`. */
  readonly snapshotsDirectory?: string;
  readonly logger?: Logger;
}

/** Opens or creates a data directory and locks it. Close it, or use `await using`.
 *  @throws RequestError 'locked' while another process has it. */
export function open(directory: string, options: OpenOptions = {}): Promise<Engine> {
  const dataDirectory = path.resolve(directory);
  return Engine.open({
    dataDirectory,
    snapshotsDirectory: options.snapshotsDirectory === undefined ? path.join(dataDirectory, 'snapshots') : path.resolve(options.snapshotsDirectory),
    logger: options.logger ?? silentLogger,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}
