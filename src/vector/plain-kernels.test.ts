import { kernelsContract } from './kernels.contract.ts';
import { plainKernels } from './testing/plain-kernels.ts';

kernelsContract('plain', () => plainKernels);
