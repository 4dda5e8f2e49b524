/**
 * The outside world of a replay. A capture taken before the NAT shows replies addressed to inside hosts; the real ones are
 * addressed to the outside endpoints that the NAT chose. Before such a packet enters the box, it is given that address, in the
 * quoted packet of an ICMP error too, so that the engine sees what the real one would see. Nothing here decides anything: a
 * packet that no mapping waits for goes to the address its host is paired with, and meets the filter.
 */
import { apply, delta16, delta32, fold } from '../wire/checksum.ts'
import type { Frames } from '../wire/frames.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import type { Engine } from '../engine/engine.ts'
import { FLOW_BITS, INSIDE, KIND, OUTSIDE, OUTSIDE_PORTS, PEER, PORTS } from '../engine/flows.ts'
import { CLASS_NONE, CLASS_OF } from '../engine/ports.ts'
import type { EngineOptions, InsidePrefixes } from '../engine/options.ts'
import { createPrefixes } from '../engine/prefixes.ts'
import { EGRESS, FIRST_FRAGMENT, PATH_4_ERROR, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_LATER } from '../engine/rows.ts'

const ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, UDP_LITE = 136

export interface World {
  /** Re-addresses row i, which came from outside and was looked at. Expiry is up to date. */
  meet(i: number): void
}

/** Is there anything that the world has to re-address? */
export function needsWorld({ nat44, npt6 = [] }: Pick<EngineOptions, 'nat44' | 'npt6'>): boolean {
  return nat44 || npt6.length > 0
}

