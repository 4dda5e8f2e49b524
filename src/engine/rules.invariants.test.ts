/**
 * Flows, bindings and rules under random commands, packets, evictions and time: after every step the tables tell one story, and what
 * is open is what a live rule promises. Commands are carried out in slices, with packets in between.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng, type Prng } from '../base/prng.ts'
import * as command from '../channel/commands.ts'
import { buildPacket, icmpError, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import {
  BLOCK_IN, BLOCK_OUT, DEADLINE, FLOW_BITS, INSIDE, KIND, MAPPED, MAPPING_HEAD, OUTSIDE, OUTSIDE_PORTS, PEER, PEER_HEAD, PEER_NEXT,
  PEER_PREV, PORTS, RING_NEXT, RING_PREV, RULED, TWICE, WHEEL_PREV,
} from './flows.ts'
import { FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT, type EngineOptions } from './options.ts'
import { CLASSES, CLASS_NONE, CLASS_OF } from './ports.ts'
import { OUTSIDE_ADDRESS, createRig } from './testing.ts'

const SEED = Number(process.env.SEED ?? Date.now() & 0x7fffffff), ROUNDS = Number(process.env.ROUNDS ?? 30), STEPS = 400
const TCP = 6, UDP = 17, SYN = 2
const RULES = 12, BOUND_PORTS = 24, PORT_LOW = 40000, PORT_HIGH = 40019
const WHOLE = [0xcb007163 | 0, 0xcb007164 | 0], SHOWN = [0xc0000201 | 0]        // 203.0.113.99, .100; 192.0.2.1
const text = (address: number) => [24, 16, 8, 0].map((shift) => address >>> shift & 255).join('.')
const host = (n: number) => 0x0a000001 + n | 0, remote = (n: number) => 0xc6336401 + n | 0
const HOSTS = 3, REMOTES = 3, PORTS_EACH = 4, FIRST_PORT = 5000, FIRST_PEER_PORT = 6000

interface Range { low: number; high: number }
interface Rule {
  number: number; flags: number; priority: number; version: 4 | 6; protocol: number
  local: number; localBits: number; localPorts: Range; peer: number; peerBits: number; peerPorts: Range
}
interface PortBinding { protocol: number; local: number; port: number; outsidePort: number; count: number }
interface InsideBinding { protocol: number; shown: number; shownPort: number; peer: number; port: number; count: number }

const ALL: Range = { low: 0, high: 0xffff }
/** RFC 5189 2.3.6: two ranges of one length pair their ports. */
function arePaired({ flags, localPorts: a, peerPorts: b }: Rule): boolean {
  return (flags & command.RULE_DISABLE) === 0 && a.high > a.low && a.high - a.low < 0xffff && a.high - a.low === b.high - b.low
}

class Play {
  readonly prng: Prng
  readonly ring = command.createCommandRing(64)
  readonly rig
  readonly capacity: number
  readonly outboundPermit: boolean
  readonly nat44: boolean
  readonly rules = new Map<number, Rule>()
  readonly ports: PortBinding[] = []
  /** Outside address to host. */
  readonly wholes = new Map<number, number>()
  readonly shown: InsideBinding[] = []
  nowMs = 0x7fff_0000
  private priority = 1
  private activity = command.createRuleActivity(RULES)

  constructor(seed: number) {
    this.prng = createPrng(seed)
    const pick = <T>(...values: T[]) => values[this.prng.below(values.length)]
    this.capacity = pick(16, 24, 200)
    this.outboundPermit = pick(true, false)
    this.nat44 = pick(true, true, true, false)
    const options: Partial<EngineOptions> = {
      flows: this.capacity, nat44: this.nat44, outboundPermit: this.outboundPermit, portPreservation: pick(true, false),
      filtering: pick(FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT), tcpMidstream: pick(true, false), seed,
    }
    this.rig = createRig({
      ...options,
      midcom: {
        rules: RULES, boundPorts: BOUND_PORTS, portLow: PORT_LOW, portHigh: PORT_HIGH, addresses: WHOLE, insidePool: SHOWN,
        ring: this.ring, activity: this.activity,
      },
    })
  }

