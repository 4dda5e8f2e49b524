/**
 * The engine as docs/behaviour.md describes it, slow and obvious: the judge in our random tests. Everything is searched
 * from one end to the other, packets are never changed but made anew, and what can be derived is not stored. Headings
 * below are those of the contract. Our readings where it leaves room are marked "Reading:".
 */
import type { Prefix } from '../src/base/address.ts'
import type { Npt6Pair } from '../src/channel/npt6.ts'
import type { DropReason } from '../src/channel/reasons.ts'
import type { NatOptions } from '../src/engine/nat-options.ts'
import type { HostLimits, PortBlocks, PortHold } from '../src/engine/options.ts'
import {
  complement, get16, hasPorts, headersOf, hex, hop, icmpCover, icmpKind, inPrefixes, isIcmp, isRight, judgeAddresses, judgeFlags, judgeOptions,
  judgeTransport, parse, put16, readdress4, requote, sumOf, under, unhex, addrOf, ICMP, ICMP6, TCP, DCCP, SCTP, UDP, UDPLITE,
  type Addr, type ChecksumMode, type Packet,
} from './model/packet.ts'
import type { FirewallRule } from '../src/engine/firewall-rule.ts'
import { Firewall, openerOf, type Opener, type Verdict } from './model/firewall.ts'
import { Flows, same, type Endpoint, type Flow, type Mapping } from './model/flows.ts'
import { Fragments, type Leaving } from './model/fragments.ts'
import { Hosts } from './model/hosts.ts'
import { Midcom, type MidcomOptions } from './model/midcom.ts'
import type { Command } from './model/commands.ts'
import { Egress, fit, mayFragment, sharedAddresses, withId, type EgressOptions } from './model/egress.ts'
import { Fixed } from './model/fixed.ts'
import { Prefixes, readdress6, seenAs, type Counterpart } from './model/npt6.ts'
import type { Asked, Rule } from './model/rules.ts'
import { begun, judged } from './model/window.ts'
import { Bucket } from './model/bucket.ts'
import { after, isClosing, isLong, isOpening, isReset, opened, type Way } from './model/tcp.ts'

export interface ModelOptions {
  insidePrefixes: readonly Prefix[]
  /** Host-order int32, in order. */
  pool: readonly number[]
  nat44: boolean
  portLo: number
  portHi: number
  portPreservation: boolean
  filtering: 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'
  tcpFiltering: ModelOptions['filtering']
  hairpinning: boolean
  outboundPermit: boolean
  /** For IPv6, and for IPv4 with `nat44: false`. */
  inboundPermit: boolean
  /** Absent: not. */
  echo6?: boolean
  ipsec6?: boolean
  reserved6?: boolean
  uniqueLocal?: boolean
  tcpMidstream: boolean
  timers: {
    udpMs: number
    udpPorts: readonly { port: number; idleMs: number }[]
    udpInboundRefresh: boolean
    tcpOpeningMs: number
    tcpClosingMs: number
    tcpEstablishedMs: number
    icmpQueryMs: number
    otherMs: number
    /** Absent: as `otherMs`. */
    associationMs?: number
    associationOpeningMs?: number
    fragmentMs: number
    unsolicitedSynMs: number
  }
  /** Capacity of the table. */
  flows: number
  fragmentDatagrams: number
  fragmentHold: number
  icmpErrorsPerSecond: number
  icmpPerSecond: number
  fragmentsPerSecond: number
  halfOpen: number
  halfOpenPerSource: number
  heldSyns: number
  ipv4Checksum: ChecksumMode
  tcpFlags: boolean
  tcpWindow: 'off' | 'loose' | 'strict'
  spoofing: 'ignore' | 'outside' | 'both'
  boxAddress4: number
  /** Four words. */
  boxAddress6: ArrayLike<number>
  seed: number
  midcom: MidcomOptions | null
  /** Counts with `nat44`. */
  nat?: NatOptions | null
  /** IPv6 prefixes that are translated; absent: none. */
  npt6?: readonly Npt6Pair[]
  /** null: none, and none can come. */
  firewall: readonly FirewallRule[] | null
  /** Absent: a host may have any number. */
  perHost?: HostLimits
  /** No flow is given up for another. */
  keepsFlows?: boolean
  refusesByHost?: boolean
  portHold?: PortHold | null
  portBlocks?: PortBlocks | null
  /** Absent: nothing is done to a packet whose way is known. */
  egress?: EgressOptions
}

export type Side = 'inside' | 'outside'

export interface ModelInput {
  side: Side
  nowMs: number
  /** Captured bytes from the network header on. */
  bytes: Uint8Array
  /** Bytes from there on that the frame had on the wire. */
  wireBytes: number
  /** What the link header says; without it what the version field says, IPv4 if that is neither. */
  net?: 4 | 6
  /** Number of the interface; its name is eth and that number. */
  interface?: number
  /** Was the frame addressed to a group by its link header? */
  group?: boolean
}

export interface Sent { side: Side; kind: 'packet' | 'release' | 'reply'; bytes: Uint8Array; wireBytes: number }

export interface Outcome {
  verdict: 'drop' | Side | 'held'
  reason?: DropReason
  /** What is told about SYNs of some time ago, before the packet. */
  late: Sent[]
  /** In order: the packet itself, held fragments that follow it, an ICMP error of our own. */
  sent: Sent[]
  /** Fragments held until now. */
  heldDrops: { reason: DropReason }[]
}

type Answer = 'time-exceeded' | 'prohibited' | 'unavailable' | 'port-unreachable' | 'too-big' | 'no-route' | 'bad-source' | 'source-field' | 'destination-field'

/** What a step makes of a packet. */
type Decision =
  | { drop: DropReason; answer?: Answer }
  | { drop: null; to: Side; packet: Packet }

/** The five words of a flow as one packet shows them, seen from inside. */
interface Seen { insidePort: number; peerPort: number }

export type Model = ReturnType<typeof createModel>

