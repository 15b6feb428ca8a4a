// Who may do what: the one place that compares API keys. Transports hand in the credential a caller presented and the right an
// operation needs, and translate the verdict.
//
// Invariants: without any key everything is open; a key's bytes are compared only as digests, against all keys, so that neither
// content nor the number of keys shows in the time; an empty key counts as none.
import { createHash, timingSafeEqual } from 'node:crypto';

export interface AccessKeys {
  readonly apiKey: string | undefined;
  /** Full rights, for rotation. */
  readonly altApiKey: string | undefined;
  readonly readOnlyApiKey: string | undefined;
}

/** What an operation needs: nothing, any key, or a full key. */
export type Right = 'none' | 'read' | 'write' | 'manage';

export type AccessVerdict =
  | { readonly kind: 'allowed' }
  /** No credential was presented, or one that no key matches: 401. */
  | { readonly kind: 'unauthenticated'; readonly text: string }
  /** The key is known and may not do this: 403. `text` is without the class prefix. */
  | { readonly kind: 'forbidden'; readonly text: string };

interface Key {
  readonly digest: Buffer;
  readonly isFull: boolean;
}

const allowed: AccessVerdict = { kind: 'allowed' };

export class Access {
  readonly #keys: readonly Key[];

  constructor(keys: AccessKeys) {
    this.#keys = [...keyOf(keys.apiKey, true), ...keyOf(keys.altApiKey, true), ...keyOf(keys.readOnlyApiKey, false)];
  }

  /** No key is configured. */
  get isOpen(): boolean {
    return this.#keys.length === 0;
  }

  /** `credential`: the bytes that were presented, undefined where there were none. */
  decide(credential: Uint8Array | undefined, right: Right): AccessVerdict {
    if (right === 'none' || this.isOpen) return allowed;
    if (credential === undefined)
      return { kind: 'unauthenticated', text: 'Must provide an API key or an Authorization bearer token' };
    const digest = sha256(credential);
    let isKnown = false;
    let isFull = false;
    for (const key of this.#keys) {
      const equal = timingSafeEqual(key.digest, digest);
      isKnown = equal || isKnown;
      isFull = (equal && key.isFull) || isFull;
    }
    if (!isKnown) return { kind: 'unauthenticated', text: 'Invalid API key or JWT' };
    if (right !== 'read' && !isFull) return { kind: 'forbidden', text: 'Global manage access is required' };
    return allowed;
  }
}

function keyOf(text: string | undefined, isFull: boolean): readonly Key[] {
  return text === undefined || text === '' ? [] : [{ digest: sha256(Buffer.from(text, 'utf8')), isFull }];
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
