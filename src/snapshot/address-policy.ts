// Which network addresses a recover may connect to. Everything that is not plainly public is refused, in every form an address
// can be written, so that a server cannot be sent to its own or its neighbours' services.
import { BlockList, isIP } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Special-purpose address registries of IANA, and every v6 form that carries a v4 address. A v4-mapped address is checked as v4. */
const special = new BlockList();
const specialV4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.0.2.0', 24],
  ['192.88.99.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15], ['198.51.100.0', 24], ['203.0.113.0', 24], ['224.0.0.0', 4], ['240.0.0.0', 4],
];
const specialV6: readonly (readonly [string, number])[] = [
  ['::', 96], ['64:ff9b::', 96], ['64:ff9b:1::', 48], ['100::', 64], ['2001::', 23], ['2001:db8::', 32], ['2002::', 16], ['3fff::', 20], ['5f00::', 16],
  ['fc00::', 7], ['fe80::', 10], ['fec0::', 10], ['ff00::', 8],
];
for (const [network, bits] of specialV4) special.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of specialV6) special.addSubnet(network, bits, 'ipv6');

export interface AddressPolicy {
  readonly allowLoopback: boolean;
  /** Hosts, addresses and networks (CIDR) that are allowed whatever they are; `*` allows all. */
  readonly allow?: readonly string[];
  /** The name that the address was resolved from. */
  readonly host?: string;
}

/** @param address a literal as a resolver answers it. */
export function isAllowedAddress(address: string, policy: AddressPolicy): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  if (policy.allow?.some((rule) => allows(rule, { address, host: policy.host ?? address, type })) === true) return true;
  if (loopback.check(address, type)) return policy.allowLoopback;
  return !special.check(address, type);
}

function allows(rule: string, { address, host, type }: { readonly address: string; readonly host: string; readonly type: 'ipv4' | 'ipv6' }): boolean {
  if (rule === '*') return true;
  const network = parseNetwork(rule);
  if (network === undefined) return host.toLowerCase() === rule.toLowerCase();
  const list = new BlockList();
  list.addSubnet(network.address, network.bits, network.type);
  return list.check(address, type);
}

/** An address or `address/bits`; undefined for anything else. */
function parseNetwork(rule: string): { readonly address: string; readonly bits: number; readonly type: 'ipv4' | 'ipv6' } | undefined {
  const [, address = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(rule) ?? [];
  const family = isIP(address);
  if (family === 0) return undefined;
  const most = family === 4 ? 32 : 128;
  return Number(bits ?? most) > most ? undefined : { address, bits: Number(bits ?? most), type: family === 4 ? 'ipv4' : 'ipv6' };
}

/** What the rule should be; undefined where it is a host, an address, a network or `*` */
export function ruleProblem(rule: string): string | undefined {
  if (rule === '*' || parseNetwork(rule) !== undefined || (!rule.includes('/') && /^[A-Za-z0-9._-]{1,253}$/.test(rule))) return undefined;
  return 'a host, an address, a network like 10.0.0.0/8, or *';
}
