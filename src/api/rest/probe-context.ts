// What probes, metrics and telemetry are made from.
import type { LoopDelay, ProcessFacts } from './process-facts.ts';
import type { ResponseStats } from './response-stats.ts';
import type { RestContext } from './rest-context.ts';

export interface ProbeContext extends RestContext {
  readonly stats: ResponseStats;
  readonly settings: { readonly metricsPrefix: string };
  readonly isReady: () => boolean;
  readonly writesRefused: () => string | undefined;
  readonly processFacts: () => Promise<ProcessFacts>;
  /** Since the last call. */
  readonly takeLoopDelay: () => LoopDelay;
}
