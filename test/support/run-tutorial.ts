// Runs `npm run tutorial` and other programs to their end, and proves that the tutorial leaves nothing behind.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { inTime } from '../../src/base/testing/wait-until.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { cleanEnvironment, root } from './server-process.ts';

/** A Python with the official client. */
export const python = process.env['NEARKEEP_TEST_PYTHON'] ?? '';
export const skipPython = python === '' ? 'no Python with the official client' : false;
const runMsMax = 600_000;

export interface Run {
  readonly status: number | null;
  readonly output: string;
}

/** @throws RangeError with its output where it does not end */
export async function run(program: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Run> {
  const child = spawn(program, args, { cwd: root, env: { ...cleanEnvironment(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const ended = new Promise<Run>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      output += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      output += data.toString();
    });
    child.on('close', (status) => {
      resolve({ status, output });
    });
  });
  return await inTime(ended, runMsMax, () => {
    child.kill('SIGTERM');
    return new RangeError(`${program} ${args.join(' ')} did not end within ${runMsMax} ms:\n${output}`);
  });
}

/** `npm run tutorial` with a folder for temporary files of its own; in the end that is empty, and no process has to do with it. */
export async function runTutorial(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  await using folder = await temporaryFolder();
  const before = dataFolders();
  const ran = await run(process.execPath, [path.join(root, 'scripts/tutorial.mjs'), ...args], { ...env, TMPDIR: folder.path });
  assert.deepEqual(readdirSync(folder.path), [], ran.output);
  assert.deepEqual(processesOf(folder.path), [], ran.output);
  assert.deepEqual(dataFolders(), before);
  return ran;
}

function dataFolders(): readonly string[] {
  return readdirSync(root).filter((name) => name === 'storage' || name === 'snapshots').sort();
}

/** Command lines that name the folder. */
function processesOf(folder: string): readonly string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
      return line.includes(folder) ? [line] : [];
    } catch {
      return []; // it has ended since
    }
  });
}
