/** Rules and bindings of policy, one packet at a time (docs/behaviour.md, Rules). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse4, parseAddress, print4 } from '../base/address.ts'
import * as command from '../channel/commands.ts'
import { buildPacket, fragment, icmpError, verify, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import * as ipv4 from '../wire/ipv4.ts'
import { anyRule, INBOUND } from './firewall-rule.ts'
import { createRuleSet } from './firewall-set.ts'
import { FILTER_ENDPOINT_INDEPENDENT, type EngineOptions } from './options.ts'
import { createRig, type Outcome } from './testing.ts'

const OUT = SIDE_INSIDE, IN = SIDE_OUTSIDE
const SYN = 2, ACK = 16, SYN_ACK = 18
const ADDRESS = '203.0.113.1', WHOLE = '203.0.113.99', SHOWN = '10.255.0.1'
const host = '10.0.0.5', other = '10.0.0.6', peer = '198.51.100.7', stranger = '198.51.100.8'

function word(text: string): number {
  const parsed = parse4(text)
  if (!parsed.ok) throw new Error(text)
  return parsed.value
}

interface RuleSpec {
  rule: number; flags: number; protocol?: number; local?: string; localBits?: number; localPorts?: [number, number]
  peer?: string; peerBits?: number; peerPorts?: [number, number]; priority?: number
}

function createBox(changes: Partial<EngineOptions> = {}) {
  const ring = command.createCommandRing(64), activity = command.createRuleActivity(32)
  const rig = createRig({
    midcom: {
      rules: 32, boundPorts: 64, portLow: 40000, portHigh: 40099, addresses: [word(WHOLE)], insidePool: [word(SHOWN)], ring, activity,
    },
    ...changes,
  })
  const set = (op: number, fill: (w: Int32Array, at: number) => void) => {
    const at = ring.next()
    ring.words[at + command.OP] = op
    fill(ring.words, at)
    ring.publish()
  }
  const apply = (nowMs: number) => { while (rig.engine.applyCommands(nowMs, 8)); }
  return {
    ...rig, ring, activity, apply,
    add(spec: RuleSpec, nowMs = 0) {
      set(command.OP_RULE_ADD, (w, at) => {
        const version = spec.local?.includes(':') ? 6 : 4
        w[at + command.RULE] = spec.rule
        w[at + command.FLAGS] = spec.flags
        w[at + command.PRIORITY] = spec.priority ?? ((spec.flags & command.RULE_DISABLE) !== 0 ? 0 : spec.rule)
        w[at + command.VERSION] = version
        w[at + command.PROTOCOL] = spec.protocol ?? -1
        w[at + command.LOCAL_BITS] = spec.localBits ?? (spec.local === undefined ? 0 : version === 4 ? 32 : 128)
        w[at + command.PEER_BITS] = spec.peerBits ?? (spec.peer === undefined ? 0 : version === 4 ? 32 : 128)
        const [ll, lh] = spec.localPorts ?? [0, 65535], [pl, ph] = spec.peerPorts ?? [0, 65535]
        w[at + command.LOCAL_PORTS] = ll << 16 | lh
        w[at + command.PEER_PORTS] = pl << 16 | ph
        for (const [text, to] of [[spec.local, command.LOCAL], [spec.peer, command.PEER]] as const) {
          const parsed = text === undefined ? null : parseAddress(text)
          if (parsed?.ok) parsed.value.words.forEach((value, n) => { w[at + to + n] = value })
        }
      })
      apply(nowMs)
    },
    end(rule: number, nowMs = 0) {
      set(command.OP_RULE_DELETE, (w, at) => { w[at + command.RULE] = rule })
      apply(nowMs)
    },
    bind(op: number, local: string, localPort: number, outsidePort: number, count = 1, protocol = 17) {
      set(op, (w, at) => {
        w[at + command.PROTOCOL] = protocol
        w[at + command.LOCAL] = word(local)
        w[at + command.LOCAL_PORT] = localPort
        w[at + command.OUTSIDE_ADDRESS] = word(ADDRESS)
        w[at + command.OUTSIDE_PORT] = outsidePort
        w[at + command.COUNT] = count
      })
      apply(0)
    },
    bindAddress(op: number, local: string) {
      set(op, (w, at) => {
        w[at + command.LOCAL] = word(local)
        w[at + command.OUTSIDE_ADDRESS] = word(WHOLE)
      })
      apply(0)
    },
    bindInside(op: number, insidePort: number, target: string, peerPort: number, count: number) {
      set(op, (w, at) => {
        w[at + command.PROTOCOL] = 17
        w[at + command.INSIDE_ADDRESS] = word(SHOWN)
        w[at + command.INSIDE_PORT] = insidePort
        w[at + command.PEER] = word(target)
        w[at + command.PEER_PORT] = peerPort
        w[at + command.COUNT] = count
      })
      apply(0)
    },
    go: (side: number, spec: PacketSpec, nowMs = 0) => show(rig.send(side, buildPacket(spec), nowMs)),
  }
}

/** Where a packet went, from whom to whom; or why it did not. Every packet that leaves has right sums. */
function show({ verdict, reason, bytes }: Outcome): string {
  if (bytes === null) return reason ?? 'held'
  assert.deepEqual(verify(bytes), [])
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes[0] >>> 4 === 6) return verdict === TO_INSIDE ? 'in' : 'out'
  const hasPorts = [6, 17].includes(ipv4.protocol(view, 0)) && (ipv4.fragment(view, 0) & 0x1fff) === 0
  const port = (at: number) => hasPorts ? `:${view.getUint16(20 + at)}` : ''
  const way = verdict === TO_OUTSIDE ? 'out' : 'in'
  return `${way} ${print4(ipv4.src(view, 0))}${port(0)} > ${print4(ipv4.dst(view, 0))}${port(2)}`
}

