// What Fastify has to say that no handler of ours hears: an answer that broke off after its headers had gone out.
import type { FastifyBaseLogger } from 'fastify';
import { systemCode } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';

const clientLeft: readonly string[] = ['ERR_STREAM_PREMATURE_CLOSE', 'ECONNRESET', 'EPIPE'];
const ignore = (): void => undefined;

/** Warnings and errors only, and of these only message and stack. A client that leaves is no failure. */
export function frameworkLogger(logger: Logger): FastifyBaseLogger {
  const pass = (fields: unknown, message?: string): void => {
    const error = errorIn(fields);
    if (error === undefined || clientLeft.includes(systemCode(error) ?? '')) return;
    logger.error({ error: error.message, stack: error.stack }, message ?? 'request failed');
  };
  const log: FastifyBaseLogger = {
    level: 'warn',
    silent: ignore,
    trace: ignore,
    debug: ignore,
    info: ignore,
    warn: pass,
    error: pass,
    fatal: pass,
    child: () => log,
  };
  return log;
}

function errorIn(fields: unknown): Error | undefined {
  if (fields instanceof Error) return fields;
  if (typeof fields !== 'object' || fields === null) return undefined;
  return 'err' in fields && fields.err instanceof Error ? fields.err : undefined;
}
