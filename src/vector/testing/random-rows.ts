// Random stored rows and queries for tests of kernels and indexes, from a seed.
import type { Random } from '../../base/testing/random.ts';
import { strideBytes, type VectorSpec } from '../distance.ts';

/** `plain`: values as embeddings have them. `coarse`: few different values, so many equal scores. `close`: all rows within a few
 *  ulps of one another. `extreme`: zeros of both signs, subnormals and the largest values beside ordinary ones. */
export type Texture = 'plain' | 'coarse' | 'close' | 'extreme';

export const TEXTURES: readonly Texture[] = ['plain', 'coarse', 'close', 'extreme'];

const extremeFloats = [0, -0, 1, -1, 2 ** -149, -(2 ** -140), 1e-30, 3.4e38, -3.4e38, 1e19, -1e20, 0.5];
const extremeHalves = [0, 0x8000, 0x3c00, 0xbc00, 1, 0x8003, 0x03ff, 0x7bff, 0xfbff, 0x3555, 0x5000];

export function randomVector(random: Random, size: number, texture: Texture): Float32Array {
  return Float32Array.from({ length: size }, (_, at) => {
    if (texture === 'coarse') return random.below(3) - 1;
    if (texture === 'close') return Math.sin(at + 1);
    if (texture === 'extreme' && random.below(3) === 0) return extremeFloats[random.below(extremeFloats.length)] ?? 0;
    return random.next() * 2 - 1;
  });
}

/** `count` packed rows. */
export function randomRows(random: Random, spec: VectorSpec, count: number, texture: Texture): Uint8Array {
  const length = count * spec.size;
  const bytes = new Uint8Array(count * strideBytes(spec));
  if (spec.datatype === 'uint8') {
    const base = Uint8Array.from({ length: spec.size }, () => random.below(256));
    for (let at = 0; at < length; at += 1) {
      const near = (base[at % spec.size] ?? 0) ^ (random.below(spec.size) === 0 ? 1 : 0);
      bytes[at] = texture === 'coarse' ? random.below(3) : texture === 'close' ? near : random.below(256);
    }
    return bytes;
  }
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < length; at += 1) {
    if (spec.datatype === 'float16') view.setUint16(at * 2, randomHalf(random, at % spec.size, texture), true);
    else view.setFloat32(at * 4, randomFloat(random, at % spec.size, texture), true);
  }
  return bytes;
}

function randomFloat(random: Random, component: number, texture: Texture): number {
  if (texture === 'close') return Math.sin(component + 1) * (1 + (random.below(3) - 1) * 2 ** -23);
  return randomVector(random, 1, texture)[0] ?? 0;
}

function randomHalf(random: Random, component: number, texture: Texture): number {
  if (texture === 'coarse') return [0, 0x3c00, 0xbc00][random.below(3)] ?? 0;
  if (texture === 'close') return 0x3400 + ((component * 37) & 0x3ff) + random.below(2);
  if (texture === 'extreme' && random.below(3) === 0) return extremeHalves[random.below(extremeHalves.length)] ?? 0;
  return (random.below(2) << 15) | random.below(0x3c00); // below 1
}
