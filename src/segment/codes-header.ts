// Which codes a `code` file holds, as two numbers of its header (files.ts lists them); never renumbered. Files from before there was
// a choice have zeros there.
import { CorruptionError } from '../base/errors.ts';
import { quantileSteps, type CodesConfig } from '../vector/codes-config.ts';
import { headerField, type FileHeader } from './files.ts';

const kinds: readonly CodesConfig['kind'][] = ['internal', 'scalar', 'product', 'binary'];
/** By half bits. */
const encodings = { 2: 'one-bit', 3: 'one-and-half-bits', 4: 'two-bits' } as const;
const compressions = [4, 8, 16, 32, 64] as const;

export function encodeCodes(codes: CodesConfig): readonly [number, number] {
  return [kinds.indexOf(codes.kind), parameterOf(codes)];
}

function parameterOf(codes: CodesConfig): number {
  switch (codes.kind) {
    case 'internal':
      return 0;
    case 'scalar':
      return Math.round(codes.quantile * quantileSteps);
    case 'product':
      return codes.compression;
    case 'binary':
      return Number(Object.entries(encodings).find(([, encoding]) => encoding === codes.encoding)?.[0]);
  }
}

/** @throws CorruptionError naming the file */
export function decodeCodes(header: FileHeader, file: string): CodesConfig {
  const parameter = headerField(header, 'parameter');
  const codes = codesOf(kinds[headerField(header, 'codes')], parameter);
  if (codes === undefined) throw new CorruptionError({ file, offsetBytes: 32, problem: `codes ${headerField(header, 'codes')} with parameter ${parameter} are not known` });
  return codes;
}

function codesOf(kind: CodesConfig['kind'] | undefined, parameter: number): CodesConfig | undefined {
  switch (kind) {
    case 'internal':
      return parameter === 0 ? { kind } : undefined;
    case 'scalar': {
      const quantile = parameter / quantileSteps;
      return quantile >= 0.5 && quantile <= 1 ? { kind, quantile } : undefined;
    }
    case 'product': {
      const compression = compressions.find((each) => each === parameter);
      return compression === undefined ? undefined : { kind, compression };
    }
    case 'binary': {
      const encoding = parameter === 2 || parameter === 3 || parameter === 4 ? encodings[parameter] : undefined;
      return encoding === undefined ? undefined : { kind, encoding };
    }
    case undefined:
      return undefined;
  }
}