/** @param nat44 IPv4 is translated */
export function createWorld(frames: Frames, engine: Engine, inside: InsidePrefixes, nat44: boolean): World {
  const { view, off, capBytes, l3, netBytes } = frames
  const { path, local: localColumn, peer: peerColumn, ports: portsColumn, kind: kindColumn, l4: l4Column } = engine.rows
  const { hint: hintColumn } = engine.rows
  const { F, findMapping, find4, hash4, boundIndex } = engine.flows
  const { pairedIndex, addressAt } = engine.pool
  const { isUntranslated } = engine
  const { has4 } = inside
  const prefixes = engine.npt6 === null ? null : createPrefixes(frames, engine.npt6)
  // The endpoint found last: results of `find` without an object.
  const $address = 0, $port = 1
  const $endpoint = new Int32Array(2)

  /**
   * Outside endpoint of the flow that a packet from `peer` belongs to, or else of its inside endpoint: policy may have bound that
   * since. `hint` is a slot that may be the flow.
   */
  function find(address: number, peer: number, ports: number, kind: number, hint: number): void {
    let slot = hint
    const base = slot << FLOW_BITS
    if (slot === 0 || F[base + INSIDE] !== address || F[base + PEER] !== peer || F[base + PORTS] !== ports
      || F[base + KIND] >>> 16 !== kind) {
      slot = find4(hash4(address, peer, ports, kind), address, peer, ports, kind)
    }
    if (slot === 0) slot = findMapping(address, ports >>> 16, kind)
    if (slot === 0) {
      $endpoint[$address] = addressOf(address)
      $endpoint[$port] = ports >>> 16
    } else {
      $endpoint[$address] = F[(slot << FLOW_BITS) + OUTSIDE]
      $endpoint[$port] = F[(slot << FLOW_BITS) + OUTSIDE_PORTS] >>> 16
    }
  }

  /** The outside address that a host has to itself, or is paired with. */
  function addressOf(inside: number): number {
    const bound = boundIndex(inside)
    return addressAt(bound >= 0 ? bound : pairedIndex(inside))
  }

  function meet(i: number): void {
    const which = path[i] & ~EGRESS
    const whole = which & (FIRST_FRAGMENT - 1)
    if (kindColumn[i] >>> 8 === 6) {
      const isKnown = whole === PATH_6 || whole === PATH_6_ERROR || which === PATH_LATER
      if (prefixes !== null && isKnown) meet6(i, whole === PATH_6_ERROR)
      return
    }
    if (whole !== PATH_4_PLAIN && which !== PATH_LATER && whole !== PATH_4_ERROR) return
    if (!nat44 || kindColumn[i] >>> 8 !== 4 || !has4(localColumn[i])) return
    const hasPorts = whole === PATH_4_PLAIN && which !== PATH_LATER
    // Of an error the quoted packet tells.
    if (whole !== PATH_4_ERROR
      && isUntranslated(kindColumn[i] & 255, localColumn[i], peerColumn[i], portsColumn[i], hasPorts)) return
    if (whole === PATH_4_PLAIN) meetPacket(i)
    else if (whole === PATH_4_ERROR) meetError(i)
    else setAddress(i, addressOf(localColumn[i]))
    engine.look(i)
  }

  /** Gives the packet another destination; returns what that does to a sum. */
  function setAddress(i: number, address: number): number {
    const p = l3[i]
    const delta = delta32(ipv4.dst(view, p), address)
    ipv4.setDst(view, p, address)
    ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), delta))
    return delta
  }

  function meetPacket(i: number): void {
    const kind = kindColumn[i]
    const protocol = kind & 255
    const l4 = l4Column[i]
    const port = portsColumn[i] >>> 16
    find(localColumn[i], peerColumn[i], portsColumn[i], kind, hintColumn[i])
    const addressDelta = setAddress(i, $endpoint[$address])
    const outsidePort = $endpoint[$port]
    if (protocol === TCP || protocol === UDP) {
      view.setUint16(l4 + 2, outsidePort)
      const at = l4 + (protocol === TCP ? 16 : 6)
      const sum = view.getUint16(at)
      if (protocol === UDP && sum === 0) return
      const becomes = apply(sum, fold(addressDelta + delta16(port, outsidePort)))
      view.setUint16(at, protocol === UDP && becomes === 0 ? 0xffff : becomes)
    } else if (protocol === ICMP) {
      icmp.setId(view, l4, outsidePort)
      icmp.setChecksum(view, l4, apply(icmp.checksum(view, l4), delta16(port, outsidePort)))
    } else if ((protocol === UDP_LITE || protocol === DCCP) && l4 + 8 <= Math.min(l3[i] + netBytes[i], off[i] + capBytes[i])) {
      const becomes = apply(view.getUint16(l4 + 6), addressDelta)
      view.setUint16(l4 + 6, protocol === UDP_LITE && becomes === 0 ? 0xffff : becomes)
    }
  }

  /** An error about a packet that an inside host sent: both its destination and the quoted source are that host. */
  function meetError(i: number): void {
    const e = l4Column[i] + icmp.HEADER_BYTES
    const end = Math.min(l3[i] + netBytes[i], off[i] + capBytes[i])
    if (e + ipv4.HEADER_BYTES + 8 > end || ipv4.src(view, e) !== localColumn[i]) return
    const headerBytes = ipv4.headerBytes(view, e)
    const l4 = e + headerBytes
    if (ipv4.versionIhl(view, e) >>> 4 !== 4 || headerBytes < ipv4.HEADER_BYTES || l4 + 8 > end) return
    const protocol = ipv4.protocol(view, e)
    const portAt = protocol === ICMP ? icmp.ID : 0
    const port = CLASS_OF[protocol] === CLASS_NONE ? 0 : view.getUint16(l4 + portAt)
    const peerPort = protocol === TCP || protocol === UDP ? view.getUint16(l4 + 2) : 0
    if (isUntranslated(ipv4.protocol(view, e), localColumn[i], ipv4.dst(view, e), (port << 16) | peerPort, true)) return
    find(localColumn[i], ipv4.dst(view, e), (port << 16) | peerPort, (4 << 8) | protocol, 0)
    engine.rewriteQuote(i, e, ipv4.SRC, l4, protocol, $endpoint[$address], $endpoint[$port], 0)
    setAddress(i, $endpoint[$address])
  }

  /** To an inside address whose prefix is translated: to the one that stands for it, in the quoted packet of an error too. */
  function meet6(i: number, isError: boolean): void {
    const p = l3[i], e = l4Column[i] + icmp.HEADER_BYTES
    if (isError) {
      const end = Math.min(p + netBytes[i], off[i] + capBytes[i])
      if (e + ipv6.HEADER_BYTES > end || ipv6.version(view, e) !== 6) return
      for (let word = 0; word < 4; word++) if (ipv6.srcWord(view, e, word) !== ipv6.dstWord(view, p, word)) return
      prefixes!.outwardAt(e + ipv6.SRC)
    }
    prefixes!.outwardAt(p + ipv6.DST)
    engine.look(i)
  }

  return { meet }
}
