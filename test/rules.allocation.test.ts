/** Packets of rules allocate nothing either: known flows, new ones, blocked directions, twice-NAT. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse4 } from '../src/base/address.ts'
import * as command from '../src/channel/commands.ts'
import { createPlaneRig, type FrameIn } from '../src/plane/testing.ts'
import { buildPacket, type PacketSpec } from '../src/wire/build.ts'
import { BATCH, MAX_BYTES, judge, measure } from './allocation.ts'

function word(text: string): number {
  const parsed = parse4(text)
  if (!parsed.ok) throw new Error(text)
  return parsed.value
}

const RULES = 256
const ring = command.createCommandRing(2048), activity = command.createRuleActivity(RULES)
const rig = createPlaneRig({
  capacity: BATCH, outlets: false, roomBytes: 1 << 18, clockNs: () => 0,
  engine: {
    flows: 4096, outboundPermit: false,
    midcom: { rules: RULES, boundPorts: RULES, portLow: 40000, portHigh: 49999, addresses: [], insidePool: [word('10.255.0.1')], ring, activity },
  },
})
const peer = '198.51.100.7', host = '10.0.0.5', outside = '203.0.113.1'

function set(op: number, fields: Record<number, number>): void {
  const at = ring.next()
  ring.words[at + command.OP] = op
  for (const [field, value] of Object.entries(fields)) ring.words[at + Number(field)] = value
  ring.publish()
}

// One host's ports 5000 … are bound to 40000 …; even ones are inbound, odd ones both ways. Beside them twice-NAT, and a disable rule.
for (let n = 0; n < 128; n++) {
  set(command.OP_BIND_PORTS, {
    [command.PROTOCOL]: 17, [command.LOCAL]: word(host), [command.LOCAL_PORT]: 5000 + n, [command.OUTSIDE_ADDRESS]: word(outside),
    [command.OUTSIDE_PORT]: 40000 + n, [command.COUNT]: 1,
  })
  set(command.OP_RULE_ADD, {
    [command.RULE]: n + 1, [command.FLAGS]: command.RULE_IN | command.RULE_BOUND | (n % 2 === 0 ? 0 : command.RULE_OUT | command.RULE_TWICE),
    [command.PRIORITY]: n + 1, [command.VERSION]: 4, [command.PROTOCOL]: 17, [command.LOCAL]: word(host), [command.LOCAL_BITS]: 32,
    [command.LOCAL_PORTS]: 5000 + n << 16 | 5000 + n, [command.PEER]: word('198.51.100.0'), [command.PEER_BITS]: 24, [command.PEER_PORTS]: 0xffff,
  })
}
set(command.OP_BIND_INSIDE, { [command.INSIDE_ADDRESS]: word('10.255.0.1'), [command.PEER]: word(peer) })
set(command.OP_RULE_ADD, {
  [command.RULE]: 200, [command.FLAGS]: command.RULE_DISABLE, [command.VERSION]: 4, [command.PROTOCOL]: -1, [command.LOCAL_PORTS]: 0xffff,
  [command.PEER_PORTS]: 0xffff, [command.PEER]: word('198.51.100.9'), [command.PEER_BITS]: 32,
})
while (rig.engine.applyCommands(0, 1e9));

const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec => ({ proto: 'udp', src, srcPort, dst, dstPort })
const FLAVOURS: Record<string, { packet: (i: number) => PacketSpec; left: number; isNew: boolean }> = {
  'known flows of rules, in and out': {
    packet: (i) => i % 2 === 0 ? udp(peer, 6000, outside, 40000 + (i & 126)) : udp(host, 5000 + (i & 126) + 1, '198.51.100.8', 9), left: 1, isNew: false,
  },
  'twice-NAT': {
    packet: (i) => i % 2 === 0 ? udp(host, 5001 + (i & 126), '10.255.0.1', 77) : udp(peer, 77, outside, 40000 + (i & 127)), left: 1, isNew: false,
  },
  'blocked directions and disabled peers': {
    packet: (i) => i % 2 === 0 ? udp(host, 5000 + (i & 126), peer, 6000) : udp('198.51.100.9', 1, outside, 40000 + (i & 127)), left: 0, isNew: false,
  },
  'a new flow of a rule with each packet': { packet: (i) => udp(peer, 1, outside, 40000 + (i & 127)), left: 1, isNew: true },
}

let nowMs = 0
for (const [name, { packet, left, isNew }] of Object.entries(FLAVOURS)) {
  test(`allocation: less than ${MAX_BYTES} byte a packet: ${name}`, () => {
    const { frames, load, plane } = rig
    const packets = Array.from({ length: BATCH }, (_, i): FrameIn => ({ data: buildPacket({ ...packet(i), checksum: 'zero' }) }))
    load(packets)
    const bytes = frames.off[BATCH - 1] + frames.capBytes[BATCH - 1]
    const pristine = frames.pool.slice(0, bytes)
    const columns = [frames.off, frames.capBytes, frames.wireBytes, frames.link]
    const rows = columns.map((column) => column.slice())
    let next = 0
    const sent = () => rig.count('out-inside-packets') + rig.count('out-outside-packets')
    const before = sent(), dropped = rig.count('drop-packets')
    judge(measure(() => {
      frames.pool.set(pristine, 0)
      for (let n = 0; n < columns.length; n++) columns[n].set(rows[n])
      if (isNew) for (let i = 0; i < BATCH; i++) frames.view.setUint16(frames.off[i] + 20, 1 + (next = next + 1 & 0x7fffffff) % 65_000)
      nowMs++
      frames.sec.fill(1_700_000_000 + Math.floor(nowMs / 1000))
      frames.nsec.fill(nowMs % 1000 * 1_000_000)
      plane.begin(BATCH)
      plane.run(0, BATCH)
    }, 64))
    const share = (sent() - before) / (sent() - before + rig.count('drop-packets') - dropped)
    assert.equal(share, left, JSON.stringify(rig.counters.slice(0, 30)))
  })
}
