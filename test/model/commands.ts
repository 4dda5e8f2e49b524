/** Commands of the model, and the records of src/channel/commands.ts that say the same to the engine. */
import * as record from '../../src/channel/commands.ts'
import type { FirewallRule } from '../../src/engine/firewall-rule.ts'
import { int32Of, type Addr } from './packet.ts'
import type { Endpoint } from './flows.ts'
import type { Rule } from './rules.ts'

export type Command = MidcomCommand | { op: 'replace-rules'; rules: readonly FirewallRule[] }
export type MidcomCommand =
  | { op: 'add'; rule: Rule }
  | { op: 'delete'; rule: number }
  | { op: 'bind-ports' | 'unbind-ports'; protocol: number; local: Endpoint; outside: Endpoint; count: number }
  | { op: 'bind-address' | 'unbind-address'; local: Addr; outside: Addr }
  /** `count` 0: all of the address. */
  | { op: 'bind-inside' | 'unbind-inside'; protocol: number; peer: Endpoint; inside: Endpoint; count: number }

const OPS = {
  'add': record.OP_RULE_ADD, 'delete': record.OP_RULE_DELETE,
  'bind-ports': record.OP_BIND_PORTS, 'unbind-ports': record.OP_UNBIND_PORTS,
  'bind-address': record.OP_BIND_ADDRESS, 'unbind-address': record.OP_UNBIND_ADDRESS,
  'bind-inside': record.OP_BIND_INSIDE, 'unbind-inside': record.OP_UNBIND_INSIDE,
}

export function flagsOf(rule: Rule): number {
  return (rule.disable ? record.RULE_DISABLE : 0) | (rule.out ? record.RULE_OUT : 0) | (rule.in ? record.RULE_IN : 0)
    | (rule.bound ? record.RULE_BOUND : 0) | (rule.twice ? record.RULE_TWICE : 0)
}

/** Writes one record. */
export function publish(ring: record.CommandRing, command: MidcomCommand): void {
  const { words } = ring, at = ring.next()
  const put = (word: number, value: number) => { words[at + word] = value }
  const address = (word: number, addr: Addr) => {
    for (let w = 0; w < addr.length / 8; w++) put(word + w, int32Of(addr.slice(8 * w, 8 * w + 8)))
  }
  put(record.OP, OPS[command.op])
  switch (command.op) {
    case 'add': {
      const { rule } = command, { local, peer } = rule
      put(record.RULE, rule.rule)
      put(record.FLAGS, flagsOf(rule))
      put(record.PRIORITY, rule.priority)
      put(record.VERSION, rule.version)
      put(record.PROTOCOL, rule.protocol)
      put(record.LOCAL_BITS, local.bits)
      put(record.PEER_BITS, peer.bits)
      put(record.LOCAL_PORTS, local.lo << 16 | local.hi)
      put(record.PEER_PORTS, peer.lo << 16 | peer.hi)
      address(record.LOCAL, local.addr)
      address(record.PEER, peer.addr)
      break
    }
    case 'delete':
      put(record.RULE, command.rule)
      break
    case 'bind-ports': case 'unbind-ports':
      put(record.VERSION, 4)
      put(record.PROTOCOL, command.protocol)
      put(record.COUNT, command.count)
      put(record.LOCAL_PORT, command.local.port)
      put(record.OUTSIDE_PORT, command.outside.port)
      address(record.LOCAL, command.local.addr)
      address(record.OUTSIDE_ADDRESS, command.outside.addr)
      break
    case 'bind-address': case 'unbind-address':
      put(record.VERSION, 4)
      address(record.LOCAL, command.local)
      address(record.OUTSIDE_ADDRESS, command.outside)
      break
    case 'bind-inside': case 'unbind-inside':
      put(record.VERSION, 4)
      put(record.PROTOCOL, command.protocol)
      put(record.COUNT, command.count)
      put(record.PEER_PORT, command.peer.port)
      put(record.INSIDE_PORT, command.inside.port)
      address(record.PEER, command.peer.addr)
      address(record.INSIDE_ADDRESS, command.inside.addr)
      break
  }
  ring.publish()
}
