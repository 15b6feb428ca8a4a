// One worker thread that hashes files, started with the first job and ended by close, so that gigabytes are never hashed on the
// event loop. Jobs run one after another: the disk is shared with searches and writes.
import { Worker } from 'node:worker_threads';
import { CorruptionError, RequestError } from '../base/errors.ts';
import { Lock } from '../base/lock.ts';
import type { HashPart, Hasher } from '../snapshot/hasher.ts';
import type { HashAnswer, HashFailure, HashRequest } from './hash-worker.ts';

export class HashPool implements Hasher {
  readonly #jobs = new Lock();
  #worker: Worker | undefined;
  #nextId = 1;
  #closed = false;
  #fail: ((error: Error) => void) | undefined;

  hash(parts: readonly HashPart[], signal?: AbortSignal, onBytes?: (bytes: number) => void): Promise<string> {
    return this.#jobs.run(() => {
      signal?.throwIfAborted();
      if (this.#closed) throw closedError();
      return this.#run(this.#open(), parts, { signal, onBytes });
    });
  }

  /** Idempotent. Jobs that are not done are refused. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#fail?.(closedError());
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.ref(); // else a process with nothing else to do would end before the rest of its shutdown
    await worker?.terminate();
  }

  #open(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./hash-worker.js', import.meta.url));
    worker.unref(); // an idle thread does not keep the process
    const ended = (cause: unknown): void => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#fail?.(new RequestError('internal', 'the hash worker ended', { cause }));
    };
    worker.on('error', ended);
    worker.on('exit', ended);
    this.#worker = worker;
    return worker;
  }

  async #run(
    worker: Worker,
    parts: readonly HashPart[],
    { signal, onBytes }: { readonly signal: AbortSignal | undefined; readonly onBytes: ((bytes: number) => void) | undefined },
  ): Promise<string> {
    const id = this.#nextId;
    this.#nextId += 1;
    const send = (request: HashRequest): void => {
      worker.postMessage(request);
    };
    let abort = (): void => undefined;
    let receive = (_answer: HashAnswer): void => undefined;
    worker.ref();
    try {
      const answer = await new Promise<HashAnswer>((resolve, reject) => {
        this.#fail = reject;
        receive = (message) => {
          if (message.id !== id) return;
          if (message.readBytes === undefined) resolve(message);
          else onBytes?.(message.readBytes);
        };
        worker.on('message', receive);
        abort = () => {
          send({ abort: id });
        };
        signal?.addEventListener('abort', abort);
        send({ id, parts });
      });
      signal?.throwIfAborted();
      if (answer.sha256 !== undefined) return answer.sha256;
      throw errorOf(answer.failure);
    } finally {
      this.#fail = undefined;
      worker.off('message', receive);
      signal?.removeEventListener('abort', abort);
      if (!this.#closed) worker.unref();
    }
  }
}

function errorOf(failure: HashFailure | undefined): Error {
  if (failure?.kind === 'corruption') {
    const { file, offsetBytes, problem } = failure;
    return new CorruptionError({ file, problem, ...(offsetBytes === undefined ? {} : { offsetBytes }) });
  }
  const message = failure?.message ?? 'no reason given';
  return failure?.code === undefined ? new RequestError('internal', `hashing failed: ${message}`) : Object.assign(new RangeError(message), { code: failure.code });
}

function closedError(): RequestError {
  return new RequestError('unavailable', 'the server is shutting down');
}
