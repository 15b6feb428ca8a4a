// nearkeep snapshot download: an archive into a file, resumed where it was cut, and compared with its checksum before it gets its name.
//
// FILE.part  what has come so far;  FILE.part.etag  of which archive. A later call goes on from there, if it is still that archive.
import { createHash, type Hash } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeFileAtomically } from '../fs/atomic-file.ts';
import type { WriteHandle } from '../fs/disk.ts';
import { NodeDisk } from '../fs/node-disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { EXIT, ExitError, UsageError } from './exit-codes.ts';
import type { RemoteAnswer } from './remote.ts';
import { argumentsOf, type Description, type SnapshotCommand } from './snapshot-command.ts';
import { sizeText } from './size-text.ts';

/** Pauses before the tries after a cut connection. */
const retryMs = [500, 2000, 5000];
const pieceBytes = 1 << 20;

export async function download(command: SnapshotCommand): Promise<void> {
  const [name = ''] = argumentsOf(command, 'NAME');
  const { remote, output, path: base, values, signal } = command;
  if (values.output === '-' && output.json) throw new UsageError('-o - and --json both need standard output');
  const found = ((await remote.call('GET', base, { signal })) as readonly Description[]).find((each) => each.name === name);
  if (found === undefined) throw new ExitError(`Snapshot ${name} not found`, EXIT.notFound);
  const file = values.output ?? path.basename(name);
  const url = `${base}/${encodeURIComponent(name)}`;
  if (file === '-') {
    await toStdout(command, url, found);
    return;
  }
  const disk = new NodeDisk();
  if ((await disk.findStat(file)) !== undefined && values.force !== true) throw new UsageError(`${file} exists; --force overwrites it`);
  const part = new PartFile(disk, path.resolve(file));
  const sha256 = await fetchInto(command, { part, url, name });
  if (found.checksum !== undefined && found.checksum !== sha256) {
    await part.discard();
    throw new ExitError(`${name} arrived with sha256 ${sha256}, the server says ${found.checksum}`, EXIT.verifyFailed);
  }
  const sizeBytes = await part.finish();
  output.line(`ok: ${file}, ${sizeText(sizeBytes)}, sha256 ${sha256}${found.checksum === undefined ? ' (the server names no checksum to compare it with)' : ''}`);
  output.result({ file, size: sizeBytes, sha256, verified: found.checksum !== undefined });
}

/** Answers the sha256 of the whole. */
async function fetchInto({ remote, output, signal }: SnapshotCommand, { part, url, name }: { readonly part: PartFile; readonly url: string; readonly name: string }): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    let at: PartPosition | undefined;
    try {
      at = await part.open();
      const headers = at.bytes === 0 ? {} : { range: `bytes=${at.bytes}-`, 'if-range': at.etag };
      const answer = await remote.open('GET', url, { headers, signal });
      if (answer.status !== 206) at = await part.restart(at, String(answer.headers.etag ?? ''));
      await append(answer, at, (bytes, totalBytes) => {
        output.progress({ what: name, bytes, totalBytes });
      });
      return at.hash.digest('hex');
    } catch (error) {
      const pause = retryMs[tries];
      const isCut = error instanceof ExitError ? error.exit === EXIT.unreachable : error instanceof Error && 'code' in error && ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(String(error.code));
      if (!isCut || pause === undefined || signal.aborted) throw error;
      output.note(`the connection was cut; trying again in ${pause / 1000} s`);
      await sleep(pause, undefined, { signal });
    } finally {
      await at?.handle.close();
    }
  }
}

async function append({ body, headers }: RemoteAnswer, at: PartPosition, onBytes: (bytes: number, totalBytes: number) => void): Promise<void> {
  const totalBytes = at.bytes + Number(headers['content-length'] ?? 0);
  let bytes = at.bytes;
  onBytes(bytes, totalBytes);
  for await (const piece of body) {
    await at.handle.append([piece]);
    at.hash.update(piece);
    bytes += piece.length;
    onBytes(bytes, totalBytes);
  }
  if (bytes !== totalBytes) throw new ExitError(`the answer ended after ${bytes} of ${totalBytes} bytes`, EXIT.unreachable);
  await at.handle.sync();
}

async function toStdout({ remote, signal }: SnapshotCommand, url: string, found: Description): Promise<void> {
  const { body } = await remote.open('GET', url, { signal });
  const hash = createHash('sha256');
  for await (const piece of body) {
    hash.update(piece);
    if (!process.stdout.write(piece)) await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
  }
  const sha256 = hash.digest('hex');
  if (found.checksum !== undefined && found.checksum !== sha256) throw new ExitError(`the archive arrived with sha256 ${sha256}, the server says ${found.checksum}`, EXIT.verifyFailed);
}

interface PartPosition {
  readonly handle: WriteHandle;
  readonly bytes: number;
  /** Of those bytes. */
  readonly hash: Hash;
  readonly etag: string;
}

class PartFile {
  readonly #disk: NodeDisk;
  readonly #file: string;

  constructor(disk: NodeDisk, file: string) {
    this.#disk = disk;
    this.#file = file;
  }

  /** What is there already is hashed again: only bytes that this process has seen count. */
  async open(): Promise<PartPosition> {
    const etag = (await readOptionalFile(this.#disk, this.#etagFile))?.toString('latin1') ?? '';
    const stat = await this.#disk.findStat(this.#partFile);
    if (stat?.isFile !== true || etag === '') return await this.#create(etag);
    const hash = createHash('sha256');
    await using reader = await this.#disk.openRead(this.#partFile);
    for (let at = 0; at < reader.sizeBytes; at += pieceBytes) hash.update(await reader.read(at, Math.min(pieceBytes, reader.sizeBytes - at)));
    return { handle: await this.#disk.openAppend(this.#partFile), bytes: reader.sizeBytes, hash, etag };
  }

  /** From the beginning, of another archive. */
  async restart(at: PartPosition, etag: string): Promise<PartPosition> {
    await at.handle.close();
    if (etag !== '') await writeFileAtomically(this.#disk, this.#etagFile, Buffer.from(etag, 'latin1'));
    return await this.#create(etag);
  }

  async discard(): Promise<void> {
    await this.#disk.removeTree(this.#partFile);
    await this.#disk.removeTree(this.#etagFile);
  }

  /** Gives the file its name. */
  async finish(): Promise<number> {
    await this.#disk.rename(this.#partFile, this.#file);
    await this.#disk.removeTree(this.#etagFile);
    await this.#disk.syncDirectory(path.dirname(this.#file));
    return (await this.#disk.stat(this.#file)).sizeBytes;
  }

  get #partFile(): string {
    return `${this.#file}.part`;
  }

  get #etagFile(): string {
    return `${this.#file}.part.etag`;
  }

  async #create(etag: string): Promise<PartPosition> {
    await this.#disk.removeTree(this.#partFile);
    return { handle: await this.#disk.create(this.#partFile), bytes: 0, hash: createHash('sha256'), etag };
  }
}