  below(n: number): number { return this.prng.below(n) }
  pick<T>(...values: T[]): T { return values[this.below(values.length)] }

  /* Commands, such as policy gives: nothing is bound twice, and an address has either ports bound or is bound itself. */

  write(op: number, fields: [word: number, value: number][]): void {
    const at = this.ring.next()
    this.ring.words[at + command.OP] = op
    for (const [word, value] of fields) this.ring.words[at + word] = value
    this.ring.publish()
  }

  tellPorts(op: number, { protocol, local, port, outsidePort, count }: PortBinding): void {
    this.write(op, [
      [command.PROTOCOL, protocol], [command.LOCAL, local], [command.LOCAL_PORT, port], [command.OUTSIDE_ADDRESS, OUTSIDE_ADDRESS],
      [command.OUTSIDE_PORT, outsidePort], [command.COUNT, count],
    ])
  }

  tellInside(op: number, { protocol, shown, shownPort, peer, port, count }: InsideBinding): void {
    this.write(op, [
      [command.PROTOCOL, protocol], [command.INSIDE_ADDRESS, shown], [command.INSIDE_PORT, shownPort], [command.PEER, peer],
      [command.PEER_PORT, port], [command.COUNT, count],
    ])
  }

  bindPorts(): void {
    const binding = {
      protocol: this.pick(TCP, UDP, UDP), local: host(this.below(HOSTS)), port: FIRST_PORT + this.below(PORTS_EACH),
      outsidePort: PORT_LOW + this.below(PORT_HIGH - PORT_LOW), count: 1 + this.below(2),
    }
    const meets = (a: number, b: number, other: number) => a < b + other && b < a + binding.count
    const taken = this.ports.some((one) => one.protocol === binding.protocol
      && (one.local === binding.local && meets(binding.port, one.port, one.count) || meets(binding.outsidePort, one.outsidePort, one.count)))
    if (taken || [...this.wholes.values()].includes(binding.local)) return
    if (this.ports.reduce((sum, { count }) => sum + count, binding.count) > BOUND_PORTS) return
    this.ports.push(binding)
    this.tellPorts(command.OP_BIND_PORTS, binding)
  }

  bindAddress(): void {
    const outside = this.pick(...WHOLE), local = host(this.below(HOSTS))
    if (this.wholes.has(outside) || [...this.wholes.values()].includes(local) || this.ports.some((one) => one.local === local)) return
    this.wholes.set(outside, local)
    this.write(command.OP_BIND_ADDRESS, [[command.LOCAL, local], [command.OUTSIDE_ADDRESS, outside]])
  }

  unbind(): void {
    if (this.ports.length > 0 && this.below(2) === 0) {
      this.tellPorts(command.OP_UNBIND_PORTS, this.ports.splice(this.below(this.ports.length), 1)[0])
    } else if (this.wholes.size > 0) {
      const outside = this.pick(...this.wholes.keys())
      this.write(command.OP_UNBIND_ADDRESS, [[command.LOCAL, this.wholes.get(outside)!], [command.OUTSIDE_ADDRESS, outside]])
      this.wholes.delete(outside)
    }
  }

  bindInside(): void {
    const isWhole = this.below(3) === 0
    const binding = {
      protocol: isWhole ? 0 : this.pick(TCP, UDP), shown: SHOWN[0], shownPort: isWhole ? 0 : 1024 + this.below(4),
      peer: remote(this.below(REMOTES)), port: isWhole ? 0 : FIRST_PEER_PORT + this.below(3), count: isWhole ? 0 : 1,
    }
    const clashes = this.shown.some((one) => one.count === 0 || isWhole
      || (one.protocol === binding.protocol && (one.shownPort === binding.shownPort || (one.peer === binding.peer && one.port === binding.port))))
    if (clashes) return
    this.shown.push(binding)
    this.tellInside(command.OP_BIND_INSIDE, binding)
  }