const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec => ({ proto: 'udp', src, srcPort, dst, dstPort })
const tcp = (src: string, srcPort: number, dst: string, dstPort: number, flags: number): PacketSpec => ({ proto: 'tcp', src, srcPort, dst, dstPort, tcpFlags: flags } as PacketSpec)
const ENABLE_IN = command.RULE_IN | command.RULE_BOUND, ENABLE_OUT = command.RULE_OUT | command.RULE_BOUND

test('UDP inbound on a NAPT: dropped before, passed to the bound port while the rule lives, dropped after (RFC 5189 2.3.9)', () => {
  const box = createBox()
  const packet = udp(peer, 6000, ADDRESS, 40000)
  assert.equal(box.go(IN, packet), 'no-mapping')
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000, 2)
  assert.equal(box.go(IN, packet), 'filtered')
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5005], peer, peerPorts: [6000, 6001] })
  assert.equal(box.go(IN, packet), `in ${peer}:6000 > ${host}:5004`)
  assert.equal(box.go(IN, udp(peer, 6001, ADDRESS, 40001)), `in ${peer}:6001 > ${host}:5005`)
  assert.equal(box.go(IN, udp(peer, 7000, ADDRESS, 40000)), 'filtered')
  assert.equal(box.go(IN, udp(stranger, 6000, ADDRESS, 40000)), 'filtered')
  assert.equal(box.activity.packets[1], 2)
  assert.equal(box.activity.bytes[1], 2 * buildPacket(packet).length)
  // What the host sends from that port has the bound port as its source, whoever it is for.
  assert.equal(box.go(OUT, udp(host, 5004, stranger, 9)), `out ${ADDRESS}:40000 > ${stranger}:9`)
  box.end(1)
  assert.equal(box.count('flows-current'), 1)
  assert.equal(box.go(IN, packet), 'filtered')
  box.bind(command.OP_UNBIND_PORTS, host, 5004, 40000, 2)
  assert.equal(box.count('flows-current'), 0)
  assert.equal(box.count('bindings-current'), 0)
  assert.equal(box.go(IN, packet), 'no-mapping')
})

