// The certificate of the public port: read at the start, looked at again while the server runs, and swapped where it has changed.
// Connections that are open keep theirs; new ones get the new one. A file that cannot be used is logged, and the old one stays.
import type { Server as PlainServer } from 'node:http';
import { Server as SecureServer } from 'node:https';
import { createSecureContext } from 'node:tls';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Disk } from '../fs/disk.ts';
import type { Config } from './config.ts';

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** @throws RequestError 'bad-request' where the files are missing or no pair of certificate and key */
export async function readCertificate(disk: Disk, tls: Config['tls']): Promise<Certificate> {
  if (tls.cert === undefined || tls.key === undefined) throw new RequestError('bad-request', 'service.enable_tls needs tls.cert and tls.key, files in PEM form');
  try {
    const certificate = { cert: await disk.readFile(tls.cert), key: await disk.readFile(tls.key) };
    createSecureContext(certificate);
    return certificate;
  } catch (error) {
    throw new RequestError('bad-request', `the certificate ${tls.cert} with the key ${tls.key} cannot be used: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** Until the server is closed. */
export function renewCertificate(server: PlainServer, first: Certificate, { disk, tls, logger }: { readonly disk: Disk; readonly tls: Config['tls']; readonly logger: Logger }): void {
  if (!(server instanceof SecureServer)) return;
  let current = first;
  const timer = setInterval(() => {
    readCertificate(disk, tls).then((found) => {
      if (found.cert.equals(current.cert) && found.key.equals(current.key)) return;
      current = found;
      server.setSecureContext(found);
      logger.info({ cert: tls.cert }, 'the certificate was renewed');
    }).catch((error: unknown) => logger.error({ error: String(error) }, 'the certificate on disk cannot be used; the one before stays'));
  }, tls.cert_ttl * 1000);
  timer.unref();
  server.once('close', () => clearInterval(timer));
}
