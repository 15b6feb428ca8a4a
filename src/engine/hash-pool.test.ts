import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { sha256Hex } from '../base/checksum.ts';
import { CorruptionError, isNotFound, RequestError } from '../base/errors.ts';
import type { HashPart } from '../snapshot/hasher.ts';
import { HashPool } from './hash-pool.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'nearkeep-hash-'));
after(() => {
  rmSync(folder, { recursive: true });
});

function fileOf(name: string, bytes: Buffer): HashPart & { kind: 'file' } {
  writeFileSync(path.join(folder, name), bytes);
  return { kind: 'file', path: path.join(folder, name), sizeBytes: bytes.length, sha256: sha256Hex(bytes) };
}

async function withPool<T>(work: (pool: HashPool) => Promise<T>): Promise<T> {
  const pool = new HashPool();
  try {
    return await work(pool);
  } finally {
    await pool.close();
  }
}

test('hashes bytes and files in order, jobs one after another', async () => {
  const big = Buffer.alloc(3_000_001, 'abc');
  const part = fileOf('big', big);
  await withPool(async (pool) => {
    const [one, two, three] = await Promise.all([
      pool.hash([{ kind: 'bytes', bytes: Buffer.from('head') }, part, { kind: 'bytes', bytes: Buffer.alloc(3) }]),
      pool.hash([]),
      pool.hash([fileOf('empty', Buffer.alloc(0)), part]),
    ]);
    assert.equal(one, sha256Hex(Buffer.concat([Buffer.from('head'), big, Buffer.alloc(3)])));
    assert.equal(two, sha256Hex(''));
    assert.equal(three, sha256Hex(big));
  });
});

test('names the file that is not what it should be, and goes on with the next job', async () => {
  const good = fileOf('good', Buffer.from('good'));
  await withPool(async (pool) => {
    await assert.rejects(pool.hash([{ ...good, sha256: 'a'.repeat(64) }]), (error: unknown) => error instanceof CorruptionError && error.file === good.path);
    await assert.rejects(pool.hash([{ ...good, sizeBytes: 5 }]), (error: unknown) => error instanceof CorruptionError && error.problem.includes('4 bytes instead of 5'));
    await assert.rejects(pool.hash([{ ...good, path: path.join(folder, 'absent') }]), isNotFound);
    assert.equal(await pool.hash([good]), sha256Hex('good'));
  });
});

test('an abort ends a job with its reason; close ends all', async () => {
  const parts = Array.from({ length: 200 }, () => fileOf('big', Buffer.alloc(1 << 20)));
  const pool = new HashPool();
  const controller = new AbortController();
  const running = pool.hash(parts, controller.signal);
  await new Promise(setImmediate); // the worker has it
  const waiting = assert.rejects(pool.hash(parts), /shutting down/);
  controller.abort(new RequestError('unavailable', 'stopped'));
  await assert.rejects(running, /stopped/);
  await pool.close();
  await waiting;
  await assert.rejects(pool.hash([]), /shutting down/);
  await pool.close();
});
