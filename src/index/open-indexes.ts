// Chooses the implementation of the process: the addon with the best kernels of this CPU, or the WASM fallback.
import { RequestError } from '../base/errors.ts';
import { loadAddon, type Addon, type NativeKernel } from '../vector/addon.ts';
import { checkKnownAnswers } from '../vector/kernels.ts';
import { nativeKernels } from '../vector/native-kernels.ts';
import { wasmKernels } from '../vector/wasm-kernels.ts';
import { nativeIndexes } from './native-scan.ts';
import type { VectorIndexes } from './vector-index.ts';
import { wasmIndexes } from './wasm-scan.ts';

/** NEARKEEP_NATIVE=off forces the fallback, NEARKEEP_KERNEL a slower instruction set (for tests and comparisons).
 *  @throws RequestError 'bad-input' for a kernel that this CPU does not offer; InvariantError for kernels that answer wrongly. */
export async function openVectorIndexes(): Promise<VectorIndexes> {
  const addon = loadAddon();
  if (addon === undefined) {
    const kernels = await wasmKernels();
    checkKnownAnswers(kernels);
    return wasmIndexes(kernels);
  }
  const kernel = chosenKernel(addon);
  checkKnownAnswers(nativeKernels(addon, kernel));
  return nativeIndexes(addon, kernel.name);
}

function chosenKernel(addon: Addon): NativeKernel {
  const wanted = process.env['NEARKEEP_KERNEL'];
  const chosen = wanted === undefined || wanted === '' ? addon.kernels[0] : addon.kernels.find(({ name }) => name === wanted);
  if (chosen === undefined) throw new RequestError('bad-input', `NEARKEEP_KERNEL=${wanted}: this CPU offers ${addon.kernels.map(({ name }) => name).join(', ')}`);
  return chosen;
}
