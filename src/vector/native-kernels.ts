// The kernels port over the addon.
import type { Addon, NativeKernel } from './addon.ts';
import type { Kernels } from './kernels.ts';

/** `kernel`: one of `addon.kernels`. */
export function nativeKernels(addon: Addon, { name, lanes }: NativeKernel): Kernels {
  return {
    name,
    lanes,
    approximate: (spec, vector, rows) => addon.approximate(name, spec.size, spec.distance, spec.datatype, vector, rows),
    exact: (spec, vector, rows) => addon.exact(spec.size, spec.distance, spec.datatype, vector, rows),
  };
}
