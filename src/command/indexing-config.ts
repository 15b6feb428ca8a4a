// What the engine acts on of `hnsw_config`, `optimizer_config` and `quantization_config`: when a segment gets a graph, and of what kind.
import type { BinaryQueryEncoding, CodesConfig } from '../vector/codes-config.ts';
import { isUnnamed, type CollectionConfig, type KeptJson, type VectorParams } from './collection-config.ts';
import { quantizationOf } from './quantization.ts';

/** For one named vector. */
export interface VectorIndexing {
  /** Links of a row; 0: no graph. */
  readonly m: number;
  readonly efConstruct: number;
  /** Threads of a build; 0: all. */
  readonly threadsMax: number;
  /** Vectors of at least so many bytes get a graph; infinite where none is to be built. */
  readonly graphBytesMin: number;
  /** A search whose filter leaves fewer bytes of vectors scans them. */
  readonly scanBytesMax: number;
  /** What a graph is built and walked by. */
  readonly codes: CodesConfig;
  /** Else they are mapped from their file. */
  readonly codesInMemory: boolean;
  /** Against binary codes. */
  readonly binaryQuery: BinaryQueryEncoding;
}

export type Indexing = (vector: string) => VectorIndexing;

/** Shards whose owner has no configuration. */
export const noIndexing: Indexing = () => ({
  m: 0, efConstruct: 100, threadsMax: 0, graphBytesMin: Infinity, scanBytesMax: 0, codes: { kind: 'internal' }, codesInMemory: true, binaryQuery: 'default',
});

const linksMax = 512;

/** A vector's own `hnsw_config` goes before the collection's, member by member, its own `quantization_config` as a whole. `indexing_threshold` 0 and `max_optimization_threads` 0:
 *  no graph is built, those that there are stay. */
export function indexingOf({ params: { vectors }, hnsw_config: common, optimizer_config: optimizer, quantization_config: quantization }: CollectionConfig): Indexing {
  const threshold = numberOf(optimizer, 'indexing_threshold', 10_000);
  const optimizerThreads = numberOf(optimizer, 'max_optimization_threads', -1);
  return (name) => {
    const own: VectorParams | undefined = isUnnamed(vectors) ? vectors : Object.hasOwn(vectors, name) ? vectors[name] : undefined;
    const hnsw = { ...common, ...own?.hnsw_config };
    const m = numberOf(hnsw, 'm', 16);
    const threads = numberOf(hnsw, 'max_indexing_threads', 0);
    return {
      m: m === 0 ? 0 : Math.min(Math.max(m, 2), linksMax),
      efConstruct: numberOf(hnsw, 'ef_construct', 100),
      threadsMax: optimizerThreads > 0 && (threads === 0 || optimizerThreads < threads) ? optimizerThreads : threads,
      graphBytesMin: threshold === 0 || optimizerThreads === 0 ? Infinity : threshold * 1024,
      scanBytesMax: numberOf(hnsw, 'full_scan_threshold', 10_000) * 1024,
      ...quantizationOf(own, quantization),
    };
  };
}

/** null and absence mean the default. */
function numberOf(section: KeptJson, name: string, otherwise: number): number {
  const value = section[name];
  return typeof value === 'number' ? value : otherwise;
}
