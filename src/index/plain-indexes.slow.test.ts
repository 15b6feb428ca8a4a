import { plainIndexes } from './testing/plain-indexes.ts';
import { vectorIndexContract } from './vector-index.contract.ts';

vectorIndexContract('plain', () => Promise.resolve(plainIndexes()));
