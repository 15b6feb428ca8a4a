// Keys of one cluster, all derived from its one secret: the users of its NATS servers and the key that signs what nodes ask of one
// another. Each has a label of its own, so knowing one says nothing of another.
import { hkdfSync } from 'node:crypto';
import { Codec } from '@nats-io/nkeys/lib/codec.js';
import { fromSeed, Prefix } from '@nats-io/nkeys';
import { RequestError } from '../base/errors.ts';

const secretBytesMin = 16;

export interface NatsUser {
  /** For the configuration of a server. */
  readonly publicKey: string;
  /** For a client: what proves that it is this user. */
  readonly seed: Uint8Array;
}

export interface ClusterKeys {
  /** NATS servers of another name are not let in. */
  readonly clusterName: string;
  /** What NATS servers show one another. Their first word tells anybody the cluster's name, so that lets nobody in. */
  readonly routePassword: string;
  readonly app: NatsUser;
  readonly system: NatsUser;
  readonly peerToken: Buffer;
}

/** The same keys on every node that has the secret. @throws RequestError 'bad-request' where the secret is too short to be one. */
export function clusterKeys(secret: string): ClusterKeys {
  const trimmed = secret.trim();
  if (Buffer.byteLength(trimmed) < secretBytesMin) throw new RequestError('bad-request', `the cluster secret must have at least ${secretBytesMin} bytes`);
  const derive = (label: string): Buffer => Buffer.from(hkdfSync('sha256', trimmed, 'nearkeep cluster', label, 32));
  const user = (label: string): NatsUser => {
    const seed = Codec.encodeSeed(Prefix.User, derive(label));
    return { seed, publicKey: fromSeed(seed).getPublicKey() };
  };
  return { clusterName: `nearkeep-${derive('cluster name').toString('hex').slice(0, 16)}`, routePassword: derive('nats routes').toString('hex'), app: user('nats app user'), system: user('nats system user'), peerToken: derive('peer token') };
}