test('UDP is one-way where the firewall denies what no rule admits (RFC 5189 2.3.5)', () => {
  const box = createBox({ outboundPermit: false })
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5004], peer })
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${peer}:6000 > ${host}:5004`)
  assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), 'denied')
  box.add({ rule: 2, flags: ENABLE_OUT, protocol: 17, local: host, localPorts: [5004, 5004], peer })
  assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), `out ${ADDRESS}:40000 > ${peer}:6000`)
  assert.deepEqual([...box.activity.packets.subarray(1, 3)], [1, 1])
  box.end(1)
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), 'filtered')
  assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), `out ${ADDRESS}:40000 > ${peer}:6000`)
  box.end(2)
  assert.equal(box.count('flows-current'), 0)
  assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), 'denied')
})

test('outbound UDP with a rule: the answer needs one of its own unless the firewall permits it', () => {
  const strict = createBox({ outboundPermit: false }), loose = createBox()
  for (const box of [strict, loose]) {
    box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
    box.add({ rule: 1, flags: ENABLE_OUT, protocol: 17, local: host, localPorts: [5004, 5004], peer })
    assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), `out ${ADDRESS}:40000 > ${peer}:6000`)
  }
  assert.equal(strict.go(IN, udp(peer, 6000, ADDRESS, 40000)), 'filtered')
  assert.equal(loose.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${peer}:6000 > ${host}:5004`)
})

test('TCP: the first segment must come the way the rule says, then both ways are open (RFC 5189 2.3.5)', () => {
  const box = createBox({ outboundPermit: false })
  box.bind(command.OP_BIND_PORTS, host, 80, 40000, 1, 6)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 6, local: host, localPorts: [80, 80], peer })
  assert.equal(box.go(IN, tcp(peer, 9000, ADDRESS, 40000, ACK)), 'filtered')
  assert.equal(box.go(OUT, tcp(host, 80, peer, 9000, SYN)), 'denied')
  assert.equal(box.go(IN, tcp(peer, 9000, ADDRESS, 40000, SYN)), `in ${peer}:9000 > ${host}:80`)
  assert.equal(box.go(OUT, tcp(host, 80, peer, 9000, SYN_ACK)), `out ${ADDRESS}:40000 > ${peer}:9000`)
  assert.equal(box.go(IN, tcp(peer, 9000, ADDRESS, 40000, ACK)), `in ${peer}:9000 > ${host}:80`)
  assert.equal(box.activity.packets[1], 3)
  box.end(1)
  assert.equal(box.go(OUT, tcp(host, 80, peer, 9000, ACK)), 'denied')
})

test('a rule that ends leaves its flows to another that admits them', () => {
  const box = createBox({ outboundPermit: false })
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5004], peer })
  box.add({ rule: 2, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5004] })
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${peer}:6000 > ${host}:5004`)
  assert.deepEqual([...box.activity.packets.subarray(1, 3)], [1, 0])
  box.end(1)
  assert.equal(box.count('flows-current'), 1)
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${peer}:6000 > ${host}:5004`)
  assert.deepEqual([...box.activity.packets.subarray(1, 3)], [1, 1])
  box.end(2)
  assert.equal(box.count('flows-current'), 0)
})

test('flows of other rules and of none lose nothing when a rule ends', () => {
  const box = createBox()
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  box.bind(command.OP_BIND_PORTS, other, 5004, 40001)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5004], peer })
  box.add({ rule: 2, flags: ENABLE_IN, protocol: 17, local: other, localPorts: [5004, 5004], peer })
  box.go(OUT, udp(host, 1111, stranger, 53))
  box.go(IN, udp(peer, 1, ADDRESS, 40000))
  box.go(IN, udp(peer, 1, ADDRESS, 40001))
  box.end(1)
  box.bind(command.OP_UNBIND_PORTS, host, 5004, 40000)
  assert.equal(box.go(IN, udp(peer, 1, ADDRESS, 40001)), `in ${peer}:1 > ${other}:5004`)
  assert.equal(box.go(IN, udp(stranger, 53, ADDRESS, 1111)), `in ${stranger}:53 > ${host}:1111`)
  assert.equal(box.count('flows-opened'), 3)
})

