// The four forms of a quantization_config, told apart by their only member: scalar, product, binary or turbo.
import type { KeptJson } from '../../command/collection-config.ts';
import { asObject, below, boolean, choice, formatError, member, readObject, type Place, type Rules } from './json-rules.ts';

const shared: Rules = { always_ram: boolean, memory: choice('cold', 'cached', 'pinned') };
const forms: Readonly<Record<string, { readonly rules: Rules; readonly required: readonly string[] }>> = {
  scalar: { rules: { type: choice('int8'), quantile: { kind: 'number', from: 0.5, to: 1 }, ...shared }, required: ['type'] },
  product: { rules: { compression: choice('x4', 'x8', 'x16', 'x32', 'x64'), ...shared }, required: ['compression'] },
  binary: {
    rules: {
      encoding: choice('one_bit', 'two_bits', 'one_and_half_bits'),
      query_encoding: choice('default', 'binary', 'scalar4bits', 'scalar8bits'),
      ...shared,
    },
    required: [],
  },
  turbo: { rules: { bits: choice('bits1', 'bits1_5', 'bits2', 'bits4'), ...shared }, required: [] },
};

/** @throws RequestError 'bad-format'; range mistakes go to `place.problems`. */
export function decodeQuantization(json: unknown, place: Place): KeptJson {
  const given = asObject(json, place);
  for (const [name, { rules, required }] of Object.entries(forms)) {
    const value = member(given, name);
    if (value === undefined) continue;
    const here = below(place, name);
    const kept = readObject(value, rules, here);
    const missing = required.find((field) => kept[field] === undefined);
    if (missing !== undefined) throw formatError(here, `missing field \`${missing}\``);
    return { [name]: kept };
  }
  throw formatError(
    place,
    `expected one of ${Object.keys(forms)
      .map((name) => `\`${name}\``)
      .join(', ')}`,
  );
}

/** The same, or "Disabled", which clears it. */
export function decodeQuantizationUpdate(json: unknown, place: Place): KeptJson | 'Disabled' {
  return json === 'Disabled' ? 'Disabled' : decodeQuantization(json, place);
}
