// The multipart body of a snapshot upload: exactly one file field `snapshot`; other fields are read and dropped. Bytes pass
// through with back-pressure and are never gathered, and the client's file name is never used.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import busboy, { type Busboy } from 'busboy';
import { RequestError } from '../../base/errors.ts';
import { bodyBytes, hasBody } from './request-body.ts';

const fieldName = 'snapshot';
const limits = { fieldNameSize: 200, fieldSize: 64 * 1024, fields: 100, parts: 200, headerPairs: 100 };

/** @throws RequestError 'bad-format' for a body that is no multipart form; nothing is read yet. */
export function openSnapshotForm(request: IncomingMessage): SnapshotForm {
  if (!hasBody(request)) throw formError(`Field with name ${fieldName} is required`);
  const type = request.headers['content-type'] ?? '';
  if (!/^multipart\/form-data\s*(;|$)/i.test(type)) {
    throw formError(`Content type error: the body must be multipart/form-data with a file field ${fieldName}`);
  }
  if (!/;\s*boundary=/i.test(type)) throw formError('Multipart boundary is not found');
  try {
    return new SnapshotForm(request, busboy({ headers: request.headers, limits }));
  } catch (error) {
    throw formError(error instanceof Error ? error.message : String(error), error);
  }
}

/** One form; `bytes` may be read once. */
export class SnapshotForm {
  readonly #request: IncomingMessage;
  readonly #form: Busboy;
  readonly #file: Deferred<Readable> = deferred();
  readonly #end: Deferred<void> = deferred();
  readonly #received: Deferred<void> = deferred();

  constructor(request: IncomingMessage, form: Busboy) {
    this.#request = request;
    this.#form = form;
    form.on('file', (name, file) => {
      this.#takeFile(name, file);
    });
    form.on('field', (name) => {
      if (name === fieldName) form.destroy(formError(`Field ${fieldName} must be a file`));
    });
    for (const limit of ['partsLimit', 'fieldsLimit'] as const) {
      form.on(limit, () => {
        form.destroy(formError('the form has too many fields'));
      });
    }
    form.on('error', (error) => {
      this.#fail(error);
    });
    form.on('close', () => {
      this.#fail(formError(`Field with name ${fieldName} is required`), { endIsReached: true });
    });
  }

  /** Resolves when the whole form has come and its file was taken by the reader of `bytes`. */
  get received(): Promise<void> {
    return this.#received.promise;
  }

  /** The file's bytes. Ends only after the whole form was read, so that a broken form never looks like a whole file. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    const stop = new AbortController();
    this.#pump(stop.signal).catch(() => undefined); // its failure destroys the form, which fails the file and the end
    try {
      yield* this.#fileBytes(await this.#file.promise);
      await this.#end.promise;
      this.#received.resolve();
    } finally {
      stop.abort();
      this.#form.destroy();
    }
  }

  /** The file fails only when its form does, and the form says it better. */
  async *#fileBytes(file: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* file;
    } catch (error) {
      await this.#end.promise;
      throw error;
    }
  }

  async #pump(stop: AbortSignal): Promise<void> {
    try {
      for await (const piece of bodyBytes(this.#request)) {
        if (stop.aborted) return;
        if (!this.#form.write(piece)) await once(this.#form, 'drain', { signal: stop });
      }
      this.#form.end();
    } catch (error) {
      this.#form.destroy(error instanceof Error ? error : formError(String(error)));
      throw error;
    }
  }

  #takeFile(name: string, file: Readable): void {
    file.on('error', () => undefined); // told by the form
    if (name !== fieldName) {
      file.resume();
      return;
    }
    if (this.#file.isSettled) {
      this.#form.destroy(formError(`Duplicate field found: ${fieldName}`));
      return;
    }
    this.#file.resolve(file);
  }

  #fail(error: unknown, { endIsReached = false } = {}): void {
    const told = error instanceof RequestError ? error : formError(error instanceof Error ? error.message : String(error), error);
    this.#file.reject(told);
    if (endIsReached) this.#end.resolve();
    else this.#end.reject(told);
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly isSettled: boolean;
  resolve(value: T): void;
  reject(error: Error): void;
}

/** The first of resolve and reject counts; a rejection that nobody awaits is no crash. */
function deferred<T>(): Deferred<T> {
  let settle: { readonly resolve: (value: T) => void; readonly reject: (error: Error) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  promise.catch(() => undefined);
  return {
    promise,
    get isSettled() {
      return settle === undefined;
    },
    resolve(value) {
      settle?.resolve(value);
      settle = undefined;
    },
    reject(error) {
      settle?.reject(error);
      settle = undefined;
    },
  };
}

function formError(text: string, cause?: unknown): RequestError {
  return new RequestError('bad-format', text, { cause });
}