test('a mapping that was there keeps its flows; new ones take the binding', () => {
  const box = createBox()
  assert.equal(box.go(OUT, udp(host, 5004, stranger, 53)), `out ${ADDRESS}:5004 > ${stranger}:53`)
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  assert.equal(box.go(OUT, udp(host, 5004, peer, 53)), `out ${ADDRESS}:40000 > ${peer}:53`)
  assert.equal(box.go(OUT, udp(host, 5004, stranger, 53)), `out ${ADDRESS}:5004 > ${stranger}:53`)
  assert.equal(box.go(IN, udp(stranger, 53, ADDRESS, 5004)), `in ${stranger}:53 > ${host}:5004`)
  box.bind(command.OP_UNBIND_PORTS, host, 5004, 40000)
  assert.equal(box.go(OUT, udp(host, 5004, peer, 53)), `out ${ADDRESS}:5004 > ${peer}:53`)
})

test('no dynamic mapping takes a port of the reserved block', () => {
  const box = createBox({ portLow: 40000, portHigh: 40101 })
  assert.equal(box.go(OUT, udp(host, 40000, peer, 53)), `out ${ADDRESS}:40100 > ${peer}:53`)
  assert.equal(box.go(OUT, udp(host, 40001, peer, 53)), `out ${ADDRESS}:40101 > ${peer}:53`)
  assert.equal(box.go(OUT, udp(host, 40002, peer, 53)), 'no-outside-port')
})

test('a disable rule ends what it matches at once, blocks both ways, and leaves the rest (RFC 4540 8.8)', () => {
  const box = createBox()
  for (let port = 1; port <= 40; port++) box.go(OUT, udp(host, 2000 + port, peer, port))
  box.go(OUT, udp(host, 3000, stranger, 1))
  box.add({ rule: 1, flags: command.RULE_DISABLE, local: host, peer, protocol: 17, peerPorts: [2, 40] })
  assert.equal(box.count('flows-current'), 2)
  assert.equal(box.go(OUT, udp(host, 2002, peer, 2)), 'denied-by-rule')
  assert.equal(box.go(OUT, udp(host, 2001, peer, 1)), `out ${ADDRESS}:2001 > ${peer}:1`)
  assert.equal(box.go(IN, udp(peer, 2, ADDRESS, 2001)), 'denied-by-rule')
  box.end(1)
  assert.equal(box.go(OUT, udp(host, 2002, peer, 2)), `out ${ADDRESS}:2002 > ${peer}:2`)
})

test('a host bound to a whole address keeps its ports, for every protocol', () => {
  const box = createBox()
  box.bindAddress(command.OP_BIND_ADDRESS, host)
  assert.equal(box.go(OUT, udp(host, 777, stranger, 53)), `out ${WHOLE}:777 > ${stranger}:53`)
  assert.equal(box.go(IN, { proto: 47, src: peer, dst: WHOLE, payload: new Uint8Array(8) }), 'filtered')
  box.add({ rule: 1, flags: command.RULE_IN | command.RULE_OUT | command.RULE_BOUND, local: host, peer })
  assert.equal(box.go(IN, { proto: 47, src: peer, dst: WHOLE, payload: new Uint8Array(8) }), `in ${peer} > ${host}`)
  assert.equal(box.go(IN, { proto: 'icmp', src: peer, dst: WHOLE, icmpId: 9 }), `in ${peer} > ${host}`)
  assert.equal(box.go(OUT, { proto: 'icmp', icmpType: 0, src: host, dst: peer, icmpId: 9 }), `out ${WHOLE} > ${peer}`)
  assert.equal(box.go(IN, udp(peer, 5, WHOLE, 40000)), `in ${peer}:5 > ${host}:40000`)
  assert.equal(box.go(IN, tcp(peer, 5, WHOLE, 22, SYN)), `in ${peer}:5 > ${host}:22`)
  assert.equal(box.go(IN, udp(stranger, 5, WHOLE, 40000)), 'filtered')
  // A packet that claims to come from an address of ours is a martian.
  assert.equal(box.go(IN, udp(WHOLE, 5, ADDRESS, 1)), 'martian-source')
  box.end(1)
  box.bindAddress(command.OP_UNBIND_ADDRESS, host)
  assert.equal(box.count('flows-current'), 0)
  assert.equal(box.go(IN, udp(peer, 5, WHOLE, 40000)), 'no-mapping')
  assert.equal(box.go(OUT, udp(host, 777, stranger, 53)), `out ${ADDRESS}:777 > ${stranger}:53`)
})

