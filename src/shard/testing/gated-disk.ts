// A memory disk on which making files can be held up: to show what does not wait for it.
import type { WriteHandle } from '../../fs/disk.ts';
import { MemoryDisk } from '../../fs/testing/memory-disk.ts';

export class GatedDisk extends MemoryDisk {
  #gate: Promise<void> = Promise.resolve();
  #held = 0;

  /** How many creations wait. */
  get held(): number {
    return this.#held;
  }

  /** New files in a folder `files` wait until the answer is called. */
  holdCreations(): () => void {
    let open = (): void => undefined;
    this.#gate = new Promise((resolve) => {
      open = resolve;
    });
    return open;
  }

  override async create(file: string): Promise<WriteHandle> {
    if (file.includes('/files/')) {
      this.#held += 1;
      await this.#gate;
      this.#held -= 1;
    }
    return await super.create(file);
  }
}
