// Finds the nats-server program and says whether its version may carry a cluster.
//
// Below 2.10.27 servers forgot whole streams after a kill, and 2.9 cannot sync every write. Up to 2.14.1 a purge of the first entry
// emptied the stream; nearkeep never asks for that purge, so those versions run with a warning.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { RequestError } from '../base/errors.ts';

const run = promisify(execFile);
const versionTimeoutMs = 10_000;
const oldest = [2, 10, 27] as const;

type Version = readonly [number, number, number];

export interface NatsBinary {
  readonly path: string;
  readonly version: string;
  /** What an operator should know of this version. */
  readonly advice: string | undefined;
}

/**
 * The first program that runs of: `given`, `nats-server` on `searchPath`, those of `folders`.
 * @throws RequestError 'unavailable' that says what was tried, or that the version found is too old
 */
export async function findNatsServer(places: { readonly given: string | undefined; readonly searchPath: string; readonly folders: readonly string[] }): Promise<NatsBinary> {
  const { given, searchPath, folders } = places;
  const candidates = given === undefined
    ? [...searchPath.split(path.delimiter), ...folders].filter((folder) => folder !== '').map((folder) => path.join(folder, 'nats-server'))
    : [given];
  for (const candidate of candidates) {
    const version = await versionOf(candidate);
    if (version === undefined) continue;
    const { problem, advice } = judgeNatsVersion(version);
    if (problem !== undefined) throw new RequestError('unavailable', `${candidate} is ${problem}. Set NATS_SERVER_BIN to one`);
    return { path: candidate, version, advice };
  }
  throw new RequestError('unavailable', given === undefined
    ? 'a cluster needs the nats-server program: put it on PATH or name it in NATS_SERVER_BIN'
    : `NATS_SERVER_BIN names ${given}, which is no nats-server that runs here`);
}

/** undefined for a program that does not run here: the next candidate may. */
async function versionOf(program: string): Promise<string | undefined> {
  const said = await run(program, ['--version'], { timeout: versionTimeoutMs }).then(({ stdout, stderr }) => stdout + stderr, () => '');
  return /\d+\.\d+\.\d+/.exec(said)?.[0];
}

/** `problem`: why a server of this version is not used. */
export function judgeNatsVersion(text: string): { readonly problem: string | undefined; readonly advice: string | undefined } {
  const [major = 0, minor = 0, patch = 0] = text.split('.').map((part) => Number.parseInt(part, 10));
  const version = [major, minor, patch] as const;
  if (isBefore(version, oldest)) return { problem: `nats-server ${text}; a cluster needs ${oldest.join('.')} or newer (2.14.2 or newer is advised)`, advice: undefined };
  const isFixed = !isBefore(version, [2, 14, 2]) || (major === 2 && minor === 12 && !isBefore(version, [2, 12, 10]));
  return { problem: undefined, advice: isFixed ? undefined : `nats-server ${text} works; 2.14.2 or newer is advised` };
}

function isBefore(version: Version, other: Version): boolean {
  const differs = version.findIndex((part, at) => part !== other[at]);
  return differs >= 0 && (version[differs] ?? 0) < (other[differs] ?? 0);
}
