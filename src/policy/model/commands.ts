/** The records of src/channel/commands.ts as plain objects, to be compared: what the model emits, and what a ring holds. */
import {
  COUNT, FLAGS, INSIDE_ADDRESS, INSIDE_PORT, LOCAL, LOCAL_BITS, LOCAL_PORT, LOCAL_PORTS, OP, OP_BIND_ADDRESS,
  OP_BIND_INSIDE, OP_BIND_PORTS, OP_RULE_ADD, OP_RULE_DELETE, OP_UNBIND_ADDRESS, OP_UNBIND_INSIDE, OP_UNBIND_PORTS,
  OUTSIDE_ADDRESS, OUTSIDE_PORT, PEER, PEER_BITS, PEER_PORT, PEER_PORTS, PRIORITY, PROTOCOL, RULE, VERSION,
} from '../../channel/commands.ts'

/** A field's name and value; those that an operation does not use are left out. */
export type Command = { op: string } & Record<string, string | number>

const ENDPOINTS = { local: LOCAL, localPort: LOCAL_PORT, outside: OUTSIDE_ADDRESS, outsidePort: OUTSIDE_PORT }
const PEER_ENDPOINTS = { peer: PEER, peerPort: PEER_PORT, inside: INSIDE_ADDRESS, insidePort: INSIDE_PORT }
const PORTS = { protocol: PROTOCOL, count: COUNT }
const ADDRESSES = { local: LOCAL, outside: OUTSIDE_ADDRESS }
const CONDITION = {
  rule: RULE, flags: FLAGS, priority: PRIORITY, version: VERSION, protocol: PROTOCOL, localBits: LOCAL_BITS, peerBits: PEER_BITS,
  localPorts: LOCAL_PORTS, peerPorts: PEER_PORTS,
  local0: LOCAL, local1: LOCAL + 1, local2: LOCAL + 2, local3: LOCAL + 3,
  peer0: PEER, peer1: PEER + 1, peer2: PEER + 2, peer3: PEER + 3,
}
const OPERATIONS: Record<number, { op: string; fields: Record<string, number> }> = {
  [OP_RULE_ADD]: { op: 'rule-add', fields: CONDITION },
  [OP_RULE_DELETE]: { op: 'rule-delete', fields: { rule: RULE } },
  [OP_BIND_PORTS]: { op: 'bind-ports', fields: { ...PORTS, ...ENDPOINTS } },
  [OP_UNBIND_PORTS]: { op: 'unbind-ports', fields: { ...PORTS, ...ENDPOINTS } },
  [OP_BIND_ADDRESS]: { op: 'bind-address', fields: ADDRESSES },
  [OP_UNBIND_ADDRESS]: { op: 'unbind-address', fields: ADDRESSES },
  [OP_BIND_INSIDE]: { op: 'bind-inside', fields: { ...PORTS, ...PEER_ENDPOINTS } },
  [OP_UNBIND_INSIDE]: { op: 'unbind-inside', fields: { ...PORTS, ...PEER_ENDPOINTS } },
}

/** The record at `at`. Of a whole address inside, protocol and ports say nothing and are left out. */
export function decode(words: Int32Array, at: number): Command {
  const { op, fields } = OPERATIONS[words[at + OP]] ?? { op: 'unknown ' + words[at + OP], fields: {} }
  const whole = (op === 'bind-inside' || op === 'unbind-inside') && words[at + COUNT] === 0
  const command: Command = { op }
  for (const [name, field] of Object.entries(fields)) {
    if (whole && ['protocol', 'peerPort', 'insidePort'].includes(name)) continue
    command[name] = words[at + field]
  }
  if (op === 'rule-add') for (const side of ['local', 'peer']) maskHostBits(command, side)
  return command
}

/** Bits beyond the prefix say nothing. */
function maskHostBits(command: Command, side: string): void {
  for (let word = 0; word < 4; word++) {
    const fixed = Math.min(32, Math.max(0, Number(command[side + 'Bits']) - 32 * word))
    command[side + word] = Number(command[side + word]) & (fixed === 0 ? 0 : -1 << (32 - fixed))
  }
}
