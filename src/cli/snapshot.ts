// nearkeep snapshot: the snapshot routes of a server, one sub-command each.
import { createInterface } from 'node:readline/promises';
import { EXIT, ExitError, UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';
import { parseFlags } from './parse.ts';
import { openRemote } from './remote.ts';
import { sizeText } from './size-text.ts';
import { argumentsOf, restoreQuery, scopeOf, showRestored, snapshotFlags, type Description, type SnapshotCommand } from './snapshot-command.ts';
import { download } from './snapshot-download.ts';
import { inspect } from './snapshot-inspect.ts';
import { upload } from './snapshot-upload.ts';

type Command = (command: SnapshotCommand) => Promise<void>;

const commands: Readonly<Record<string, Command>> = { create, list, download, upload, recover, delete: remove, inspect, undo };

export async function run(args: readonly string[], output: Output): Promise<number> {
  const { values, positionals } = parseFlags(args, snapshotFlags, true);
  const [name = '', ...rest] = positionals;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) throw new UsageError(`snapshot takes one of ${Object.keys(commands).join(', ')}`);
  const interrupted = new AbortController();
  const onSignal = (): void => {
    interrupted.abort(new ExitError('interrupted', EXIT.interrupted));
  };
  process.once('SIGINT', onSignal);
  try {
    const remote = await openRemote(values, output);
    const scope = name === 'inspect' ? { path: '', rest } : scopeOf(values, rest);
    await command({ remote, output, signal: interrupted.signal, values, ...scope });
    return EXIT.ok;
  } catch (error) {
    throw interrupted.signal.aborted ? interrupted.signal.reason : error;
  } finally {
    process.off('SIGINT', onSignal);
  }
}

async function create(command: SnapshotCommand): Promise<void> {
  argumentsOf(command);
  const { remote, output, path, signal } = command;
  const made = (await remote.call('POST', path, { query: { wait: 'true' }, signal })) as Description;
  output.line(`ok: ${made.name}, ${sizeText(made.size)}${made.checksum === undefined ? '' : `, sha256 ${made.checksum}`}`);
  output.result({ ...made });
}

async function list(command: SnapshotCommand): Promise<void> {
  argumentsOf(command);
  const { remote, output, path, signal } = command;
  const found = (await remote.call('GET', path, { signal })) as readonly Description[];
  for (const { name, creation_time: time, size, checksum } of found) output.line(`${name}  ${time ?? '-'}  ${sizeText(size)}  ${checksum ?? '-'}`);
  output.result({ items: found });
}

async function recover(command: SnapshotCommand): Promise<void> {
  const [location = ''] = argumentsOf(command, 'LOCATION');
  const { remote, output, path, values, signal } = command;
  const { priority, checksum, ...query } = restoreQuery(values);
  const json = { location, ...(priority === undefined ? {} : { priority }), ...(checksum === undefined ? {} : { checksum }) };
  const answer = await remote.call('PUT', `${path}/recover`, { json, query, signal });
  showRestored(output, answer, values['dry-run'] === true);
}

async function remove(command: SnapshotCommand): Promise<void> {
  const [name = ''] = argumentsOf(command, 'NAME');
  const { remote, output, path, values, signal } = command;
  if (values['dry-run'] === true) {
    const found = ((await remote.call('GET', path, { signal })) as readonly Description[]).find((each) => each.name === name);
    if (found === undefined) throw new ExitError(`Snapshot ${name} not found`, EXIT.notFound);
    output.line(`would delete ${name}, ${sizeText(found.size)}; nothing changed (dry run)`);
    output.result({ dry_run: true, name, size: found.size });
    return;
  }
  if (values.yes !== true && !(await confirmed(`Delete snapshot ${name}?`, signal))) throw new UsageError('deleting needs --yes');
  await remote.call('DELETE', `${path}/${encodeURIComponent(name)}`, { query: { wait: 'true' }, signal });
  output.line(`ok: deleted ${name}`);
  output.result({ deleted: name });
}

async function undo(command: SnapshotCommand): Promise<void> {
  argumentsOf(command);
  const { remote, output, path, values, signal } = command;
  if (values.storage === true || values.shard !== undefined) throw new UsageError('undo takes a COLLECTION');
  await remote.call('POST', `${path}/undo`, { signal });
  output.line('ok: what the last restore replaced is back');
  output.result({ undone: true });
}

/** On a terminal only. */
async function confirmed(question: string, signal: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return false;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `, { signal })).trim());
  } finally {
    lines.close();
  }
}
