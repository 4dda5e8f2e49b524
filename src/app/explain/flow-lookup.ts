/**
 * Finds the flow and the mapping that a packet meets, by the engine's own look-ups and by nothing else: this decides nothing. It
 * is asked before and after the engine has decided; the columns of the row say where to look.
 */
import type { Engine } from '../../engine/engine.ts'
import { FLOW_BITS, INSIDE, PORTS } from '../../engine/flows.ts'
import { CLASSES, CLASS_ICMP, CLASS_NONE, CLASS_OF, CLASS_TCP } from '../../engine/ports.ts'
import {
  FIRST_FRAGMENT, PATH_4, PATH_4_ERROR, PATH_4_OTHER, PATH_4_PLAIN, PATH_6, PATH_6_ERROR, PATH_DROP,
} from '../../engine/rows.ts'
import type { Frames } from '../../wire/frames.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'

/** What the columns of a row held. `six`: source and destination of an IPv6 packet, as they were then; else null. */
export interface RowKey {
  path: number
  local: number
  peer: number
  ports: number
  kind: number
  l4: number
  six: Int32Array | null
}

const ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58

export type FlowLookup = ReturnType<typeof createFlowLookup>

export function createFlowLookup(frames: Frames, { rows, flows, pool, npt6 }: Pick<Engine, 'rows' | 'flows' | 'pool' | 'npt6'>) {
  const { F, find4, find6, findPeer, hash4, hash6, portOwner, addressOwner } = flows
  const { view, l3 } = frames
  const $key = new Int32Array(8)

  function keyOf(i: number): RowKey {
    return {
      path: rows.path[i] & (FIRST_FRAGMENT - 1), local: rows.local[i], peer: rows.peer[i], ports: rows.ports[i], kind: rows.kind[i],
      l4: rows.l4[i], six: rows.path[i] !== PATH_DROP && rows.kind[i] >>> 8 === 6 ? endsAt(l3[i]) : null,
    }
  }

  /** Source and destination of the IPv6 header at `p`. */
  function endsAt(p: number): Int32Array {
    return Int32Array.from({ length: 8 }, (_, word) => view.getInt32(p + ipv6.SRC + 4 * word))
  }

  /** Head of the mapping that holds the local endpoint of a packet from outside, or 0. */
  function mappingOf({ local, ports, kind }: RowKey): number {
    const portClass = CLASS_OF[kind & 255], index = pool.indexOf(local)
    if (portClass === CLASS_NONE || index < 0 || kind >>> 8 !== 4) return 0
    return portOwner[((index * CLASSES + portClass) << 16) | (ports >>> 16)]
  }

  /** Slot of the flow of a packet with that key, which came from outside if `inward`, or 0. */
  function flowOf(key: RowKey, inward: boolean): number {
    const { path, local, peer, ports, kind, six } = key
    switch (path) {
      case PATH_4: case PATH_4_OTHER: case PATH_4_PLAIN: {
        const whole = inward ? pool.indexOf(local) : -1
        // To an address that is one host's.
        if (whole >= pool.shared && CLASS_OF[kind & 255] !== CLASS_NONE) {
          return find4(hash4(addressOwner[whole], peer, ports, kind), addressOwner[whole], peer, ports, kind)
        }
        if (!inward || path === PATH_4_PLAIN && whole < 0) return find4(hash4(local, peer, ports, kind), local, peer, ports, kind)
        if (CLASS_OF[kind & 255] === CLASS_NONE) return findPeer(local, 0, peer, kind)
        const head = mappingOf(key)
        if (head === 0) return 0
        const inside = F[(head << FLOW_BITS) + INSIDE], own = (F[(head << FLOW_BITS) + PORTS] & ~0xffff) | (ports & 0xffff)
        return find4(hash4(inside, peer, own, kind), inside, peer, own, kind)
      }
      case PATH_6: return six === null ? 0 : flow6(six, !inward, ports, kind)
      default: return 0
    }
  }

  /** The IPv6 flow between a source and a destination. `ports` are seen from inside. */
  function flow6(ends: Int32Array, sourceIsInside: boolean, ports: number, kind: number): number {
    const inside = sourceIsInside ? 0 : 4
    $key.set(ends.subarray(inside, inside + 4))
    $key.set(ends.subarray(4 - inside, 8 - inside), 4)
    // One that came in by its outside address; a translated one is in no outside prefix.
    if (!sourceIsInside) npt6?.inward($key, 0)
    const [i0, i1, i2, i3, p0, p1, p2, p3] = $key
    return find6(hash6(i0, i1, i2, i3, p0, p1, p2, p3, ports, kind), $key, ports, kind)
  }

  /**
   * Flow of the packet that an ICMP error quotes, or 0. The quote names the inside endpoint as the inside knows it: on the way
   * out before the engine has rewritten it, on the way in after. `end` is one past the captured bytes.
   */
  function quotedFlow(key: RowKey, inward: boolean, end: number): number {
    const e = key.l4 + icmp.HEADER_BYTES
    if (key.path === PATH_4_ERROR) {
      if (e + ipv4.HEADER_BYTES > end) return 0
      const l4 = e + ipv4.headerBytes(view, e), kind = 4 << 8 | ipv4.protocol(view, e)
      if (l4 + 8 > end) return 0
      const local = inward ? ipv4.src(view, e) : ipv4.dst(view, e), peer = inward ? ipv4.dst(view, e) : ipv4.src(view, e)
      const ports = quotedPorts(kind, l4, inward)
      return find4(hash4(local, peer, ports, kind), local, peer, ports, kind)
    }
    if (key.path !== PATH_6_ERROR || e + ipv6.HEADER_BYTES > end) return 0
    const walk = ipv6.createWalk()
    const netEnd = e + ipv6.HEADER_BYTES + ipv6.payloadLength(view, e)
    if (ipv6.walk(view, e, end, netEnd, walk) !== ipv6.WALK_OK) return 0
    const l4 = walk.at[ipv6.WALK_L4], kind = 6 << 8 | walk.at[ipv6.WALK_PROTOCOL]
    return l4 + 8 > end ? 0 : flow6(endsAt(e), inward, quotedPorts(kind, l4, inward), kind)
  }

  /** Inside port above peer port. */
  function quotedPorts(kind: number, l4: number, sourceIsInside: boolean): number {
    const protocol = kind & 255
    if (kind === (4 << 8 | ICMP) || kind === (6 << 8 | ICMP6)) return icmp.id(view, l4) << 16
    if (protocol !== TCP && protocol !== UDP) return 0
    const raw = view.getInt32(l4)
    return sourceIsInside ? raw : (raw << 16) | (raw >>> 16)
  }

  return { keyOf, mappingOf, flowOf, quotedFlow }
}

/** Has a flow of this kind ports to show; an identifier? */
export function hasPorts(kind: number): boolean {
  return CLASS_OF[kind & 255] <= CLASS_TCP
}
export function hasIdentifier(kind: number): boolean {
  return CLASS_OF[kind & 255] === CLASS_ICMP && kind >>> 8 === 4 || kind === (6 << 8 | ICMP6)
}