// @req RFC5508 REQ-5c
test('an error from inside has the outside address of who sent it, if there is one of its own (RFC 5508 REQ-5c)', () => {
  const box = createBox()
  box.bindAddress(command.OP_BIND_ADDRESS, host)
  box.go(OUT, udp(other, 5000, peer, 53))
  const came = box.send(IN, buildPacket(udp(peer, 53, ADDRESS, 5000)), 0).bytes!
  // The host with the whole address is a router on the way, or a host further inside is.
  for (const [src, seen] of [[host, WHOLE], ['10.0.0.7', ADDRESS], [other, ADDRESS]]) {
    const error = box.send(OUT, icmpError({ src, original: came, icmpType: 3, icmpCode: 1 }), 0)
    assert.equal(show(error), `out ${seen} > ${peer}`)
    assert.equal(print4(ipv4.dst(new DataView(error.bytes!.buffer, 28), 0)), ADDRESS, 'the quote is of the flow')
  }
})

// @req RFC5508 REQ-7
// @req RFC7857 12a
test('a ping to a whole outside address reaches its host, from outside and from inside (RFC 5508 REQ-7, RFC 7857 12)', () => {
  const box = createBox()
  box.bindAddress(command.OP_BIND_ADDRESS, host)
  box.add({ rule: 1, flags: command.RULE_IN | command.RULE_BOUND, local: host })
  const ping = (src: string): PacketSpec => ({ proto: 'icmp', src, dst: WHOLE, icmpId: 9 })
  assert.equal(box.go(IN, ping(stranger)), `in ${stranger} > ${host}`)
  assert.equal(box.go(OUT, { proto: 'icmp', icmpType: 0, src: host, dst: stranger, icmpId: 9 }), `out ${WHOLE} > ${stranger}`)
  assert.equal(box.go(OUT, ping(other)), `in ${ADDRESS} > ${host}`)
  assert.equal(box.go(OUT, { proto: 'icmp', icmpType: 0, src: host, dst: ADDRESS, icmpId: 9 }), `in ${WHOLE} > ${other}`)
})

