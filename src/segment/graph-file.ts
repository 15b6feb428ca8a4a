// The `code`, `graph` and `block` files of one named vector: written from a build, read back into an index.
import { CorruptionError } from '../base/errors.ts';
import type { GraphBuild, GraphPart, GraphSlot } from '../index/vector-index.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import { decodeCodes, encodeCodes } from './codes-header.ts';
import { dataOffset, headerField, type FileKind } from './files.ts';
import { pieceMemory, SegmentFileReader, type NamedFile } from './read-file.ts';
import type { SegmentFile } from './segment.ts';
import { writeDescribed, type FilesPlace } from './write-file.ts';

const kindOf: Readonly<Record<GraphPart, FileKind>> = { 0: 'code', 1: 'graph', 2: 'block' };
// Codes in the header of a `graph` file; never renumbered.
const outcomes: readonly GraphBuild['outcome'][] = ['built', 'unfit', 'missed', 'empty'];
const pieceBytes = 1 << 20;

/** What the files of a graph say: how it was built, or why there is none. */
export interface GraphFacts {
  readonly m: number;
  readonly efConstruct: number;
  readonly outcome: GraphBuild['outcome'];
  /** By what it is walked; undefined where there is none. */
  readonly codes: CodesConfig | undefined;
  /** Absent where no payload field was to have links. */
  readonly blocks?: BlockFacts;
}

export interface BlockFacts {
  readonly m: number;
  /** Of the fields whose values have blocks (payload-blocks.ts). */
  readonly fieldsHash: number;
}

/** What opening does with a graph that is damaged or lost: it can be built again, so a shard need not be refused for it. What comes
 *  from elsewhere is refused. */
export type DamagedGraphs = 'refuse' | 'drop';

export interface GraphFiles {
  /** undefined where the outcome is that there is no graph. */
  readonly code: NamedFile | undefined;
  readonly graph: NamedFile;
  readonly block: NamedFile | undefined;
}

export function isGraphFile({ kind }: { readonly kind: string }): boolean {
  return kind === 'code' || kind === 'graph' || kind === 'block';
}

export interface GraphToWrite {
  readonly name: string;
  readonly rows: number;
  readonly facts: GraphFacts;
  /** Files of codes and links that the build left as they were; none where it did not. */
  readonly kept: readonly SegmentFile[];
}

/** The folder is not synced yet. */
export async function writeGraph(place: FilesPlace, build: GraphBuild, of: GraphToWrite): Promise<SegmentFile[]> {
  const { name, rows, facts: { m, efConstruct, outcome, codes, blocks }, kept } = of;
  const write = (part: GraphPart, fields: readonly number[]): Promise<SegmentFile> =>
    writeDescribed(place, { kind: kindOf[part], rows, stride: 0, dataBytes: build.sizeBytes(part), fields }, build.pieces(part), name);
  const files = [...kept];
  if (codes !== undefined && kept.length === 0) files.push(await write(0, encodeCodes(codes)));
  if (kept.length === 0) files.push(await write(1, [m, efConstruct, outcomes.indexOf(outcome)]));
  if (blocks !== undefined) files.push(await write(2, [blocks.m, efConstruct, blocks.fieldsHash]));
  return files;
}

/** Loads the graph beside the rows, in place of the one before. Every byte is proved on the way. @throws CorruptionError */
export async function loadGraph(
  place: FilesPlace, files: GraphFiles, into: { readonly slot: GraphSlot; readonly rows: number; readonly codesInMemory: boolean },
): Promise<GraphFacts> {
  await using graph = await openReader(place, files.graph);
  await using code = files.code === undefined ? undefined : await openReader(place, files.code);
  await using block = files.block === undefined ? undefined : await openReader(place, files.block);
  const facts = factsOf({ graph: graph.reader, code: code?.reader, block: block?.reader }, into.rows);
  if (facts.outcome !== 'built') return facts;
  if (code === undefined) throw new CorruptionError({ file: graph.reader.path, problem: 'has no codes beside it' });
  const readers: Readonly<Record<GraphPart, SegmentFileReader | undefined>> = { 0: code.reader, 1: graph.reader, 2: block?.reader };
  const { codesInMemory } = into;
  await into.slot.load({
    file: graph.reader.path,
    m: facts.m,
    efConstruct: facts.efConstruct,
    codesInMemory,
    codeFile: { path: code.reader.path, dataOffset, sizeBytes: code.sizeBytes },
    sizeBytes: (part) => readers[part]?.header.dataBytes ?? 0,
    read: async (part, use) => {
      const reader = readers[part];
      const sizeBytes = reader?.header.dataBytes ?? 0;
      const memory = pieceMemory(sizeBytes);
      for (let at = 0; reader !== undefined && at < sizeBytes; at += pieceBytes) use(await reader.read(at, Math.min(pieceBytes, sizeBytes - at), memory), at);
    },
  });
  return facts;
}

/** The headers alone. @throws CorruptionError */
export async function readGraphFacts(place: FilesPlace, files: GraphFiles, rows: number): Promise<GraphFacts> {
  await using graph = await openReader(place, files.graph);
  await using code = files.code === undefined ? undefined : await openReader(place, files.code);
  await using block = files.block === undefined ? undefined : await openReader(place, files.block);
  return factsOf({ graph: graph.reader, code: code?.reader, block: block?.reader }, rows);
}

interface GraphReaders {
  readonly graph: SegmentFileReader;
  readonly code: SegmentFileReader | undefined;
  readonly block: SegmentFileReader | undefined;
}

function factsOf({ graph, code, block }: GraphReaders, rows: number): GraphFacts {
  const { header, path } = graph;
  for (const { header: { rows: found }, path: file } of block === undefined ? [graph] : [graph, block]) {
    if (found !== rows) throw new CorruptionError({ file, offsetBytes: 16, problem: `links ${found} vectors, there are ${rows}` });
  }
  const outcome = outcomes[headerField(header, 'outcome')];
  if (outcome === undefined) throw new CorruptionError({ file: path, offsetBytes: 48, problem: `outcome ${headerField(header, 'outcome')} is not known` });
  const codes = outcome === 'built' && code !== undefined ? decodeCodes(code.header, code.path) : undefined;
  const blocks = block === undefined ? {} : { blocks: { m: headerField(block.header, 'm'), fieldsHash: headerField(block.header, 'fields') } };
  return { m: headerField(header, 'm'), efConstruct: headerField(header, 'efConstruct'), outcome, codes, ...blocks };
}

async function openReader(place: FilesPlace, file: NamedFile): Promise<{ readonly reader: SegmentFileReader; readonly sizeBytes: number } & AsyncDisposable> {
  const reader = await SegmentFileReader.open(place, file);
  return { reader, sizeBytes: file.size, [Symbol.asyncDispose]: () => reader.close() };
}
