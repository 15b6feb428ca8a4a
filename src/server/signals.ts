// Runs a server until SIGINT or SIGTERM: the first one closes it in order, a second one ends the process at once.
import type { StartRestore } from '../snapshot/start-restore.ts';
import { bannerLines } from './banner.ts';
import type { Config } from './config.ts';
import { createLogger } from './log.ts';
import { Server } from './server.ts';

export async function serveUntilSignal(config: Config, restore?: StartRestore): Promise<void> {
  const logger = createLogger(config, process.stdout);
  const stop = firstSignal();
  const startEnded = new AbortController();
  void stop.then(() => startEnded.abort());
  const server = await Server.start(config, logger, { restore, signal: startEnded.signal }).catch((error: unknown) => {
    if (error !== startEnded.signal.reason) throw error;
  });
  if (server === undefined) return logger.info({ signal: await stop }, 'stopped before the start came to its end');
  const facts = await server.facts();
  process.stderr.write(`${bannerLines(facts, config).join('\n')}\n`);
  logger.info({ address: facts.address, kernel: facts.kernel, data: facts.dataDirectory, ...(facts.cluster === undefined ? {} : { cluster: facts.cluster }) }, 'listening');
  const signal = await Promise.race([stop, server.whenRemoved]);
  if (signal === 'removed') logger.error({}, 'this node was removed from its cluster; it stops, and can join as a new one with an empty data directory');
  else logger.info({ signal }, 'stopping: requests in flight end first');
  await server.close();
  logger.info({}, 'stopped');
}

function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let stopping = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143);
      stopping = true;
      resolve(signal);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}
