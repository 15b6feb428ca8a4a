// TLS on the public port: the certificate is swapped while the server runs; open connections go on with theirs.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../src/fs/testing/temporary-folder.ts';
import { makeCertificates } from '../support/certificates.ts';
import { serveFolder, startServer } from '../support/server-process.ts';
import { tlsCall, type TlsAnswer } from '../support/tls-client.ts';

/** On a connection of its own. */
async function getAnew(url: string, ca: readonly Buffer[]): Promise<TlsAnswer> {
  const agent = new Agent({ ca: [...ca] });
  try {
    return await tlsCall(url, '/readyz', { agent });
  } finally {
    agent.destroy();
  }
}

test('a new certificate serves new connections while open ones go on; a file that cannot be used changes nothing', async () => {
  await using folder = await temporaryFolder();
  const [first, second] = [await makeCertificates(path.join(folder.path, 'first')), await makeCertificates(path.join(folder.path, 'second'))];
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
    const before = await tlsCall(url, '/readyz', { agent: kept });
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

    const after = await tlsCall(url, '/readyz', { agent: kept });
    assert.deepEqual([after.status, after.socket === before.socket], [200, true], 'the connection of before serves on');
  } finally {
    kept.destroy();
  }
});

test('a start with TLS and without a usable certificate is refused', async () => {
  await using folder = await temporaryFolder();
  const [one, other] = [await makeCertificates(path.join(folder.path, 'one')), await makeCertificates(path.join(folder.path, 'other'))];
  const data = path.join(folder.path, 'data');
  const enable = { QDRANT__SERVICE__ENABLE_TLS: 'true' };
  await assert.rejects(startServer({ data, env: enable }), /service\.enable_tls needs tls\.cert and tls\.key/);
  await assert.rejects(startServer({ data, env: { ...enable, QDRANT__TLS__CERT: one.cert, QDRANT__TLS__KEY: other.key } }), /the certificate \S+ with the key \S+ cannot be used/);
  await assert.rejects(startServer({ data, env: { ...enable, QDRANT__TLS__CERT: path.join(folder.path, 'none'), QDRANT__TLS__KEY: one.key } }), /cannot be used: /);
});

test('TLS between nodes without all that it takes is refused', async () => {
  await using folder = await temporaryFolder();
  const { ca, cert, key } = await makeCertificates(path.join(folder.path, 'one'));
  const glued = path.join(folder.path, 'glued.pem');
  const text = (await readFile(ca, 'latin1')).trim();
  await writeFile(glued, text + text);
  const start = (more: Readonly<Record<string, string>>, uri = 'https://127.0.0.1:6335'): Promise<unknown> => startServer({
    data: path.join(folder.path, 'data'), args: ['--uri', uri, '--peers', '127.0.0.1:6335,127.0.0.1:6345'],
    env: { QDRANT__CLUSTER__P2P__ENABLE_TLS: 'true', QDRANT__TLS__CERT: cert, QDRANT__TLS__KEY: key, ...more },
  });
  await assert.rejects(start({}), /cluster\.p2p\.enable_tls needs tls\.cert, tls\.key and tls\.ca_cert, files in PEM form/);
  await assert.rejects(start({ QDRANT__TLS__CA_CERT: path.join(folder.path, 'none') }), /the authorities of tls\.ca_cert, \S+none, cannot be used: /);
  await assert.rejects(start({ QDRANT__TLS__CA_CERT: key }), /cannot be used: it must hold certificates in PEM form/);
  await assert.rejects(start({ QDRANT__TLS__CA_CERT: glued }), /each beginning on a line of its own/);
  await assert.rejects(start({ QDRANT__TLS__CA_CERT: cert }), /a certificate in it is of no authority/);
  await assert.rejects(start({ QDRANT__TLS__CA_CERT: ca }, 'http://127.0.0.1:6335'), /cluster\.uri, http:\/\/127\.0\.0\.1:6335, must begin with https:\/\/ as long as cluster\.p2p\.enable_tls is true/);
  await assert.rejects(start({ QDRANT__CLUSTER__P2P__ENABLE_TLS: 'false' }), /must begin with http:\/\/ as long as cluster\.p2p\.enable_tls is false/);
});
