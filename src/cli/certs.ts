// nearkeep certs create: an authority of a cluster's own, made once and kept, and a certificate for each node, new at every call.
import path from 'node:path';
import { makeDirectoryDurably, writeFileAtomically } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { Authority, type KeyPair } from '../server/authority.ts';
import { EXIT, UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';
import { parseFlags } from './parse.ts';

const authorityDays = 3650;
const nodeDaysDefault = 365;
/** Files of keys are for their owner. */
const ownerOnly = 0o077;

export async function run(args: readonly string[], output: Output): Promise<number> {
  const { values, positionals } = parseFlags(args, { days: { type: 'string' } }, true);
  const [verb, folder, ...nodes] = positionals;
  if (verb !== 'create' || folder === undefined || nodes.length === 0) throw new UsageError('certs create needs a folder and the names of at least one node');
  const days = values.days === undefined ? nodeDaysDefault : Number(values.days);
  if (!Number.isInteger(days) || days < 1 || days > authorityDays) throw new UsageError(`--days must be 1 to ${authorityDays}, not ${String(values.days)}`);
  const named = nodes.map(namesOf);
  process.umask(ownerOnly);
  const disk = new NodeDisk();
  await makeDirectoryDurably(disk, path.resolve(folder));
  const ca = { cert: path.join(folder, 'ca.pem'), key: path.join(folder, 'ca.key') };
  const authority = await authorityIn(disk, ca, output);
  const written: { readonly names: readonly string[]; readonly cert: string; readonly key: string }[] = [];
  for (const names of named) {
    const files = { cert: path.join(folder, `${names[0]}.pem`), key: path.join(folder, `${names[0]}.key`) };
    await writePair(disk, files, await authority.issue(names, { days }));
    output.line(`${files.cert} and ${files.key} for ${names.join(', ')}, ${days} days`);
    written.push({ names, ...files });
  }
  output.result({ authority: ca, nodes: written });
  return EXIT.ok;
}

/** All names of one node, the first of them names its files. @throws UsageError */
function namesOf(text: string): readonly [string, ...string[]] {
  const [first, ...others] = text.split(',');
  for (const name of [first, ...others]) if (name === undefined || !/^[a-z0-9]([a-z0-9._:-]*[a-z0-9])?$/i.test(name) || name === 'ca') throw new UsageError(`${JSON.stringify(name)} is no name or address of a node`);
  return [first ?? '', ...others];
}

/** The one that is there is used again: nodes believe its certificates already. @throws UsageError where half of it is gone */
async function authorityIn(disk: Disk, files: KeyPair, output: Output): Promise<Authority> {
  const [cert, key] = await Promise.all([readOptionalFile(disk, files.cert), readOptionalFile(disk, files.key)]);
  if (cert !== undefined && key !== undefined) return await Authority.open({ cert: cert.toString('latin1'), key: key.toString('latin1') });
  if (cert !== undefined || key !== undefined) throw new UsageError(`of ${files.cert} and ${files.key} only one is there: bring the other one back, or begin in another folder`);
  const authority = await Authority.create({ days: authorityDays });
  await writePair(disk, files, authority.pair);
  output.line(`${files.cert}, the authority, for all nodes; ${files.key}, its key, for none of them`);
  return authority;
}

/** The key first: a node that looks in between finds no pair, and goes on with what it has. */
async function writePair(disk: Disk, files: KeyPair, { cert, key }: KeyPair): Promise<void> {
  await writeFileAtomically(disk, files.key, Buffer.from(key));
  await writeFileAtomically(disk, files.cert, Buffer.from(cert));
}
