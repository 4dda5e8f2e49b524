/**
 * Commands for random tests, as a policy core would send them (docs/midcom.md): a rule number is free when it is added,
 * one outside port has one inside port, ports lie in the reserved block, what is bound is unbound after the last rule
 * that used it. Aimed at the traffic: rules are made from flows that live, then widened.
 */
import type { Model } from '../nat.model.ts'
import type { Command } from './commands.ts'
import type { Endpoint } from './flows.ts'
import { addrOf, inPrefixes, int32Of, TCP, UDP, type Addr } from './packet.ts'
import type { Range, Rule } from './rules.ts'

/** What commands are made of: addresses and ports of the traffic. */
export interface Universe { inside4: Addr[]; outside4: Addr[]; inside6: Addr[]; outside6: Addr[]; ports: readonly number[] }

/** What a rule is made from. */
interface About { version: 4 | 6; protocol: number; inside: Endpoint; peer: Endpoint }

/** A thing that rules share. */
interface Use { key: string; bind: Command; unbind: Command }
interface Held { rule: Rule; uses: Use[] }

const PROTOCOLS = [UDP, UDP, TCP, TCP, 1, 47, 136, 58]
const BITS4 = [32, 32, 32, 31, 30, 24, 8, 0], BITS6 = [128, 128, 128, 126, 64, 7, 0]

function pick<T>(from: readonly T[], n: number): T { return from[n % from.length] }

export class Agents {
  held: Held[] = []
  private readonly model: Model
  private readonly universe: Universe
  private added = 0

  constructor(model: Model, universe: Universe) {
    this.model = model
    this.universe = universe
  }

  get rules(): Rule[] { return this.held.map(h => h.rule) }

  /** Ends one rule, and what it alone had bound. */
  end(n: readonly number[]): Command[] {
    if (this.held.length === 0) return []
    const living = this.model.flows.all().flatMap(f => [f.halves.out.rule, f.halves.in.rule])
    const owners = this.held.filter(h => living.includes(h.rule.rule))
    const one = owners.length > 0 && n[0] % 4 > 0 ? pick(owners, n[1]) : pick(this.held, n[1])
    this.held = this.held.filter(h => h !== one)
    const gone = one.uses.filter(use => !this.held.some(h => h.uses.some(u => u.key === use.key)))
    // Ports one by one or in runs: both ways a record is of ports that follow each other.
    return [{ op: 'delete', rule: one.rule.rule }, ...merged(gone.map(use => use.unbind), n[2] % 2 === 0)]
  }

  disable(n: readonly number[], six: boolean): Command[] {
    const rule = this.rule(n, six)
    if (rule === null) return []
    Object.assign(rule, { disable: true, priority: 0, out: false, in: false, bound: false, twice: false })
    this.held.push({ rule, uses: [] })
    return [{ op: 'add', rule }]
  }

  enable(n: readonly number[], six: boolean): Command[] {
    const { midcom, nat44 } = this.model.options
    const rule = this.rule(n, six)
    if (rule === null || midcom === null) return []
    const uses: Use[] = []
    if (rule.version === 4 && nat44) {
      const kind = n[7] % 8
      const one = { addr: rule.local.addr, port: rule.local.lo }
      const concrete = this.universe.inside4.includes(one.addr)
      if (concrete && kind < 4) {
        const found = this.ports(rule, n) ?? []
        if (found.length > 0) {
          uses.push(...found)
          rule.local = { addr: one.addr, bits: 32, lo: one.port, hi: one.port + found.length - 1 }
        }
      } else if (concrete && kind < 6) {
        const found = this.address(one.addr, n)
        if (found !== null) {
          uses.push(found)
          rule.local.bits = 32
        }
      }
      rule.bound = n[9] % 4 < (uses.length > 0 ? 3 : 1)
      rule.twice = n[10] % 2 === 0
      if (rule.twice) {
        const found = this.inside(rule, n)
        if (found.length > 0) {
          rule.peer.bits = 32
          if (found[0].key.includes(':')) {
            rule.peer.hi = rule.peer.lo + found.length - 1
          }
          uses.push(...found)
        }
      }
    }
    const fresh = uses.filter(use => !this.held.some(h => h.uses.some(u => u.key === use.key)))
    this.held.push({ rule, uses })
    return [...merged(fresh.map(use => use.bind), true), { op: 'add', rule }]
  }