test('twice-NAT: the inside reaches the peer, and sees it, at an address of its own', () => {
  const box = createBox()
  assert.equal(box.go(OUT, udp(host, 5004, SHOWN, 2000)), 'no-mapping')
  box.bindInside(command.OP_BIND_INSIDE, 2000, peer, 6000, 2)
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  box.add({ rule: 1, flags: ENABLE_IN | command.RULE_OUT | command.RULE_TWICE, protocol: 17, local: host, localPorts: [5004, 5004], peer, peerPorts: [6000, 6001] })
  assert.equal(box.go(OUT, udp(host, 5004, SHOWN, 2001)), `out ${ADDRESS}:40000 > ${peer}:6001`)
  assert.equal(box.go(IN, udp(peer, 6001, ADDRESS, 40000)), `in ${SHOWN}:2001 > ${host}:5004`)
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${SHOWN}:2000 > ${host}:5004`)
  assert.equal(box.go(OUT, udp(host, 5004, SHOWN, 2002)), 'no-mapping')
  assert.equal(box.go(IN, udp(SHOWN, 6000, ADDRESS, 40000)), 'martian-source')
  box.end(1)
  box.bindInside(command.OP_UNBIND_INSIDE, 2000, peer, 6000, 2)
  assert.equal(box.go(OUT, udp(host, 5004, SHOWN, 2001)), 'no-mapping')
})

test('twice-NAT by address: every protocol and port, ICMP errors and fragments too', () => {
  const box = createBox()
  box.bindInside(command.OP_BIND_INSIDE, 0, peer, 0, 0)
  const ping: PacketSpec = { proto: 'icmp', src: host, dst: SHOWN, icmpId: 7 }
  assert.equal(box.go(OUT, ping), `out ${ADDRESS} > ${peer}`)
  assert.equal(box.go(IN, { proto: 'icmp', icmpType: 0, src: peer, dst: ADDRESS, icmpId: 7 }), `in ${SHOWN} > ${host}`)
  const pieces = fragment(buildPacket({ ...udp(host, 9, SHOWN, 10), payload: new Uint8Array(64) }), [48])
  assert.deepEqual(pieces.map((piece) => {
    const { bytes } = box.send(OUT, piece, 0)
    return print4(ipv4.dst(new DataView(bytes!.buffer, bytes!.byteOffset), 0))
  }), pieces.map(() => peer))
  const sent = box.send(OUT, buildPacket(udp(host, 9, SHOWN, 11)), 0).bytes!
  const error = box.send(IN, icmpError({ src: peer, original: sent, icmpType: 3 }), 0)
  assert.equal(show(error), `in ${SHOWN} > ${host}`)
  const quote = new DataView(error.bytes!.buffer, error.bytes!.byteOffset + 28)
  assert.equal(print4(ipv4.dst(quote, 0)), SHOWN)
  assert.equal(print4(ipv4.src(quote, 0)), host)
})

test('IPv6 and a pure firewall: a pinhole of prefixes and ranges admits what it covers', () => {
  const box = createBox()
  const inside6 = 'fd00::5', peer6 = '2001:db8::7'
  const packet = (dstPort: number): PacketSpec => ({ proto: 'udp', src: peer6, dst: inside6, srcPort: 5, dstPort })
  assert.equal(box.go(IN, packet(5004)), 'denied')
  box.add({ rule: 1, flags: command.RULE_IN, protocol: 17, local: inside6, localPorts: [5000, 5009], peer: '2001:db8::', peerBits: 32 })
  assert.equal(box.go(IN, packet(5004)), 'in')
  assert.equal(box.go(IN, packet(5010)), 'denied')
  box.end(1)
  assert.equal(box.go(IN, packet(5004)), 'denied')
  const plain = createBox({ nat44: false })
  assert.equal(plain.go(IN, udp(peer, 1, host, 5004)), 'denied')
  plain.add({ rule: 1, flags: command.RULE_IN, protocol: 17, local: '10.0.0.0', localBits: 24, peer })
  assert.equal(plain.go(IN, udp(peer, 1, host, 5004)), `in ${peer}:1 > ${host}:5004`)
  assert.equal(plain.go(IN, udp(peer, 1, '10.0.1.5', 5004)), 'denied')
})

test('no rule is asked about a packet for another inside host, nor about an answer that nobody asked for, whatever its version is', () => {
  const inside6 = 'fd00::5', peer6 = '2001:db8::7'
  const cases: [string, ReturnType<typeof createBox>, number, PacketSpec][] = [
    ['inside-to-inside', createBox(), OUT, udp(host, 1, other, 2)],
    ['inside-to-inside', createBox(), OUT, udp(inside6, 1, 'fd00::6', 2)],
    ['no-state', createBox(), OUT, { proto: 'icmp', src: host, dst: peer, icmpType: 0 }],
    ['no-state', createBox(), OUT, { proto: 'icmp6', src: inside6, dst: peer6, icmpType: 129 }],
    ['no-state', createBox(), IN, { proto: 'icmp6', src: peer6, dst: inside6, icmpType: 129 }],
    ['no-state', createBox({ nat44: false }), IN, { proto: 'icmp', src: peer, dst: host, icmpType: 0 }],
  ]
  for (const [expected, box, side, spec] of cases) {
    for (const [rule, local] of [[1, '0.0.0.0'], [2, '::']] as const) box.add({ rule, flags: command.RULE_DISABLE, local, localBits: 0 })
    assert.equal(box.go(side, spec), expected)
    assert.equal(box.engine.ruleDecided[0], 0, `${expected}: nothing is said of a rule`)
    assert.equal(box.go(side, udp(side === OUT ? inside6 : peer6, 1, side === OUT ? peer6 : inside6, 2)), 'denied-by-rule')
    assert.equal(box.engine.ruleDecided[0], 2)
  }
})

test('commands are carried out in slices, and count only when all of it is done', () => {
  const box = createBox()
  for (let port = 1; port <= 100; port++) box.go(OUT, udp(host, 2000 + port, peer, port))
  const at = box.ring.next()
  box.ring.words[at + command.OP] = command.OP_RULE_ADD
  box.ring.words[at + command.RULE] = 1
  box.ring.words[at + command.FLAGS] = command.RULE_DISABLE
  box.ring.words[at + command.VERSION] = 4
  box.ring.words[at + command.PROTOCOL] = -1
  box.ring.words[at + command.LOCAL_PORTS] = box.ring.words[at + command.PEER_PORTS] = 0xffff
  box.ring.publish()
  assert.equal(box.engine.applyCommands(0, 10), true)
  assert.equal(box.ring.applied(), 0)
  assert.ok(box.count('flows-current') >= 85)
  while (box.engine.applyCommands(0, 10)) assert.equal(box.ring.applied(), 0)
  assert.equal(box.ring.applied(), 1)
  assert.equal(box.count('flows-current'), 0)
})

test('a full flow table evicts flows, never bindings', () => {
  const box = createBox({ flows: 16 })
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5004] })
  for (let port = 1; port <= 200; port++) assert.equal(box.go(IN, udp(peer, port, ADDRESS, 40000)), `in ${peer}:${port} > ${host}:5004`)
  assert.equal(box.count('flows-current'), 16)
  box.end(1)
  assert.equal(box.count('flows-current'), 0)
})

test('a packet that comes to a binding takes the place of a flow that is older than the binding', () => {
  const box = createBox()
  assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), `out ${ADDRESS}:5004 > ${peer}:6000`)
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000)
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), 'filtered')
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 5004)), `in ${peer}:6000 > ${host}:5004`)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5004], peer })
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${peer}:6000 > ${host}:5004`)
  assert.equal(box.count('flows-current'), 1)
  assert.equal(box.go(OUT, udp(host, 5004, peer, 6000)), `out ${ADDRESS}:40000 > ${peer}:6000`)
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 5004)), 'no-mapping')
})

