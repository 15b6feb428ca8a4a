// A node that waits for others when it starts ends in order at a signal: with exit 0, without its NATS server, and can be started again.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isAlive } from '../../src/base/process-alive.ts';
import { inTime, waitUntil } from '../../src/base/testing/wait-until.ts';
import { noNats } from '../../src/cluster/testing/nats-cluster.ts';
import { nodePorts } from '../../src/cluster/testing/node-ports.ts';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { cleanEnvironment, program } from '../support/server-process.ts';

/** Far below what a start waits for others, and above what a busy machine needs to end two processes. */
const endMsMax = 30_000;

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

interface Wait {
  readonly says: RegExp;
  readonly signal: NodeJS.Signals;
  /** Before the signal. */
  readonly look?: () => void;
}

/** Sends the signal when the node says that it waits. */
async function stopWhileItWaits(args: readonly string[], { says, signal, look }: Wait): Promise<Ended> {
  const child = spawn(process.execPath, [program, 'serve', '--port', '0', '--log-format', 'json', ...args], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...cleanEnvironment(), NEARKEEP__CLUSTER__CONSENSUS__BOOTSTRAP_TIMEOUT_SEC: '300' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => void (output += data.toString()));
  const ended = new Promise<number | null>((resolve) => {
    child.on('close', resolve);
  });
  try {
    await waitUntil(`the node says ${says}`, () => says.test(output), { tell: () => output });
    look?.();
    child.kill(signal);
    return { code: await inTime(ended, endMsMax, () => new RangeError(`the node did not end:\n${output}`)), output };
  } finally {
    child.kill('SIGKILL');
  }
}

const founding = /"msg":"waiting for nodes of the cluster: for all of them when it is founded/;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`a founding node that waits for its quorum ends at ${signal}, and its NATS server with it`, { skip: noNats ?? false }, async () => {
    await using folder = await temporaryFolder();
    const data = path.join(folder.path, 'data');
    const peers = (await nodePorts(3)).map(({ peer }) => `127.0.0.1:${peer}`);
    const args = ['--data', data, '--uri', `http://${peers[0]}`, '--peers', peers.join(',')];
    for (const time of ['first', 'second']) {
      let nats = 0;
      const look = (): void => {
        nats = Number(readFileSync(path.join(data, 'nats/nats.pid'), 'utf8').trim());
        assert.ok(isAlive(nats), 'its server runs');
      };
      const { code, output } = await stopWhileItWaits(args, { says: founding, signal, look });
      assert.equal(code, 0, `${time} time: ${output}`);
      assert.match(output, new RegExp(`"signal":"${signal}","msg":"stopped before the start came to its end"`));
      assert.equal(isAlive(nats), false, 'its server is gone');
    }
  });
}

test('a node that waits for the one that it joins ends at SIGTERM', { skip: noNats ?? false }, async () => {
  await using folder = await temporaryFolder();
  const [own, other] = (await nodePorts(2)).map(({ peer }) => `http://127.0.0.1:${peer}`);
  const { code, output } = await stopWhileItWaits(['--data', path.join(folder.path, 'data'), '--uri', own ?? '', '--bootstrap', other ?? ''], { says: /"msg":"waiting for the node that this one joins"/, signal: 'SIGTERM' });
  assert.equal(code, 0, output);
});
