// Proves the files of a segment, without serving from them. Shallow: every file is there, with the size and the sha256 that its
// description gives. Deep: what the bytes say is consistent too. Findings are collected, not thrown, so that one run names all
// damage; a check that needs a damaged file is left out.
import { CorruptionError } from '../base/errors.ts';
import { andNotInto, countBits, fullBits, hasBit } from '../payload/bitmap.ts';
import { isJsonObject } from '../payload/json-path.ts';
import { readBits } from './bits-file.ts';
import { FieldIndexCheck } from './check-field-index.ts';
import { readFieldIndex } from './payload-index-file.ts';
import { isFileKind } from './files.ts';
import { readGraphFacts } from './graph-file.ts';
import type { IdTable } from './id-table.ts';
import { readIds, type Versions } from './ids-file.ts';
import { findVectorFiles, getFile, loadOrder } from './load-segment.ts';
import { PayloadReader } from './payload-file.ts';
import { parsePayload } from './payload-text.ts';
import { checkContent, pathOf, type NamedFile } from './read-file.ts';
import type { SegmentDescription } from './segment.ts';
import { slices } from './slices.ts';
import { openVectorFile } from './vector-file.ts';
import type { FilesPlace } from './write-file.ts';

export interface Finding {
  readonly file: string;
  readonly offsetBytes?: number;
  readonly problem: string;
}

export interface VerifyRequest extends FilesPlace {
  readonly description: SegmentDescription;
  /** The content too: decoders, unique ids, counts, JSON, answers of payload indexes. */
  readonly deep: boolean;
  readonly signal?: AbortSignal;
}

const payloadBatchRows = 256;

/** Empty: all is well. */
export async function verifySegmentFiles(request: VerifyRequest): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const file of namedFiles(request, findings)) await collect(findings, () => checkContent(request, file, request.signal === undefined ? {} : { signal: request.signal }));
  if (request.deep && findings.length === 0) await verifyContent(request, findings);
  return findings;
}

function namedFiles({ description, filesDirectory }: VerifyRequest, findings: Finding[]): NamedFile[] {
  const named: NamedFile[] = [];
  for (const { kind, sha256, size } of description.files) {
    if (isFileKind(kind)) named.push({ kind, sha256, size });
    else findings.push({ file: `${filesDirectory}/${sha256}.${kind}`, problem: `'${kind}' is no kind of file of a segment` });
  }
  if (description.del !== undefined) named.push({ kind: 'del', ...description.del });
  return named;
}

async function collect(findings: Finding[], check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    findings.push({ file: error.file, problem: error.problem, ...(error.offsetBytes === undefined ? {} : { offsetBytes: error.offsetBytes }) });
  }
}

async function verifyContent(request: VerifyRequest, findings: Finding[]): Promise<void> {
  const { description } = request;
  const { rows } = description;
  let live = fullBits(rows);
  await collect(findings, async () => {
    if (description.del === undefined) return;
    const file = { kind: 'del', ...description.del } as const;
    const deleted = await readBits(request, file, rows);
    expectThat(countBits(deleted) === description.del.count, pathOf(request, file), `${countBits(deleted)} rows are dead, the description says ${description.del.count}`);
    live = andNotInto(live, deleted);
  });
  await collect(findings, () => verifyIds(request, live));
  for (const name of new Set(description.files.filter(({ kind }) => kind === 'vec' || kind === 'has').map(({ of }) => of))) {
    await collect(findings, () => verifyVectors(request, name));
  }
  await collect(findings, () => verifyPayloads(request, findings));
}

async function verifyIds(request: VerifyRequest, live: Uint32Array): Promise<void> {
  const { rows, min_seq: minSeq, max_seq: maxSeq } = request.description;
  const { ids, versions } = await readIds(request, getFile(request, 'ids'), rows);
  verifyVersions(versions, { file: pathOf(request, getFile(request, 'ids')), minSeq, maxSeq });
  const order = await loadOrder(request, ids);
  const named = request.description.files.some(({ kind }) => kind === 'idx');
  await verifyOrder(ids, order, { file: pathOf(request, getFile(request, named ? 'idx' : 'ids')), live });
}

