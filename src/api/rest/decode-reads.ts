// What retrieve, scroll and count are asked for.
import type { CountRequest, OrderBy, RetrieveRequest, ScrollRequest } from '../../command/read.ts';
import { parseDatetime } from '../../payload/datetime.ts';
import { RequestError } from '../../base/errors.ts';
import { readFilter, readPath, readPointId, readPointIds, readSelectors, readShardSelector } from './decode-selectors.ts';
import { defined, noVariant, optional, readBoolean, readCount, readVariant, required, type WireValue } from './wire-value.ts';

const scrollLimitDefault = 10;
const offsetWithOrder =
  'Cannot use an `offset` when using `order_by`. The alternative for paging is to use `order_by.start_from` and a filter to exclude ' +
  "the IDs that you've already seen for the `order_by.start_from` value";

export async function decodeRetrieve(at: WireValue): Promise<RetrieveRequest> {
  return { ...readShardSelector(at), ids: await readPointIds(required(at, 'ids')), selectors: readSelectors(at, { payload: true }) };
}

export function decodeScroll(at: WireValue): ScrollRequest {
  const offsetAt = optional(at, 'offset');
  const limitAt = optional(at, 'limit');
  const orderByAt = optional(at, 'order_by');
  const request = {
    ...readShardSelector(at),
    limit: limitAt === undefined ? scrollLimitDefault : readCount(limitAt, 1),
    selectors: readSelectors(at, { payload: true }),
    ...defined({
      offset: offsetAt && readPointId(offsetAt),
      filter: readFilter(at),
      orderBy: orderByAt && readOrderBy(orderByAt),
    }),
  };
  if (request.offset === undefined || request.orderBy === undefined) return request;
  throw new RequestError('bad-input', offsetWithOrder);
}

export function decodeCount(at: WireValue): CountRequest {
  const exact = optional(at, 'exact');
  return { ...readShardSelector(at), exact: exact === undefined || readBoolean(exact), ...defined({ filter: readFilter(at) }) };
}

function readOrderBy(at: WireValue): OrderBy {
  if (typeof at.value === 'string') return { key: readPath(at), direction: 'asc' };
  const direction = optional(at, 'direction');
  const startFrom = optional(at, 'start_from');
  return {
    key: readPath(required(at, 'key')),
    direction: direction === undefined ? 'asc' : readVariant(direction, ['asc', 'desc']),
    ...defined({ startFrom: startFrom && readStartFrom(startFrom) }),
  };
}

function readStartFrom(at: WireValue): number | bigint {
  const { value } = at;
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  const micros = typeof value === 'string' ? parseDatetime(value) : undefined;
  if (micros === undefined) throw noVariant(at, 'StartFrom');
  return micros;
}
