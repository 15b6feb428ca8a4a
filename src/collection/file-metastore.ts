// The metastore of one node: all records in one file, replaced by one rename. That rename is the node's only commit point for
// names, aliases and shard maps. The file ends with a sha256 of everything before it; a file that does not match is refused.
//
// metastore.json: { format, format_version, records: { key: { revision, value } }, sha256 }
import path from 'node:path';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError } from '../base/errors.ts';
import { Lock } from '../base/lock.ts';
import { DoubtfulWriteError, syncNames, writeFileAtomically } from '../fs/atomic-file.ts';
import type { Disk } from '../fs/disk.ts';
import { InDoubtError, type MetaRecord, type Metastore } from './metastore.ts';

const format = 'nearkeep-metastore';
const formatVersion = 1;
export const metastoreFileName = 'metastore.json';

interface Watcher {
  readonly prefix: string;
  readonly onChange: (key: string, record: MetaRecord | undefined) => void;
}

export class FileMetastore implements Metastore {
  readonly #disk: Disk;
  readonly #file: string;
  readonly #lock = new Lock();
  readonly #watchers = new Set<Watcher>();
  #records: ReadonlyMap<string, MetaRecord>;

  private constructor(disk: Disk, file: string, records: ReadonlyMap<string, MetaRecord>) {
    this.#disk = disk;
    this.#file = file;
    this.#records = records;
  }

  /** An absent file is an empty store. @throws CorruptionError where the file is not what was written. */
  static async open(disk: Disk, directory: string): Promise<FileMetastore> {
    const file = path.join(directory, metastoreFileName);
    const present = (await disk.findStat(file)) !== undefined;
    if (present) await syncNames(disk, directory); // what goes because of these records stays gone
    return new FileMetastore(disk, file, present ? parse(file, await disk.readFile(file)) : new Map());
  }

  get(key: string): Promise<MetaRecord | undefined> {
    return Promise.resolve(this.#records.get(key));
  }

  keys(prefix: string): Promise<readonly string[]> {
    return Promise.resolve([...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort());
  }

  create(key: string, value: unknown): Promise<number | undefined> {
    return this.#change(key, undefined, value);
  }

  set(key: string, value: unknown, revision: number): Promise<number | undefined> {
    return this.#change(key, revision, value);
  }

  async delete(key: string, revision: number): Promise<boolean> {
    return (await this.#change(key, revision, undefined)) !== undefined;
  }

  watch(prefix: string, onChange: Watcher['onChange']): () => void {
    const watcher = { prefix, onChange };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async close(): Promise<void> {
    await this.#lock.run(() => this.#watchers.clear());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Puts the old records back where the new ones may be in the file: what throws must not have happened. */
  async #write(records: ReadonlyMap<string, MetaRecord>): Promise<void> {
    try {
      await writeFileAtomically(this.#disk, this.#file, serialize(records));
    } catch (error) {
      if (!(error instanceof DoubtfulWriteError)) throw error;
      await writeFileAtomically(this.#disk, this.#file, serialize(this.#records)).catch(() => {
        throw new InDoubtError('the disk failed, and whether the change was made shows at the next start', error);
      });
      throw error;
    }
  }

  /** `revision` undefined: the key must be absent. `value` undefined: the key is removed. */
  #change(key: string, revision: number | undefined, value: unknown): Promise<number | undefined> {
    return this.#lock.run(async () => {
      if (this.#records.get(key)?.revision !== revision) return undefined;
      const next = new Map(this.#records);
      const record = value === undefined ? undefined : { value: structuredClone(value), revision: (revision ?? 0) + 1 };
      if (record === undefined) next.delete(key);
      else next.set(key, record);
      await this.#write(next);
      this.#records = next;
      for (const watcher of this.#watchers) if (key.startsWith(watcher.prefix)) watcher.onChange(key, record);
      return record?.revision ?? revision;
    });
  }
}

function serialize(records: ReadonlyMap<string, MetaRecord>): Buffer {
  const body = JSON.stringify({ format, format_version: formatVersion, records: Object.fromEntries(records) }, undefined, 1);
  const open = body.slice(0, body.lastIndexOf('\n}'));
  return Buffer.from(`${open},\n "sha256": "${sha256Hex(open)}"\n}\n`);
}

function parse(file: string, bytes: Buffer): ReadonlyMap<string, MetaRecord> {
  const text = bytes.toString('utf8');
  const tail = /,\n "sha256": "([0-9a-f]{64})"\n\}\n$/.exec(text);
  if (tail === null) throw new CorruptionError({ file, problem: 'has no checksum at its end' });
  if (sha256Hex(text.slice(0, tail.index)) !== tail[1]) throw new CorruptionError({ file, problem: 'content differs from its sha256' });
  const body = JSON.parse(text) as { format: string; format_version: number; records: Record<string, MetaRecord> };
  if (body.format !== format) throw new CorruptionError({ file, problem: `is of format ${JSON.stringify(body.format)}` });
  if (body.format_version > formatVersion) {
    throw new CorruptionError({ file, problem: `was written by a newer nearkeep (format version ${body.format_version}); use that version to open it` });
  }
  return new Map(Object.entries(body.records));
}
