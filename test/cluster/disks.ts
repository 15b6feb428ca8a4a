// Disks of their own for the nodes of a test: small ones that fill up, and images of which a copy is what a power cut leaves. Needs root.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { systemCode } from '../../src/base/errors.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { skipReason } from '../crash/skip.ts';

export interface TestDisks extends AsyncDisposable {
  /** Where a node's disk is mounted. */
  data(at: number): string;
}

export interface SmallDisks extends TestDisks {
  /** Takes all room there is, again and again: what a node gives back is taken too. */
  fill(at: number): void;
  empty(at: number): void;
}

export interface ImageDisks extends TestDisks {
  /** From here on each disk has what had reached it: pages that nobody had synced are gone. The nodes must be dead. */
  cutPower(): void;
}

/** Why this machine cannot mount any: options of a test. In CI that is a failure. */
export function withoutMounts(): { readonly skip?: string } {
  return process.getuid?.() === 0 ? {} : skipReason('mounting disks needs root');
}

export async function makeSmallDisks(count: number, sizeMiB: number): Promise<SmallDisks> {
  const folder = await temporaryFolder();
  const points = await mountPoints(folder.path, count);
  for (const point of points) run('mount', '-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'tmpfs', point);
  const filler = (at: number): string => path.join(points[at] ?? '', 'filler');
  return {
    data: (at) => path.join(points[at] ?? '', 'data'),
    fill: (at) => {
      const file = openSync(filler(at), 'a');
      try {
        for (let block = Buffer.alloc(1 << 20, 1); block.byteLength > 0;) {
          try {
            if (writeSync(file, block) === 0) break;
          } catch (error) {
            if (systemCode(error) !== 'ENOSPC') throw error;
            block = block.subarray(0, block.byteLength >> 1);
          }
        }
      } finally {
        closeSync(file);
      }
    },
    empty: (at) => rmSync(filler(at), { force: true }),
    [Symbol.asyncDispose]: async () => {
      for (const point of points) run('umount', '-l', point);
      await folder[Symbol.asyncDispose]();
    },
  };
}

export async function makeImageDisks(count: number, sizeMiB: number): Promise<ImageDisks> {
  const folder = await temporaryFolder();
  const points = await mountPoints(folder.path, count);
  let images = points.map((point) => `${point}.0.img`);
  let cuts = 0;
  const mount = (): void => {
    for (const [at, point] of points.entries()) run('mount', '-o', 'loop', images[at] ?? '', point);
  };
  for (const image of images) {
    run('truncate', '-s', `${sizeMiB}M`, image);
    run('mkfs.ext4', '-q', '-F', image);
  }
  mount();
  return {
    data: (at) => path.join(points[at] ?? '', 'data'),
    cutPower: () => {
      cuts += 1;
      const copies = points.map((point) => `${point}.${cuts}.img`);
      for (const [at, copy] of copies.entries()) run('cp', '--sparse=always', images[at] ?? '', copy);
      for (const point of points) run('umount', point);
      for (const image of images) rmSync(image);
      images = copies;
      mount();
    },
    [Symbol.asyncDispose]: async () => {
      for (const point of points) run('umount', '-l', point);
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function mountPoints(folder: string, count: number): Promise<readonly string[]> {
  const points = Array.from({ length: count }, (_, at) => path.join(folder, `disk-${at}`));
  await Promise.all(points.map((point) => mkdir(point)));
  return points;
}

function run(program: string, ...args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new RangeError(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
}
