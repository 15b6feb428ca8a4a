// nearkeep verify PATH | - | --url URL COLLECTION: proves a data directory, a snapshot or a served collection sound, or says where
// it is not.
import { parseReport, reportJson, verifyPath, verifyStream } from '../engine/verify.ts';
import type { VerifyCounts, VerifyProblem, VerifyReport } from '../engine/verify-report.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { EXIT, UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';
import { parseFlags } from './parse.ts';
import { openRemote, remoteFlags } from './remote.ts';
import { sizeText } from './size-text.ts';

export async function run(args: readonly string[], output: Output): Promise<number> {
  const { values, positionals } = parseFlags(args, { deep: { type: 'boolean', default: false }, ...remoteFlags }, true);
  const [target, ...others] = positionals;
  if (target === undefined || others.length > 0) throw new UsageError('verify takes one PATH, - for standard input, or --url URL COLLECTION');
  const deep = values.deep === true;
  const report = values.url === undefined ? await verifyHere(target, deep) : await verifyThere(values, { collection: target, deep }, output);
  return show(report, deep, output);
}

async function verifyHere(target: string, deep: boolean): Promise<VerifyReport> {
  const progress = process.stderr.isTTY ? { progress: (place: string) => process.stderr.write(`verifying ${place}\n`) } : {};
  if (target === '-') return await verifyStream(new NodeDisk(), process.stdin, { deep });
  return await verifyPath(new NodeDisk(), target, { deep, ...progress });
}

/** The server verifies a frozen set of itself. */
async function verifyThere(values: Parameters<typeof openRemote>[0], { collection, deep }: { readonly collection: string; readonly deep: boolean }, output: Output): Promise<VerifyReport> {
  const remote = await openRemote(values, output);
  return parseReport(await remote.call('POST', `/cluster/collections/${encodeURIComponent(collection)}/verify`, { query: { deep: String(deep) } }));
}

function show(report: VerifyReport, deep: boolean, output: Output): number {
  const { problems, notes, counts } = report;
  for (const note of notes) output.line(`note: ${note}`);
  for (const problem of problems) output.line(problemText(problem));
  const isSound = problems.length === 0;
  output.line(`${isSound ? 'ok' : 'FAIL'}: ${isSound ? '' : `${counted(problems.length, 'problem')} in `}${countsText(counts)}${deep ? '' : ' (without --deep: checksums only)'}`);
  const details = { deep, ...reportJson(report) };
  if (isSound) {
    output.result(details);
    return EXIT.ok;
  }
  output.error(`verification failed: ${counted(problems.length, 'problem')}`, EXIT.verifyFailed, { details });
  return EXIT.verifyFailed;
}

function problemText({ file, offsetBytes, problem }: VerifyProblem): string {
  return `${file}${offsetBytes === undefined ? '' : ` at byte ${offsetBytes}`}: ${problem}`;
}

function countsText({ collections, shards, keys, snapshots, points, files, bytes }: VerifyCounts): string {
  return [
    counted(collections, 'collection'), counted(shards, 'shard'), ...(keys === 0 ? [] : [counted(keys, 'shard key')]), counted(snapshots, 'snapshot'),
    points === undefined ? 'points not counted' : counted(points, 'point'), counted(files, 'file'), sizeText(bytes),
  ].join(', ');
}

function counted(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}

