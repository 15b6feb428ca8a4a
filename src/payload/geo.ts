// Geo conditions on points in degrees. Edges of a box and of a polygon are outside, as in Qdrant.
import { isJsonObject } from './json-path.ts';
import { numberOf } from './exact-number.ts';
import type { GeoPoint } from './filter.ts';

const earthRadiusMeters = 6_371_008.8; // mean radius (IUGG)
const degree = Math.PI / 180;

/** `{lon, lat}` of a payload value; undefined where it is no such object. */
export function geoPointOf(value: unknown): GeoPoint | undefined {
  if (!isJsonObject(value)) return undefined;
  const lon = Object.hasOwn(value, 'lon') ? numberOf(value['lon']) : undefined;
  const lat = Object.hasOwn(value, 'lat') ? numberOf(value['lat']) : undefined;
  return lon === undefined || lat === undefined ? undefined : { lon: Number(lon), lat: Number(lat) };
}

/** A box whose left edge is east of its right edge crosses the antimeridian. */
export function isInBox(point: GeoPoint, topLeft: GeoPoint, bottomRight: GeoPoint): boolean {
  const lonInside =
    topLeft.lon > bottomRight.lon
      ? point.lon > topLeft.lon || point.lon < bottomRight.lon
      : topLeft.lon < point.lon && point.lon < bottomRight.lon;
  return lonInside && bottomRight.lat < point.lat && point.lat < topLeft.lat;
}

/** Haversine distance on the mean sphere, strictly less than the radius. */
export function isInRadius(point: GeoPoint, center: GeoPoint, radiusMeters: number): boolean {
  const latHalf = Math.sin(((point.lat - center.lat) * degree) / 2);
  const lonHalf = Math.sin(((point.lon - center.lon) * degree) / 2);
  const a = latHalf * latHalf + Math.cos(center.lat * degree) * Math.cos(point.lat * degree) * lonHalf * lonHalf;
  return 2 * earthRadiusMeters * Math.asin(Math.min(1, Math.sqrt(a))) < radiusMeters;
}

/** Inside the exterior ring, outside every interior ring. */
export function isInPolygon(
  point: GeoPoint,
  exterior: readonly GeoPoint[],
  interiors: readonly (readonly GeoPoint[])[],
): boolean {
  return placeInRing(point, exterior) === 'inside' && interiors.every((ring) => placeInRing(point, ring) === 'outside');
}

/** By winding number; degrees are taken as plane coordinates. */
function placeInRing(point: GeoPoint, ring: readonly GeoPoint[]): 'inside' | 'outside' | 'edge' {
  let winding = 0;
  let from = ring.at(-1);
  for (const to of ring) {
    if (from === undefined) return 'outside';
    const side = (to.lon - from.lon) * (point.lat - from.lat) - (point.lon - from.lon) * (to.lat - from.lat);
    if (side === 0 && isBetween(point.lon, from.lon, to.lon) && isBetween(point.lat, from.lat, to.lat)) return 'edge';
    if (from.lat <= point.lat && to.lat > point.lat && side > 0) winding += 1;
    if (from.lat > point.lat && to.lat <= point.lat && side < 0) winding -= 1;
    from = to;
  }
  return winding === 0 ? 'outside' : 'inside';
}

function isBetween(value: number, a: number, b: number): boolean {
  return Math.min(a, b) <= value && value <= Math.max(a, b);
}
