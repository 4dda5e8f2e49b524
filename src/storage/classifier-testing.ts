/** Rules and rule sets for tests and benchmarks of the classifier. */
import {
  KEY_LOCAL, KEY_LOCAL_BITS, KEY_LOCAL_PORTS, KEY_PAIRED, KEY_PEER, KEY_PEER_BITS, KEY_PEER_PORTS, KEY_PROTOCOL, KEY_VERSION,
  KEY_ZONES, RULE_KEY_WORDS,
} from './classifier.ts'
import type { Prng } from '../base/prng.ts'

export interface RuleText {
  version?: 4 | 6
  zones?: number
  protocol?: number
  local?: readonly number[]
  localBits?: number
  peer?: readonly number[]
  peerBits?: number
  localPorts?: readonly [number, number]
  peerPorts?: readonly [number, number]
  /** The n-th port with the n-th. */
  paired?: boolean
}

/** A condition; what is left out is any. */
export function ruleKey(text: RuleText): Int32Array {
  const key = new Int32Array(RULE_KEY_WORDS)
  key[KEY_VERSION] = text.version ?? 4
  key[KEY_ZONES] = text.zones ?? 0xff
  key[KEY_PROTOCOL] = text.protocol ?? -1
  key[KEY_LOCAL_BITS] = text.localBits ?? 0
  key[KEY_PEER_BITS] = text.peerBits ?? 0
  key.set(text.local ?? [], KEY_LOCAL)
  key.set(text.peer ?? [], KEY_PEER)
  const [localLow, localHigh] = text.localPorts ?? [0, 0xffff], [peerLow, peerHigh] = text.peerPorts ?? [0, 0xffff]
  key[KEY_LOCAL_PORTS] = localLow << 16 | localHigh
  key[KEY_PEER_PORTS] = peerLow << 16 | peerHigh
  key[KEY_PAIRED] = text.paired === true ? 1 : 0
  return key
}

/** What packets and rules of a random test are drawn from: few addresses and ports, so that they meet often. */
export function createRandomRules({ next, below }: Prng) {
  function one<T>(list: readonly T[]): T {
    return list[below(list.length)]
  }

  function ports(): readonly [number, number] {
    const kind = below(8)
    if (kind < 3) return [0, 0xffff]
    const low = port()
    if (kind < 5) return [low, low]
    if (kind === 5) return one([[0, 1023], [1024, 0xffff], [0, 0x7fff], [4095, 4096]] as const)
    return [low, Math.min(0xffff, low + below(1 << below(16)))]
  }

  function port(): number {
    return one([53, 80, 443, 4095, 4096, 5060, 0xffff, 0, below(0x10000), below(128)])
  }

  function protocol(): number {
    return one([6, 6, 17, 17, 1, 58, 132, 255])
  }

  function word(): number {
    return one([0x0a000000, 0x0a0a0a00, -1062731776, -1, 0]) ^ one([0, 0, below(4), below(256) << 8, 1 << below(32)])
  }

  function address(version: number): number[] {
    return version === 4 ? [word()] : [0x20010db8, below(4) << 16 | below(4), one([0, 1, below(16) << 28]), one([0, 1, next()])]
  }

  function bits(version: number): number {
    return version === 4 ? one([0, 0, 8, 9, 12, 16, 18, 24, 26, 30, 32, 32, below(33)])
      : one([0, 0, 32, 48, 56, 64, 64, 96, 128, 128, below(129)])
  }

  function rule(version: 4 | 6): Int32Array {
    const localPorts = ports()
    // Two ranges of one length, here or there, may be paired.
    const paired = below(4) === 0
    const shift = below(3) === 0 ? below(0x10000 - localPorts[1]) : 0
    return ruleKey({
      version, zones: one([0xff, 1, 2, 1 << below(8), below(256)]), protocol: below(3) === 0 ? -1 : protocol(),
      local: address(version), localBits: bits(version), peer: address(version), peerBits: bits(version),
      localPorts, peerPorts: paired ? [localPorts[0] + shift, localPorts[1] + shift] : ports(), paired,
    })
  }

  return { address, port, protocol, rule, zone: () => one([0, 0, 1, below(8)]) }
}

/** Rules as `build` takes them, and packets as `lookupBatch4` does; most packets are for a rule chosen at random. */
export interface RuleSet {
  keys: Int32Array
  priorities: Int32Array
  values: Int32Array
  zones: Uint8Array
  protocols: Uint8Array
  locals: Int32Array
  peers: Int32Array
  ports: Int32Array
}

