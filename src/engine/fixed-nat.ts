/**
 * Translation that the configuration fixes: whole addresses, forwarded ports, names for outside hosts, and what is not translated
 * at all. It is made of the bindings that policy makes too (flows, inside-bindings), once, before the first packet, and adds what
 * these leave to rules: who outside may open a flow by such a binding.
 */
import {
  KEY_LOCAL, KEY_LOCAL_BITS, KEY_LOCAL_PORTS, KEY_PEER, KEY_PEER_BITS, KEY_PEER_PORTS, KEY_PROTOCOL, KEY_VERSION, KEY_ZONES,
  RULE_KEY_WORDS, createClassifier,
} from '../storage/classifier.ts'
import type { Flows } from './flows.ts'
import type { InsideBindings } from './inside-bindings.ts'
import type { NatOptions, Prefix4 } from './nat-options.ts'
import { CLASS_OF, CLASS_TCP } from './ports.ts'

/** What the classifier is asked: is a flow translated; would its addresses alone keep it from that; may the outside open it? */
const ZONE_UNTRANSLATED = 0, ZONE_UNTRANSLATED_ADDRESSES = 1, ZONE_ADMITTED = 2
const ANY_PORTS = 0xffff

export type FixedNat = ReturnType<typeof createFixedNat>

/** Outside addresses that a configuration names, beside those of the pool: first those with ports of their own, then whole ones. */
export function fixedAddresses({ forwards, statics }: NatOptions, pool: readonly number[]): { ported: number[]; whole: number[] } {
  const known = new Set(pool)
  const ported = [...new Set(forwards.map(({ outside }) => outside))].filter((address) => !known.has(address))
  return { ported, whole: statics.flatMap(({ outside, bits }) => Array.from({ length: hosts(bits) }, (_, n) => outside + n | 0)) }
}

/** Addresses that stand for outside hosts towards the inside. */
export function aliasAddresses({ aliases }: NatOptions): number[] {
  return [...new Set(aliases.map(({ alias }) => alias))]
}

function hosts(bits: number): number {
  return 2 ** (32 - bits)
}

export function createFixedNat(nat: NatOptions, flows: Flows, inside: InsideBindings, seed: number) {
  const { statics, forwards, untranslated, aliases } = nat
  const entries = 2 * untranslated.length + [...statics, ...forwards].reduce((sum, { from }) => sum + from.length, 0)
  const classifier = entries === 0 ? null : createClassifier({ capacity: entries, seed })
  const keepsSome = untranslated.length > 0

  function enter(zone: number, protocol: number, local: Prefix4, localPorts: number, peer: Prefix4, peerPorts: number): void {
    const key = new Int32Array(RULE_KEY_WORDS)
    key[KEY_VERSION] = 4
    key[KEY_ZONES] = 1 << zone
    key[KEY_PROTOCOL] = protocol
    key[KEY_LOCAL] = local.address
    key[KEY_LOCAL_BITS] = local.bits
    key[KEY_LOCAL_PORTS] = localPorts
    key[KEY_PEER] = peer.address
    key[KEY_PEER_BITS] = peer.bits
    key[KEY_PEER_PORTS] = peerPorts
    classifier!.insert(key, 0, 1)
  }

  for (const { inside: local, peer, protocol, peerPorts } of untranslated) {
    enter(ZONE_UNTRANSLATED, protocol, local, ANY_PORTS, peer, (peerPorts.low << 16) | peerPorts.high)
    enter(ZONE_UNTRANSLATED_ADDRESSES, -1, local, ANY_PORTS, peer, ANY_PORTS)
  }
  for (const { inside: local, outside, bits, from } of statics) {
    for (let n = 0; n < hosts(bits); n++) flows.bindAddress(local + n | 0, outside + n | 0)
    for (const peer of from) enter(ZONE_ADMITTED, -1, { address: local, bits }, ANY_PORTS, peer, ANY_PORTS)
  }
  // The last binding of an inside port is the one that its own packets take: so that is the first of the list.
  for (const { protocol, inside: local, insidePort, outside, outsidePort, count, from } of forwards.toReversed()) {
    for (let n = count - 1; n >= 0; n--) flows.bindPort(protocol, local, insidePort + n, outside, outsidePort + n)
    const ports = (insidePort << 16) | (insidePort + count - 1)
    for (const peer of from) enter(ZONE_ADMITTED, protocol, { address: local, bits: 32 }, ports, peer, ANY_PORTS)
  }
  for (const { protocol, alias, aliasPort, peer, peerPort, count } of aliases) {
    inside.bind(protocol, alias, aliasPort, peer, peerPort, count)
  }
  inside.fix()

  function ask(zone: number, protocol: number, local: number, peer: number, ports: number): boolean {
    return classifier !== null && classifier.lookup4(zone, protocol, local, peer, CLASS_OF[protocol] <= CLASS_TCP ? ports : 0) !== 0
  }

  return {
    /** Is this left as it is? `ports` is inside << 16 | peer. */
    isUntranslated: (protocol: number, local: number, peer: number, ports: number) =>
      keepsSome && ask(ZONE_UNTRANSLATED, protocol, local, peer, ports),
    /** The same of a packet that does not show its ports, by addresses alone. */
    mayBeUntranslated: (local: number, peer: number) => keepsSome && ask(ZONE_UNTRANSLATED_ADDRESSES, 0, local, peer, 0),
    /** May `peer` open a flow to this inside endpoint by a fixed binding? */
    admits: (protocol: number, local: number, peer: number, ports: number) => ask(ZONE_ADMITTED, protocol, local, peer, ports),
  }
}
