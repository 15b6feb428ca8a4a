// nearkeep version
import { apiVersion, productVersion } from '../engine/version.ts';
import { openVectorIndexes } from '../index/open-indexes.ts';
import { EXIT } from './exit-codes.ts';
import type { Output } from './output.ts';

export async function run(_args: readonly string[], output: Output): Promise<number> {
  const indexes = await openVectorIndexes();
  output.line(`nearkeep ${productVersion} (API of Qdrant ${apiVersion}, kernel ${indexes.kernel}, Node ${process.versions.node})`);
  output.result({ version: productVersion, api_version: apiVersion, kernel: indexes.kernel, node: process.versions.node });
  await indexes.close();
  return EXIT.ok;
}
