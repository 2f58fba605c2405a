/**
 * Which addresses a request may go to, as qctl worker decides it (src/qctl/ssrf.py). fetch() gives no hook at the socket, so the
 * name is looked up here and once more by fetch(): a name server that answers differently in between is not found out. SECURITY.md
 * says what follows.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

const FOR_MS = 15_000;

const NOT_PUBLIC = networks([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/128",
  "::1/128",
  "64:ff9b:1::/48",
  "100::/64",
  "2001::/23",
  "2001:db8::/32",
  "3fff::/20",
  "5f00::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
]);
/** IPv6 addresses that stand for an IPv4 address, and how many bits lie behind it. */
const CARRIES_IPV4: [Network, bigint][] = [
  [network("::ffff:0:0/96"), 0n],
  [network("::/96"), 0n],
  [network("::ffff:0:0:0/96"), 0n],
  [network("64:ff9b::/96"), 0n],
  [network("2002::/16"), 80n],
];

export interface Network {
  readonly bits: 32 | 128;
  readonly first: bigint;
  readonly last: bigint;
}

export class Guard {
  private readonly known = new Map<string, { until: number; refusal: Promise<string | null> }>();

  /**
   * Why nothing may be sent to a URL, or null. Fails where its name cannot be looked up.
   * @param allowed networks that may be sent to although they are not public
   * @param key stands for `allowed`
   */
  refusal(url: string, allowed: Network[], key: string): Promise<string | null> {
    const entry = this.known.get(url + key);
    if (entry !== undefined && entry.until > performance.now()) return entry.refusal;
    const refusal = look(url, allowed);
    this.known.set(url + key, { until: performance.now() + FOR_MS, refusal });
    // A name that could not be looked up is looked up again.
    refusal.catch(() => this.known.delete(url + key));
    return refusal;
  }
}

async function look(url: string, allowed: Network[]): Promise<string | null> {
  const host = new URL(url).hostname;
  const literal = host.replace(/^\[|\]$/g, "");
  if (isIP(literal)) return refusalOf(literal, allowed);
  const found = await lookup(host, { all: true });
  // fetch() may take any of them.
  for (const { address } of found) {
    const refusal = refusalOf(address, allowed);
    if (refusal !== null) return refusal;
  }
  return null;
}

/** Why nothing may be sent to a numeric address, or null. */
export function refusalOf(address: string, allowed: Network[]): string | null {
  const [bits, value] = parse(address.split("%")[0] ?? "");
  const inner = bits === 128 ? carried(value) : null;
  const may = (networks: Network[]) =>
    networks.some((one) => within(bits, value, one) || (inner !== null && within(32, inner, one)));
  if (may(allowed)) return null;
  const publicAddress = inner !== null && !within(bits, value, CARRIES_IPV4[1]![0])
    ? !NOT_PUBLIC.some((one) => within(32, inner, one))
    : !may(NOT_PUBLIC);
  return publicAddress ? null : `${address} is not a public address`;
}

function carried(value: bigint): bigint | null {
  const found = CARRIES_IPV4.find(([one]) => within(128, value, one));
  return found === undefined ? null : (value >> found[1]) & 0xffffffffn;
}

function within(bits: number, value: bigint, one: Network): boolean {
  return bits === one.bits && value >= one.first && value <= one.last;
}

export function networks(texts: string[]): Network[] {
  return texts.map(network);
}

function network(text: string): Network {
  const [address = "", length = ""] = text.split("/");
  const [bits, value] = parse(address);
  const size = 1n << BigInt(bits - Number(length === "" ? bits : length));
  const first = value - (value % size);
  return { bits, first, last: first + size - 1n };
}

function parse(address: string): [32 | 128, bigint] {
  if (!address.includes(":")) {
    return [32, address.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n)];
  }
  const dotted = address.match(/^(.*:)(\d+\.\d+\.\d+\.\d+)$/);
  if (dotted) {
    const low = parse(dotted[2]!)[1];
    address = `${dotted[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = "", tail] = address.split("::");
  const groups = (text: string) => text === "" ? [] : text.split(":");
  const left = groups(head), right = groups(tail ?? "");
  const all = tail === undefined ? left : [...left, ...Array(8 - left.length - right.length).fill("0"), ...right];
  return [128, all.reduce((value, part) => (value << 16n) | BigInt(`0x${part}`), 0n)];
}