  unbindInside(): void {
    if (this.shown.length > 0) this.tellInside(command.OP_UNBIND_INSIDE, this.shown.splice(this.below(this.shown.length), 1)[0])
  }

  addRule(): void {
    const number = 1 + this.below(RULES)
    if (this.rules.has(number)) return
    const isDisable = this.below(6) === 0, protocol = this.pick(UDP, UDP, TCP, 1, 47, -1), version = this.pick<4 | 6>(4, 4, 4, 6)
    const hasPorts = protocol === UDP || protocol === TCP
    const range = (first: number): Range => {
      const low = first + this.below(PORTS_EACH)
      return !hasPorts || this.below(3) === 0 ? ALL : { low, high: low + this.pick(0, 0, 1) }
    }
    const full = version === 4 ? 32 : 128
    const rule: Rule = {
      number, version, protocol, priority: isDisable ? 0 : this.priority++,
      flags: isDisable ? command.RULE_DISABLE : this.pick(command.RULE_OUT, command.RULE_IN, command.RULE_OUT | command.RULE_IN),
      local: host(this.below(HOSTS)), localBits: this.pick(full, full, full - 2, 8), localPorts: range(FIRST_PORT),
      peer: remote(this.below(REMOTES)), peerBits: this.pick(full, full, full - 1, 0), peerPorts: range(FIRST_PEER_PORT),
    }
    if (!isDisable && this.nat44 && version === 4 && this.below(2) === 0) rule.flags |= command.RULE_BOUND
    if (!isDisable && this.nat44 && version === 4 && this.below(3) === 0) rule.flags |= command.RULE_TWICE
    this.rules.set(number, rule)
    const words = (address: number, side: number): [number, number][] => version === 4 ? [[side, address]]
      : address === rule.local ? [[side, 0xfd000000 | 0], [side + 3, address & 255]] : [[side, 0x20010db8], [side + 3, address & 255]]
    this.write(command.OP_RULE_ADD, [
      [command.RULE, number], [command.FLAGS, rule.flags], [command.PRIORITY, rule.priority], [command.VERSION, version],
      [command.PROTOCOL, protocol], [command.LOCAL_BITS, rule.localBits], [command.PEER_BITS, rule.peerBits],
      [command.LOCAL_PORTS, rule.localPorts.low << 16 | rule.localPorts.high], [command.PEER_PORTS, rule.peerPorts.low << 16 | rule.peerPorts.high],
      ...words(rule.local, command.LOCAL), ...words(rule.peer, command.PEER),
    ])
  }

  deleteRule(): void {
    if (this.rules.size === 0) return
    const number = this.pick(...this.rules.keys())
    this.rules.delete(number)
    this.write(command.OP_RULE_DELETE, [[command.RULE, number]])
  }

  /** Some commands, carried out in slices, with packets in between. */
  order(): void {
    for (let n = 1 + this.below(3); n > 0; n--) {
      const binds = [() => this.bindPorts(), () => this.bindPorts(), () => this.bindAddress(), () => this.unbind(), () => this.bindInside(),
        () => this.unbindInside()]
      this.pick(...this.nat44 ? binds : [], () => this.addRule(), () => this.addRule(), () => this.deleteRule())()
    }
    const units = this.pick(1, 2, 1000)
    while (this.rig.engine.applyCommands(this.nowMs, units) || this.ring.peek() >= 0) {
      for (let n = this.below(4); n > 0; n--) this.packet()
      if (this.below(4) === 0) this.check(false)
    }
  }

  /* Packets. */

