// Certificates of an authority that a test makes up, as files.
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Authority } from '../../src/server/authority.ts';

export interface CertificateFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const days = 30;

/** Of an authority of their own, in the folder, which need not be there; for this machine. */
export async function makeCertificates(folder: string): Promise<CertificateFiles> {
  const issuer = await Authority.create({ days });
  const { cert, key } = await issuer.issue(['localhost', '127.0.0.1'], { days });
  const files = { ca: path.join(folder, 'ca.pem'), cert: path.join(folder, 'cert.pem'), key: path.join(folder, 'key.pem') };
  await mkdir(folder, { recursive: true });
  await writeFile(files.ca, issuer.pair.cert);
  await writeFile(files.cert, cert);
  await writeFile(files.key, key, { mode: 0o600 });
  return files;
}