/** Values are one more than the place in the list, and so are priorities unless they are given. */
export function ruleSet(rules: readonly Int32Array[], packets: number, prng: Prng, priorities?: Int32Array): RuleSet {
  const { next } = prng
  const set: RuleSet = {
    keys: new Int32Array(rules.length * RULE_KEY_WORDS),
    priorities: priorities ?? Int32Array.from(rules, (_, n) => n + 1), values: Int32Array.from(rules, (_, n) => n + 1),
    zones: new Uint8Array(packets), protocols: new Uint8Array(packets), locals: new Int32Array(packets),
    peers: new Int32Array(packets), ports: new Int32Array(packets),
  }
  rules.forEach((rule, n) => set.keys.set(rule, n * RULE_KEY_WORDS))

  function inside(range: number): number {
    const low = range >>> 16
    return low + (next() >>> 0) % ((range & 0xffff) - low + 1)
  }

  function within(prefix: number, bits: number): number {
    return bits === 32 ? prefix : prefix & ~(-1 >>> bits) | next() & -1 >>> bits
  }

  for (let n = 0; n < packets; n++) {
    const rule = rules[(next() >>> 0) % rules.length]
    set.zones[n] = 31 - Math.clz32(rule[KEY_ZONES] & -rule[KEY_ZONES])
    set.protocols[n] = rule[KEY_PROTOCOL] < 0 ? 17 : rule[KEY_PROTOCOL]
    set.locals[n] = within(rule[KEY_LOCAL], rule[KEY_LOCAL_BITS])
    set.peers[n] = within(rule[KEY_PEER], rule[KEY_PEER_BITS])
    set.ports[n] = inside(rule[KEY_LOCAL_PORTS]) << 16 | inside(rule[KEY_PEER_PORTS])
  }
  return set
}

/** Pinholes as MIDCOM asks for them: one inside address and port; the peer's address known, its port known or any. */
export function pinholes(many: number, packets: number, prng: Prng): RuleSet {
  const { next, below } = prng, hosts = Math.max(1, many >> 5)
  const rules = Array.from({ length: many }, () => {
    const localPort = 1024 + below(64_512), peerPort = below(0x10000)
    return ruleKey({
      zones: 1, protocol: below(4) === 0 ? 6 : 17, local: [0x0a000000 + (next() >>> 0) % hosts], localBits: 32,
      peer: [next()], peerBits: 32, localPorts: [localPort, localPort],
      peerPorts: below(2) === 0 ? [peerPort, peerPort] : [0, 0xffff],
    })
  })
  return ruleSet(rules, packets, prng, new Int32Array(many).fill(100))
}

/** Ranges of one host that all lie over each other, narrow ones first. */
export function overlappingRanges(many: number, packets: number, prng: Prng): RuleSet {
  const { below } = prng
  const rules = Array.from({ length: many }, (_, n) => {
    const half = Math.floor(30_000 * (n + 1) / many), middle = 0x8000 + below(600) - 300
    return ruleKey({ protocol: 17, local: [0x0a000001], localBits: 32, localPorts: [middle - half, middle + half] })
  })
  return ruleSet(rules, packets, prng)
}

/** As many pairs of prefix lengths as there are, one after the other. */
export function manyTuples(many: number, packets: number, prng: Prng): RuleSet {
  const { next, below } = prng
  const rules = Array.from({ length: many }, () => {
    const port = below(0x10000)
    return ruleKey({
      protocol: below(2) === 0 ? 6 : 17, local: [next()], localBits: below(33), peer: [next()], peerBits: below(33),
      localPorts: below(2) === 0 ? [0, 0xffff] : [port, port], peerPorts: below(2) === 0 ? [0, 0xffff] : [below(port + 1), port],
    })
  })
  return ruleSet(rules, packets, prng)
}

/** What a firewall before servers holds: pairs of networks, services, some ranges, few rules for all at the end. */
export function firewallRules(many: number, packets: number, prng: Prng): RuleSet {
  const { next, below } = prng, services = Array.from({ length: 40 }, () => below(below(2) === 0 ? 1024 : 0x10000))
  const networks = Array.from({ length: Math.max(4, many >> 4) }, () => next() & -1 << 8)
  const network = () => networks[(next() >>> 0) % networks.length]
  const rules = Array.from({ length: many }, (_, n) => {
    const service = services[below(40)], kind = below(8), last = n > many - 8
    return ruleKey({
      protocol: below(3) === 0 ? 17 : 6, local: [network() | below(256)], localBits: last ? 0 : [24, 28, 32, 32][below(4)],
      peer: [network() | below(256)], peerBits: last || kind < 3 ? 8 * below(2) : [16, 24, 24, 32][below(4)],
      localPorts: kind === 7 ? [1024, 0xffff] : [service, kind === 6 ? Math.min(0xffff, service + 20) : service],
    })
  })
  return ruleSet(rules, packets, prng)
}
