// The parameters that say which node of a cluster a request is about: `peer` names one, `all=true` means every one.
import { RequestError } from '../../base/errors.ts';
import type { Engine } from '../../engine/engine.ts';
import { deserializeError, readFlag, type Query } from './query-parameters.ts';

export interface NodeWish {
  /** undefined: the node that is asked. */
  readonly peerId: number | undefined;
  readonly isAll: boolean;
}

/** Of a list. @throws RequestError where both are given, or one cannot be */
export function readNodes(engine: Engine, query: Query): NodeWish {
  const peerId = readPeer(engine, query);
  const isAll = readFlag(query, 'all', false);
  if (isAll && peerId !== undefined) throw new RequestError('bad-request', 'of the parameters peer and all only one can be given');
  return { peerId, isAll };
}

/** @throws RequestError 'not-found' where this server is one node and `peer` names another */
export function readPeer(engine: Engine, query: Query): number | undefined {
  const text = query['peer'];
  if (text === undefined) return undefined;
  const peerId = /^\d{1,16}$/.test(text) ? Number(text) : Infinity;
  if (!Number.isSafeInteger(peerId)) throw deserializeError('peer', 'invalid digit found in string');
  if (engine.cluster === undefined && peerId !== engine.peerId) throw new RequestError('not-found', `Peer ${peerId} is not this server, which is peer ${engine.peerId} and no part of a cluster`);
  return peerId;
}