  packet(): void {
    const { engine: { flows } } = this.rig
    const src = text(host(this.below(HOSTS))), dst = text(this.pick(remote(this.below(REMOTES)), remote(this.below(REMOTES)), SHOWN[0]))
    const srcPort = FIRST_PORT + this.below(PORTS_EACH), dstPort = this.pick(FIRST_PEER_PORT, FIRST_PEER_PORT, 1024) + this.below(3)
    const proto = this.pick<PacketSpec['proto']>('udp', 'udp', 'tcp', 'icmp', 47), tcpFlags = this.pick(SYN, SYN, 16, 18, 17, 4)
    const rest = { proto, tcpFlags, icmpId: srcPort, ...typeof proto === 'number' && { payload: new Uint8Array(8) } }
    const v6 = { src: `fd00::${1 + this.below(HOSTS)}`, dst: `2001:db8::${1 + this.below(REMOTES)}`, proto: this.pick<'udp' | 'tcp'>('udp', 'tcp'), tcpFlags }
    // To a plain inside host, to where policy binds, or to wherever a live flow or binding is.
    const slot = 1 + this.below(this.capacity + BOUND_PORTS)
    const known = flows.F[(slot << FLOW_BITS) + OUTSIDE_PORTS] >>> 16
    const ours = this.nat44 ? text(this.pick(OUTSIDE_ADDRESS, OUTSIDE_ADDRESS, ...WHOLE)) : src
    const ourPort = this.nat44 ? this.pick(known, known, PORT_LOW + this.below(20), srcPort) : srcPort
    const inward = { ...rest, src: dst, dst: ours, srcPort: dstPort, dstPort: ourPort, icmpId: ourPort }
    const [side, spec] = this.pick<[number, PacketSpec]>(
      [SIDE_INSIDE, { ...rest, src, dst, srcPort, dstPort }], [SIDE_INSIDE, { ...rest, src, dst, srcPort, dstPort }],
      [SIDE_OUTSIDE, inward], [SIDE_OUTSIDE, inward], [SIDE_OUTSIDE, inward],
      [SIDE_INSIDE, { ...rest, src, dst: ours, srcPort, dstPort: ourPort }],
      [SIDE_INSIDE, { ...v6, srcPort, dstPort }], [SIDE_OUTSIDE, { ...v6, src: v6.dst, dst: v6.src, srcPort: dstPort, dstPort: srcPort }],
    )
    const packet = buildPacket(spec)
    const isError = side === SIDE_OUTSIDE && packet[0] >>> 4 === 4 && this.below(12) === 0
    const { srcPort: from = 0, dstPort: to = 0 } = spec
    const about = isError ? buildPacket({ ...spec, src: spec.dst, dst: spec.src, srcPort: to, dstPort: from }) : packet
    this.rig.send(side, isError ? icmpError({ src: spec.src, icmpType: 3, original: about }) : packet, this.nowMs)
  }

  play(): void {
    for (let n = 0; n < STEPS; n++) {
      this.nowMs = this.nowMs + this.pick(0, 1, 1, 1, 1, 1000, 70_000) | 0
      if (this.below(6) === 0) this.order()
      else this.packet()
      if (n % 8 === 7) this.check(true)
    }
    // When all rules and bindings are gone, so is all that they let in.
    while (this.rules.size > 0) this.deleteRule()
    while (this.ports.length + this.wholes.size > 0) this.unbind()
    while (this.shown.length > 0) this.unbindInside()
    while (this.rig.engine.applyCommands(this.nowMs, 3) || this.ring.peek() >= 0) this.packet()
    this.check(true)
    for (const base of this.live()) assert.equal(this.rig.engine.flows.F[base + KIND] & (RULED | BLOCK_OUT | BLOCK_IN), 0, 'no flow is a rule\'s')
    this.nowMs = this.nowMs + 8_000_000 | 0
    this.rig.engine.expire(this.nowMs)
    this.check(true)
    assert.equal(this.rig.count('flows-current') + this.rig.count('rules-current') + this.rig.count('bindings-current'), 0)
    assert.ok(this.rig.engine.flows.portOwner.every((slot) => slot === 0), 'every port is free')
  }

  /* What must hold. */

  /** Offsets of live flows. */
  live(): number[] {
    const { F } = this.rig.engine.flows
    return Array.from({ length: this.capacity }, (_, n) => (n + 1) << FLOW_BITS).filter((base) => F[base + KIND] !== 0)
  }

