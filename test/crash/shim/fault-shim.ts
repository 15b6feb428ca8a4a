// Faults in the real process: builds faultio.c with the C compiler at hand and steers it through the file that both sides map.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { sha256Hex } from '../../../src/base/checksum.ts';
import { root } from '../../support/server-process.ts';

const controlBytes = 512;
const pathOffset = 64;
const pathBytesMax = controlBytes - pathOffset - 1;

const modes = { watch: 0, kill: 1, fail: 2, short: 3, torn: 4 } as const;
const kinds = { write: 1, sync: 2, rename: 4, name: 8, truncate: 16, copy: 32 } as const;

export type CallKind = keyof typeof kinds;

export interface ShimFault {
  /** `watch` only counts. `kill` ends the process before the call, `torn` after half of the bytes. `short` takes half of the bytes
   *  without an error, as a full disk does; what follows within `count` fails. */
  readonly mode: keyof typeof modes;
  /** Only calls on paths that contain this text. */
  readonly path: string;
  /** All kinds where not given. */
  readonly kinds?: readonly CallKind[];
  /** The first call that it hits, from 1 on. */
  readonly first?: number;
  /** How many calls it hits from there on. */
  readonly count?: number;
  readonly error?: 'EIO' | 'ENOSPC';
}

export interface ShimCounts {
  /** Calls of the wanted kinds on the wanted paths since it was armed. */
  readonly seen: number;
  readonly faults: number;
  /** That succeeded. */
  readonly fdatasyncs: number;
  readonly fsyncs: number;
}

export interface FaultShim extends Disposable {
  /** What a server needs to be under it. */
  readonly env: Readonly<Record<string, string>>;
  arm(fault: ShimFault): void;
  counts(): ShimCounts;
}

/** The library's path, or why there is none. */
export function buildShim(): { readonly library: string } | { readonly missing: string } {
  const source = path.join(root, 'test/crash/shim/faultio.c');
  const library = path.join(root, 'build', `faultio-${sha256Hex(readFileSync(source)).slice(0, 16)}.so`);
  if (existsSync(library)) return { library };
  mkdirSync(path.dirname(library), { recursive: true });
  const unfinished = `${library}.${process.pid}`;
  for (const compiler of [process.env['CC'] ?? 'cc', 'gcc', 'clang']) {
    const { status, stderr, error } = spawnSync(compiler, ['-O1', '-shared', '-fPIC', '-o', unfinished, source, '-ldl'], { encoding: 'utf8' });
    if (error !== undefined) continue;
    if (status !== 0) return { missing: `${compiler} does not compile faultio.c: ${stderr}` };
    renameSync(unfinished, library);
    return { library };
  }
  return { missing: 'no C compiler' };
}

/** @param folder outside the paths that are to be watched */
export function openShim(library: string, folder: string): FaultShim {
  const file = path.join(folder, 'faultio.control');
  const handle = openSync(file, 'w+');
  writeSync(handle, Buffer.alloc(controlBytes));
  return {
    env: { LD_PRELOAD: library, FAULTIO_CONTROL: file },
    arm: (fault) => {
      const control = encodeFault(fault);
      writeSync(handle, Buffer.alloc(4), 0, 4, 0); // off while the rest changes
      writeSync(handle, control, 4, controlBytes - 4, 4);
      writeSync(handle, control, 0, 4, 0);
    },
    counts: () => {
      const control = Buffer.alloc(controlBytes);
      readSync(handle, control, 0, controlBytes, 0);
      const at = (index: number): number => control.readUInt32LE(4 * index);
      return { seen: at(5), faults: at(6), fdatasyncs: at(7), fsyncs: at(8) };
    },
    [Symbol.dispose]: () => {
      closeSync(handle);
    },
  };
}

function encodeFault(fault: ShimFault): Buffer {
  const control = Buffer.alloc(controlBytes);
  const wanted = fault.kinds ?? (Object.keys(kinds) as CallKind[]);
  const fields = [
    modes[fault.mode], wanted.reduce((mask, kind) => mask | kinds[kind], 0), fault.first ?? 1, fault.count ?? 1, constants.errno[fault.error ?? 'EIO'],
  ];
  for (const [index, value] of fields.entries()) control.writeUInt32LE(value, 4 * index);
  if (Buffer.byteLength(fault.path) > pathBytesMax) throw new RangeError(`${fault.path} is longer than ${pathBytesMax} bytes`);
  control.write(fault.path, pathOffset);
  return control;
}
