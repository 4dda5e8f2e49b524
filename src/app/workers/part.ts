/**
 * The part that one worker has in a box of several: what the kernel gave it and is not its own goes on to whom it belongs, what
 * others have for it is forwarded, and all hear what neighbours say.
 */
import { TURNED } from '../../engine/share.ts'
import { BY_DATAGRAM, createOwner, type Owner } from '../../plane/owner.ts'
import * as ethernet from '../../wire/ethernet.ts'
import { SIDE_OUTSIDE } from '../../wire/frames.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as ndp from '../../wire/ndp.ts'
import type { Machine } from '../compose.ts'
import type { LivePart } from '../run/live.ts'
import { WAITS, type Gather } from './gather.ts'
import { HEARD, type Handover } from './handover.ts'

const ICMP6 = 58
/** What one hop more does to the sum of an IPv4 header. */
const HOP = 0x0100
const HEADER = ethernet.HEADER_BYTES

export interface PartOptions {
  machine: Machine
  worker: number
  nat44: boolean
  handover: Handover
  gather: Gather
}

export function createPart(
  { machine, worker, nat44, handover, gather }: PartOptions, steering: Parameters<typeof createOwner>[1], workers: number,
): LivePart {
  const { frames, plane, engine } = machine
  const { view, off, capBytes, l3, side, net } = frames
  const share = engine.share!, { npt6 } = engine
  const owner: Owner = createOwner(frames, steering, share, nat44)
  const { ownerOf, ownerOfFirst } = owner
  let nowMs = 0

  function tell(count: number): void {
    for (let i = 0; i < count; i++) {
      if (!isOfNeighbours(off[i], off[i] + capBytes[i])) continue
      for (let to = 0; to < workers; to++) {
        if (to !== worker) handover.give(to, off[i], capBytes[i], HEARD + frames.iface[i])
      }
    }
  }

  function isOfNeighbours(at: number, end: number): boolean {
    if (at + HEADER > end) return false
    const type = view.getUint16(at + ethernet.TYPE), p = at + HEADER
    if (type === ethernet.TYPE_ARP) return true
    if (type !== ethernet.TYPE_IPV6 || p + ipv6.HEADER_BYTES + icmp.HEADER_BYTES > end) return false
    if (ipv6.nextHeader(view, p) !== ICMP6) return false
    const kind = icmp.type(view, p + ipv6.HEADER_BYTES)
    return kind === ndp.SOLICITATION || kind === ndp.ADVERTISEMENT
  }

  /** Worker that the packet at `p`, from that side, goes to, this one included; WAITS. */
  function whose(at: number, p: number, end: number, from: number): number {
    let its = ownerOf(p, end, from)
    if (its === BY_DATAGRAM) its = gather.ownerOf(at, p, end, nowMs, ownerOfFirst)
    return its === WAITS || its >= 0 ? its : worker
  }

  function run(rows: number, clockMs: number): void {
    nowMs = clockMs
    let own = 0
    for (let i = 0; i < rows; i++) {
      // What is no IP is dropped here as well as anywhere.
      if (net[i] !== 4 && net[i] !== 6) continue
      const its = whose(off[i], l3[i], off[i] + capBytes[i], side[i])
      if (its !== worker) {
        if (i > own) plane.run(own, i)
        own = i + 1
        if (its !== WAITS) handover.give(its, off[i], capBytes[i], side[i])
      }
      gather.follow(handover.give, its, SIDE_OUTSIDE)
    }
    if (rows > own) plane.run(own, rows)
  }

  /** Is it for one of our own addresses? Then it turns round: the worker that it is for gets it. */
  function turn(p: number, bytes: number): boolean {
    const version = view.getUint8(p) >>> 4
    if (version === 4) {
      if (!share.isOurs(ipv4.dst(view, p))) return false
    } else if (npt6 === null || !npt6.isOutside(ipv6.dstWord(view, p, 0), ipv6.dstWord(view, p, 1))) return false
    const at = p - HEADER
    view.setInt32(at, 0)
    view.setInt32(at + 4, 0)
    view.setInt32(at + 8, 0)
    view.setUint16(at + ethernet.TYPE, version === 4 ? ethernet.TYPE_IPV4 : ethernet.TYPE_IPV6)
    // The box is one router: its hop is counted by whoever sends it in.
    if (version === 4) {
      ipv4.setTtl(view, p, ipv4.ttl(view, p) + 1)
      const sum = (~ipv4.checksum(view, p) & 0xffff) + HOP
      ipv4.setChecksum(view, p, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff)
    } else ipv6.setHopLimit(view, p, ipv6.hopLimit(view, p) + 1)
    const its = whose(at, p, p + bytes, SIDE_OUTSIDE)
    if (its !== WAITS) handover.give(its, at, HEADER + bytes, TURNED)
    gather.follow(handover.give, its, TURNED)
    return true
  }

  return {
    tell, run, turn,
    receive: handover.receive, release: handover.release, isWaiting: handover.isWaiting,
    expire: gather.expire,
  }
}
