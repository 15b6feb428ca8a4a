// What a node shows another: who it is, what it asks and until when, signed with the cluster's key. No header alone grants anything.
// A token is good for one method and path, for a minute, and once: who reads one on the wire can do nothing with it.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const lifeMs = 60_000;
/** How far two nodes' clocks may be apart: beyond it neither takes the other's requests. */
const skewMs = 300_000;
/** How far a token may come behind others of its signer: more than requests wait for a connection at once. */
const lateMax = 1 << 14;
export const peerTokenHeader = 'x-nearkeep-peer';
/** Of a refusal: how far the clock of who asked is ahead, in milliseconds. */
export const apartHeader = 'x-nearkeep-apart-ms';

export interface PeerCall {
  readonly method: string;
  readonly path: string;
}

/** Numbers what it signs; a process that starts anew is another signer. */
export class PeerSigner {
  readonly #key: Buffer;
  readonly #peerId: number;
  readonly #signerId = randomBytes(8).toString('hex');
  #signed = 0;

  constructor(key: Buffer, peerId: number) {
    this.#key = key;
    this.#peerId = peerId;
  }

  sign(call: PeerCall, nowMs: number): string {
    this.#signed += 1;
    const claims = `${this.#peerId}.${Math.floor(nowMs + lifeMs)}.${this.#signerId}.${this.#signed}`;
    return `${claims}.${macOf(this.#key, claims, call).toString('hex')}`;
  }
}

/** `apartMs`: the node of that peer has another time than this one; what it signed is not valid here. */
export type CheckedToken = { readonly peerId: number; readonly apartMs?: undefined } | { readonly apartMs: number };

/** Lets each token in once: remembers the latest numbers of each signer as long as a token of it may be good. A gate that is made anew
 *  has heard none. */
export class PeerGate {
  readonly #key: Buffer;
  readonly #signers = new Map<string, { readonly taken: Set<number>; highest: number; heardMs: number }>();

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** The peer that signed it; undefined where nobody of this cluster did for this call, or it was here before. */
  check(token: unknown, call: PeerCall, nowMs: number): CheckedToken | undefined {
    const parts = typeof token === 'string' ? /^(\d{1,16})\.(\d{1,16})\.([0-9a-f]{16})\.(\d{1,16})\.([0-9a-f]{64})$/.exec(token) : null;
    if (parts === null) return undefined;
    const [, peerId = '', until = '', signerId = '', number = '', mac = ''] = parts;
    if (!timingSafeEqual(macOf(this.#key, `${peerId}.${until}.${signerId}.${number}`, call), Buffer.from(mac, 'hex'))) return undefined;
    const leftMs = Number(until) - nowMs;
    if (leftMs <= -skewMs || leftMs > lifeMs + skewMs) return { apartMs: leftMs - lifeMs };
    return this.#take(`${peerId}.${signerId}`, Number(number), nowMs) ? { peerId: Number(peerId) } : undefined;
  }

  /** false for a number that was there before, or is too far behind to be told from one. */
  #take(name: string, number: number, nowMs: number): boolean {
    let signer = this.#signers.get(name);
    if (signer === undefined) {
      for (const [other, { heardMs }] of this.#signers) if (Math.abs(nowMs - heardMs) > lifeMs + 2 * skewMs) this.#signers.delete(other);
      signer = { taken: new Set(), highest: number, heardMs: nowMs };
      this.#signers.set(name, signer);
    }
    signer.heardMs = nowMs;
    if (number <= signer.highest - lateMax || signer.taken.has(number)) return false;
    signer.taken.add(number);
    signer.highest = Math.max(signer.highest, number);
    if (signer.taken.size > 2 * lateMax) for (const taken of signer.taken) if (taken <= signer.highest - lateMax) signer.taken.delete(taken);
    return true;
  }
}

function macOf(key: Buffer, claims: string, { method, path }: PeerCall): Buffer {
  return createHmac('sha256', key).update(`${claims}\n${method}\n${path}`).digest();
}
