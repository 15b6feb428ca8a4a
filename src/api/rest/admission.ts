// Decides on a request before a byte of its body is read: origin, then key. The right that is asked for comes from the matched
// route object; a path that no route matches needs a key before it is told so.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ERROR_CLASSES } from '../../base/errors.ts';
import type { Access } from '../../engine/access.ts';
import { sendError } from './envelope.ts';
import { judgeOrigin, type OriginSettings } from './origins.ts';
import type { RestRoute } from './route.ts';

export interface Admission {
  readonly access: Access;
  readonly origins: OriginSettings;
}

/** true: go on. false: the request has been answered. `route` is undefined where none matched. */
export function admit(
  { access, origins }: Admission,
  route: RestRoute | undefined,
  at: { readonly request: FastifyRequest; readonly reply: FastifyReply },
): boolean {
  const { request, reply } = at;
  const origin = judgeOrigin(origins, request, reply);
  if (origin.kind === 'preflight') {
    reply.code(204).send();
    return false;
  }
  if (origin.kind === 'refused') return refuse(at, { status: 403, text: origin.text }, 'text');
  const verdict = access.decide(credentialOf(request), route?.access ?? 'read');
  switch (verdict.kind) {
    case 'allowed':
      // With `Expect: 100-continue` the client holds its body back until here.
      if (request.headers.expect === '100-continue') reply.raw.writeContinue();
      return true;
    case 'unauthenticated':
      return refuse(at, { status: 401, text: verdict.text }, 'text');
    case 'forbidden': {
      const asText = route?.errors === 'text' || route?.body === 'stream';
      return refuse(at, { status: 403, text: ERROR_CLASSES.forbidden.prefix + verdict.text }, asText ? 'text' : 'json');
    }
  }
}

function refuse(
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  error: { readonly status: number; readonly text: string },
  shape: 'json' | 'text',
): false {
  // The body that the client holds back must not be taken for its next request.
  if (request.headers.expect === '100-continue') reply.header('connection', 'close');
  sendError(reply, error, shape);
  return false;
}

/** Header `api-key` first, else the bearer token. Node hands header bytes over as latin1. */
function credentialOf({ headers }: FastifyRequest): Buffer | undefined {
  const key = headers['api-key'];
  if (typeof key === 'string') return Buffer.from(key, 'latin1');
  const bearer = /^bearer +(.+)$/i.exec(headers.authorization ?? '');
  return bearer?.[1] === undefined ? undefined : Buffer.from(bearer[1].trim(), 'latin1');
}