test('ranges are paired: the n-th port with the n-th, and no other (RFC 5189 2.3.6)', () => {
  const box = createBox()
  box.bind(command.OP_BIND_PORTS, host, 5004, 40000, 2)
  box.add({ rule: 1, flags: ENABLE_IN, protocol: 17, local: host, localPorts: [5004, 5005], peer, peerPorts: [6000, 6001] })
  assert.equal(box.go(IN, udp(peer, 6001, ADDRESS, 40000)), 'filtered')
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40001)), 'filtered')
  assert.equal(box.go(IN, udp(peer, 6000, ADDRESS, 40000)), `in ${peer}:6000 > ${host}:5004`)
  assert.equal(box.go(IN, udp(peer, 6001, ADDRESS, 40001)), `in ${peer}:6001 > ${host}:5005`)
})

test('where only rules open mappings, the filter admits nobody by acquaintance', () => {
  const box = createBox({ outboundPermit: false })
  box.add({ rule: 1, flags: command.RULE_OUT, protocol: 17, local: host, peer, peerPorts: [53, 53] })
  assert.equal(box.go(OUT, udp(host, 1234, peer, 53)), `out ${ADDRESS}:1234 > ${peer}:53`)
  assert.equal(box.go(IN, udp(peer, 53, ADDRESS, 1234)), 'filtered')
  assert.equal(box.go(IN, udp(peer, 54, ADDRESS, 1234)), 'filtered')
})

