/** Rule sets for the tests of the classifier. Keys are plain arrays as `insert` takes them. */
import {
  KEY_LOCAL, KEY_LOCAL_BITS, KEY_LOCAL_PORTS, KEY_PEER, KEY_PEER_BITS, KEY_PEER_PORTS, KEY_PROTOCOL, KEY_VERSION, KEY_ZONES,
  RULE_KEY_WORDS,
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
    return ruleKey({
      version, zones: one([0xff, 1, 2, 1 << below(8), below(256)]), protocol: below(3) === 0 ? -1 : protocol(),
      local: address(version), localBits: bits(version), peer: address(version), peerBits: bits(version),
      localPorts: ports(), peerPorts: ports(),
    })
  }

  return { address, port, protocol, rule, zone: () => one([0, 0, 1, below(8)]) }
}
