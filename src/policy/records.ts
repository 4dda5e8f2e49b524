/** Writes the commands of `src/channel/commands.ts` from rule records. The caller has seen to the room in the ring. */
import {
  COUNT, FLAGS, INSIDE_ADDRESS, INSIDE_PORT, LOCAL as LOCAL_ADDRESS, LOCAL_BITS, LOCAL_PORT, LOCAL_PORTS, OP, OP_BIND_ADDRESS,
  OP_BIND_INSIDE, OP_BIND_PORTS, OP_RULE_ADD, OP_RULE_DELETE, OP_UNBIND_ADDRESS, OP_UNBIND_INSIDE, OP_UNBIND_PORTS, OUTSIDE_ADDRESS,
  OUTSIDE_PORT, PEER as PEER_ADDRESS, PEER_BITS, PEER_PORT, PEER_PORTS, PRIORITY, PROTOCOL, RULE, RULE_BOUND, RULE_DISABLE, RULE_IN,
  RULE_OUT, RULE_TWICE, VERSION,
} from '../channel/commands.ts'
import type { CommandRing } from '../channel/commands.ts'
import { INBOUND, OUTBOUND, TCP, UDP } from './api.ts'
import {
  ACTION, AS_SENT, BOUND, BY_ADDRESS, BY_PORTS, DIRECTION_SHIFT, DISABLE, INSIDE, IPV6, LOCAL, META, OUTSIDE, PEER, PORTS, RANGES,
  RULE_BITS, SHAPE, field, insideKind, outsideKind,
} from './store.ts'
import type { Store } from './store.ts'

/** Tells of `count` ports from realPort and shownPort on; 0: of the whole address. */
export type Tell = (protocol: number, real: number, realPort: number, shown: number, shownPort: number, count: number) => void

export interface Records {
  readonly bindOutside: Tell
  readonly unbindOutside: Tell
  readonly bindInside: Tell
  readonly unbindInside: Tell
  addRule(slot: number, priority: number): void
  deleteRule(slot: number): void
}

/** Only these have ports (docs/midcom.md, Checks). */
export function hasPorts(protocol: number): boolean { return protocol === TCP || protocol === UDP }

/** Ports from `port` on as low << 16 | high; all of them if there is nothing to compare. */
function portRange(protocol: number, port: number, range: number): number {
  return hasPorts(protocol) && port !== 0 ? port << 16 | port + range - 1 : 0xffff
}

export function createRecords(ring: CommandRing, store: Store): Records {
  const out = ring.words

  /** Tells with `op` of ports, with `wholeOp` of an address; real and shown endpoint go to the words named. */
  function teller(op: number, wholeOp: number, realAt: number, realPortAt: number, shownAt: number, shownPortAt: number): Tell {
    return (protocol, real, realPort, shown, shownPort, count) => {
      const at = ring.next()
      out[at + OP] = count > 0 ? op : wholeOp
      out[at + realAt] = real
      out[at + shownAt] = shown
      if (count > 0) {
        out[at + PROTOCOL] = protocol
        out[at + COUNT] = count
        out[at + realPortAt] = realPort
        out[at + shownPortAt] = shownPort
      }
      ring.publish()
    }
  }

  function addRule(slot: number, priority: number): void {
    const words = store.words
    const from = slot << RULE_BITS
    const meta = words[from + META], shape = words[from + SHAPE], ports = words[from + PORTS], ranges = words[from + RANGES]
    const protocol = shape & 255
    const at = ring.next()
    out[at + OP] = OP_RULE_ADD
    out[at + RULE] = slot
    out[at + PRIORITY] = priority
    out[at + VERSION] = (meta & IPV6) === 0 ? 4 : 6
    out[at + PROTOCOL] = protocol === 0 ? -1 : protocol
    out[at + LOCAL_BITS] = shape >>> 8 & 255
    out[at + PEER_BITS] = shape >>> 16 & 255
    out[at + LOCAL_PORTS] = portRange(protocol, ports >>> 16, ranges >>> 16)
    out[at + PEER_PORTS] = portRange(protocol, ports & 0xffff, ranges & 0xffff)
    for (let i = 0; i < 4; i++) {
      out[at + LOCAL_ADDRESS + i] = store.word(slot, LOCAL, i)
      out[at + PEER_ADDRESS + i] = store.word(slot, PEER, i)
    }
    if ((meta & ACTION) === DISABLE) out[at + FLAGS] = RULE_DISABLE
    else {
      const direction = field(meta, DIRECTION_SHIFT)
      let flags = (direction === INBOUND ? 0 : RULE_OUT) | (direction === OUTBOUND ? 0 : RULE_IN)
      const outsideBy = outsideKind(meta), insideBy = insideKind(meta)
      if (outsideBy === BY_PORTS || outsideBy === BY_ADDRESS) {
        flags |= RULE_BOUND
        out[at + OUTSIDE_ADDRESS] = words[from + OUTSIDE]
        out[at + OUTSIDE_PORT] = outsideBy === BY_PORTS ? words[from + BOUND] >>> 16 : 0
      }
      if (insideBy !== AS_SENT) {
        flags |= RULE_TWICE
        out[at + INSIDE_ADDRESS] = words[from + INSIDE]
        out[at + INSIDE_PORT] = insideBy === BY_PORTS ? words[from + BOUND] & 0xffff : 0
      }
      out[at + FLAGS] = flags
    }
    ring.publish()
  }

  function deleteRule(slot: number): void {
    const at = ring.next()
    out[at + OP] = OP_RULE_DELETE
    out[at + RULE] = slot
    ring.publish()
  }

  return {
    addRule, deleteRule,
    bindOutside: teller(OP_BIND_PORTS, OP_BIND_ADDRESS, LOCAL_ADDRESS, LOCAL_PORT, OUTSIDE_ADDRESS, OUTSIDE_PORT),
    unbindOutside: teller(OP_UNBIND_PORTS, OP_UNBIND_ADDRESS, LOCAL_ADDRESS, LOCAL_PORT, OUTSIDE_ADDRESS, OUTSIDE_PORT),
    bindInside: teller(OP_BIND_INSIDE, OP_BIND_INSIDE, PEER_ADDRESS, PEER_PORT, INSIDE_ADDRESS, INSIDE_PORT),
    unbindInside: teller(OP_UNBIND_INSIDE, OP_UNBIND_INSIDE, PEER_ADDRESS, PEER_PORT, INSIDE_ADDRESS, INSIDE_PORT),
  }
}
