// The servers that JetStream keeps its metadata on. One that is gone for good counts for the majority until it is taken out by name, which
// only the system account may ask.
import type { Clock } from '../base/clock.ts';
import { RequestError } from '../base/errors.ts';
import type { NatsUser } from './cluster-secret.ts';
import { apiCodes, NatsClient } from './nats-client.ts';

const requestTimeoutMs = 5_000;
const subject = '$JS.API.SERVER.REMOVE';
const unknown: readonly number[] = apiCodes.unknownServer;

export interface SystemAccess {
  /** Of this node's server. */
  readonly natsUrl: string;
  readonly system: NatsUser;
  readonly clock: Clock;
}

/** Resolves when the server is none of the group, also where it was none. @throws RequestError 'unavailable' */
export async function removeServer({ natsUrl: url, system: user, clock }: SystemAccess, serverName: string): Promise<void> {
  await using client = await NatsClient.connect({ url, user, name: 'nearkeep system', clock });
  const answer = await client.connection.request(subject, JSON.stringify({ peer: serverName }), { timeout: requestTimeoutMs });
  const { success, error } = answer.json<{ readonly success?: boolean; readonly error?: { readonly err_code: number; readonly description: string } }>();
  if (success === true || (error !== undefined && unknown.includes(error.err_code))) return;
  throw new RequestError('unavailable', `server ${serverName} could not be taken out of the group: ${error?.description ?? 'no reason was given'}`);
}
