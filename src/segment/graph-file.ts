// The `code` and `graph` files of one named vector: written from a build, read back into an index.
import { CorruptionError } from '../base/errors.ts';
import type { GraphBuild, GraphConfig, GraphPart, GraphSlot } from '../index/vector-index.ts';
import type { CodesConfig } from '../vector/codes-config.ts';
import { decodeCodes, encodeCodes } from './codes-header.ts';
import { dataOffset, headerField, type FileKind } from './files.ts';
import { pieceMemory, SegmentFileReader, type NamedFile } from './read-file.ts';
import type { SegmentFile } from './segment.ts';
import { writeDescribed, type FilesPlace } from './write-file.ts';

const kindOf: readonly [FileKind, FileKind] = ['code', 'graph'];
// Codes in the header of a `graph` file; never renumbered.
const outcomes: readonly GraphBuild['outcome'][] = ['built', 'unfit', 'missed'];
const pieceBytes = 1 << 20;

/** What the files of a graph say: how it was built, or why there is none. */
export interface GraphFacts {
  readonly m: number;
  readonly efConstruct: number;
  readonly outcome: GraphBuild['outcome'];
  /** By what it is walked; undefined where there is none. */
  readonly codes: CodesConfig | undefined;
}

/** What opening does with a graph that is damaged or lost: it can be built again, so a shard need not be refused for it. What comes
 *  from elsewhere is refused. */
export type DamagedGraphs = 'refuse' | 'drop';

export interface GraphFiles {
  /** undefined where the outcome is that there is no graph. */
  readonly code: NamedFile | undefined;
  readonly graph: NamedFile;
}

export function isGraphFile({ kind }: { readonly kind: string }): boolean {
  return kind === 'code' || kind === 'graph';
}

/** The folder is not synced yet. */
export async function writeGraph(place: FilesPlace, build: GraphBuild, of: { readonly name: string; readonly rows: number; readonly config: GraphConfig }): Promise<SegmentFile[]> {
  const { name, rows, config } = of;
  const write = (part: GraphPart, fields: readonly number[]): Promise<SegmentFile> =>
    writeDescribed(place, { kind: kindOf[part], rows, stride: 0, dataBytes: build.sizeBytes(part), fields }, build.pieces(part), name);
  const graph = await write(1, [config.m, config.efConstruct, outcomes.indexOf(build.outcome)]);
  return build.outcome === 'built' ? [await write(0, encodeCodes(config.codes)), graph] : [graph];
}

/** Loads the graph beside the rows, in place of the one before. Every byte is proved on the way. @throws CorruptionError */
export async function loadGraph(
  place: FilesPlace, files: GraphFiles, into: { readonly slot: GraphSlot; readonly rows: number; readonly codesInMemory: boolean },
): Promise<GraphFacts> {
  await using graph = await openReader(place, files.graph);
  await using code = files.code === undefined ? undefined : await openReader(place, files.code);
  const facts = factsOf(graph.reader, code?.reader, into.rows);
  if (facts.outcome !== 'built') return facts;
  if (code === undefined) throw new CorruptionError({ file: graph.reader.path, problem: 'has no codes beside it' });
  const readers = [code.reader, graph.reader] as const;
  const { codesInMemory } = into;
  await into.slot.load({
    file: graph.reader.path,
    efConstruct: facts.efConstruct,
    codesInMemory,
    codeFile: { path: code.reader.path, dataOffset, sizeBytes: code.sizeBytes },
    sizeBytes: (part) => readers[part].header.dataBytes,
    read: async (part, use) => {
      const { header } = readers[part];
      const memory = pieceMemory(header.dataBytes);
      for (let at = 0; at < header.dataBytes; at += pieceBytes) use(await readers[part].read(at, Math.min(pieceBytes, header.dataBytes - at), memory), at);
    },
  });
  return facts;
}

/** The headers alone. @throws CorruptionError */
export async function readGraphFacts(place: FilesPlace, files: GraphFiles, rows: number): Promise<GraphFacts> {
  await using graph = await openReader(place, files.graph);
  await using code = files.code === undefined ? undefined : await openReader(place, files.code);
  return factsOf(graph.reader, code?.reader, rows);
}

function factsOf({ header, path }: SegmentFileReader, code: SegmentFileReader | undefined, rows: number): GraphFacts {
  if (header.rows !== rows) throw new CorruptionError({ file: path, offsetBytes: 16, problem: `links ${header.rows} vectors, there are ${rows}` });
  const outcome = outcomes[headerField(header, 'outcome')];
  if (outcome === undefined) throw new CorruptionError({ file: path, offsetBytes: 48, problem: `outcome ${headerField(header, 'outcome')} is not known` });
  const codes = outcome === 'built' && code !== undefined ? decodeCodes(code.header, code.path) : undefined;
  return { m: headerField(header, 'm'), efConstruct: headerField(header, 'efConstruct'), outcome, codes };
}

async function openReader(place: FilesPlace, file: NamedFile): Promise<{ readonly reader: SegmentFileReader; readonly sizeBytes: number } & AsyncDisposable> {
  const reader = await SegmentFileReader.open(place, file);
  return { reader, sizeBytes: file.size, [Symbol.asyncDispose]: () => reader.close() };
}
