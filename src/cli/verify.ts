// nearkeep verify PATH: proves a data directory or a snapshot sound, or says where it is not.
import { verifyPath } from '../engine/verify.ts';
import type { VerifyCounts, VerifyProblem } from '../engine/verify-report.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { EXIT, UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';
import { parseFlags } from './parse.ts';

export async function run(args: readonly string[], output: Output): Promise<number> {
  const { values, positionals } = parseFlags(args, { deep: { type: 'boolean', default: false } }, true);
  const [target, ...others] = positionals;
  if (target === undefined || others.length > 0) throw new UsageError('verify takes one PATH');
  const progress = process.stderr.isTTY ? { progress: (place: string) => process.stderr.write(`verifying ${place}\n`) } : {};
  const deep = values.deep === true;
  const { problems, notes, counts } = await verifyPath(new NodeDisk(), target, { deep, ...progress });
  for (const note of notes) output.line(`note: ${note}`);
  for (const problem of problems) output.line(problemText(problem));
  const isSound = problems.length === 0;
  output.line(`${isSound ? 'ok' : 'FAIL'}: ${isSound ? '' : `${counted(problems.length, 'problem')} in `}${countsText(counts)}${deep ? '' : ' (without --deep: checksums only)'}`);
  output.result({ deep, problems: problems.map(problemJson), notes, counts }, isSound);
  if (isSound) return EXIT.ok;
  output.error(`verification failed: ${counted(problems.length, 'problem')}`, EXIT.verifyFailed);
  return EXIT.verifyFailed;
}

function problemText({ file, offsetBytes, problem }: VerifyProblem): string {
  return `${file}${offsetBytes === undefined ? '' : ` at byte ${offsetBytes}`}: ${problem}`;
}

function problemJson({ file, offsetBytes, problem }: VerifyProblem): Readonly<Record<string, unknown>> {
  return { file, ...(offsetBytes === undefined ? {} : { offset_bytes: offsetBytes }), problem };
}

function countsText({ collections, shards, snapshots, points, files, bytes }: VerifyCounts): string {
  return [
    counted(collections, 'collection'), counted(shards, 'shard'), counted(snapshots, 'snapshot'),
    points === undefined ? 'points not counted' : counted(points, 'point'), counted(files, 'file'), sizeText(bytes),
  ].join(', ');
}

function counted(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
}

/** Decimal, three digits at most. */
function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** step;
  return `${value.toFixed(step > 0 && value < 100 ? 1 : 0)} ${units[step] ?? 'B'}`;
}
