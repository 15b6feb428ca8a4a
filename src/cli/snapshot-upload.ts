// nearkeep snapshot upload: a file, a snapshot folder's archive or standard input into a server.
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { NodeDisk } from '../fs/node-disk.ts';
import { fileBytes } from '../snapshot/file-bytes.ts';
import { EXIT, ExitError } from './exit-codes.ts';
import { argumentsOf, restoreQuery, showRestored, type SnapshotCommand } from './snapshot-command.ts';

export async function upload(command: SnapshotCommand): Promise<void> {
  const [file = ''] = argumentsOf(command, 'FILE');
  const { remote, output, path: base, values, signal } = command;
  const boundary = `nearkeep-${randomBytes(16).toString('hex')}`;
  const head = Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="snapshot"; filename="snapshot"\r\ncontent-type: application/octet-stream\r\n\r\n`);
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const source = await openSource(file);
  const length = source.sizeBytes === undefined ? {} : { 'content-length': String(head.length + source.sizeBytes + tail.length) };
  async function* body(): AsyncGenerator<Uint8Array> {
    const what = file === '-' ? 'standard input' : path.basename(file);
    let bytes = 0;
    const report = (): void => {
      output.progress({ what, bytes, ...(source.sizeBytes === undefined ? {} : { totalBytes: source.sizeBytes }) });
    };
    yield head;
    report();
    for await (const piece of source.bytes) {
      yield piece;
      bytes += piece.length;
      report();
    }
    yield tail;
  }
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}`, ...length };
  const answer = await remote.call('POST', `${base}/upload`, { headers, body: body(), query: restoreQuery(values), signal });
  showRestored(output, answer, values['dry-run'] === true);
}

async function openSource(file: string): Promise<{ readonly bytes: AsyncIterable<Uint8Array>; readonly sizeBytes?: number }> {
  if (file === '-') return { bytes: process.stdin };
  const disk = new NodeDisk();
  const stat = await disk.findStat(file);
  if (stat?.isFile !== true) throw new ExitError(`${file} ${stat === undefined ? 'does not exist' : 'is not a file'}`, EXIT.notFound);
  return { bytes: fileBytes(disk, file), sizeBytes: stat.sizeBytes };
}
