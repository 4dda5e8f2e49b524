/**
 * What the configuration fixes, in the model: bindings that are there from the start, who may open flows by them, and what is not
 * translated. Section "Fixed translation" of docs/behaviour.md.
 */
import type { NatOptions, Prefix4 } from '../../src/engine/nat-options.ts'
import type { Bindings } from './bindings.ts'
import type { Endpoint } from './flows.ts'
import { addrOf, int32Of, TCP, UDP, under, type Addr } from './packet.ts'

const at = (address: number): Addr => addrOf([address])
const within = (addr: Addr, { address, bits }: Prefix4) => under(addr, at(address), bits)
const ported = (protocol: number) => protocol === UDP || protocol === TCP

export class Fixed {
  private readonly nat: NatOptions | null

  constructor(nat: NatOptions | null, bindings: Bindings) {
    this.nat = nat
    for (const { protocol, outside, outsidePort, inside, insidePort, count } of nat?.forwards ?? []) {
      for (let n = 0; n < count; n++) {
        const [local, shown] = [{ addr: at(inside), port: insidePort + n }, { addr: at(outside), port: outsidePort + n }]
        bindings.ports.push({ protocol, local, outside: shown, fixed: true })
      }
    }
    for (const { inside, outside, bits } of nat?.statics ?? []) {
      for (let n = 0; n < 2 ** (32 - bits); n++) {
        bindings.addresses.push({ local: at(inside + n | 0), outside: at(outside + n | 0), fixed: true })
      }
    }
    for (const { protocol, alias, aliasPort, peer, peerPort, count } of nat?.aliases ?? []) {
      if (count === 0) {
        const [real, shown] = [{ addr: at(peer), port: 0 }, { addr: at(alias), port: 0 }]
        bindings.inside.push({ protocol: null, peer: real, inside: shown, fixed: true })
      }
      for (let n = 0; n < count; n++) {
        const [real, shown] = [{ addr: at(peer), port: peerPort + n }, { addr: at(alias), port: aliasPort + n }]
        bindings.inside.push({ protocol, peer: real, inside: shown, fixed: true })
      }
    }
  }

  /** Outside addresses beside the pool, and addresses that stand for outside hosts. */
  outside(): Addr[] {
    const { forwards = [], statics = [] } = this.nat ?? {}
    return [...forwards.map(f => at(f.outside)), ...statics.flatMap(({ outside, bits }) =>
      Array.from({ length: 2 ** (32 - bits) }, (_, n) => at(outside + n | 0)))]
  }

  aliases(): Addr[] { return (this.nat?.aliases ?? []).map(a => at(a.alias)) }

  /** `peer` null: the packet does not show its ports. */
  isUntranslated(protocol: number, inside: Addr, peerAddr: Addr, peer: Endpoint | null): boolean {
    return (this.nat?.untranslated ?? []).some(u => within(inside, u.inside) && within(peerAddr, u.peer)
      && (peer === null || (u.protocol < 0 || u.protocol === protocol) && inRange(ported(protocol) ? peer.port : 0, u.peerPorts)))
  }

  /** May `peer` open a flow to a fixed binding of this inside endpoint? */
  admits(protocol: number, inside: Endpoint, peer: Endpoint): boolean {
    const { forwards = [], statics = [] } = this.nat ?? {}
    const isFrom = (from: readonly Prefix4[]) => from.some(prefix => within(peer.addr, prefix))
    return forwards.some(f => f.protocol === protocol && at(f.inside) === inside.addr && inside.port >= f.insidePort
      && inside.port < f.insidePort + f.count && isFrom(f.from))
      || statics.some(s => within(inside.addr, { address: s.inside, bits: s.bits }) && isFrom(s.from))
  }
}

function inRange(port: number, { low, high }: { low: number; high: number }): boolean { return port >= low && port <= high }

/** The pool that a host is in: of those whose prefixes it is in the one with the longest, else the first. */
export function poolOf(nat: NatOptions, inside: Addr): NatOptions['pools'][number] {
  let best = nat.pools[0], longest = -1
  for (const pool of nat.pools.slice(1)) {
    for (const prefix of pool.inside) {
      if (!within(inside, prefix) || prefix.bits <= longest) continue
      best = pool
      longest = prefix.bits
    }
  }
  return best
}

/** Which address of the pool list an inside host has (RFC 4787 REQ-2, RFC 7422). */
export function pairedIndexOf(nat: NatOptions, inside: Addr, seed: number): number {
  const { first, size, hostsPerAddress } = poolOf(nat, inside)
  if (hostsPerAddress === 0) {
    let h = Math.imul(int32Of(inside) ^ seed, 0x9e3779b1)
    h ^= h >>> 15
    h = Math.imul(h, 0x85ebca6b)
    h ^= h >>> 13
    return first + (h >>> 0) % size
  }
  const number = hostNumberOf(nat, inside)
  return first + (number < 0 ? 0 : Math.min(Math.floor(number / hostsPerAddress), size - 1))
}

/** Hosts of a pool counted through its prefixes, from 0; -1: it is in none of them. */
export function hostNumberOf(nat: NatOptions, inside: Addr): number {
  let before = 0
  for (const prefix of poolOf(nat, inside).inside) {
    const hosts = 2 ** (32 - prefix.bits), number = parseInt(inside, 16)
    if (within(inside, prefix)) return before + number % hosts
    before += hosts
  }
  return -1
}
