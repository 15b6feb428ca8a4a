// What every table of routes is built from.
import type { Logger } from '../../base/logger.ts';
import type { Engine } from '../../engine/engine.ts';

export interface RestContext {
  readonly engine: Engine;
  readonly logger: Logger;
}