test('an address that is being unbound takes no new flow, though its flows end in slices', () => {
  const box = createBox()
  box.bindAddress(command.OP_BIND_ADDRESS, host)
  for (let port = 1; port <= 100; port++) box.go(OUT, udp(host, 2000, peer, port))
  const at = box.ring.next()
  box.ring.words[at + command.OP] = command.OP_UNBIND_ADDRESS
  box.ring.words[at + command.LOCAL] = word(host)
  box.ring.words[at + command.OUTSIDE_ADDRESS] = word(WHOLE)
  box.ring.publish()
  assert.equal(box.engine.applyCommands(0, 10), true)
  assert.equal(box.go(OUT, udp(host, 2000, stranger, 1)), `out ${ADDRESS}:2000 > ${stranger}:1`)
  assert.equal(box.go(IN, udp(peer, 1000, WHOLE, 2000)), 'no-mapping')
  assert.equal(box.go(OUT, udp(host, 2000, peer, 100)), `out ${WHOLE}:2000 > ${peer}:100`)
  box.apply(0)
  assert.equal(box.count('flows-current'), 1)
  assert.equal(box.go(OUT, udp(host, 2000, peer, 100)), `out ${ADDRESS}:2000 > ${peer}:100`)
})

test('while an address is being unbound its host goes on with the mapping that it had before, and gets no second one (RFC 4787 REQ-1)', () => {
  const gre = (dst: string): PacketSpec => ({ proto: 47, src: host, dst, payload: new Uint8Array(8) })
  const box = createBox()
  assert.equal(box.go(OUT, udp(host, 2000, peer, 1)), `out ${ADDRESS}:2000 > ${peer}:1`)
  assert.equal(box.go(OUT, gre(peer)), `out ${ADDRESS} > ${peer}`)
  box.bindAddress(command.OP_BIND_ADDRESS, host)
  for (let port = 101; port <= 200; port++) box.go(OUT, udp(host, 2000, peer, port))
  box.go(OUT, gre(stranger))
  const opened = box.count('mappings-opened')
  const at = box.ring.next()
  box.ring.words[at + command.OP] = command.OP_UNBIND_ADDRESS
  box.ring.words[at + command.LOCAL] = word(host)
  box.ring.words[at + command.OUTSIDE_ADDRESS] = word(WHOLE)
  box.ring.publish()
  assert.equal(box.engine.applyCommands(0, 10), true)
  assert.equal(box.go(OUT, udp(host, 2000, stranger, 1)), `out ${ADDRESS}:2000 > ${stranger}:1`)
  assert.equal(box.go(OUT, gre('198.51.100.9')), `out ${ADDRESS} > 198.51.100.9`)
  box.apply(0)
  assert.equal(box.count('mappings-opened'), opened)
  assert.equal(box.count('flows-current'), 4)
})

test('a bound address keeps its ports even when making room ends their last flow', () => {
  const box = createBox({ flows: 16 })
  box.bindAddress(command.OP_BIND_ADDRESS, host)
  box.add({ rule: 1, flags: ENABLE_IN, local: host })
  assert.equal(box.go(IN, udp(peer, 1, WHOLE, 9)), `in ${peer}:1 > ${host}:9`)
  for (let port = 2001; port <= 2015; port++) box.go(OUT, udp(other, port, peer, 53))
  assert.equal(box.go(IN, udp(peer, 2, WHOLE, 9)), `in ${peer}:2 > ${host}:9`)
})

test('a stranger whom a firewall rule has let in to a bound port goes with that rule, also where the filter lets in anybody', () => {
  const permit = { ...anyRule(true), directions: INBOUND }
  const box = createBox({
    filtering: FILTER_ENDPOINT_INDEPENDENT, firewall: { set: createRuleSet([permit], [], 1), interfaceName: () => undefined },
  })
  box.bind(command.OP_BIND_PORTS, host, 5000, 40000)
  assert.equal(box.go(IN, udp(stranger, 1, ADDRESS, 40000)), `in ${stranger}:1 > ${host}:5000`)
  box.engine.replaceRules(createRuleSet([], [], 1))
  box.apply(1)
  assert.equal(box.count('flows-current'), 0)
  assert.equal(box.go(IN, udp(stranger, 1, ADDRESS, 40000), 2), 'filtered')
})
