/**
 * What a live rule promises passes, and nothing else (RFC 5189 2.3.5, 2.3.6, 2.3.9; RFC 4540 8.8): random requests of agents and random
 * packets on a box that denies what no rule admits, against a judge that knows nothing but requests, replies and those texts. UDP,
 * and protocols without ports; connections of TCP have tests of their own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { print4 } from '../src/base/address.ts'
import { createPrng } from '../src/base/prng.ts'
import * as api from '../src/policy/api.ts'
import type { PacketSpec } from '../src/wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../src/wire/frames.ts'
import { POOL, WHOLE, createBox, textOf, tuple, words } from './rule-box.ts'

const SEED = Number(process.env.SEED ?? Date.now() & 0x7fffffff), ROUNDS = Number(process.env.ROUNDS ?? 40), STEPS = 250
const HOSTS = ['10.0.0.5', '10.0.0.6'], PEERS = ['198.51.100.7', '198.51.100.8', '192.0.2.9']
const ICMP = 1, UDP = api.UDP, GRE = 47, INSIDE_PORT = 5000, PEER_PORT = 6000

/** A rule that was granted. `outside` is A2; null: a disable rule. */
interface Promised { rule: number; endMs: number; direction: number; internal: api.Tuple; external: api.Tuple; outside: api.Tuple | null }
interface Packet { protocol: number; host: number; hostPort: number; peer: number; peerPort: number }

const ANY_PORT = -2, ELSEWHERE = -1

/** Which port of the tuple it is, ANY_PORT, or ELSEWHERE. */
function place(t: api.Tuple, protocol: number, address: number, port: number): number {
  const mask = t.prefixBits === 0 ? 0 : -1 << 32 - t.prefixBits
  if ((t.protocol !== api.ANY_PROTOCOL && t.protocol !== protocol) || ((t.word0 ^ address) & mask) !== 0) return ELSEWHERE
  if (protocol !== UDP || t.protocol === api.ANY_PROTOCOL || t.port === 0) return ANY_PORT
  return port >= t.port && port < t.port + t.range ? port - t.port : ELSEWHERE
}

/** RFC 5189 2.3.6: a rule with n ports is n rules, each with the i-th port of either end. For a disable rule any two will do. */
function covers({ internal, external, outside }: Promised, { protocol, host, hostPort, peer, peerPort }: Packet): boolean {
  const i = place(internal, protocol, host, hostPort), j = place(external, protocol, peer, peerPort)
  return i !== ELSEWHERE && j !== ELSEWHERE && (outside === null || i === ANY_PORT || j === ANY_PORT || i === j)
}

class Game {
  readonly box
  readonly nat44: boolean
  readonly seed: number
  passed = 0
  dropped = 0
  private readonly prng
  private nowMs = 0
  private live: Promised[] = []

  constructor(seed: number) {
    this.seed = seed
    this.prng = createPrng(seed)
    this.nat44 = this.below(4) !== 0
    this.box = createBox({ engine: { outboundPermit: false, nat44: this.nat44, filtering: this.below(3) } })
  }

  below(n: number): number { return this.prng.below(n) }
  pick<T>(...values: T[]): T { return values[this.below(values.length)] }

  play(): void {
    for (let n = 0; n < STEPS; n++) {
      this.nowMs += this.pick(0, 1, 1, 500, 3000)
      this.box.at(this.nowMs)
      this.live = this.live.filter(({ endMs }) => endMs > this.nowMs)
      const what = this.below(12)
      if (what < 3) this.enable()
      else if (what === 3) this.disable()
      else if (what === 4 && this.live.length > 0) this.end(this.pick(...this.live))
      for (let packets = 0; packets < 6; packets++) {
        if (this.below(2) === 0) this.outward()
        else this.inward()
      }
    }
  }

  enable(): void {
    const protocol = this.pick(UDP, UDP, UDP, api.ANY_PROTOCOL, GRE, ICMP), range = this.pick(1, 1, 2, 3)
    const end = (list: string[], firstPort: number, wild: number): api.Tuple => ({
      ...tuple(this.pick(...list), protocol), prefixBits: this.below(wild) === 0 ? this.pick(24, 30, 0) : 32,
      port: this.below(3) === 0 ? 0 : firstPort + this.below(3), range,
    })
    const internal = end(HOSTS, INSIDE_PORT, 6), external = end(PEERS, PEER_PORT, 4)
    const direction = this.pick(api.INBOUND, api.OUTBOUND, api.BIDIRECTIONAL), lifetimeSec = this.pick(1, 2, 5, 60)
    const parity = this.pick(api.PARITY_ANY, api.PARITY_SAME)
    const outcome = this.box.session.enable({ reservation: 0, group: 0, parity, direction, internal, external, lifetimeSec, maxIdleSec: 0 })
    this.granted(outcome as api.Outcome<api.EnableReply>, lifetimeSec, ({ outside }) => ({ direction, internal, external, outside }))
  }

  disable(): void {
    const protocol = this.pick(UDP, api.ANY_PROTOCOL, GRE), lifetimeSec = this.pick(1, 3)
    const internal = { ...tuple(this.pick(...HOSTS), protocol), prefixBits: this.pick(32, 0, 31) }
    const external = { ...tuple(this.pick(...PEERS), protocol, this.pick(0, PEER_PORT + 1)), prefixBits: this.pick(32, 24) }
    const outcome = this.box.session.disable({ internal, external, lifetimeSec }) as api.Outcome<api.DisableReply>
    this.granted(outcome, lifetimeSec, () => ({ direction: 0, internal, external, outside: null }))
  }

