// An authority of a cluster's own, and the certificates that it gives to nodes: for servers and for clients at once, because a node is
// both. Everything is PEM text, each certificate with a line end, so that files can be put one behind the other.
import { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 86_400_000;
/** Clocks of other machines may be behind. */
const earlierMs = dayMs;
const usages = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export class Authority {
  readonly pair: KeyPair;
  readonly #cert: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(pair: KeyPair, cert: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.pair = pair;
    this.#cert = cert;
    this.#key = key;
  }

  static async create({ days }: { readonly days: number }): Promise<Authority> {
    x509.cryptoProvider.set(webcrypto);
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const serialNumber = serial();
    const cert = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber, name: `CN=nearkeep authority ${serialNumber.slice(0, 8)}`, ...validity(days), signingAlgorithm: algorithm, keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Authority(await pairOf(cert, keys.privateKey), cert, keys.privateKey);
  }

  /** One that was made before. @throws Error where the texts are none */
  static async open(pair: KeyPair): Promise<Authority> {
    x509.cryptoProvider.set(webcrypto);
    const [der] = x509.PemConverter.decode(pair.key);
    const key = await webcrypto.subtle.importKey('pkcs8', der ?? new ArrayBuffer(0), algorithm, true, ['sign']);
    return new Authority(pair, new x509.X509Certificate(pair.cert), key);
  }

  /** For one node. @param names all by which others reach it: host names and addresses */
  async issue(names: readonly [string, ...string[]], { days }: { readonly days: number }): Promise<KeyPair> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const cert = await x509.X509CertificateGenerator.create({
      serialNumber: serial(), subject: [{ CN: [names[0]] }], issuer: this.#cert.subject, ...validity(days), signingAlgorithm: algorithm, publicKey: keys.publicKey, signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([usages.server, usages.client]),
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))),
        await x509.AuthorityKeyIdentifierExtension.create(this.#cert.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return await pairOf(cert, keys.privateKey);
  }
}

async function pairOf(cert: x509.X509Certificate, key: webcrypto.CryptoKey): Promise<KeyPair> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key);
  return { cert: `${cert.toString('pem')}\n`, key: `${x509.PemConverter.encode(der, 'PRIVATE KEY')}\n` };
}

function validity(days: number): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - earlierMs), notAfter: new Date(now + days * dayMs) };
}

/** Positive and of full length: the first digit says both. */
function serial(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(16))).toString('hex').replace(/^./, '1');
}