  /** @param settled all commands have been carried out */
  check(settled: boolean): void {
    const { rig } = this, { flows, pool } = rig.engine
    const { F, index, slotMask, portOwner, isBinding, boundIndex, addressOwner } = flows
    const word = (slot: number, at: number) => F[(slot << FLOW_BITS) + at]
    const slots = this.live().map((base) => base >>> FLOW_BITS)
    const bindings = Array.from({ length: this.nat44 ? BOUND_PORTS : 0 }, (_, n) => this.capacity + 1 + n).filter((slot) => word(slot, KIND) !== 0)
    assert.deepEqual([...index].filter((entry) => entry !== 0).map((entry) => entry & slotMask).sort((a, b) => a - b), slots, 'the index')
    assert.equal(rig.count('flows-current'), slots.length)

    const rings = new Map<string, number[]>(), peers = new Map<string, number[]>()
    const join = (map: Map<string, number[]>, key: unknown[], slot: number) => map.set(key.join(' '), [...map.get(key.join(' ')) ?? [], slot])
    for (const slot of [...slots, ...bindings]) {
      const kind = word(slot, KIND) >>> 16
      if (!isBinding(slot)) {
        assert.ok(((word(slot, DEADLINE) - this.nowMs) | 0) > 0, 'a live flow has time left')
        assert.notEqual(word(slot, WHEEL_PREV), 0, 'and stands in the wheel')
      }
      if ((word(slot, KIND) & MAPPED) === 0) continue
      const port = word(slot, OUTSIDE_PORTS) >>> 16
      join(rings, [word(slot, INSIDE), word(slot, PORTS) >>> 16, kind, word(slot, OUTSIDE), port], slot)
      if (!isBinding(slot)) join(peers, [word(slot, OUTSIDE), port, kind, word(slot, PEER)], slot)
    }
    const ringOf = (some: readonly number[], flag: number, next: number, prev: number) => {
      const ring: number[] = []
      for (let at = some[0]; ring.length <= some.length; at = word(at, next)) {
        assert.equal(word(word(at, next), prev), at, 'links go both ways')
        if (ring.length > 0 && at === some[0]) break
        ring.push(at)
      }
      assert.deepEqual(ring.sort((a, b) => a - b), [...some].sort((a, b) => a - b), 'a ring holds its flows and no other')
      const heads = some.filter((slot) => (word(slot, KIND) & flag) !== 0)
      assert.equal(heads.length, 1, 'one of them is the head')
      return heads[0]
    }
    const owners = new Map<number, number>()
    for (const some of rings.values()) {
      const head = ringOf(some, MAPPING_HEAD, RING_NEXT, RING_PREV)
      const binding = some.find(isBinding)
      assert.ok(binding === undefined || binding === head, 'a binding stays the head of its mapping')
      const kind = word(head, KIND) >>> 16, portClass = CLASS_OF[kind & 255], outsidePort = word(head, OUTSIDE_PORTS) >>> 16
      // The chain leads to it; a binding, or the address that its host has now, comes first.
      const first = flows.findMapping(word(head, INSIDE), word(head, PORTS) >>> 16, kind)
      const found: number[] = []
      for (let at = first; at !== 0 && found.length < 100; at = word(at, 6)) found.push(at)
      assert.ok(found.includes(head) || flows.isUnbound(word(head, OUTSIDE)), 'the chain holds every mapping')
      if (binding !== undefined && boundIndex(word(head, INSIDE)) < 0 && settled) assert.equal(first, binding)
      // The ports of a whole address are one host's, so that nothing needs to tell whose each is.
      if (portClass === CLASS_NONE || pool.indexOf(word(head, OUTSIDE)) >= pool.shared) continue
      const owner = (pool.indexOf(word(head, OUTSIDE)) * CLASSES + portClass) << 16 | outsidePort
      assert.ok(!owners.has(owner), 'no outside port is owned twice')
      owners.set(owner, head)
      if (word(head, OUTSIDE) === OUTSIDE_ADDRESS && (kind & 255) !== 1 && binding === undefined && settled) {
        assert.ok(outsidePort < PORT_LOW || outsidePort > PORT_HIGH, 'only a binding has a port of policy')
      }
    }
    for (const some of peers.values()) ringOf(some, PEER_HEAD, PEER_NEXT, PEER_PREV)
    const owned: [number, number][] = []
    for (let at = 0; at < portOwner.length; at++) if (portOwner[at] !== 0) owned.push([at, portOwner[at]])
    assert.deepEqual(owned.sort(([a], [b]) => a - b), [...owners].sort(([a], [b]) => a - b), 'the port table names heads, and all of them')
    const ended = rig.count('flows-opened') - rig.count('flows-expired') - rig.count('flows-evicted') - rig.count('rule-flows-ended')
    assert.equal(ended, slots.length, 'every flow that has gone went for one reason')
    if (!settled) return

    assert.equal(rig.count('rules-current'), this.rules.size)
    assert.equal(bindings.length, this.ports.reduce((sum, { count }) => sum + count, 0))
    for (const slot of slots) {
      const outside = word(slot, OUTSIDE), whole = WHOLE.indexOf(outside)
      if ((word(slot, KIND) & MAPPED) !== 0 && whole >= 0) {
        assert.equal(addressOwner[pool.indexOf(outside)], word(slot, INSIDE), 'an address is used by the host that it is bound to')
      }
      this.checkPromise(slot << FLOW_BITS)
    }
  }

