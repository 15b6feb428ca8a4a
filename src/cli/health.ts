// nearkeep health: for container health checks and for scripts that wait for a server.
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT, UsageError } from './exit-codes.ts';
import type { Output } from './output.ts';
import { parseFlags } from './parse.ts';

const retryMs = 250;

export async function run(args: readonly string[], output: Output): Promise<number> {
  const { values } = parseFlags(args, { url: { type: 'string', default: 'http://127.0.0.1:6333' }, wait: { type: 'string', default: '0' } });
  const waitSeconds = Number(String(values.wait).replace(/s$/, ''));
  if (!Number.isFinite(waitSeconds) || waitSeconds < 0) throw new UsageError(`--wait must be seconds, not ${String(values.wait)}`);
  const deadline = performance.now() + waitSeconds * 1000;
  const target = new URL('/readyz', String(values.url));
  for (;;) {
    const status = await probe(target);
    if (status === 200) {
      output.line('ready');
      output.result({ ready: true });
      return EXIT.ok;
    }
    if (performance.now() >= deadline) {
      const exit = status === undefined ? EXIT.unreachable : EXIT.failed;
      output.error(status === undefined ? `${target.origin} does not answer` : `${target.origin} is not ready (status ${status})`, exit);
      return exit;
    }
    await sleep(retryMs);
  }
}

/** The status, or undefined where nothing answers. */
function probe(target: URL): Promise<number | undefined> {
  return new Promise((resolve) => {
    const get = target.protocol === 'https:' ? https.get : http.get;
    const request = get(target, { timeout: 5000 }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => {
      resolve(undefined);
    });
  });
}
