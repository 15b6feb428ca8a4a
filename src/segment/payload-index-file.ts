// The `pidx` file: the encoded index of one payload field.
import { CorruptionError } from '../base/errors.ts';
import { decodeFieldIndexInSlices } from '../payload/decode-field-index.ts';
import type { FieldIndex } from '../payload/field-index.ts';
import { readSegmentFile, type NamedFile } from './read-file.ts';
import type { SegmentFile } from './segment.ts';
import { writeDescribed, type FilesPlace } from './write-file.ts';

export interface FieldIndexToWrite {
  readonly field: string;
  readonly rows: number;
  readonly index: FieldIndex;
}

/** Does not sync the folder. */
export async function writeFieldIndex(place: FilesPlace, file: FieldIndexToWrite): Promise<SegmentFile> {
  const data = await file.index.encodeInSlices();
  return await writeDescribed(place, { kind: 'pidx', rows: file.rows, stride: 0, dataBytes: data.byteLength, fields: [] }, [data], file.field);
}

export async function readFieldIndex(place: FilesPlace, file: NamedFile, rows: number): Promise<FieldIndex> {
  const { header, data, path } = await readSegmentFile(place, file);
  if (header.rows !== rows) throw new CorruptionError({ file: path, offsetBytes: 16, problem: `an index over ${header.rows} rows, not ${rows}` });
  return await decodeFieldIndexInSlices(data, path);
}
