// What a node shows another: who it is, what it asks and until when, signed with the cluster's key. No header alone grants anything.
// A token is good for one method and path, for a minute; what it carries a second time it could have carried the first.
import { createHmac, timingSafeEqual } from 'node:crypto';

const lifeMs = 60_000;
/** How far two nodes' clocks may be apart: beyond it neither takes the other's requests. */
const skewMs = 300_000;
export const peerTokenHeader = 'x-nearkeep-peer';
/** Of a refusal: how far the clock of who asked is ahead, in milliseconds. */
export const apartHeader = 'x-nearkeep-apart-ms';

export interface PeerCall {
  readonly method: string;
  readonly path: string;
}

export function signPeerToken(key: Buffer, peerId: number, call: PeerCall, nowMs: number): string {
  const claims = `${peerId}.${Math.floor(nowMs + lifeMs)}`;
  return `${claims}.${macOf(key, claims, call).toString('hex')}`;
}

/** `apartMs`: the node of that peer has another time than this one; what it signed is not valid here. */
export type CheckedToken = { readonly peerId: number; readonly apartMs?: undefined } | { readonly apartMs: number };

/** The peer that signed it; undefined where nobody of this cluster did for this call. */
export function checkPeerToken(key: Buffer, token: unknown, call: PeerCall, nowMs: number): CheckedToken | undefined {
  const parts = typeof token === 'string' ? /^(\d{1,16})\.(\d{1,16})\.([0-9a-f]{64})$/.exec(token) : null;
  if (parts === null) return undefined;
  const [, peerId = '', until = '', mac = ''] = parts;
  if (!timingSafeEqual(macOf(key, `${peerId}.${until}`, call), Buffer.from(mac, 'hex'))) return undefined;
  const leftMs = Number(until) - nowMs;
  return leftMs > -skewMs && leftMs <= lifeMs + skewMs ? { peerId: Number(peerId) } : { apartMs: leftMs - lifeMs };
}

function macOf(key: Buffer, claims: string, { method, path }: PeerCall): Buffer {
  return createHmac('sha256', key).update(`${claims}\n${method}\n${path}`).digest();
}