  /** A rule around a flow or a rule that lives, or around something of the universe; `null` if no number is free. */
  private rule(n: readonly number[], six: boolean): Rule | null {
    const { model, universe } = this, { midcom } = model.options
    const free: number[] = []
    for (let r = 1; r <= (midcom?.rules ?? 0); r++) if (!this.held.some(h => h.rule.rule === r)) free.push(r)
    if (free.length === 0) return null
    const living: About[] = n[0] % 4 === 0 ? [] : n[0] % 4 < 3 ? model.flows.all() : this.rules.map(aboutRule)
    const about = living.length > 0 ? pick(living, n[1]) : null, samePeer = about !== null && n[0] % 8 > 2
    const version = about?.version ?? (six ? 6 : 4), protocol = about?.protocol ?? pick(PROTOCOLS, n[2])
    const [insides, outsides] = version === 4 ? [universe.inside4, universe.outside4] : [universe.inside6, universe.outside6]
    let addr = about?.inside.addr ?? pick(insides, n[3])
    if (!insides.includes(addr)) addr = pick(insides, n[3])
    const peerAddr = samePeer ? about.peer.addr : pick(outsides, n[4])
    const ported = protocol === TCP || protocol === UDP
    const port = ported ? about?.inside.port ?? pick(universe.ports, n[1]) : 0
    const peerPort = ported ? samePeer ? about.peer.port : pick(universe.ports, n[2] >> 3) : 0
    const bits = version === 4 ? BITS4 : BITS6
    const ranges = (p: number, choice: number): { lo: number; hi: number } => {
      if (!ported) return choice % 8 === 0 ? { lo: 1, hi: 65535 } : choice % 8 === 1 ? { lo: 0, hi: 0 } : { lo: 0, hi: 65535 }
      const [below, above] = [Math.max(p - 1, 0), Math.min(p + 2, 65535)]
      const shapes = [[p, p], [p, above], [0, 65535], [below, p], [1, 65535], [0, 65535], [1024, 65535]]
      const [lo, hi] = pick(shapes, choice)
      return { lo, hi }
    }
    const enabled = ++this.added
    const way = pick(['out', 'in', 'both', 'both'] as const, n[8])
    return {
      rule: pick(free, n[5]), priority: n[6] % 4 === 0 ? 1000 - enabled : 1000 + enabled, version,
      protocol: n[6] % 5 === 0 ? -1 : protocol,
      local: { addr, bits: pick(bits, n[11]), ...ranges(port, n[12]) },
      peer: { addr: peerAddr, bits: pick(bits, n[11] >> 3), ...ranges(peerPort, n[13]) },
      disable: false, out: way !== 'in', in: way !== 'out', bound: false, twice: false,
    }
  }

  private used(key: string): Use | undefined {
    return this.held.flatMap(h => h.uses).find(use => use.key === key)
  }

  /** A run of port bindings for the first ports of the rule, shared or new. */
  private ports(rule: Rule, n: readonly number[]): Use[] | null {
    const { midcom, pool } = this.model.options, { protocol } = rule, { addr, lo } = rule.local
    const bound = this.model.midcom.bindings
    if (midcom === null || lo === 0 || protocol !== TCP && protocol !== UDP) return null
    if (this.used('address ' + addr) || bound.addressOf(addr) !== null) return null
    const count = Math.min(1 + n[9] % 3, 65536 - lo, midcom.portHi - midcom.portLo + 1)
    const locals = Array.from({ length: count }, (_, i) => ({ addr, port: lo + i }))
    const known = locals.map(local => this.used(keyOf('port', protocol, local)))
    if (known.every(use => use !== undefined)) {
      const outs = known.map(use => use.bind).flatMap(c => c.op === 'bind-ports' ? [c.outside] : [])
      return outs.every((o, i) => o.addr === outs[0].addr && o.port === outs[0].port + i) ? known : null
    }
    if (known.some(use => use !== undefined) || bound.ports.length + count > midcom.boundPorts) return null
    const span = midcom.portHi - midcom.portLo + 1
    for (let tries = 0; tries < 4; tries++) {
      const outside = addrOf([pick(pool, n[10] + tries)]), first = midcom.portLo + (n[4] + tries) % span
      if (first + count - 1 > midcom.portHi) continue
      const taken = (port: number) => bound.ports
        .some(b => b.protocol === protocol && b.outside.addr === outside && b.outside.port === port)
      if (locals.some((_, i) => taken(first + i))) continue
      return locals.map((local, i) => {
        const of = { protocol, local, outside: { addr: outside, port: first + i }, count: 1 }
        return { key: keyOf('port', protocol, local), bind: { op: 'bind-ports', ...of }, unbind: { op: 'unbind-ports', ...of } }
      })
    }
    return null
  }

  private address(addr: Addr, n: readonly number[]): Use | null {
    const known = this.used('address ' + addr), bound = this.model.midcom.bindings
    if (known) return known
    if (bound.ports.some(b => b.local.addr === addr) || bound.addressOf(addr) !== null) return null
    const free = (this.model.options.midcom?.addresses ?? []).map(word => addrOf([word]))
      .filter(outside => !bound.addresses.some(b => b.outside === outside))
    if (free.length === 0) return null
    const of = { local: addr, outside: pick(free, n[10]) }
    return { key: 'address ' + addr, bind: { op: 'bind-address', ...of }, unbind: { op: 'unbind-address', ...of } }
  }

