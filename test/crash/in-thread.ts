// Work in a thread of its own. The test runner follows every promise of its own thread, which takes two thirds of the time of tests that
// make millions of them; and what a run sets for its thread, like its clock, no other test sees.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

interface Call {
  readonly module: string;
  readonly name: string;
  readonly argument: unknown;
}

/** Calls a function that the module exports; what goes in and out is copied. */
export function inThread<T>(module: URL, name: string, argument: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { module: module.href, name, argument } satisfies Call });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new RangeError(`the thread of ${name} ended with ${code} and no answer`)));
  });
}

if (!isMainThread && parentPort !== null) {
  const { module, name, argument } = workerData as Call;
  const functions = (await import(module)) as Record<string, (argument: unknown) => Promise<unknown>>;
  parentPort.postMessage(await functions[name]?.(argument));
}
