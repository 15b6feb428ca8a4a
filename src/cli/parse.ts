// parseArgs with our error class.
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { UsageError } from './exit-codes.ts';

type Options = NonNullable<ParseArgsConfig['options']>;
type ParsedFlags<T extends Options> = ReturnType<typeof parseArgs<{ options: T & { json: { type: 'boolean' } }; allowPositionals: boolean; strict: true }>>;

/** @throws UsageError for an unknown flag or a missing value. */
export function parseFlags<T extends Options>(args: readonly string[], options: T, allowPositionals = false): ParsedFlags<T> {
  try {
    return parseArgs({ args: [...args], options: { ...options, json: { type: 'boolean' } }, allowPositionals, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
