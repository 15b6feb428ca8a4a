// The library: the engine in your process, without sockets. docs/library.md explains it, examples/library/ uses it.
import path from 'node:path';
import { silentLogger, type Logger } from './base/logger.ts';
import { Engine } from './engine/engine.ts';

export type { Engine } from './engine/engine.ts';
export type { PointId } from './base/ids.ts';
export type { Logger } from './base/logger.ts';
export type { CollectionInfo } from './collection/collection-info.ts';
export type { CreateCollection, UpdateCollection } from './command/collection-config.ts';
export type {
  CountRequest,
  PointRecord,
  RetrieveRequest,
  ScoredRecord,
  ScrollPage,
  ScrollRequest,
  SearchRequest,
} from './command/read.ts';
export type { PointDraft, WriteOperation, WriteOptions, WriteResult } from './command/write.ts';
export type { Filter } from './payload/filter.ts';
export type { ArchiveDownload, SnapshotDescription } from './snapshot/description.ts';
export { CorruptionError, RequestError } from './base/errors.ts';
export { parsePointId } from './base/ids.ts';
export { parseFilter } from './payload/parse-filter.ts';
export { parseJsonPath } from './payload/json-path.ts';

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
    snapshotsDirectory:
      options.snapshotsDirectory === undefined ? path.join(dataDirectory, 'snapshots') : path.resolve(options.snapshotsDirectory),
    logger: options.logger ?? silentLogger,
    recovery: { urlRecovery: undefined, boundToLoopback: true },
  });
}