  granted<T extends { rule: number }>(
    outcome: api.Outcome<T>, lifetimeSec: number, what: (reply: T) => Omit<Promised, 'rule' | 'endMs'>,
  ): void {
    this.box.policy.pump()
    this.box.policy.applied()
    // Those that a disable rule has ended.
    for (const event of this.box.events.splice(0)) this.live = this.live.filter(({ rule }) => !event.startsWith(`${rule} 0`))
    if (outcome.ok) this.live.push({ rule: outcome.value.rule, endMs: this.nowMs + lifetimeSec * 1000, ...what(outcome.value) })
  }

  end(one: Promised): void {
    this.box.end(one.rule)
    this.live = this.live.filter((other) => other !== one)
  }

  isAdmitted(packet: Packet, direction: number): boolean {
    return this.live.some((one) => (one.direction & direction) !== 0 && covers(one, packet)) && !this.isBlocked(packet)
  }

  isBlocked(packet: Packet): boolean { return this.live.some((one) => one.outside === null && covers(one, packet)) }

  random(): Packet {
    return {
      protocol: this.pick(UDP, UDP, UDP, GRE, ICMP), host: words(this.pick(...HOSTS))[0], hostPort: INSIDE_PORT - 1 + this.below(5),
      peer: words(this.pick(...PEERS))[0], peerPort: PEER_PORT - 1 + this.below(5),
    }
  }

  send(side: number, protocol: number, src: string, srcPort: number, dst: string, dstPort: number): string {
    const proto = protocol === UDP ? 'udp' : protocol === ICMP ? 'icmp' : protocol
    const spec: PacketSpec = { proto, src, dst, srcPort, dstPort, icmpId: 77, ...protocol === GRE && { payload: new Uint8Array(8) } }
    return this.box.go(side, spec)
  }

  judge(became: string, expected: boolean, way: 'in' | 'out', packet: Packet): void {
    const { live, nowMs, nat44 } = this, { protocol, host, hostPort, peer, peerPort } = packet
    const said = `${way}, protocol ${protocol}, ${print4(host)}:${hostPort} and ${print4(peer)}:${peerPort} at ${nowMs} ms became ${became}`
    assert.equal(became.startsWith(way), expected, `${said}; nat44 ${nat44}, ${JSON.stringify(live)}`)
    if (expected) this.passed++
    else this.dropped++
  }

  outward(): void {
    const packet = this.random(), { protocol, host, hostPort, peer, peerPort } = packet
    const became = this.send(SIDE_INSIDE, protocol, print4(host), hostPort, print4(peer), peerPort)
    // Without ports two hosts cannot talk to one peer from one address (docs/behaviour.md).
    if (became === 'protocol-conflict') return
    this.judge(became, this.isAdmitted(packet, api.OUTBOUND), 'out', packet)
  }

  inward(): void {
    const packet = this.random(), { protocol, peer, peerPort } = packet
    const promised = this.live.flatMap(({ outside }) => outside?.prefixBits === 32 ? [outside] : [])
    const aim = promised.length > 0 && this.below(5) !== 0 ? this.pick(...promised) : null
    const address = !this.nat44 ? print4(packet.host) : aim === null ? this.pick(POOL, WHOLE) : textOf(aim)
    const port = this.nat44 && aim !== null && aim.port !== 0 ? aim.port + this.below(aim.range + 1) : this.pick(packet.hostPort, 40_000 + this.below(1000))
    const reached = this.live.flatMap((one) => this.behind(one, protocol, address, port))
      .map(([host, hostPort]) => ({ ...packet, host, hostPort })).filter((one) => this.isAdmitted(one, api.INBOUND))
    const became = this.send(SIDE_OUTSIDE, protocol, print4(peer), peerPort, address, port)
    this.judge(became, reached.length > 0, 'in', { ...packet, host: words(address)[0], hostPort: port })
    if (reached.length === 0) return
    const [{ host, hostPort }] = reached
    assert.equal(became, protocol === UDP ? `in ${print4(peer)}:${peerPort} > ${print4(host)}:${hostPort}` : `in ${print4(peer)} > ${print4(host)}`)
  }

  /** A0 that a rule promises behind an outside endpoint, if it does. */
  behind({ internal, outside }: Promised, protocol: number, address: string, port: number): [host: number, port: number][] {
    if (!this.nat44) return [[words(address)[0], port]]
    if (outside === null || outside.word0 !== words(address)[0] || internal.prefixBits !== 32) return []
    if (address === WHOLE) return [[internal.word0, port]]
    const at = port - outside.port
    return protocol === UDP && outside.port !== 0 && at >= 0 && at < outside.range ? [[internal.word0, internal.port + at]] : []
  }
}

test(`what a live rule promises passes, and nothing else (seed ${SEED})`, () => {
  let passed = 0, dropped = 0
  for (let round = 0; round < ROUNDS; round++) {
    const game = new Game(SEED + round | 0)
    try {
      game.play()
    } catch (error) {
      (error as Error).message = `seed ${game.seed}: ${(error as Error).message}`
      throw error
    }
    passed += game.passed
    dropped += game.dropped
  }
  assert.ok(passed > 20 * ROUNDS && dropped > 200 * ROUNDS, `${passed} passed, ${dropped} dropped`)
})
