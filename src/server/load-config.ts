// Gathers the layers of configuration from files, environment and flags.
import path from 'node:path';
import { parse } from 'yaml';
import { RequestError } from '../base/errors.ts';
import type { Disk } from '../fs/disk.ts';
import { readOptionalFile } from '../fs/read-optional.ts';
import { environmentSources, flatten, resolveConfig, type ConfigSource, type LoadedConfig } from './config.ts';

export interface ConfigInputs {
  readonly disk: Disk;
  readonly workingDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** From --config-path: must exist. */
  readonly configPath: string | undefined;
  /** From flags: flat `section.key` → value. */
  readonly flags: ReadonlyMap<string, unknown>;
}

/** @throws RequestError for an unreadable file or a bad value, naming where it comes from. */
export async function loadConfig(inputs: ConfigInputs): Promise<LoadedConfig> {
  const { disk, workingDirectory, environment } = inputs;
  const runMode = environment['RUN_MODE'] ?? 'development';
  const optional = ['config/config.yaml', `config/${runMode}.yaml`, 'config/local.yaml', 'nearkeep.yaml'];
  const sources: ConfigSource[] = [];
  for (const name of optional) {
    const bytes = await readOptionalFile(disk, path.join(workingDirectory, name));
    if (bytes !== undefined) sources.push(yamlSource(name, bytes));
  }
  if (inputs.configPath !== undefined) {
    const bytes = await readOptionalFile(disk, path.resolve(workingDirectory, inputs.configPath));
    if (bytes === undefined) throw new RequestError('bad-request', `configuration file ${inputs.configPath} does not exist`);
    sources.push(yamlSource(inputs.configPath, bytes));
  }
  sources.push(...environmentSources(environment), { origin: 'command line', values: inputs.flags });
  return resolveConfig(sources);
}

function yamlSource(origin: string, bytes: Buffer): ConfigSource {
  try {
    return { origin, values: flatten(parse(bytes.toString('utf8'))) };
  } catch (error) {
    throw new RequestError('bad-request', `${origin} is not valid YAML: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
