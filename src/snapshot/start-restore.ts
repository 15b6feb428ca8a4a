// Restores that the command line asks for before the server listens: files from anywhere on this machine, all by one commit.
import path from 'node:path';
import { RequestError } from '../base/errors.ts';
import type { RestoreRules } from '../collection/snapshot-source.ts';
import { readArchiveManifest } from './archive-read.ts';
import { fileBytes } from './file-bytes.ts';
import type { JobDraft, JobHandle } from './jobs.ts';
import type { SealedManifest } from './manifest.ts';
import type { RestoreTarget } from './preflight.ts';
import { restoreTogether, type RestoreContext, type RestoreOrigin } from './restore.ts';
import { readSealedManifest } from './stored-folder.ts';

export interface StartRestore {
  /** Archive files or snapshot folders, and the collections they become. Several of one name bring its shards together. */
  readonly collections: readonly { readonly path: string; readonly name: string }[];
  /** A snapshot of the whole storage; the collections above are then left out. */
  readonly storage?: string;
  /** What exists is replaced. */
  readonly force: boolean;
}

type Start = (draft: JobDraft, work: (job: JobHandle) => Promise<void>) => Promise<void>;

/** @throws RequestError where something is in the way or no snapshot; then nothing has changed */
export async function restoreAtStart(context: RestoreContext, { collections, storage, force }: StartRestore, start: Start): Promise<void> {
  if (storage !== undefined) {
    const origin = await fileOrigin(context, storage);
    const sealed = await manifestOf(context, origin);
    if (!force) for (const { name, aliases } of sealed.manifest.collections) refuseTaken(context, name, aliases);
    await start({ kind: 'restore', target: '/', source: storage }, async (job) => {
      await restoreTogether(context, [part(origin, { kind: 'storage' }, { job, aliases: 'take' })]);
    });
    return;
  }
  if (collections.length === 0) return;
  const names = collections.map(({ name }) => name);
  if (!force) for (const name of names) refuseTaken(context, name, []);
  await start({ kind: 'restore', target: [...new Set(names)].join(', '), source: collections.map(({ path: file }) => file).join(', ') }, async (job) => {
    const parts = [];
    for (const { path: file, name } of collections) parts.push(part(await fileOrigin(context, file), { kind: 'collection', name, isPart: names.filter((other) => other === name).length > 1 }, { job, aliases: 'keep' }));
    await restoreTogether(context, parts);
  });
}

function part(origin: RestoreOrigin, target: RestoreTarget, { job, aliases }: { readonly job: JobHandle; readonly aliases: RestoreRules['aliases'] }): Parameters<typeof restoreTogether>[1][number] {
  const rules: RestoreRules = { config: 'whole', schema: 'snapshot', aliases, reshard: false };
  return { origin, order: { target, rules, priority: 'snapshot', origin: 'recover', job } };
}

function refuseTaken({ source }: RestoreContext, name: string, aliases: readonly string[]): void {
  const help = 'already exists. Use --force-snapshot to overwrite it.';
  if (source.resolve(name) !== undefined) throw new RequestError('already-exists', `Collection ${name} ${help}`);
  const alias = aliases.find((each) => source.resolve(each) !== undefined);
  if (alias !== undefined) throw new RequestError('already-exists', `Alias ${alias} ${help}`);
}

async function fileOrigin({ disk }: RestoreContext, file: string): Promise<RestoreOrigin & { readonly kind: 'archive' | 'folder' }> {
  const stat = await disk.findStat(file);
  if (stat === undefined) throw new RequestError('not-found', `snapshot ${file} does not exist`);
  if (stat.isFile) return { kind: 'archive', path: file };
  if (stat.isDirectory && (await disk.findStat(path.join(file, 'snapshot.json'))) !== undefined) return { kind: 'folder', path: file };
  throw new RequestError('bad-request', `${file} is not a snapshot`);
}

async function manifestOf({ disk }: RestoreContext, origin: { readonly kind: 'archive' | 'folder'; readonly path: string }): Promise<SealedManifest> {
  if (origin.kind === 'archive') return await readArchiveManifest(fileBytes(disk, origin.path));
  return await readSealedManifest((name) => disk.openRead(path.join(origin.path, name)));
}
