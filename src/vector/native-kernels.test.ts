import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { loadAddon } from './addon.ts';
import { kernelsContract } from './kernels.contract.ts';
import { nativeKernels } from './native-kernels.ts';

const addon = loadAddon();

if (addon === undefined) {
  test('native kernels', { skip: 'NEARKEEP_NATIVE=off' }, () => {
    assert.equal(process.env['NEARKEEP_NATIVE'], 'off');
  });
} else {
  for (const kernel of addon.kernels) kernelsContract(kernel.name, () => nativeKernels(addon, kernel));

  test('the portable kernel is always offered, last', () => {
    assert.equal(must(addon.kernels.at(-1), 'there is a kernel').name, 'scalar');
  });
}
