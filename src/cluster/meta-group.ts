// The servers that JetStream keeps its metadata on. One that is gone for good counts for the majority until it is taken out by name, which
// only the system account may ask.
//
// A server that has never met another one knows it by its id alone, and tells by name that there is none: so the id is asked for, too.
import { createHash } from 'node:crypto';
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

const idDigits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const idLength = 8;

/** As servers draw it: bytes of the sha256 of the name as digits. */
function peerIdOf(serverName: string): string {
  return Array.from(createHash('sha256').update(serverName).digest().subarray(0, idLength), (byte) => idDigits[byte % idDigits.length]).join('');
}

/** Resolves when the server is none of the group; false where it was none. @throws RequestError 'unavailable' */
export async function removeServer({ natsUrl: url, system: user, clock }: SystemAccess, serverName: string): Promise<boolean> {
  await using client = await NatsClient.connect({ url, user, name: 'nearkeep system', clock });
  const answer = await client.connection.request(subject, JSON.stringify({ peer: serverName, peer_id: peerIdOf(serverName) }), { timeout: requestTimeoutMs });
  const { success, error } = answer.json<{ readonly success?: boolean; readonly error?: { readonly err_code: number; readonly description: string } }>();
  if (success === true) return true;
  if (error !== undefined && unknown.includes(error.err_code)) return false;
  throw new RequestError('unavailable', `server ${serverName} could not be taken out of the group: ${error?.description ?? 'no reason was given'}`);
}
