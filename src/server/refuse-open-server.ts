// A server that listens beyond this machine without a key does not start.
import { randomBytes } from 'node:crypto';
import { RequestError } from '../base/errors.ts';
import { isLoopback } from '../base/loopback.ts';
import type { Config } from './config.ts';

/** A server that anybody in the network can wipe must be asked for by name. @throws RequestError 'bad-request' with a key to copy. */
export function refuseOpenServer({ service }: Config): void {
  const hasKey = [service.api_key, service.alt_api_key, service.read_only_api_key].some((key) => key !== undefined);
  if (hasKey || service.allow_no_key || isLoopback(service.host)) return;
  throw new RequestError(
    'bad-request',
    [
      `refusing to listen on ${service.host} without an API key: anybody who reaches it could read and delete everything.`,
      `  Set a key, for example:   QDRANT__SERVICE__API_KEY=${randomBytes(18).toString('base64url')}`,
      '  or, if that is wanted:    NEARKEEP__SERVICE__ALLOW_NO_KEY=true',
    ].join('\n'),
  );
}