function verifyVersions(versions: Versions, want: { readonly file: string; readonly minSeq: number; readonly maxSeq: number }): void {
  for (let row = 0; row < versions.distances.length; row += 1) {
    const seq = versions.base + (versions.distances[row] ?? 0);
    expectThat(seq >= want.minSeq && seq <= want.maxSeq, want.file, `version ${seq} of row ${row} lies outside ${want.minSeq} … ${want.maxSeq}`);
  }
}

/** Ascending by (id, row) and as many rows as there are: so each row once. Of the rows of an id only the last may live. */
async function verifyOrder(ids: IdTable, order: Uint32Array, want: { readonly file: string; readonly live: Uint32Array }): Promise<void> {
  const pause = slices();
  for (let at = 0; at < order.length; at += 1) {
    const row = order[at] ?? 0;
    const next = order[at + 1];
    expectThat(row < ids.length, want.file, `row ${row} of ${ids.length} rows`);
    if (next !== undefined) {
      const compared = ids.compare(row, next);
      expectThat(compared < 0 || (compared === 0 && row < next), want.file, `rows ${row} and ${next} are not in order of id`);
      expectThat(compared < 0 || !hasBit(want.live, row), want.file, `id ${ids.at(row)} has a live row ${row} before row ${next}`);
    }
    const due = (at & 0xff) === 0xff ? pause() : undefined;
    if (due !== undefined) await due;
  }
}

async function verifyVectors(request: VerifyRequest, name: string | undefined): Promise<void> {
  const files = name === undefined ? undefined : findVectorFiles(request, name);
  if (files === undefined) throw new CorruptionError({ file: request.filesDirectory, problem: `vector '${name}' of segment ${request.description.uuid} has no 'vec' file` });
  const bits = await readBits(request, files.has, request.description.rows);
  const reader = await openVectorFile(request, files.vec, { count: countBits(bits) });
  await reader.close();
  if (files.graph === undefined) return;
  const facts = await readGraphFacts(request, files.graph, countBits(bits));
  expectThat((facts.outcome === 'built') === (files.graph.code !== undefined), pathOf(request, files.graph.graph), `a '${facts.outcome}' graph goes ${facts.outcome === 'built' ? 'with' : 'without'} codes`);
}

/** Texts are objects in strict JSON, and each payload index answers as the payloads do. */
async function verifyPayloads(request: VerifyRequest, findings: Finding[]): Promise<void> {
  const { rows } = request.description;
  const file = getFile(request, 'pay');
  const checks = await fieldIndexChecks(request, findings);
  const reader = await PayloadReader.open(request, file, rows);
  const pause = slices();
  try {
    for (let from = 0; from < rows; from += payloadBatchRows) {
      request.signal?.throwIfAborted();
      const batch = Array.from({ length: Math.min(payloadBatchRows, rows - from) }, (_, at) => from + at);
      for (const [at, text] of (await reader.texts(batch)).entries()) {
        const payload = parsedObject(text);
        if (payload === undefined) findings.push({ file: pathOf(request, file), problem: `the payload of row ${from + at} is no JSON object` });
        else for (const check of checks) check.add(from + at, payload);
        const due = pause();
        if (due !== undefined) await due;
      }
    }
  } finally {
    await reader.close();
  }
  for (const check of checks) {
    const problem = await check.findProblem();
    if (problem !== undefined) findings.push({ file: check.file, problem });
  }
}

async function fieldIndexChecks(request: VerifyRequest, findings: Finding[]): Promise<FieldIndexCheck[]> {
  const checks: FieldIndexCheck[] = [];
  for (const { kind, of, sha256, size } of request.description.files) {
    if (kind !== 'pidx') continue;
    const file = { kind: 'pidx', sha256, size } as const;
    await collect(findings, async () => {
      expectThat(of !== undefined, pathOf(request, file), 'the description does not name its field');
      const index = await readFieldIndex(request, file, request.description.rows);
      checks.push(new FieldIndexCheck(index, { file: pathOf(request, file), field: of, rows: request.description.rows }));
    });
  }
  return checks;
}

function parsedObject(text: string): ReturnType<typeof parsePayload> | undefined {
  try {
    const value: unknown = parsePayload(text);
    return isJsonObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function expectThat(condition: boolean, file: string, problem: string): asserts condition {
  if (!condition) throw new CorruptionError({ file, problem });
}