  /** Twice-NAT for the peer of the rule: its ports, or the whole address. */
  private inside(rule: Rule, n: readonly number[]): Use[] {
    const { midcom, insidePrefixes } = this.model.options, { protocol } = rule, { addr, lo } = rule.peer
    const bound = this.model.midcom.bindings.inside
    if (midcom === null || midcom.insidePool.length === 0 || inPrefixes(addr, insidePrefixes)) return []
    if (bound.some(b => b.fixed && b.peer.addr === addr)) return []
    const pool = midcom.insidePool.map(word => addrOf([word])), whole = 'peer ' + addr
    if (lo === 0 || protocol !== TCP && protocol !== UDP || n[12] % 3 === 0) {
      const known = this.used(whole)
      if (known) return [known]
      const free = pool.filter(a => !bound.some(b => b.inside.addr === a))
      if (free.length === 0) return []
      const of = { protocol: 0, peer: { addr, port: 0 }, inside: { addr: pick(free, n[3]), port: 0 }, count: 0 }
      return [{ key: whole, bind: { op: 'bind-inside', ...of }, unbind: { op: 'unbind-inside', ...of } }]
    }
    const count = Math.min(rule.local.hi - rule.local.lo + 1, 3, 65536 - lo)
    const peers = Array.from({ length: count }, (_, i) => ({ addr, port: lo + i }))
    const known = peers.map(peer => this.used(keyOf('peer:', protocol, peer)))
    if (known.every(use => use !== undefined)) {
      const shown = known.map(use => use.bind).flatMap(c => c.op === 'bind-inside' ? [c.inside] : [])
      return shown.every((o, i) => o.addr === shown[0].addr && o.port === shown[0].port + i) ? known : []
    }
    if (known.some(use => use !== undefined)) return []
    for (let port = 1024 + n[5] % 4; port < 1040; port++) {
      const inside = pick(pool, n[4])
      const taken = (p: number) => bound.some(b => b.inside.addr === inside
        && (b.protocol === null || b.protocol === protocol && b.inside.port === p))
      if (peers.some((_, i) => taken(port + i))) continue
      return peers.map((peer, i) => {
        const of = { protocol, peer, inside: { addr: inside, port: port + i }, count: 1 }
        return { key: keyOf('peer:', protocol, peer), bind: { op: 'bind-inside', ...of }, unbind: { op: 'unbind-inside', ...of } }
      })
    }
    return []
  }

  /* Packets that meet rules */

  /** An endpoint that lies in a range, of the universe if it can be. */
  pointIn(range: Range, version: 4 | 6, which: 'local' | 'peer', n: number): Endpoint {
    const { universe } = this
    const all = version === 4 ? which === 'local' ? universe.inside4 : universe.outside4
      : which === 'local' ? universe.inside6 : universe.outside6
    const addr = range.bits >= (version === 4 ? 32 : 128) || n % 4 === 0 ? range.addr : pick(all, n >> 2)
    const ports = universe.ports.filter(port => port >= range.lo && port <= range.hi)
    const few = range.hi - range.lo < 4 || ports.length === 0
    return { addr, port: few ? range.lo + n % Math.min(range.hi - range.lo + 1, 4) : pick(ports, n) }
  }
}

function aboutRule({ version, protocol, local, peer }: Rule): About {
  return {
    version, protocol: protocol < 0 ? UDP : protocol,
    inside: { addr: local.addr, port: local.lo }, peer: { addr: peer.addr, port: peer.lo },
  }
}

function keyOf(kind: string, protocol: number, end: Endpoint): string { return [kind, protocol, end.addr, end.port].join(' ') }

/** Runs of one port each, put together where they follow each other. */
function merged(list: readonly Command[], together: boolean): Command[] {
  const out: Command[] = []
  for (const c of list) {
    const last = out.at(-1)
    const follows = (a: Endpoint, b: Endpoint, by: number) => a.addr === b.addr && a.port + by === b.port
    const ported = last !== undefined && last.op === c.op && together && 'count' in c && c.count > 0 && 'count' in last
      && last.count > 0 && last.protocol === c.protocol
    if (ported && 'local' in c && 'local' in last) {
      if (follows(last.local, c.local, last.count) && follows(last.outside, c.outside, last.count)) {
        out[out.length - 1] = { ...last, count: last.count + 1 }
        continue
      }
    }
    if (ported && 'peer' in c && 'peer' in last) {
      if (follows(last.peer, c.peer, last.count) && follows(last.inside, c.inside, last.count)) {
        out[out.length - 1] = { ...last, count: last.count + 1 }
        continue
      }
    }
    out.push(c)
  }
  return out
}

/** As `buildPacket` reads it. */
export function addressOf(addr: Addr): number | Int32Array {
  return addr.length === 8 ? int32Of(addr) : Int32Array.from(addr.match(/.{8}/g) ?? [], int32Of)
}
