// Custom sharding through the official Python client over three nodes; shard_keys.py asserts the values.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { processCluster } from '../cluster/process-cluster.ts';
import { cleanEnvironment, root } from '../support/server-process.ts';

const python = process.env['NEARKEEP_TEST_PYTHON'] ?? '';
const skip = noNats ?? (python === '' ? 'no Python with the official client' : false);
const timeoutMs = 300_000;

test('Python client: shard keys over three nodes, and their snapshots', { skip }, async () => {
  await using nodes = await processCluster(3);
  await using folder = await temporaryFolder();
  const servers = await Promise.all([0, 1, 2].map((at) => nodes.start(at)));
  const env = { ...cleanEnvironment(), SHARD_KEYS_URLS: servers.map(({ url }) => url).join(), SHARD_KEYS_FOLDER: folder.path };
  const { stdout } = await promisify(execFile)(python, [path.join(root, 'test/clients/shard_keys.py')], { env, timeout: timeoutMs });
  assert.match(stdout, /all is as it should be/);
});
