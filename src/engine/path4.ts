/**
 * IPv4 packets: translated by the flow that they belong to or open, turned round at one of our own addresses, or sent on as they
 * are where no NAT stands in the way.
 */
import { counterIndex } from '../channel/counters.ts'
import { reasonIndex } from '../channel/reasons.ts'
import { TO_OUTSIDE } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import type { Admission } from './admission.ts'
import type { createEnds } from './ends.ts'
import { PERMITTED, REFUSED, SILENT, type Firewall } from './firewall.ts'
import type { FixedNat } from './fixed-nat.ts'
import {
  BLOCK_OUT, CONFLICT, DELTA, FLOW_BITS, HAIRPIN, INSIDE, KIND, MAPPED, NO_PORT, NO_ROOM, OUTSIDE, OUTSIDE_PORTS, PEER, PORTS,
  RULED, TOO_MANY_PORTS, TWICE,
} from './flows.ts'
import { FOUND_ADDRESS, FOUND_FIXED, FOUND_PORT, type InsideBindings } from './inside-bindings.ts'
import { FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import { CLASS_ICMP, CLASS_NONE, CLASS_OF, CLASS_TCP, CLASSES } from './ports.ts'
import { DISABLED, NO_RULE, type Rules } from './rules.ts'
import type { Share } from './share.ts'
import type { Shared } from './shared.ts'
import { DIR_IN, DIR_OUT } from './tcp-state.ts'
import { CHECKSUM_AT, type UpdateSum } from './transport-sums.ts'

const INSIDE_TO_INSIDE = reasonIndex('inside-to-inside'), OUTSIDE_TO_OUTSIDE = reasonIndex('outside-to-outside')
const NO_MAPPING = reasonIndex('no-mapping'), FILTERED = reasonIndex('filtered'), NO_STATE = reasonIndex('no-state')
const DENIED = reasonIndex('denied'), MARTIAN_SOURCE = reasonIndex('martian-source')
const DENIED_BY_FIREWALL = reasonIndex('denied-by-firewall'), DENIED_BY_RULE = reasonIndex('denied-by-rule')
const FLOW_TABLE_FULL = reasonIndex('flow-table-full')
/** Why no flow could be opened, by the negative of what `Flows` says. */
const WHY_NOT: number[] = []
WHY_NOT[-NO_PORT] = reasonIndex('no-outside-port')
WHY_NOT[-CONFLICT] = reasonIndex('protocol-conflict')
WHY_NOT[-NO_ROOM] = FLOW_TABLE_FULL
WHY_NOT[-TOO_MANY_PORTS] = reasonIndex('host-ports')

const ICMP = 1, TCP = 6
/** The other zero of one's complement: an identifier that stays has this delta on its way out, so on its way in as well. */
const NO_CHANGE = 0xffff
/** What one hop less does to the sum of an IPv4 header: ~0x0100 in the word of the TTL. */
const HOP_DELTA = 0xfeff

export interface Path4Parts {
  /** The time of the packet that is decided, one word. */
  now: Int32Array
  admission: Admission
  rules: Rules
  firewall: Firewall
  insideBindings: InsideBindings
  fixedNat: FixedNat
  ends: ReturnType<typeof createEnds>
  updateSum: UpdateSum
  /** Addresses of the pool from there on are whole ones that the configuration gives to hosts. */
  firstStatic: number
  /** Are there addresses that stand for outside hosts? */
  isTwice: boolean
}

export function createPath4(shared: Shared, parts: Path4Parts) {
  const { options, frames, rows, pool, flows, counters, share } = shared
  const { view, off, capBytes, l3, side, netBytes, verdict } = frames
  const { local: localColumn, peer: peerColumn, ports: portsColumn, kind: kindColumn, l4: l4Column } = rows
  const { word2: word2Column, hint: hintColumn } = rows
  const { F, portOwner, addressOwner, isBinding, isForward, hash4, find4, findMapping, findPeer } = flows
  const { openOut, openIn, openPlain4, remove } = flows
  const { has4 } = options.inside
  const { indexOf } = pool
  const { nat44, filtering, hairpinning, outboundPermit } = options
  const { now: $now, updateSum, firstStatic, isTwice } = parts
  const { drop, refuse, unsolicited, prohibit, unavailing, advance, opening, opened, isIcmpReply, meet } = parts.admission
  const { admitFromOutside } = parts.admission
  const { consult4, count } = parts.rules
  const { ask4, standing } = parts.firewall
  const { has: hasInside, toPeer, toInside, found } = parts.insideBindings
  const { isUntranslated, admits } = parts.fixedNat
  const { replaceEnd, remember, forget } = parts.ends
  const HAIRPINS = counterIndex('hairpin-packets'), RULE_FLOWS_ENDED = counterIndex('rule-flows-ended')
  const tcpFiltering = options.tcpFiltering ?? filtering

  /* With NAT. */

  /**
   * UDP or TCP, either direction. `dir` selects the face of the flow that the packet shows, and by its complement the one it gets:
   * there is no branch on direction or protocol before the checksum, because a forwarder cannot foretell either.
   */
  function pass4(i: number): void {
    const dir = side[i]
    const base = hintColumn[i] << FLOW_BITS
    // Version and protocol, and the direction is not blocked.
    if (F[base + dir] === localColumn[i] && F[base + PEER] === peerColumn[i] && F[base + PORTS + dir] === portsColumn[i]
      && (F[base + KIND] & (~0xffff | (BLOCK_OUT << dir))) === kindColumn[i] << 16) {
      if (advance(i, base, dir)) translate(i, base, dir)
    } else miss4(i, dir)
  }

  /** The hint was for another flow, or the flow was opened a moment ago by a packet of the same batch, or there is none. */
  function miss4(i: number, dir: number): void {
    const slot = dir === DIR_OUT ? findOrOpenOut(i) : findOrOpenIn(i, 0)
    if (slot !== 0) translate(i, slot << FLOW_BITS, dir)
  }

  /** Rewrites row i by the flow at `base`, less one hop, and sends it on. */
  function translate(i: number, base: number, dir: number): void {
    const p = l3[i], l4 = l4Column[i], word2 = word2Column[i]
    const protocol = (word2 >>> 16) & 255
    const delta = F[base + DELTA] ^ (0 - dir)
    let sum = (~word2 & 0xffff) + (delta >>> 16) + HOP_DELTA
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    // TTL less one, protocol, checksum: one store.
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - 0x01000000) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC + (dir << 2), F[base + OUTSIDE - dir])
    // @req RFC4787 REQ-10, REQ-10a
    // @req RFC5382 REQ-6
    view.setUint16(l4 + (dir << 1), F[base + OUTSIDE_PORTS - dir] >>> 16)
    updateSum(l4 + CHECKSUM_AT[protocol], protocol, delta & 0xffff)
    verdict[i] = TO_OUTSIDE - dir
    if ((F[base + KIND] & (HAIRPIN | RULED | TWICE)) !== 0) afterwards(i, base >>> FLOW_BITS, dir)
  }

  /** Row i was translated by a flow that is not an everyday one. */
  function afterwards(i: number, slot: number, dir: number): void {
    const flags = F[(slot << FLOW_BITS) + KIND]
    if ((flags & RULED) !== 0) count(i, slot, dir, $now[0])
    if (dir === DIR_IN) {
      if ((flags & TWICE) !== 0) showPeer(i)
    } else if ((flags & HAIRPIN) !== 0) hairpin(i, slot)
  }

  /** Row i, on its way in, gets the source that the inside knows its peer by, if there is one (twice-NAT). */
  function showPeer(i: number): void {
    if (toInside(kindColumn[i] & 255, peerColumn[i], portsColumn[i] & 0xffff)) {
      replaceEnd(i, ipv4.SRC, 0, found[FOUND_ADDRESS], found[FOUND_PORT])
    }
  }

  /**
   * Row i is for an address that stands for an outside host: it gets the real one, and goes on with it (RFC 5189, twice-NAT).
   * Its flow shows that address to the inside from now on. 0: dropped.
   */
  function findOrOpenThrough(i: number): number {
    const kind = kindColumn[i], local = localColumn[i]
    const address = peerColumn[i], port = portsColumn[i] & 0xffff
    if (!toPeer(kind & 255, address, port)) return refuse(i, NO_MAPPING)
    const hasPorts = CLASS_OF[kind & 255] <= CLASS_TCP
    remember(i)
    const peer = found[FOUND_ADDRESS]
    const newPort = hasPorts && found[FOUND_PORT] >= 0 ? found[FOUND_PORT] : port
    replaceEnd(i, ipv4.DST, 2, peer, newPort)
    word2Column[i] = view.getInt32(l3[i] + ipv4.TTL)
    peerColumn[i] = peer
    portsColumn[i] = (portsColumn[i] & ~0xffff) | newPort
    const slot = standing(find4(hash4(local, peer, portsColumn[i], kind), local, peer, portsColumn[i], kind))
    const known = slot === 0 ? admitOut4(i) : meet(i, slot, DIR_OUT)
    forget()
    if (known !== 0) F[(known << FLOW_BITS) + KIND] |= TWICE
    return known
  }

  /** ICMP queries and protocols without ports, either direction. */
  function passOther4(i: number): void {
    const dir = side[i]
    const slot = dir === DIR_OUT ? findOrOpenOut(i) : findOrOpenIn(i, 0)
    if (slot === 0) return
    if ((F[(slot << FLOW_BITS) + KIND] & MAPPED) === 0) return passUnchanged(i, slot, dir)
    translateOther(i, slot << FLOW_BITS, dir, 1)
    if ((F[(slot << FLOW_BITS) + KIND] & (HAIRPIN | RULED | TWICE)) !== 0) afterwards(i, slot, dir)
  }

  /** As `translate`, for any protocol. `hops` is 0 for a packet whose hop was counted already. */
  function translateOther(i: number, base: number, dir: number, hops: number): void {
    const p = l3[i], l4 = l4Column[i], word2 = word2Column[i]
    const protocol = (word2 >>> 16) & 255
    const delta = F[base + DELTA] ^ (0 - dir)
    let sum = (~word2 & 0xffff) + (delta >>> 16) + (hops !== 0 ? HOP_DELTA : 0)
    sum = (sum & 0xffff) + (sum >>> 16)
    sum = (sum & 0xffff) + (sum >>> 16)
    view.setInt32(p + ipv4.TTL, ((word2 & ~0xffff) - (hops << 24)) | (~sum & 0xffff))
    view.setInt32(p + ipv4.SRC + (dir << 2), F[base + OUTSIDE - dir])
    const port = F[base + OUTSIDE_PORTS - dir] >>> 16
    if (CLASS_OF[protocol] <= CLASS_TCP) view.setUint16(l4 + (dir << 1), port)
    else if (protocol === ICMP) icmp.setId(view, l4, port)
    const at = l4 + CHECKSUM_AT[protocol]
    const isThere = at !== l4 && at + 2 <= Math.min(p + netBytes[i], off[i] + capBytes[i])
    if (isThere) updateSum(at, protocol, (delta & 0xffff) || NO_CHANGE)
    verdict[i] = TO_OUTSIDE - dir
  }

  /** The flow of row i, from inside; opened if it may be. 0: dropped. */
  function findOrOpenOut(i: number): number {
    const local = localColumn[i], peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const slot = standing(find4(hash4(local, peer, ports, kind), local, peer, ports, kind))
    if (isTwice && hasInside(peer)) return findOrOpenThrough(i)
    return slot === 0 ? admitOut4(i) : meet(i, slot, DIR_OUT)
  }

  /** Opens a flow for row i, from inside. 0: dropped. */
  function admitOut4(i: number): number {
    const local = localColumn[i], peer = peerColumn[i], kind = kindColumn[i]
    if (has4(peer)) return refuse(i, INSIDE_TO_INSIDE)
    if (nat44 && !hairpinning && indexOf(peer) >= 0) return refuse(i, DENIED)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const rule = consult4(i, DIR_OUT, local, portsColumn[i], false)
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
    const said = rule === NO_RULE ? ask4(i, DIR_OUT, local, portsColumn[i]) : PERMITTED
    if (said === REFUSED) return prohibit(i, DENIED_BY_FIREWALL)
    if (said === SILENT && !outboundPermit) return prohibit(i, DENIED)
    const state = opening(i, DIR_OUT, 0, local)
    if (state < 0) return 0
    // @req RFC5508 REQ-1, REQ-10a3
    // @req RFC6888 REQ-6
    const isMapped = nat44 && (indexOf(peer) >= 0 || !isUntranslated(kind & 255, local, peer, portsColumn[i]))
    const slot = isMapped ? openOut(local, peer, portsColumn[i], kind, state, 0, $now[0])
      : openPlain4(local, peer, portsColumn[i], kind, state, $now[0])
    if (slot < 0) return unavailing(i, WHY_NOT[-slot])
    opened(i, slot, DIR_OUT, rule, 0)
    return slot
  }

  /** The flow of row i, which is addressed to one of our addresses; opened if the filter admits it. 0: dropped. */
  function findOrOpenIn(i: number, keep: number): number {
    const peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const portClass = CLASS_OF[kind & 255]
    // Without ports only a flow can tell whom a packet is for.
    if (portClass === CLASS_NONE) {
      const slot = standing(findPeer(localColumn[i], 0, peer, kind))
      return slot === 0 ? admitBound4(i, keep) : meet(i, slot, DIR_IN)
    }
    const index = indexOf(localColumn[i])
    if (index >= pool.shared) return findOrOpenWhole(i, addressOwner[index], keep)
    const owner = ((index * CLASSES + portClass) << 16) | (ports >>> 16)
    const head = portOwner[owner]
    if (head === 0) return unsolicited(i, NO_MAPPING)
    const base = head << FLOW_BITS
    const inside = F[base + INSIDE]
    // @req RFC7857 6a, 6b
    const own = (F[base + PORTS] & ~0xffff) | (ports & 0xffff)
    const slot = find4(hash4(inside, peer, own, kind), inside, peer, own, kind)
    // The mapping may have ended with the flow.
    if (slot !== 0 && standing(slot) === 0) return findOrOpenIn(i, keep)
    if (slot === 0) return admitIn4(i, owner, 0, keep)
    // A flow that is older than the binding has another outside endpoint.
    const isOwn = F[(slot << FLOW_BITS) + OUTSIDE] === localColumn[i] && F[(slot << FLOW_BITS) + OUTSIDE_PORTS] === ports
    return isOwn ? meet(i, slot, DIR_IN) : admitIn4(i, owner, slot, keep)
  }

  /** The same to an address that is `inside`'s alone; 0: nobody's. */
  function findOrOpenWhole(i: number, inside: number, keep: number): number {
    const peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    const slot = inside === 0 ? 0 : standing(find4(hash4(inside, peer, ports, kind), inside, peer, ports, kind))
    const isOwn = F[(slot << FLOW_BITS) + OUTSIDE] === localColumn[i] && F[(slot << FLOW_BITS) + OUTSIDE_PORTS] === ports
    return slot !== 0 && isOwn ? meet(i, slot, DIR_IN) : admitBound4(i, keep)
  }

  /**
   * Opens a flow from outside in the mapping of `owner` in the port table, if its filter admits that. `rival` has the same five
   * words on another mapping, or is 0. 0: dropped.
   */
  function admitIn4(i: number, owner: number, rival: number, keep: number): number {
    const peer = peerColumn[i], kind = kindColumn[i]
    if (isTwice && hasInside(peer)) return refuse(i, MARTIAN_SOURCE)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const base = portOwner[owner] << FLOW_BITS
    const ports = (F[base + PORTS] & ~0xffff) | (portsColumn[i] & 0xffff)
    const bound = isBinding(portOwner[owner])
    const rule = consult4(i, DIR_IN, F[base + INSIDE], ports, bound)
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
    // RFC 5189 2.3.9: a binding admits what its rules do, and nobody by acquaintance; nor does a mapping that only rules can open.
    const isOpen = bound ? isForward(portOwner[owner]) && admits(kind & 255, F[base + INSIDE], peer, ports)
      : isAcquainted(i, owner & 0xffff)
    const said = rule === NO_RULE ? ask4(i, DIR_IN, F[base + INSIDE], ports) : PERMITTED
    if (said === REFUSED) return refuse(i, DENIED_BY_FIREWALL)
    if (said === SILENT && !isOpen) return unsolicited(i, FILTERED)
    const state = opening(i, DIR_IN, keep, F[base + INSIDE])
    if (state < 0) return 0
    // Unless it was half-open, and has just made room.
    if (rival !== 0 && F[(rival << FLOW_BITS) + KIND] !== 0) supersede(rival)
    const slot = openIn(owner, peer, portsColumn[i] & 0xffff, kind, state, keep, $now[0])
    if (slot <= 0) return refuse(i, slot === 0 ? NO_MAPPING : FLOW_TABLE_FULL)
    opened(i, slot, DIR_IN, rule, keep)
    showAlias(slot)
    return slot
  }

  /** Does the filter of the mapping at an outside port, which has a flow, admit the peer of row i (RFC 4787 REQ-8)? */
  function isAcquainted(i: number, outsidePort: number): boolean {
    // @req RFC4787 REQ-8
    // @req RFC5382 REQ-3, REQ-3b
    // @req RFC6888 REQ-7
    const filter = (kindColumn[i] & 255) === TCP ? tcpFiltering : filtering
    if (!outboundPermit || filter === FILTER_ENDPOINT_INDEPENDENT) return outboundPermit
    return filter === FILTER_ADDRESS_DEPENDENT && findPeer(localColumn[i], outsidePort, peerColumn[i], kindColumn[i]) !== 0
  }

  /** A flow opened from outside: the inside sees its peer by the name that the configuration gives it, if it does. */
  function showAlias(slot: number): void {
    const base = slot << FLOW_BITS
    if (isTwice && toInside((F[base + KIND] >>> 16) & 255, F[base + PEER], F[base + PORTS] & 0xffff) && found[FOUND_FIXED] === 1) {
      F[base + KIND] |= TWICE
    }
  }

  /** Ends a flow that is older than the binding that a packet of its five words came to. */
  function supersede(slot: number): void {
    counters[RULE_FLOWS_ENDED]++
    remove(slot)
  }

  /** May the peer of row i open a flow to a whole address that the configuration gave to `inside`? Agents' are for rules. */
  function isOpenWhole(i: number, inside: number): boolean {
    if (indexOf(localColumn[i]) < firstStatic) return false
    const port = portsColumn[i] >>> 16
    if (admits(kindColumn[i] & 255, inside, peerColumn[i], portsColumn[i])) return true
    const head = findMapping(inside, port, kindColumn[i])
    return head !== 0 && F[(head << FLOW_BITS) + OUTSIDE] === localColumn[i] && isAcquainted(i, port)
  }

  /** Opens a flow from outside to an address that is bound as a whole, where no port is mapped yet. 0: dropped. */
  function admitBound4(i: number, keep: number): number {
    const inside = addressOwner[indexOf(localColumn[i])]
    if (inside === 0) return unsolicited(i, NO_MAPPING)
    const peer = peerColumn[i]
    // @req RFC7857 12a
    if (isTwice && hasInside(peer)) return refuse(i, MARTIAN_SOURCE)
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const rule = consult4(i, DIR_IN, inside, portsColumn[i], true)
    if (rule === DISABLED) return refuse(i, DENIED_BY_RULE)
    const said = rule === NO_RULE ? ask4(i, DIR_IN, inside, portsColumn[i]) : PERMITTED
    if (said === REFUSED) return refuse(i, DENIED_BY_FIREWALL)
    if (said === SILENT && !isOpenWhole(i, inside)) return unsolicited(i, FILTERED)
    const state = opening(i, DIR_IN, keep, inside)
    if (state < 0) return 0
    const rival = find4(hash4(inside, peer, portsColumn[i], kindColumn[i]), inside, peer, portsColumn[i], kindColumn[i])
    if (rival !== 0) supersede(rival)
    const slot = openOut(inside, peer, portsColumn[i], kindColumn[i], state, keep, $now[0])
    if (slot < 0) return refuse(i, WHY_NOT[-slot])
    opened(i, slot, DIR_IN, rule, keep)
    showAlias(slot)
    return slot
  }

  /** Row i left its host for one of our own addresses; it carries its outside source now (RFC 4787 REQ-9a) and turns round. */
  function hairpin(i: number, slot: number): void {
    const base = slot << FLOW_BITS
    const outsidePort = F[base + OUTSIDE_PORTS] >>> 16
    counters[HAIRPINS]++
    // As it is now it has left for the worker that it is for.
    if (share !== null && isForeign(share, i, outsidePort)) return
    // @req RFC4787 REQ-9, REQ-9a
    // @req RFC5382 REQ-8, REQ-8a
    localColumn[i] = peerColumn[i]
    peerColumn[i] = F[base + OUTSIDE]
    word2Column[i] = view.getInt32(l3[i] + ipv4.TTL)
    // An ICMP query is for the one whose identifier it carries.
    portsColumn[i] = CLASS_OF[kindColumn[i] & 255] === CLASS_ICMP ? outsidePort << 16 : (portsColumn[i] << 16) | outsidePort
    const other = findOrOpenIn(i, slot)
    if (other === 0) return
    translateOther(i, other << FLOW_BITS, DIR_IN, 0)
    if ((F[(other << FLOW_BITS) + KIND] & (RULED | TWICE)) !== 0) afterwards(i, other, DIR_IN)
  }

  function isForeign({ isForeign: isElsewhere }: Share, i: number, outsidePort: number): boolean {
    const portClass = CLASS_OF[kindColumn[i] & 255]
    return isElsewhere(peerColumn[i], portClass, portClass === CLASS_ICMP ? outsidePort : portsColumn[i] & 0xffff)
  }

  /* Without NAT, and what is addressed to nobody. */

  function plain4(i: number): void {
    const dir = side[i]
    const local = localColumn[i], peer = peerColumn[i], ports = portsColumn[i], kind = kindColumn[i]
    if (dir === DIR_IN) {
      if (nat44 && indexOf(local) >= 0) return passOther4(i)
      if (!has4(local)) return drop(i, OUTSIDE_TO_OUTSIDE)
      if (nat44 && !isUntranslated(kind & 255, local, peer, ports)) return drop(i, NO_MAPPING)
    }
    let slot = standing(find4(hash4(local, peer, ports, kind), local, peer, ports, kind))
    // These five words may be of a flow that an outside address leads to.
    if ((F[(slot << FLOW_BITS) + KIND] & MAPPED) !== 0) return drop(i, NO_MAPPING)
    if (slot !== 0) slot = meet(i, slot, dir)
    else slot = dir === DIR_OUT ? admitOut4(i) : admitPlain4(i)
    if (slot !== 0) passUnchanged(i, slot, dir)
  }

  /** Sends row i on as it is, less one hop, by an IPv4 flow that is not translated. */
  function passUnchanged(i: number, slot: number, dir: number): void {
    if ((F[(slot << FLOW_BITS) + KIND] & RULED) !== 0) count(i, slot, dir, $now[0])
    const p = l3[i]
    ipv4.setTtl(view, p, ipv4.ttl(view, p) - 1)
    const sum = (~ipv4.checksum(view, p) & 0xffff) + HOP_DELTA
    ipv4.setChecksum(view, p, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
    verdict[i] = TO_OUTSIDE - dir
    if (dir === DIR_IN && (F[(slot << FLOW_BITS) + KIND] & TWICE) !== 0) showPeer(i)
  }

  function admitPlain4(i: number): number {
    if (isIcmpReply(i)) return refuse(i, NO_STATE)
    const rule = consult4(i, DIR_IN, localColumn[i], portsColumn[i], true)
    const state = admitFromOutside(i, rule, 0)
    if (state < 0) return 0
    const slot = openPlain4(localColumn[i], peerColumn[i], portsColumn[i], kindColumn[i], state, $now[0])
    if (slot < 0) return refuse(i, FLOW_TABLE_FULL)
    opened(i, slot, DIR_IN, rule, 0)
    showAlias(slot)
    return slot
  }

  return { pass4, miss4, passOther4, plain4 }
}
