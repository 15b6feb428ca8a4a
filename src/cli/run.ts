// The verb table. Verbs load lazily, so that `nearkeep --version` starts nothing.
import { productVersion } from '../engine/version.ts';
import { EXIT, exitCodeOf, UsageError } from './exit-codes.ts';
import { createOutput, type Output } from './output.ts';

interface Verb {
  readonly usage: string;
  readonly summary: string;
  readonly load: () => Promise<{ run(args: readonly string[], output: Output): Promise<number> }>;
}

const verbs: Readonly<Record<string, Verb>> = {
  serve: {
    usage: 'nearkeep [serve] [--data DIR] [--host H] [--port N] [--config-path FILE] [--api-key-file FILE] [--cors ORIGIN] [--log-format json|text] [--snapshot PATH:COLLECTION]… [--storage-snapshot PATH] [--force-snapshot]',
    summary: 'start the server',
    load: () => import('./serve.ts'),
  },
  verify: {
    usage: 'nearkeep verify PATH|-|--url URL COLLECTION [--deep] [--json]',
    summary: 'prove a data directory, a snapshot (folder, file or standard input) or a served collection sound',
    load: () => import('./verify.ts'),
  },
  snapshot: {
    usage: [
      'nearkeep snapshot create|list COLLECTION | download COLLECTION NAME [-o FILE|-] [--force] | upload COLLECTION FILE|- | recover COLLECTION LOCATION',
      '      | delete COLLECTION NAME [--yes] [--dry-run] | inspect PATH|-|COLLECTION NAME | undo COLLECTION',
      '      [--shard N] [--storage] [--priority P] [--checksum SHA256] [--reshard] [--aliases restore|take] [--schema snapshot] [--dry-run]',
      '      [--url URL] [--api-key-file FILE] [--json]   (--storage: no COLLECTION; the key may stand in NEARKEEP_API_KEY)',
    ].join('\n'),
    summary: 'make, list, fetch, restore and delete snapshots of a server',
    load: () => import('./snapshot.ts'),
  },
  health: {
    usage: 'nearkeep health [--url URL] [--wait SECONDS] [--json]',
    summary: 'ask a server whether it is ready',
    load: () => import('./health.ts'),
  },
  certs: {
    usage: 'nearkeep certs create DIR NODE[,NAME…]… [--days N] [--json]',
    summary: 'make an authority for a cluster, once, and a certificate for each node',
    load: () => import('./certs.ts'),
  },
  version: {
    usage: 'nearkeep version [--json]',
    summary: 'print version, kernel and Node version',
    load: () => import('./version.ts'),
  },
};

/** Answers the exit code. A printed error always means a code other than 0. */
export async function run(argv: readonly string[]): Promise<number> {
  const first = argv[0];
  const output = createOutput(argv.includes('--json'));
  if (first === '--help' || first === '-h' || first === 'help') {
    return showHelp(helpText(), output);
  }
  const name = first === '--version' || first === '-V' ? 'version' : first === undefined || first.startsWith('-') ? 'serve' : first;
  const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (verb === undefined) {
    output.error(`unknown command ${name}`, EXIT.usage, { hint: 'nearkeep --help lists the commands' });
    return EXIT.usage;
  }
  const args = first === name || name === 'version' ? argv.slice(1) : argv;
  if (args.includes('--help')) {
    return showHelp(`usage: ${verb.usage}`, output);
  }
  try {
    const loaded = await verb.load();
    return await loaded.run(args, output);
  } catch (error) {
    const exit = exitCodeOf(error);
    const message = error instanceof Error ? error.message : String(error);
    output.error(message, exit, error instanceof UsageError ? { hint: `usage: ${verb.usage}` } : {});
    return exit;
  }
}

function showHelp(text: string, output: Output): number {
  output.line(text);
  output.result({ help: text });
  return EXIT.ok;
}

function helpText(): string {
  const rows = Object.values(verbs).map((verb) => `  ${verb.usage}\n      ${verb.summary}`);
  return [`nearkeep ${productVersion}`, '', ...rows, '', 'Exit codes: 0 ok, 1 failed, 2 usage, 4 verification failed, 5 not found, 6 access, 7 unreachable, 8 incompatible, 9 no space, 10 locked.'].join('\n');
}
