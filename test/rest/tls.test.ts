// TLS on the public port: the certificate is swapped while the server runs; open connections go on with theirs.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { TLSSocket } from 'node:tls';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { root, serveFolder, startServer } from '../support/server-process.ts';

interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const { makeCertificates } = (await import(pathToFileURL(path.join(root, 'scripts/certificates.mjs')).href)) as { makeCertificates: (folder: string) => Promise<Certificates> };

async function certificatesIn(folder: string): Promise<Certificates> {
  await mkdir(folder);
  return await makeCertificates(folder);
}

interface Seen {
  readonly status: number | undefined;
  readonly socket: TLSSocket;
  readonly fingerprint: string;
}

function get(url: string, agent: Agent): Promise<Seen> {
  return new Promise((resolve, reject) => {
    request(new URL('/readyz', url), { agent }, (response) => {
      const socket = response.socket as TLSSocket;
      response.resume().on('end', () => resolve({ status: response.statusCode, socket, fingerprint: socket.getPeerX509Certificate()?.fingerprint256 ?? '' }));
    }).once('error', reject).end();
  });
}

/** On a connection of its own. */
async function getAnew(url: string, ca: readonly Buffer[]): Promise<Seen> {
  const agent = new Agent({ ca: [...ca] });
  try {
    return await get(url, agent);
  } finally {
    agent.destroy();
  }
}

test('a new certificate serves new connections while open ones go on; a file that cannot be used changes nothing', async () => {
  await using folder = await temporaryFolder();
  const [first, second] = [await certificatesIn(path.join(folder.path, 'first')), await certificatesIn(path.join(folder.path, 'second'))];
  const ca = [readFileSync(first.ca), readFileSync(second.ca)];
  const [cert, key] = [path.join(folder.path, 'cert.pem'), path.join(folder.path, 'key.pem')];
  await copyFile(first.cert, cert);
  await copyFile(first.key, key);
  let output = '';
  const waiting = new Set<() => void>();
  const untilSaid = (wanted: string): Promise<void> => new Promise((resolve) => {
    const look = (): void => {
      if (output.includes(wanted)) resolve();
    };
    waiting.add(look);
    look();
  });
  await using served = await serveFolder({
    env: { QDRANT__SERVICE__ENABLE_TLS: 'true', QDRANT__TLS__CERT: cert, QDRANT__TLS__KEY: key, QDRANT__TLS__CERT_TTL: '1', QDRANT__SERVICE__HTTP_KEEP_ALIVE_TIMEOUT_SEC: '3600' },
    onOutput: (text) => {
      output = text;
      for (const look of waiting) look();
    },
  });
  const { url } = served.server;
  assert.match(url, /^https:/);
  const kept = new Agent({ ca, keepAlive: true, maxSockets: 1 });
  try {
    const before = await get(url, kept);
    assert.equal(before.status, 200);

    await writeFile(cert, 'no certificate');
    await untilSaid('the certificate on disk cannot be used; the one before stays');
    assert.equal((await getAnew(url, ca)).fingerprint, before.fingerprint);

    await copyFile(second.cert, cert);
    await copyFile(second.key, key);
    await untilSaid('the certificate was renewed');
    const anew = await getAnew(url, ca);
    assert.equal(anew.status, 200);
    assert.notEqual(anew.fingerprint, before.fingerprint);
    await assert.rejects(getAnew(url, ca.slice(0, 1)), 'the new one is of the other authority');

    const after = await get(url, kept);
    assert.deepEqual([after.status, after.socket === before.socket], [200, true], 'the connection of before serves on');
  } finally {
    kept.destroy();
  }
});

test('a start with TLS and without a usable certificate is refused', async () => {
  await using folder = await temporaryFolder();
  const [one, other] = [await certificatesIn(path.join(folder.path, 'one')), await certificatesIn(path.join(folder.path, 'other'))];
  const data = path.join(folder.path, 'data');
  const enable = { QDRANT__SERVICE__ENABLE_TLS: 'true' };
  await assert.rejects(startServer({ data, env: enable }), /service\.enable_tls needs tls\.cert and tls\.key/);
  await assert.rejects(startServer({ data, env: { ...enable, QDRANT__TLS__CERT: one.cert, QDRANT__TLS__KEY: other.key } }), /the certificate \S+ with the key \S+ cannot be used/);
  await assert.rejects(startServer({ data, env: { ...enable, QDRANT__TLS__CERT: path.join(folder.path, 'none'), QDRANT__TLS__KEY: one.key } }), /cannot be used: /);
});