  holds(rule: Rule, base: number): boolean {
    const { F } = this.rig.engine.flows
    const version = F[base + KIND] >>> 24, protocol = F[base + KIND] >>> 16 & 255
    if (version !== rule.version || (rule.protocol >= 0 && rule.protocol !== protocol)) return false
    const ports = CLASS_OF[protocol] <= 1 ? F[base + PORTS] : 0, local = ports >>> 16, peer = ports & 0xffff
    if (local < rule.localPorts.low || local > rule.localPorts.high || peer < rule.peerPorts.low || peer > rule.peerPorts.high) return false
    if (arePaired(rule) && local - rule.localPorts.low !== peer - rule.peerPorts.low) return false
    const same = (bits: number, a: number, b: number) => bits >= 32 ? a === b : bits <= 0 || (a ^ b) >>> (32 - bits) === 0
    if (version === 4) return same(rule.localBits, rule.local, F[base + INSIDE]) && same(rule.peerBits, rule.peer, F[base + PEER])
    // All hosts of a side share three words.
    return same(rule.localBits - 96, rule.local & 255, F[base + 3]) && same(rule.peerBits - 96, rule.peer & 255, F[base + 7])
  }

  /** No disable rule holds for a live flow, and a direction is open because of a live rule or because the firewall permits it. */
  checkPromise(base: number): void {
    const { F } = this.rig.engine.flows
    const flags = F[base + KIND], isTcp = (flags >>> 16 & 255) === TCP
    const rules = [...this.rules.values()].filter((rule) => this.holds(rule, base))
    for (const { flags: set } of rules) assert.equal(set & command.RULE_DISABLE, 0, 'a disable rule ends what it matches')
    const opens = (way: number) => rules.some((rule) => (rule.flags & way) !== 0)
    const out = opens(command.RULE_OUT), into = opens(command.RULE_IN)
    if ((flags & RULED) !== 0) assert.ok(out || into, 'a flow that a rule has opened has a rule')
    else assert.equal(flags & (BLOCK_OUT | BLOCK_IN), 0, 'only a rule opens one way')
    if ((flags & TWICE) !== 0) assert.ok(flags >>> 24 === 4)
    if (this.outboundPermit) return
    if ((flags & BLOCK_OUT) === 0) assert.ok(out || (isTcp && into), 'outbound is denied but for rules')
    if ((flags & BLOCK_IN) === 0) assert.ok(into || (isTcp && out), 'inbound is denied but for rules')
  }
}

test(`rules: tables and promises hold under random commands, packets, evictions and time (seed ${SEED})`, () => {
  for (let round = 0; round < ROUNDS; round++) {
    try {
      new Play(SEED + round | 0).play()
    } catch (error) {
      (error as Error).message = `seed ${SEED + round}: ${(error as Error).message}`
      throw error
    }
  }
})
