// The certificate of this server, for the public port and for the ports between nodes: files that are read at the start, looked at
// again while the server runs, and given to whoever uses them where they have changed. Connections that are open keep theirs; new
// ones get the new one. Files that cannot be used are logged, and what was before stays.
import { X509Certificate } from 'node:crypto';
import type { Server as PlainServer } from 'node:http';
import { Server as SecureServer } from 'node:https';
import { createSecureContext } from 'node:tls';
import { RequestError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { NodeTls, PeerTls } from '../cluster/node-tls.ts';
import type { Disk } from '../fs/disk.ts';
import type { Config } from './config.ts';

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

interface Read extends Certificate {
  /** Empty where nothing needs it. */
  readonly ca: Buffer;
}

interface Wanted {
  /** The setting that asks for it. */
  readonly by: string;
  readonly needsAuthority: boolean;
}

export class CertificateFiles {
  readonly #options: { readonly disk: Disk; readonly tls: Config['tls']; readonly logger: Logger };
  readonly #wanted: Wanted;
  readonly #listeners = new Set<(renewed: Read) => void>();
  readonly #timer: NodeJS.Timeout;
  #current: Read;

  private constructor(first: Read, wanted: Wanted, options: { readonly disk: Disk; readonly tls: Config['tls']; readonly logger: Logger }) {
    this.#current = first;
    this.#wanted = wanted;
    this.#options = options;
    this.#timer = setInterval(() => {
      this.#lookAgain().catch((error: unknown) => options.logger.error({ error: String(error) }, 'the certificate on disk cannot be used; the one before stays'));
    }, options.tls.cert_ttl * 1000);
    this.#timer.unref();
  }

  /** undefined where no port has TLS. @throws RequestError 'bad-request' where the files are missing or cannot be used */
  static async open({ service, cluster, tls }: Config, { disk, logger }: { readonly disk: Disk; readonly logger: Logger }): Promise<CertificateFiles | undefined> {
    const needsAuthority = cluster.enabled && cluster.p2p.enable_tls;
    if (!service.enable_tls && !needsAuthority) return undefined;
    const wanted = { by: needsAuthority ? 'cluster.p2p.enable_tls' : 'service.enable_tls', needsAuthority };
    return new CertificateFiles(await readFiles(disk, tls, wanted), wanted, { disk, tls, logger });
  }

  get current(): Certificate {
    return this.#current;
  }

  /** Gives the server each new certificate, until it is closed. */
  renew(server: PlainServer): void {
    if (!(server instanceof SecureServer)) return;
    const end = this.#onRenewed(({ cert, key }) => server.setSecureContext({ cert, key }));
    server.once('close', end);
  }

  /** For the ports between nodes. @throws RequestError 'bad-request' where the configuration names no authority */
  forNodes(): NodeTls {
    const { cert, key, ca_cert: ca } = this.#options.tls;
    if (cert === undefined || key === undefined || ca === undefined) throw missing(this.#wanted);
    const current = (): PeerTls => this.#current;
    return {
      files: { certFile: cert, keyFile: key, caFile: ca },
      get current() {
        return current();
      },
      onRenewed: (listener) => this.#onRenewed(listener),
    };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #onRenewed(listener: (renewed: Read) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #lookAgain(): Promise<void> {
    const { disk, tls, logger } = this.#options;
    const found = await readFiles(disk, tls, this.#wanted);
    const { cert, key, ca } = this.#current;
    if (found.cert.equals(cert) && found.key.equals(key) && found.ca.equals(ca)) return;
    this.#current = found;
    for (const listener of this.#listeners) listener(found);
    logger.info({ cert: tls.cert }, 'the certificate was renewed');
  }
}

async function readFiles(disk: Disk, { cert, key, ca_cert: authority }: Config['tls'], wanted: Wanted): Promise<Read> {
  if (cert === undefined || key === undefined || (wanted.needsAuthority && authority === undefined)) throw missing(wanted);
  try {
    const found = { cert: await disk.readFile(cert), key: await disk.readFile(key) };
    createSecureContext(found);
    return { ...found, ca: wanted.needsAuthority && authority !== undefined ? await readAuthorities(disk, authority) : Buffer.alloc(0) };
  } catch (error) {
    if (error instanceof RequestError) throw error;
    throw new RequestError('bad-request', `the certificate ${cert} with the key ${key} cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

/** TLS libraries pass over what they cannot read, and would then believe nobody, or fewer than are meant. */
async function readAuthorities(disk: Disk, file: string): Promise<Buffer> {
  try {
    const bytes = await disk.readFile(file);
    const lines = bytes.toString('latin1').split(/\r?\n/);
    const count = lines.filter((line) => line.trim() === '-----BEGIN CERTIFICATE-----').length;
    const blocks = bytes.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0 || blocks.length !== count) throw new RequestError('bad-request', 'it must hold certificates in PEM form, each beginning on a line of its own');
    for (const block of blocks) if (!new X509Certificate(block).ca) throw new RequestError('bad-request', 'a certificate in it is of no authority');
    return bytes;
  } catch (error) {
    throw new RequestError('bad-request', `the authorities of tls.ca_cert, ${file}, cannot be used: ${messageOf(error)}`, { cause: error });
  }
}

function missing({ by, needsAuthority }: Wanted): RequestError {
  return new RequestError('bad-request', `${by} needs ${needsAuthority ? 'tls.cert, tls.key and tls.ca_cert' : 'tls.cert and tls.key'}, files in PEM form`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