export function createModel(options: ModelOptions) {
  const { timers, nat44 } = options
  const flows = new Flows({ ...options, capacity: options.flows })
  const hosts = new Hosts(options.perHost, flows)
  const fragments = new Fragments({ ...options, fragmentMs: timers.fragmentMs })
  const midcom = new Midcom(options, flows), { rules, bindings } = midcom
  const fixed = new Fixed(nat44 ? options.nat ?? null : null, bindings)
  const firewall = new Firewall(options.firewall ?? [], options.insidePrefixes)
  const prefixes = new Prefixes(options.npt6 ?? [])
  const pool = options.pool.map(word => addrOf([word]))
  const egress = new Egress(options.egress, options.seed, nat44
    ? sharedAddresses(options.pool, (options.nat?.forwards ?? []).map(f => f.outside)) : [])
  // Reading: without NAT the box has no outside addresses.
  const ours = nat44 ? [...pool, ...(options.midcom?.addresses ?? []).map(word => addrOf([word])), ...fixed.outside()] : []
  const insidePool = nat44 ? [...(options.midcom?.insidePool ?? []).map(word => addrOf([word])), ...fixed.aliases()] : []
  const inside = (addr: Addr) => inPrefixes(addr, options.insidePrefixes)
  const translated = (version: 4 | 6) => version === 4 && nat44
  /** Does a packet between these go by the inside address itself, though the box translates? */
  const kept = (protocol: number, inside: Addr, peer: Endpoint) => fixed.isUntranslated(protocol, inside, peer.addr, peer)
  let latestMs: number | null = null
  let suppressed = 0, born = 0, overdue = 0
  /** Of the packet under way. */
  let cameBy = 0

  /* Time */

  function advance(nowMs: number): number {
    if (latestMs === null || ((nowMs - latestMs) | 0) > 0) latestMs = nowMs | 0
    flows.expire(latestMs)
    return latestMs
  }

  /* Timers */

  function idleMs({ protocol, tcp, peer, openedBy, answered }: Pick<Flow, 'protocol' | 'tcp' | 'peer' | 'openedBy' | 'answered'>): number {
    if (tcp !== null) return isLong(tcp) ? timers.tcpEstablishedMs : isClosing(tcp) ? timers.tcpClosingMs : timers.tcpOpeningMs
    const special = protocol === UDP && openedBy === 'out' ? timers.udpPorts.find(({ port }) => port === peer.port) : undefined
    if (special !== undefined) return special.idleMs
    if (protocol === UDP || protocol === UDPLITE) return timers.udpMs
    if (protocol === SCTP || protocol === DCCP) return (answered ? timers.associationMs : timers.associationOpeningMs) ?? timers.otherMs
    // Reading: by the number alone, even of ICMP over IPv6.
    return protocol === ICMP || protocol === ICMP6 ? timers.icmpQueryMs : timers.otherMs
  }

  function flagsOf(p: Packet): number { return p.bytes[p.l4 + 13] }

  /** A packet is translated by `flow`. */
  function refresh(flow: Flow, p: Packet, way: Way, nowMs: number): void {
    const isUdp = p.protocol === UDP || p.protocol === UDPLITE, reset = flow.tcp !== null && isReset(flagsOf(p))
    if (way !== flow.openedBy) flow.answered = true
    const was = flow.tcp
    if (was !== null) flow.tcp = after(was, way, flagsOf(p))
    if (flow.tcp !== null && isLong(flow.tcp)) flow.halfOpen = null
    if (isUdp && way === 'in' && !timers.udpInboundRefresh) return
    if (reset && isClosing(was!)) return
    const deadline = nowMs + idleMs(flow) | 0
    if (reset && way === 'out' && (was === 'SYN-IN' || was === 'MID-IN') && (flow.deadline - deadline | 0) < 0) return
    flow.deadline = deadline
  }

  function open(
    p: Packet, way: Way, inside: Endpoint, peer: Endpoint, mapping: Mapping | null, nowMs: number, rule: Rule | null, said: Said | null,
    inUse: Flow | null = null,
  ): Flow {
    const { version, protocol } = p
    const tcp = protocol === TCP ? opened(way, flagsOf(p)) : null
    const deadline = nowMs + idleMs({ protocol, tcp, peer, openedBy: way, answered: false }) | 0
    const halves = midcom.halves(protocol, way, rule)
    const opener = said?.opener ?? null, admittedBy = said?.rule ?? 0
    const isTcp = protocol === TCP, ends = isTcp && options.tcpWindow !== 'off' ? begun(p, way) : null
    const halfOpen = !isTcp ? null : inUse === null ? sourceOf(way === 'out' ? inside.addr : peer.addr) : ''
    const flow = { version, protocol, inside, peer, mapping, deadline, tcp, openedBy: way, halfOpen, ends, halves, twice: false, born: ++born, answered: false,
      opener, admittedBy }
    hosts.opens(flow, nowMs)
    flows.add(flow)
    if (isTcp && way === 'out') {
      const own = prefixes.outward(inside.addr), seen = mapping?.outside ?? { ...inside, addr: own.is === 'done' ? own.addr : inside.addr }
      waiting = waiting.filter(syn => !(syn.version === version && same(syn.local, seen) && same(syn.peer, peer)))
    }
    return flow
  }

  /* Half-open TCP */

  /** One host: for IPv6 its /64. */
  function sourceOf(addr: Addr): string { return addr.slice(0, 16) }

  /** Why there is no room for one more half-open flow of that source. A hairpinned one was counted where it came from. */
  function halfOpenRefused(p: Packet, source: Addr, inUse: Flow | null): DropReason | null {
    if (p.protocol !== TCP) return null
    const half = () => flows.all().filter(f => f.halfOpen !== null)
    const { halfOpen, halfOpenPerSource } = options
    const own = half().filter(f => f.halfOpen === sourceOf(source)).length
    if (inUse === null && halfOpenPerSource > 0 && own >= halfOpenPerSource) return 'half-open-source'
    const most = Math.min(halfOpen, Math.floor(options.flows / 2))
    if (most === 0 || half().length < most) return null
    if (options.keepsFlows) return 'half-open-full'
    const [oldest] = half().filter(f => f !== inUse).sort((a, b) => a.born - b.born)
    if (oldest !== undefined) flows.end(oldest)
    return null
  }

  /* Limits of a host */

  /** Why a host may not open, or be given, the flow that a packet is about to open; room is made. */
  function refusedFlow(p: Packet, host: Addr, source: Addr, way: Way, nowMs: number, inUse: Flow | null): DropReason | null {
    return hosts.refused(host, way, nowMs) ?? halfOpenRefused(p, source, inUse)
  }

  /* Unsolicited SYNs */

  interface Waiting { version: 4 | 6; local: Endpoint; peer: Endpoint; deadline: number; packet: Packet }
  let waiting: Waiting[] = []

  /** Drops what nobody inside has asked for; a SYN from outside is remembered. */
  function unsolicited(p: Packet, drop: DropReason, inUse: Flow | null, nowMs: number): Decision {
    if (inUse !== null || p.protocol !== TCP || !isOpening(flagsOf(p)) || isReset(flagsOf(p)) || options.heldSyns === 0) return { drop }
    const { insidePort, peerPort } = portsOf(p, 'in')
    const local = { addr: p.dst, port: insidePort }, peer = { addr: p.src, port: peerPort }
    if (waiting.some(syn => syn.version === p.version && same(syn.local, local) && same(syn.peer, peer))) return { drop }
    if (waiting.length < options.heldSyns) {
      waiting.push({ version: p.version, local, peer, deadline: nowMs + timers.unsolicitedSynMs | 0, packet: p })
    }
    return { drop }
  }

  /** Those whose silence is over by now are answered, each at its own time. */
  function answerLate(nowMs: number): Sent[] {
    const over = waiting.filter(syn => ((syn.deadline - nowMs) | 0) <= 0)
    waiting = waiting.filter(syn => !over.includes(syn))
    return over.flatMap(({ packet, deadline }) => answerTo(packet, 'outside', 'port-unreachable', deadline))
  }

  /** By its sequence number a segment of a flow is dropped for a reason, or passes without being followed. */
  function strange(flow: Flow, p: Packet, way: Way): DropReason | 'aside' | null {
    if (flow.ends === null) return null
    const { ends, is } = judged(flow.ends, p, way, flow.tcp!, options.tcpWindow === 'strict')
    flow.ends = ends
    return is === 'good' ? null : is
  }

  /* Rules (MIDCOM) */

  /** The rule of a packet between A0 and A3. */
  function ruleOf(p: Packet, way: Way, local: Endpoint, peer: Endpoint, bound: boolean): Rule | null {
    const opens = p.protocol !== TCP || isOpening(flagsOf(p)) && !isReset(flagsOf(p))
    const asked: Asked = { version: p.version, protocol: p.protocol, way, local, peer, opens, bound }
    return rules.of(asked)
  }

  /* Firewall rules */

  interface Said { opener: Opener; rule: number; verdict: Verdict }

  /** What the firewall rules say of a packet that would open a flow, or a blocked direction. */
  function ask(p: Packet, way: Way, local: Endpoint, peer: Endpoint): Said {
    const opener = openerOf(p, way, local, peer, cameBy), rule = firewall.first(opener)
    firewall.count(rule, p.netBytes)
    return { opener, rule, verdict: firewall.verdict(rule) }
  }

  function refusesLater(p: Packet, side: Side): boolean {
    const [local, peer] = [p.src, p.dst].map(addr => ({ addr, port: 0 }))
    const opener = side === 'inside' ? openerOf(p, 'out', local, peer, cameBy, true) : openerOf(p, 'in', peer, local, cameBy, true)
    const rule = firewall.first(opener)
    if (rule === 0 || !firewall.rules[rule - 1].frag) return false
    firewall.count(rule, p.netBytes)
    return firewall.verdict(rule) === 'deny'
  }

  /** A new set: what it forbids ends. */
  function replaceRules(list: readonly FirewallRule[]): void {
    firewall.replace(list)
    for (const flow of flows.all()) {
      const ruled = flow.halves.out.rule !== 0 || flow.halves.in.rule !== 0
      if (ruled || flow.opener === null) {
        // What a firewall rule opened besides asks again.
        const open = flow.protocol === TCP || options.outboundPermit
        if (!open) for (const half of Object.values(flow.halves)) if (half.rule === 0) half.blocked = true
        continue
      }
      const rule = firewall.first(flow.opener), verdict = firewall.verdict(rule)
      const byDefault = flow.opener.way === 'out' ? options.outboundPermit
        : flow.mapping === null ? options.inboundPermit || flow.admittedBy === 0 || prefixes.isOurs(flow.peer.addr)
          : flow.admittedBy === 0 || options.filtering === 'endpoint-independent' && options.outboundPermit && !flow.mapping.bound
      if (verdict === 'deny' || verdict === 'silent' && !byDefault) flows.end(flow)
      else flow.admittedBy = rule
    }
  }

  /** A packet of a flow that is there: a blocked direction opens, or the packet is dropped. */
  function crosses(flow: Flow, p: Packet, way: Way, bound: boolean): DropReason | null {
    if (!flow.halves[way].blocked) return null
    const rule = ruleOf(p, way, flow.inside, flow.peer, bound)
    if (rule?.disable) return 'denied-by-rule'
    if (rule !== null) flow.halves[way] = midcom.taken(rule)
    else {
      const { verdict } = ask(p, way, flow.inside, flow.peer)
      if (verdict === 'deny') return 'denied-by-firewall'
      if (verdict === 'silent') return way === 'in' && flow.mapping !== null ? 'filtered' : 'denied'
      flow.halves[way].blocked = false
    }
    return null
  }

  /** The packet with another peer. An ICMP query has no port there: its identifier stays. */
  function repeer(p: Packet, end: 'src' | 'dst', peer: Endpoint): Packet {
    const port = isIcmp(p) ? get16(p.bytes, p.l4 + 4) : peer.port
    return { ...p, [end]: peer.addr, bytes: readdress4(p.bytes, end, peer.addr, port) }
  }

  /* Flows and mappings */

  /** Port words of a packet that goes from inside to its peer (`out`), or back (`in`). */
  function portsOf(p: Packet, way: Way): Seen { return portsAt(p.bytes, p.l4, p, way) }

  function portsAt(bytes: Uint8Array, l4: number, of: { version: 4 | 6; protocol: number }, way: Way): Seen {
    if (isIcmp(of)) return { insidePort: get16(bytes, l4 + 4), peerPort: 0 }
    if (!hasPorts(of)) return { insidePort: 0, peerPort: 0 }
    const [srcPort, dstPort] = [get16(bytes, l4), get16(bytes, l4 + 2)]
    return way === 'out' ? { insidePort: srcPort, peerPort: dstPort } : { insidePort: dstPort, peerPort: srcPort }
  }

  function isReply(p: Packet): boolean { return isIcmp(p) && icmpKind(p.version, p.bytes[p.l4]) === 'reply' }

  function tcpRefused(p: Packet): boolean {
    if (p.protocol !== TCP) return false
    return isReset(flagsOf(p)) || !options.tcpMidstream && !isOpening(flagsOf(p))
  }

  function flowFrom(p: { version: 4 | 6; protocol: number }, inside: Endpoint, peer: Endpoint): Flow | null {
    const alike = (f: Flow) => f.version === p.version && f.protocol === p.protocol
    return flows.find(f => alike(f) && same(f.inside, inside) && same(f.peer, peer))
  }

  /* IPv6 prefixes */

  function noCounterpart({ is }: Counterpart): DropReason { return is === 'bad-iid' ? 'npt6-bad-identifier' : 'npt6-unmapped' }

  /** Why a packet from inside has no way across where prefixes are translated, or null. */
  function untranslatable(p: Packet): Decision | null {
    const source = prefixes.outward(p.src), target = prefixes.inward(p.dst)
    if (source.is === 'unmapped' || source.is === 'bad-iid') {
      if (inside(p.dst)) return { drop: 'inside-to-inside' }
      return { drop: noCounterpart(source), answer: source.is === 'bad-iid' ? 'source-field' : 'bad-source' }
    }
    if (target.is === 'none') return null
    if (source.is === 'none') return { drop: 'inside-to-inside' }
    if (!options.hairpinning) return { drop: 'denied' }
    if (target.is === 'done') return null
    return { drop: noCounterpart(target), answer: target.is === 'bad-iid' ? 'destination-field' : 'no-route' }
  }

  /** A packet that leaves with its outside source, and comes back if it is for a prefix of ours. */
  function leave6(p: Packet, flow: Flow, nowMs: number): Decision {
    const source = prefixes.outward(p.src)
    const out = source.is === 'done' ? seenAs(p, 'src', source.addr) : p
    return prefixes.inward(p.dst).is === 'none' ? { drop: null, to: 'outside', packet: out } : fromOutside(out, nowMs, flow)
  }

  function fromInside(came: Packet, nowMs: number): Decision {
    const across = untranslatable(came)
    if (across !== null) return across
    const { insidePort, peerPort } = portsOf(came, 'out')
    let p = came, peer = { addr: p.dst, port: peerPort }
    const twice = p.version === 4 && insidePool.includes(p.dst)
    if (twice) {
      const real = bindings.peerAt(p.protocol, peer)
      if (real === null) return { drop: 'no-mapping' }
      peer = real
      p = repeer(p, 'dst', real)
    }
    const host = { addr: p.src, port: insidePort }
    let flow = flowFrom(p, host, peer)
    if (flow !== null) {
      // Reading: without an answer.
      const refused = crosses(flow, p, 'out', true)
      if (refused !== null) return { drop: refused }
      const odd = strange(flow, p, 'out')
      if (odd !== null && odd !== 'aside') return { drop: odd }
      if (odd === null) refresh(flow, p, 'out', nowMs)
      if (twice) flow.twice = true
    } else {
      // Reading: not asked of a flow that is there, which an inside address seen outside may have opened.
      if (inside(p.dst)) return { drop: 'inside-to-inside' }
      // Reading: before the checks that admit a flow, and without an answer.
      if (ours.includes(p.dst) && !options.hairpinning) return { drop: 'denied' }
      if (isReply(p)) return { drop: 'no-state' }
      const rule = ruleOf(p, 'out', host, peer, true)
      if (rule?.disable) return { drop: 'denied-by-rule' }
      const said = rule === null ? ask(p, 'out', host, peer) : null
      if (said?.verdict === 'deny') return { drop: 'denied-by-firewall', answer: 'prohibited' }
      if (said?.verdict === 'silent' && !options.outboundPermit) return { drop: 'denied', answer: 'prohibited' }
      if (rule === null && tcpRefused(p)) return { drop: 'tcp-midstream' }
      const refused = refusedFlow(p, host.addr, host.addr, 'out', nowMs, null) ?? flows.makeRoom(nowMs, null)
      if (refused !== null) return { drop: refused, answer: 'unavailable' }
      let mapping: Mapping | null = null
      if (translated(p.version) && (ours.includes(peer.addr) || !kept(p.protocol, p.src, peer))) {
        const found = mappingFor(p, host, peer)
        if (typeof found === 'string') return { drop: found, answer: 'unavailable' }
        mapping = found
      }
      flow = open(p, 'out', host, peer, mapping, nowMs, rule, said)
      flow.twice = twice
    }
    // Reading: a hairpinned packet counts here even if its second half is dropped, as the deadline is set here.
    midcom.count(flow, 'out', p.netBytes, nowMs)
    if (p.version === 6) return leave6(p, flow, nowMs)
    if (flow.mapping === null) return { drop: null, to: 'outside', packet: p }
    const { addr, port } = flow.mapping.outside
    const out = { ...p, src: addr, bytes: readdress4(p.bytes, 'src', addr, port) }
    return ours.includes(p.dst) ? toOurs(out, nowMs, flow) : { drop: null, to: 'outside', packet: out }
  }

  function mappingFor(p: Packet, host: Endpoint, peer: Endpoint): Mapping | DropReason {
    const known = bindings.mappingOf(p.protocol, host) ?? flows.mappingOf(p.protocol, host)
    // Nobody else is behind a bound address.
    if (known?.bound) return known
    const addr = known?.outside.addr ?? flows.pairedAddr(host.addr)
    if (!hasPorts(p)) {
      // Reading: also when the mapping is known, because the way back has nothing but the peer to tell hosts apart.
      const taken = flows.find(f => f.protocol === p.protocol && f.mapping !== null && f.mapping.outside.addr === addr
        && same(f.peer, peer) && f.inside.addr !== host.addr)
      if (taken !== null) return 'protocol-conflict'
      return known ?? { protocol: p.protocol, inside: host, outside: { addr, port: 0 }, bound: false }
    }
    if (known !== null) return known
    if (!hosts.mayMap(host.addr, p.protocol)) return 'host-ports'
    const port = flows.freePort(p.protocol, addr, host.port, host.addr)
    return port === null ? 'no-outside-port' : { protocol: p.protocol, inside: host, outside: { addr, port }, bound: false }
  }

  /** May the packet open a flow from outside, whatever the policy is? */
  function welcome(p: Packet, host: Addr, peer: Addr): boolean {
    if (p.version !== 6) return false
    if (isIcmp(p)) return options.echo6 ?? false
    const mobility = flows.find(f => f.version === 6 && f.protocol === 135 && f.inside.addr === host && f.peer.addr === peer)
    if (p.protocol === 4 || p.protocol === 41) return mobility !== null
    const ike = p.protocol === UDP && [500, 4500].includes(get16(p.bytes, p.l4 + 2))
    const chain = headersOf(p), secured = [50, 139].includes(p.protocol) || chain.includes(51) || chain.includes(139)
    return (options.ipsec6 ?? false) && (ike || secured)
  }

  /** `inUse`: an IPv6 flow by which the packet was hairpinned. */
  function fromOutside(came: Packet, nowMs: number, inUse: Flow | null = null): Decision {
    if (translated(came.version)) {
      if (ours.includes(came.dst)) return toOurs(came, nowMs, null)
    }
    const target = prefixes.inward(came.dst)
    if (target.is === 'bad-iid') return { drop: 'npt6-bad-identifier', answer: 'destination-field' }
    if (target.is === 'unmapped') return { drop: 'npt6-unmapped' }
    if (target.is === 'none' && prefixes.hides(came.dst)) return { drop: 'no-mapping' }
    const p = target.is === 'done' ? seenAs(came, 'dst', target.addr) : came
    if (!inside(p.dst)) return { drop: 'outside-to-outside' }
    const { insidePort, peerPort } = portsOf(p, 'in')
    const host = { addr: p.dst, port: insidePort }, peer = { addr: p.src, port: peerPort }
    if (translated(p.version) && !kept(p.protocol, p.dst, peer)) return { drop: 'no-mapping' }
    let flow = flowFrom(p, host, peer)
    // The same five words may be of a flow that an outside address leads to.
    if (flow !== null && flow.mapping !== null) return { drop: 'no-mapping' }
    if (flow !== null) {
      const refused = crosses(flow, p, 'in', true)
      if (refused !== null) return { drop: refused }
      const odd = strange(flow, p, 'in')
      if (odd !== null && odd !== 'aside') return { drop: odd }
      if (odd === null) refresh(flow, p, 'in', nowMs)
    } else {
      if (isReply(p)) return { drop: 'no-state' }
      const rule = ruleOf(p, 'in', host, peer, true)
      if (rule?.disable) return { drop: 'denied-by-rule' }
      const said = rule === null ? ask(p, 'in', host, peer) : null
      if (said?.verdict === 'deny') return { drop: 'denied-by-firewall' }
      if (said?.verdict === 'silent' && !options.inboundPermit && inUse === null && !welcome(p, host.addr, peer.addr)) return unsolicited(came, 'denied', null, nowMs)
      if (rule === null && tcpRefused(p)) return { drop: 'tcp-midstream' }
      const refused = refusedFlow(p, host.addr, peer.addr, 'in', nowMs, inUse) ?? flows.makeRoom(nowMs, inUse)
      if (refused !== null) return { drop: refused }
      flow = open(p, 'in', host, peer, null, nowMs, rule, said, inUse)
      flow.twice = p.version === 4 && ((rule?.twice ?? false) || bindings.hasFixedName(p.protocol, peer))
    }
    midcom.count(flow, 'in', p.netBytes, nowMs)
    return { drop: null, to: 'inside', packet: shown(flow, p, 'src') }
  }

  /** To one of our outside addresses: from outside, or hairpinned by way of `inUse`. */
  function toOurs(p: Packet, nowMs: number, inUse: Flow | null): Decision {
    const { insidePort: outsidePort, peerPort } = portsOf(p, 'in')
    const outside = { addr: p.dst, port: outsidePort }, peer = { addr: p.src, port: peerPort }
    const binding = bindings.mappingAt(p.protocol, outside)
    const mapping = binding ?? (hasPorts(p) ? flows.mappingAt(p.protocol, outside)
      : flows.find(f => f.mapping !== null && f.protocol === p.protocol && same(f.mapping.outside, outside)
        && same(f.peer, peer))?.mapping ?? null)
    if (mapping === null) return unsolicited(p, 'no-mapping', inUse, nowMs)
    let flow = flows.flowsOf(mapping).find(f => same(f.peer, peer)) ?? null
    if (flow !== null) {
      const refused = crosses(flow, p, 'in', binding !== null)
      if (refused !== null) return { drop: refused }
      const odd = strange(flow, p, 'in')
      if (odd !== null && odd !== 'aside') return { drop: odd }
      if (odd === null) refresh(flow, p, 'in', nowMs)
    } else {
      if (insidePool.includes(p.src)) return { drop: 'martian-source' }
      if (isReply(p)) return { drop: 'no-state' }
      const rule = ruleOf(p, 'in', mapping.inside, peer, binding !== null)
      if (rule?.disable) return { drop: 'denied-by-rule' }
      const isFixed = [...bindings.ports, ...bindings.addresses].some(b => b.fixed
        && (typeof b.outside === 'string' ? b.outside === outside.addr
          : 'protocol' in b && b.protocol === p.protocol && same(b.outside, outside)))
      const isWhole = bindings.addresses.some(b => b.outside === outside.addr)
      const isPermitted = isFixed && fixed.admits(p.protocol, mapping.inside, peer)
        || (binding === null || isFixed && isWhole) && options.outboundPermit && admits(mapping, peer)
      const said = rule === null ? ask(p, 'in', mapping.inside, peer) : null
      if (said?.verdict === 'deny') return { drop: 'denied-by-firewall' }
      if (said?.verdict === 'silent' && !isPermitted) return unsolicited(p, 'filtered', inUse, nowMs)
      if (rule === null && tcpRefused(p)) return { drop: 'tcp-midstream' }
      const refused = refusedFlow(p, mapping.inside.addr, peer.addr, 'in', nowMs, inUse)
      if (refused !== null) return { drop: refused }
      // The same five words on the other mapping of the endpoint.
      const older = flowFrom(p, mapping.inside, peer)
      if (older !== null) flows.end(older)
      const full = flows.makeRoom(nowMs, inUse)
      if (full !== null) return { drop: full }
      if (binding === null && flows.flowsOf(mapping).length === 0) return { drop: 'no-mapping' }
      flow = open(p, 'in', mapping.inside, peer, mapping, nowMs, rule, said, inUse)
      flow.twice = (rule?.twice ?? false) || bindings.hasFixedName(p.protocol, peer)
    }
    midcom.count(flow, 'in', p.netBytes, nowMs)
    const { addr, port } = flow.inside
    const towards = { ...p, dst: addr, bytes: readdress4(p.bytes, 'dst', addr, port) }
    return { drop: null, to: 'inside', packet: shown(flow, towards, 'src') }
  }

  /** A peer as a flow of twice-NAT shows it to the inside. */
  function shown(flow: Flow, p: Packet, end: 'src' | 'dst'): Packet {
    const as = flow.twice ? bindings.shownFor(flow.protocol, flow.peer) : null
    return as === null ? p : repeer(p, end, as)
  }

  function admits(mapping: Mapping, peer: Endpoint): boolean {
    const filtering = mapping.protocol === TCP ? options.tcpFiltering : options.filtering
    if (filtering === 'endpoint-independent') return flows.flowsOf(mapping).length > 0
    if (filtering === 'address-and-port-dependent') return false
    return flows.flowsOf(mapping).some(f => f.peer.addr === peer.addr)
  }

  /* ICMP errors */

  function icmpError(p: Packet, side: Side): Decision {
    const uncut = p.piece === null && p.bytes.length === p.netBytes
    if (uncut && !isRight(icmpCover(p))) return { drop: 'icmp-bad-checksum' }
    return side === 'inside' ? errorFromInside(p) : errorFromOutside(p)
  }

  /** The embedded packet, as far as it is there. */
  function embedded(p: Packet): { drop: DropReason } | { drop: null; quote: Packet } {
    const bytes = p.bytes.slice(p.l4 + 8), bad = { drop: 'icmp-bad-error' } as const
    // Its own length may be anything, because more was sent than is quoted. Its checksum is never filled in.
    if (p.version === 4) {
      const header = (bytes[0] & 15) * 4
      if (bytes.length < 20 || bytes[0] >> 4 !== 4 || header < 20 || bytes.length < header + 8) return bad
      if (options.ipv4Checksum !== 'ignore' && !isRight(bytes.slice(0, header))) return bad
      if (judgeOptions(bytes.slice(20, header)) === 'ipv4-source-route') return { drop: 'ipv4-source-route' }
      const word = get16(bytes, 6), later = (word & 0x1fff) !== 0
      if (later) return { drop: 'icmp-error-no-flow' }
      return { drop: null, quote: {
        version: 4, bytes, netBytes: get16(bytes, 2), src: hex(bytes.slice(12, 16)),
        dst: hex(bytes.slice(16, 20)), ttl: bytes[8], protocol: bytes[9], l4: header, piece: null,
      } }
    }
    if (bytes.length < 40 || bytes[0] >> 4 !== 6) return bad
    // Read as if its length were what is there: a header beyond that is not quoted.
    const parsed = parse(put16(bytes, 4, bytes.length - 40), bytes.length, 6, 'ignore')
    if (parsed.drop !== null || parsed.value.l4 + 8 > bytes.length) return bad
    if (parsed.value.piece !== null && parsed.value.piece.start > 0) return { drop: 'icmp-error-no-flow' }
    return { drop: null, quote: parsed.value }
  }

  /** Of ICMP only queries and replies belong to flows. */
  function isNoQuery(quote: Packet): boolean {
    return isIcmp(quote) && !['request', 'reply'].includes(icmpKind(quote.version, quote.bytes[quote.l4]))
  }

  function errorFromOutside(p: Packet): Decision {
    const read = embedded(p), none = { drop: 'icmp-error-no-flow' } as const
    if (read.drop !== null) return read
    const { quote } = read
    if (isNoQuery(quote) || quote.src !== p.dst) return none
    const { insidePort, peerPort } = portsOf(quote, 'out')
    const own = prefixes.inward(quote.src)
    if (own.is !== 'done' && (own.is !== 'none' || prefixes.hides(quote.src))) return none
    const source = { addr: own.is === 'done' ? own.addr : quote.src, port: insidePort }, peer = { addr: quote.dst, port: peerPort }
    // A flow that is not translated is known by its inside endpoint, and by nothing else.
    const flow = flows.find(f => f.version === p.version && f.protocol === quote.protocol
      && same(f.mapping?.outside ?? f.inside, source) && same(f.peer, peer))
    if (flow === null) return none
    if (own.is === 'done') return { drop: null, to: 'inside', packet: quotingAs(seenAs(p, 'dst', own.addr), 'src', own.addr) }
    if (flow.mapping === null && !flow.twice) return { drop: null, to: 'inside', packet: p }
    const { addr, port } = flow.inside
    const own4 = flow.mapping === null ? quote : { ...quote, bytes: readdress4(quote.bytes, 'src', addr, port) }
    const inner = shown(flow, own4, 'dst')
    if (inner === quote) return { drop: null, to: 'inside', packet: p }
    const src = p.src === flow.peer.addr ? inner.dst : p.src
    const bytes = readdressOuter(readdressOuter(requote(p.bytes, p.l4, inner.bytes), 'dst', addr), 'src', src)
    return { drop: null, to: 'inside', packet: { ...p, src, dst: addr, bytes } }
  }

  function errorFromInside(came: Packet): Decision {
    const read = embedded(came), none = { drop: 'icmp-error-no-flow' } as const
    if (read.drop !== null) return read
    let { quote } = read, p = came
    if (isNoQuery(quote) || quote.src !== p.dst) return none
    const { insidePort, peerPort } = portsOf(quote, 'in')
    const host = { addr: quote.dst, port: insidePort }
    let peer = { addr: quote.src, port: peerPort }
    if (p.version === 4 && insidePool.includes(p.dst)) {
      // Reading: here what is not bound belongs to no flow.
      const real = bindings.peerAt(quote.protocol, peer)
      if (real === null) return none
      peer = real
      quote = repeer(quote, 'src', real)
      p = { ...p, dst: real.addr, bytes: readdressOuter(p.bytes, 'dst', real.addr) }
    }
    const flow = flowFrom(quote, host, peer)
    if (flow === null) return none
    if (p.version === 6) {
      const outer = prefixes.outward(p.src), host6 = prefixes.outward(quote.dst)
      if (outer.is === 'unmapped' || outer.is === 'bad-iid') return { drop: noCounterpart(outer) }
      let out = outer.is === 'done' ? seenAs(p, 'src', outer.addr) : p
      if (host6.is === 'done') out = quotingAs(out, 'dst', host6.addr)
      return prefixes.isOurs(p.dst) ? errorFromOutside(out) : { drop: null, to: 'outside', packet: out }
    }
    // Reading: without NAT nothing is rewritten, not even the source of a router further inside.
    if (flow.mapping === null) {
      const bytes = quote === read.quote ? p.bytes : requote(p.bytes, p.l4, quote.bytes)
      return { drop: null, to: 'outside', packet: { ...p, bytes } }
    }
    const { addr, port } = flow.mapping.outside
    const bytes = requote(p.bytes, p.l4, readdress4(quote.bytes, 'dst', addr, port))
    const src = bindings.addressOf(p.src) ?? addr
    const out = { ...p, src, bytes: readdressOuter(bytes, 'src', src) }
    return ours.includes(p.dst) ? errorFromOutside(out) : { drop: null, to: 'outside', packet: out }
  }

  /** An ICMPv6 error that quotes another address. Its checksum stays, as right or as wrong as it was. */
  function quotingAs(p: Packet, end: 'src' | 'dst', addr: Addr): Packet {
    return { ...p, bytes: readdress6(p.bytes, end, addr, p.l4 + 8) }
  }

  /** Address and header checksum only: the checksum of ICMP covers no address. */
  function readdressOuter(bytes: Uint8Array, end: 'src' | 'dst', addr: Addr): Uint8Array {
    const header = (bytes[0] & 15) * 4
    const fresh = readdress4(bytes.slice(0, header), end, addr, 0), next = bytes.slice()
    next.set(fresh)
    return next
  }

  /* ICMP errors of our own */

  const errors = new Bucket(options.icmpErrorsPerSecond), icmpRate = new Bucket(options.icmpPerSecond)
  const fragmentRate = new Bucket(options.fragmentsPerSecond)

  function mayAnswer(nowMs: number): boolean {
    const may = errors.take(nowMs)
    if (!may) suppressed++
    return may
  }

  function answerTo(
    p: Packet, side: Side, kind: Answer, nowMs: number, mtu = 0,
  ): Sent[] {
    if (p.piece !== null && p.piece.start > 0) return []
    // Reading: an ICMP packet whose type was not captured may be an error. Redirect and source quench are errors here.
    const errorTypes = p.version === 4 ? [3, 4, 5, 11, 12] : [...Array(128).keys(), 137]
    if (isIcmp(p) && (p.l4 >= p.bytes.length || errorTypes.includes(p.bytes[p.l4]))) return []
    if (!mayAnswer(nowMs)) return []
    const four = p.version === 4, most = four ? 576 - 28 : 1280 - 48
    // Reading: a header checksum that was filled in is quoted so; who gets the error may check it.
    const quote = p.bytes.slice(0, most), body = new Uint8Array(8 + quote.length)
    const numbers: Record<Answer, number[]> = {
      'time-exceeded': [11, 0, 3, 0], 'prohibited': [3, 13, 1, 1], 'unavailable': options.refusesByHost ? [3, 1, 1, 3] : [3, 13, 1, 1],
      'port-unreachable': [3, 3, 1, 1], 'too-big': [3, 4, 2, 0],
      'no-route': [0, 0, 1, 0], 'bad-source': [0, 0, 1, 5], 'source-field': [0, 0, 4, 0, 8], 'destination-field': [0, 0, 4, 0, 24],
    }
    const [type4, code4, type6, code6, pointer = mtu] = numbers[kind]
    body.set(four ? [type4, code4] : [type6, code6])
    body.set(put16(new Uint8Array(4), 2, pointer), 4)
    body.set(quote, 8)
    const seen = prefixes.outward(addrOf(options.boxAddress6))
    let src = four ? addrOf([options.boxAddress4]) : side === 'outside' && seen.is === 'done' ? seen.addr : addrOf(options.boxAddress6)
    if (four && side === 'outside' && nat44) src = ours.includes(p.dst) ? p.dst : pool[0]
    const bytes = four ? whole4(src, p.src, p.bytes[1], body) : whole6(src, p.src, body)
    return [{ side, kind: 'reply', bytes, wireBytes: bytes.length }]
  }

  function whole4(src: Addr, dst: Addr, tos: number, body: Uint8Array): Uint8Array {
    const sum = put16(body, 2, complement(sumOf(body)))
    const header = Uint8Array.from([0x45, tos & 0xfc, 0, 0, 0, 0, 0x40, 0, 64, ICMP, 0, 0, ...unhex(src), ...unhex(dst)])
    const long = put16(header, 2, 20 + body.length)
    return Uint8Array.from([...put16(long, 10, complement(sumOf(long))), ...sum])
  }

  /** Reading: TTL is the hop limit here; a type of service is IPv4's alone. */
  function whole6(src: Addr, dst: Addr, body: Uint8Array): Uint8Array {
    const header = put16(Uint8Array.from([0x60, 0, 0, 0, 0, 0, 58, 64, ...unhex(src), ...unhex(dst)]), 4, body.length)
    const pseudo = Uint8Array.from([...header.slice(8, 40), ...header.slice(4, 6), 0, 58])
    const sum = put16(body, 2, complement(sumOf(pseudo) + sumOf(body)))
    return Uint8Array.from([...header, ...sum])
  }

  /* Order of checks */

  function steps6to8(p: Packet, side: Side, nowMs: number): Decision {
    const wrong = judgeTransport(p)
    if (wrong !== null) return { drop: wrong }
    const odd = p.protocol === TCP && options.tcpFlags ? judgeFlags(p) : null
    if (odd !== null) return { drop: odd }
    if (isIcmp(p)) {
      const kind = icmpKind(p.version, p.bytes[p.l4])
      if (kind === 'neither') return { drop: 'icmp-not-forwarded' }
      if (options.icmpPerSecond > 0 && !icmpRate.take(nowMs)) return { drop: 'icmp-rate' }
      if (kind === 'error') return icmpError(p, side)
    }
    return side === 'inside' ? fromInside(p, nowMs) : fromOutside(p, nowMs)
  }

  function emit(p: Packet, to: Side, kind: Sent['kind']): Sent {
    return { side: to, kind, bytes: hop(p.version, p.bytes), wireBytes: p.netBytes }
  }

  function isTooBig({ side, bytes, wireBytes }: Sent): boolean {
    return egress.mtu(side) !== 0 && wireBytes > egress.mtu(side) && !mayFragment(bytes[0] >> 4 === 6 ? 6 : 4, bytes)
  }

  /** In pieces, if the link wants that. Those after the first are none that came. */
  function cut(sent: Sent): Sent[] {
    const mtu = egress.mtu(sent.side)
    if (mtu === 0) return [sent]
    return fit({ bytes: sent.bytes, netBytes: sent.wireBytes }, mtu).map(({ bytes, netBytes }, i) =>
      ({ side: sent.side, kind: i === 0 ? sent.kind : 'release', bytes, wireBytes: netBytes }))
  }

  /** Would the outside see a unique local address? */
  function showsLocal(p: Packet, fromInside: boolean): boolean {
    const local = (addr: Addr) => under(addr, 'fc' + '0'.repeat(30), 7)
    if (fromInside) return !inside(p.dst) && (local(p.src) && !prefixes.hides(p.src) || local(p.dst))
    return local(p.src) || local(p.dst) && !prefixes.hides(p.dst)
  }

  function packet(input: ModelInput): Outcome {
    const nowMs = advance(input.nowMs), late = answerLate(nowMs)
    cameBy = input.interface ?? 0
    const heldDrops: Outcome['heldDrops'] = []
    const dropHeld = (count: number, reason: DropReason) => {
      for (let i = 0; i < count; i++) heldDrops.push({ reason })
    }
    const refused = (reason: DropReason, sent: Sent[] = []): Outcome => ({ verdict: 'drop', reason, late, sent, heldDrops })
    dropHeld(overdue + fragments.expire(nowMs), 'fragment-timeout')
    overdue = 0

    const net = input.net ?? (input.bytes.length > 0 && input.bytes[0] >> 4 === 6 ? 6 : 4)
    const parsed = parse(input.bytes, input.wireBytes, net, options.ipv4Checksum)
    if (parsed.drop !== null) return refused(parsed.drop)
    const p = parsed.value
    const fromInside = input.side === 'inside', judged = options.spoofing !== 'ignore' && !fromInside || options.spoofing === 'both'
    const own6 = prefixes.isOurs(p.src) ? [p.src] : []
    const local6 = options.uniqueLocal === true && p.version === 6 && showsLocal(p, fromInside)
    const reserved6 = options.reserved6 === true && p.version === 6
    const martian = judgeAddresses(p, [...ours, ...own6], input.group ?? false, judged && inside(p.src) !== fromInside, reserved6, local6)
    if (martian !== null) return refused(martian)
    if (p.ttl <= 1) {
      const isKept = p.version === 4 && fixed.isUntranslated(p.protocol, p.dst, p.src, null)
      const toUs = p.version === 4 && nat44 && !isKept ? ours.includes(p.dst)
        : prefixes.isOurs(p.dst) || inside(p.dst) && !prefixes.hides(p.dst)
      const wouldCross = input.side === 'inside' ? !inside(p.dst) || insidePool.includes(p.dst) : toUs
      return refused('ttl-exceeded', wouldCross ? answerTo(p, input.side, 'time-exceeded', nowMs) : [])
    }

    const tooBig = (to: Side) => refused('too-big', answerTo(p, input.side, 'too-big', nowMs, egress.mtu(to)))
    let firstId: number | null = null
    const conclude = (decision: Decision): Outcome => {
      if (decision.drop === null) {
        const { to } = decision, mtu = egress.mtu(to), out = decision.packet
        // Another source than it came with is one of ours.
        const identify = () => out.version === 4 && out.src !== p.src ? egress.identify(out.src) : null
        const open = mayFragment(p.version, p.bytes), isAll = open && egress.options.identification === 'all'
        const isBig = mtu !== 0 && out.netBytes > mtu
        if (p.piece !== null || isAll || isBig && open) firstId = identify()
        const clamped = egress.clamp(firstId === null ? out : { ...out, bytes: withId(out.bytes, firstId) })
        if (isBig && !open) return tooBig(to)
        return { verdict: to, late, sent: cut(emit(clamped, to, 'packet')), heldDrops }
      }
      return refused(decision.drop, decision.answer ? answerTo(p, input.side, decision.answer, nowMs) : [])
    }
    if (p.piece === null) return conclude(steps6to8(p, input.side, nowMs))

    if (options.fragmentsPerSecond > 0 && !fragmentRate.take(nowMs)) return refused('fragment-rate')
    if (p.piece.start > 0 && refusesLater(p, input.side)) return refused('denied-by-firewall')
    const admitted = fragments.admit(p, input.side, nowMs)
    if (admitted.drop !== null) {
      dropHeld(admitted.overlapped, admitted.drop)
      return refused(admitted.drop)
    }
    const { datagram, came } = admitted
    if (p.piece.start > 0) {
      if (datagram.first === null) return { verdict: 'held', late, sent: [], heldDrops }
      fragments.sent(datagram, [came])
      const out = follow(p, datagram.first, 'packet')
      if (isTooBig(out)) return tooBig(out.side)
      return { verdict: out.side, late, sent: cut(out), heldDrops }
    }
    const decision = steps6to8(p, input.side, nowMs)
    const outcome = conclude(decision)
    if (decision.drop !== null || outcome.verdict === 'drop') {
      dropHeld(fragments.mark(datagram, 'fragment-of-dropped'), 'fragment-of-dropped')
      return outcome
    }
    const leaving = { to: decision.to, src: decision.packet.src, dst: decision.packet.dst, id: firstId }
    datagram.first = leaving
    const leavers = datagram.held.map(({ packet: held }) => follow(held, leaving, 'release'))
    dropHeld(leavers.filter(isTooBig).length, 'too-big')
    const cuts = leavers.filter(one => !isTooBig(one)).map(cut)
    outcome.sent.push(...cuts.map(([one]) => one), ...cuts.flatMap(([, ...rest]) => rest))
    const released = datagram.held
    datagram.held = []
    fragments.sent(datagram, [came, ...released.map(h => h.came)])
    return outcome
  }

  /** A fragment after the first, with the addresses that the first one left with. */
  function follow(p: Packet, first: Leaving, kind: Sent['kind']): Sent {
    let { bytes } = p
    const readdress = p.version === 4 ? readdressOuter : readdress6
    if (p.src !== first.src) bytes = readdress(bytes, 'src', first.src)
    if (p.dst !== first.dst) bytes = readdress(bytes, 'dst', first.dst)
    if (first.id !== null) bytes = withId(bytes, first.id)
    return emit({ ...p, bytes }, first.to, kind)
  }

  return {
    options,
    fixed,
    prefixes,
    packet,
    /** Carries out commands between packets. Reading: what has passed its deadline is gone before that too. */
    command(list: readonly Command[], nowMs: number): void {
      const now = advance(nowMs)
      // The next packet tells.
      overdue += fragments.expire(now)
      for (const command of list) {
        if (command.op === 'replace-rules') replaceRules(command.rules)
        else midcom.carryOut(command, now)
      }
    },
    midcom,
    firewall,
    /** The end of a replay: what is still held is dropped. */
    finish(): Outcome['heldDrops'] {
      return Array.from({ length: overdue + fragments.finish() }, () => ({ reason: 'fragment-timeout' as const }))
    },
    /** Where an inside endpoint is seen by a peer at this moment; without a mapping where its host would be. */
    outsideEndpoint(protocol: number, addr: Addr, port: number, peer: Endpoint, nowMs: number): Endpoint {
      advance(nowMs)
      const ported = hasPorts({ version: 4, protocol }), inside = { addr, port: ported ? port : 0 }
      const of = { version: 4, protocol } as const, to = { addr: peer.addr, port: ported && protocol !== ICMP ? peer.port : 0 }
      const mapping = flowFrom(of, inside, to)?.mapping ?? bindings.portOf(protocol, inside) ?? flows.mappingOf(protocol, inside)
      return mapping?.outside ?? { addr: bindings.addressOf(addr) ?? flows.pairedAddr(addr), port }
    },
    flows,
    fragments,
    icmpSuppressed: () => suppressed,
    /** SYNs that wait for the end of their silence. */
    waiting: () => waiting.length,
    advance,
  }
}
