/**
 * Traffic for random tests: a list of steps made of small numbers, which become packets only when the model has told
 * what it sent before. A reply, an error or a repetition therefore names an earlier packet by its number, and a list
 * stays meaningful when steps are taken away, so that failures shrink well. The universe is small: packets shall meet.
 */
import fc from 'fast-check'
import { buildPacket, concat, fragment, icmpError, type PacketSpec, type Protocol } from '../../src/wire/build.ts'
import type { Model, ModelInput, ModelOptions, Outcome, Side } from '../nat.model.ts'
import { print4 } from '../../src/base/address.ts'
import { createPrng } from '../../src/base/prng.ts'
import { randomRules } from '../../src/engine/firewall-testing.ts'
import { Agents, addressOf } from './agents.ts'
import type { Command } from './commands.ts'
import type { MidcomOptions } from './midcom.ts'
import { egressSettings, natSettings, npt6Settings } from './nat-settings.ts'
import { addrOf, carried, complement, get16, hasPorts, int32Of, put16, sumOf } from './packet.ts'
import { OPTIONS, int32, prefix, words } from './setup.ts'
import { enter } from './world.model.ts'

const INSIDE4 = ['10.0.0.1', '10.0.0.2', '10.0.0.3'], OUTSIDE4 = ['198.51.100.1', '198.51.100.2', '192.0.2.1']
const POOL4 = ['203.0.113.1', '203.0.113.2']
/** Where a midcom block of outside ports may lie, what may be bound as a whole, and what may stand for a peer. */
const BLOCKS = [[1024, 1029], [1026, 1027], [5000, 5003], [80, 81], [1025, 1100]], BOUND4 = ['203.0.113.9', '203.0.113.10']
const SHOWN4 = ['10.9.9.1', '192.168.77.1']
/** Subnets and identifiers that are translated in no way, in a second pair, or not. */
const ODD_INSIDE6 = ['fd00:0:0:ffff::1', 'fd00::', 'fd00::ffff:ffff:ffff:ffff', 'fd01::1']
const INSIDE6 = ['fd00::1', 'fd00::2'], OUTSIDE6 = ['2001:db8::1', '2001:db8::2']
const ODD4 = [
  '0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', '240.0.0.1', '169.254.0.1', '192.0.0.8', '0.1.2.3',
]
const ODD6 = ['::', '::1', '::9', 'fec0::1', '2002:a00:1::1', '2001:10::1', '3ffe::1', '::ffff:10.0.0.1', 'ff02::1', 'fe80::1', 'fe80::2']
const PORTS = [0, 1, 80, 81, 500, 1000, 1023, 1024, 1025, 1026, 1027, 1028, 5000, 5001, 65535]
const PROTOCOLS: (Protocol | number)[] = [
  'udp', 'udp', 'udp', 'tcp', 'tcp', 'tcp', 'icmp', 'icmp', 'udplite', 'dccp', 47, 50, 1, 58, 6, 17, 132, 135, 41,
]
const FLAGS = [2, 2, 2, 18, 18, 16, 16, 16, 16, 17, 17, 1, 4, 20, 24, 0, 3, 5, 6, 22, 41, 63]
const ICMP_TYPES = [8, 8, 8, 0, 13, 14, 3, 11, 12, 4, 5, 17, 128, 129, 1, 2, 135]
const LENGTHS = [0, 0, 1, 2, 3, 7, 8, 12, 20, 33, 64, 120]
const CHECKSUMS = ['right', 'right', 'right', 'right', 'zero', 'wrong'] as const
const TTLS = [64, 64, 64, 64, 64, 64, 64, 64, 2, 1, 0, 255]
// No timer is longer, and no pause between two packets: beyond 2^31 the two directions of time are one.
const LONGEST_MS = 2 ** 30
const STEPS_MS = [
  0, 0, 0, 0, 1, 2, 9, 10, 20, 29, 30, 31, 49, 50, 51, 79, 80, 99, 100, 119, 120, 299, 300, 301, 1000, 100_000,
  LONGEST_MS,
]

/** Sequence numbers that lie near each other, around 2^31 and 2^32, and far away; windows, and options of a SYN. */
const SEQS = [100, 101, 102, 110, 0, 0xffffffff, 0x7fffffff, 0x80000000, 70_000, 700_000, 66_101, 66_102]
const WINDOWS = [65535, 65535, 1000, 10, 1, 0]
const TCP_OPTIONS = [[], [], [3, 3, 7], [1, 3, 3, 2], [2, 4, 5, 180, 3, 3, 14], [3, 3, 200], [0, 3, 3, 1], [3, 2, 1], [8, 1], [2, 40, 1]]

/** A step: what kind, and numbers that choose. Meanings are given by `play`. */
export interface Step {
  kind: 'fresh' | 'odd' | 'reply' | 'error' | 'again' | 'bend' | 'split' | 'piece' | 'many' | 'zero' | 'world'
    | 'aim' | 'long' | 'crowd' | 'enable' | 'disable' | 'end' | 'replace' | 'rules'
  dt: number
  /** Which earlier packet, counted back from the latest. */
  back: number
  six: boolean
  outside: boolean
  n: readonly number[]
}

const NUMBERS = 14
const small = fc.nat({ max: 255 })
const CALM: Step['kind'][] = ['fresh', 'fresh', 'fresh', 'fresh', 'reply', 'reply', 'reply', 'error', 'again', 'world']
const WILD: Step['kind'][] = [
  'fresh', 'fresh', 'fresh', 'fresh', 'fresh', 'fresh', 'fresh', 'odd', 'reply', 'reply', 'reply', 'reply', 'reply',
  'error', 'error', 'error', 'error', 'again', 'again', 'bend', 'bend', 'split', 'split', 'piece',
  'piece', 'many', 'zero', 'world',
]
/** What rules add to calm and to wild traffic. */
const RULED: Step['kind'][] = [
  'aim', 'aim', 'aim', 'aim', 'aim', 'aim', 'enable', 'enable', 'enable', 'disable', 'end', 'end', 'replace', 'error',
]

/** With `crowded` hardly any time passes, so that flows gather. */
function step(kinds: readonly Step['kind'][], calm: boolean, crowded = false): fc.Arbitrary<Step> {
  return fc.record({
    kind: fc.constantFrom(...kinds),
    dt: fc.oneof(
      { weight: crowded ? 12 : 3, arbitrary: fc.constant(0) },
      { weight: calm ? 1 : 2, arbitrary: fc.nat({ max: crowded ? 16 : STEPS_MS.length - 1 }) },
    ),
    back: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 40 })),
    six: fc.nat({ max: 4 }).map(v => v === 4),
    outside: fc.nat({ max: calm ? 9 : 3 }).map(v => v === 3),
    n: fc.array(small, { minLength: NUMBERS, maxLength: NUMBERS })
      .map(n => calm ? n.map((v, i) => [7, 9, 10, 11, 12].includes(i) ? 128 + v % 64 : v) : n),
  })
}

/**
 * Calm traffic fills tables, wild traffic meets checks. Without bias: small numbers mean the same things again and
 * again, and short lists reach no full table.
 */
export const steps = (most: number): fc.Arbitrary<Step[]> => fc.noBias(fc.oneof(
  fc.array(step(WILD, false), { minLength: 1, maxLength: most, size: 'max' }),
  fc.array(step(CALM, true), { minLength: 1, maxLength: 2 * most, size: 'max' }),
))

/** With packets too long for a narrow link. */
export const longSteps = (most: number): fc.Arbitrary<Step[]> => fc.noBias(
  fc.array(step([...CALM, 'long', 'long', 'long', 'long', 'long', 'split', 'error', 'reply'], true),
    { minLength: 1, maxLength: most, size: 'max' }))

/** The same with commands between the packets. */
export const ruledSteps = (most: number): fc.Arbitrary<Step[]> => fc.noBias(fc.oneof(
  fc.array(step([...WILD, ...RULED, ...RULED], false), { minLength: 1, maxLength: most, size: 'max' }),
  fc.array(step([...CALM, ...RULED], true), { minLength: 1, maxLength: 2 * most, size: 'max' }),
  fc.array(step(['fresh', 'reply', 'reply', 'error', 'split', ...RULED], true), { minLength: 1, maxLength: most, size: 'max' }),
  fc.array(step(['fresh', 'reply', 'crowd', 'crowd', 'enable', ...RULED], true, true), {
    minLength: 1, maxLength: most, size: 'max',
  }),
))

export const modelOptions: fc.Arbitrary<ModelOptions> = fc.record({
  insidePrefixes: fc.constantFrom(
    [prefix('10.0.0.0/8'), prefix('fc00::/7')], [prefix('10.0.0.0/30'), prefix('fd00::1/128')],
  ),
  pool: fc.constantFrom(POOL4.map(int32), POOL4.slice(1).map(int32)),
  nat44: fc.nat({ max: 7 }).map(v => v !== 7),
  portLo: fc.constant(1024), portHi: fc.constantFrom(1024, 1025, 1027, 1030, 1039, 65535),
  portPreservation: fc.boolean(),
  filtering: fc.constantFrom('endpoint-independent', 'address-dependent', 'address-and-port-dependent'),
  tcpFiltering: fc.constantFrom('endpoint-independent', 'address-dependent', 'address-and-port-dependent'),
  hairpinning: fc.nat({ max: 7 }).map(v => v !== 7), outboundPermit: fc.nat({ max: 15 }).map(v => v !== 15),
  inboundPermit: fc.boolean(), tcpMidstream: fc.boolean(), echo6: fc.boolean(), ipsec6: fc.boolean(),
  reserved6: fc.nat({ max: 31 }).map(v => v === 31), uniqueLocal: fc.nat({ max: 31 }).map(v => v === 31),
  timers: fc.constantFrom(
    {
      udpMs: 100, udpPorts: [{ port: 80, idleMs: 10 }, { port: 1, idleMs: 120 }], udpInboundRefresh: true, tcpOpeningMs: 80, tcpClosingMs: 50,
      tcpEstablishedMs: 300, icmpQueryMs: 50, otherMs: 120, associationMs: 200, associationOpeningMs: 60, fragmentMs: 30, unsolicitedSynMs: 20,
    },
    {
      udpMs: 100, udpPorts: [{ port: 80, idleMs: 10 }], udpInboundRefresh: false, tcpOpeningMs: 50, tcpClosingMs: 80, tcpEstablishedMs: 120,
      icmpQueryMs: 50, otherMs: 120, fragmentMs: 30, unsolicitedSynMs: 20,
    },
    { udpMs: 100, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 100, tcpClosingMs: 100, tcpEstablishedMs: 100, icmpQueryMs: 100, otherMs: 100, fragmentMs: 100, unsolicitedSynMs: 60 },
    OPTIONS.timers,
    { udpMs: 1, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 1, tcpClosingMs: 1, tcpEstablishedMs: 2 ** 30, icmpQueryMs: 1, otherMs: 1, fragmentMs: 1, unsolicitedSynMs: 1 },
  ),
  flows: fc.constantFrom(16, 17, 20, 24, 31, 32), fragmentDatagrams: fc.constantFrom(1, 2, 4, 16),
  fragmentHold: fc.constantFrom(0, 1, 2, 4, 16, 100), icmpErrorsPerSecond: fc.constantFrom(0, 1, 3, 10, 1000),
  icmpPerSecond: fc.constantFrom(0, 0, 0, 1, 20), fragmentsPerSecond: fc.constantFrom(0, 0, 0, 2, 20),
  halfOpen: fc.constantFrom(0, 1, 2, 3, 8, 100), halfOpenPerSource: fc.constantFrom(0, 0, 1, 2, 4), heldSyns: fc.constantFrom(0, 1, 3, 16),
 
  ipv4Checksum: fc.constantFrom('verify', 'repair-zero', 'ignore'), tcpFlags: fc.boolean(),
  tcpWindow: fc.constantFrom('off', 'off', 'loose', 'strict'),
  spoofing: fc.constantFrom('ignore', 'ignore', 'outside', 'both'),
  boxAddress4: fc.constant(int32('192.0.0.8')), boxAddress6: fc.constant(words('fe80::1')), seed: fc.integer(),
  midcom: fc.constant(null), firewall: fc.constant(null),
})

/** A box that translates as its configuration says in more words than a pool. */
export const natBoxes: fc.Arbitrary<ModelOptions> = modelOptions.chain(options =>
  fc.tuple(natSettings(options.pool.length), egressSettings).map(([nat, egress]) => ({ ...options, nat44: true, nat, egress })))
/** A box whose links are narrow, with NAT or without. */
export const narrowBoxes: fc.Arbitrary<ModelOptions> = fc.tuple(modelOptions, egressSettings)
  .map(([options, egress]) => ({ ...options, egress }))

const midcomOptions: fc.Arbitrary<MidcomOptions> = fc.record({
  rules: fc.constantFrom(1, 2, 4, 8, 8, 40), boundPorts: fc.constantFrom(8, 64), block: fc.constantFrom(...BLOCKS),
  addresses: fc.constantFrom(BOUND4, BOUND4, BOUND4.slice(1), []), insidePool: fc.constantFrom(SHOWN4, SHOWN4, SHOWN4.slice(1), []),
}).map(({ block: [portLo, portHi], addresses, insidePool, ...rest }) =>
  ({ ...rest, portLo, portHi, addresses: addresses.map(int32), insidePool: insidePool.map(int32) }))

/** A box that rules govern. A pure firewall binds nothing. */
export const ruledOptions: fc.Arbitrary<ModelOptions> = fc.tuple(modelOptions, midcomOptions, fc.nat({ max: 9 }))
  .map(([options, midcom, deny]) => ({
    ...options, outboundPermit: deny < 5, portHi: deny % 4 === 0 ? options.portHi : 65535,
    midcom: options.nat44 ? midcom : { ...midcom, addresses: [], insidePool: [] },
  }))

/** The same with agents. */
export const ruledNatBoxes: fc.Arbitrary<ModelOptions> = fc.tuple(natBoxes, ruledOptions)
  .map(([box, ruled]) => ({ ...box, outboundPermit: ruled.outboundPermit, portHi: ruled.portHi, midcom: ruled.midcom }))

const few = fc.constantFrom(0, 0, 1, 2, 3, 5, 8)
const hostLimits = fc.record({
  flows: fc.constantFrom(0, 0, 2, 3, 5, 8), flowsPerSecond: fc.constantFrom(0, 0, 1, 2, 5, 100), ports: few, udpPorts: few, tcpPorts: few, identifiers: few,
})

/** A box whose hosts may not have everything, and which may refuse what there is no room for. */
export const sharedBoxes: fc.Arbitrary<ModelOptions> = fc.record({
  options: fc.oneof(modelOptions, natBoxes), perHost: hostLimits, keepsFlows: fc.boolean(), refusesByHost: fc.boolean(),
  portHold: fc.option(fc.record({ holdMs: fc.constantFrom(1, 20, 100, 2 ** 30), most: fc.constantFrom(0, 1, 2, 4, 100), isAll: fc.boolean() })),
  portBlocks: fc.option(fc.record({ size: fc.constantFrom(1, 2, 3, 7, 64), perHost: fc.constantFrom(0, 1, 2, 4) })),
  // Few blocks, whole ones or with a remainder.
  portHi: fc.constantFrom(1027, 1030, 1039, 1100, 65535),
}).map(({ options, portBlocks, portHi, ...more }) => ({
  ...options, ...more, portHi, portBlocks: portBlocks === null || portBlocks.size > portHi - 1023 || portBlocks.perHost === 0 ? null : portBlocks,
}))

/** The same with agents. */
export const ruledSharedBoxes: fc.Arbitrary<ModelOptions> = fc.tuple(sharedBoxes, ruledOptions)
  .map(([box, ruled]) => ({ ...box, nat44: true, outboundPermit: ruled.outboundPermit, portHi: ruled.portHi, midcom: ruled.midcom }))

/** A box that translates IPv6 prefixes. */
export const npt6Boxes: fc.Arbitrary<ModelOptions> =
  fc.tuple(fc.oneof(modelOptions, narrowBoxes, sharedBoxes), npt6Settings, fc.constantFrom('fe80::1', 'fd00::fe')).map(([options, npt6, box]) =>
    ({ ...options, insidePrefixes: [prefix('10.0.0.0/8'), prefix('fc00::/7')], npt6, boxAddress6: words(box) }))

/** The same with agents and firewall rules. */
export const ruledNpt6Boxes: fc.Arbitrary<ModelOptions> = fc.tuple(npt6Boxes, ruledOptions, fc.integer(), fc.boolean())
  .map(([box, ruled, seed, any]) => ({
    ...box, nat44: ruled.nat44, outboundPermit: ruled.outboundPermit, portHi: ruled.portHi, midcom: ruled.midcom,
    firewall: any ? randomRules(createPrng(seed), 8) : [],
  }))

/** A box with firewall rules, and perhaps with agents. */
export const firewalledOptions: fc.Arbitrary<ModelOptions> = fc.tuple(fc.oneof(modelOptions, ruledOptions, ruledNatBoxes), fc.integer(), fc.boolean())
  .map(([options, seed, deny]) => ({ ...options, outboundPermit: !deny, firewall: randomRules(createPrng(seed), 8) }))

/** Traffic of every kind, and rule sets that are replaced meanwhile. */
export const firewalledSteps = (most: number): fc.Arbitrary<Step[]> => fc.noBias(fc.oneof(
  fc.array(step([...WILD, 'rules', 'rules'], false), { minLength: 1, maxLength: most, size: 'max' }),
  fc.array(step([...CALM, 'rules'], true), { minLength: 1, maxLength: 2 * most, size: 'max' }),
  fc.array(step([...CALM, ...RULED, 'rules', 'rules'], true), { minLength: 1, maxLength: most, size: 'max' }),
))

const mostly6 = (lists: fc.Arbitrary<Step[]>) => lists.map(list => list.map(step => ({ ...step, six: step.n[2] % 8 !== 0 })))
/** Mostly IPv6. */
export const npt6Steps = (most: number): fc.Arbitrary<Step[]> => mostly6(fc.oneof(steps(most), steps(most), longSteps(most)))
export const ruledNpt6Steps = (most: number): fc.Arbitrary<Step[]> => mostly6(fc.oneof(ruledSteps(most), firewalledSteps(most)))

export interface Played { input: ModelInput; outcome: Outcome; /** The step that made it. */ from: Step }
export interface Ordered { commands: Command[]; nowMs: number; from: Step }
export type Event = Played | Ordered

function pick<T>(from: readonly T[], n: number): T { return from[n % from.length] }
const other = (side: Side): Side => side === 'inside' ? 'outside' : 'inside'
const four = (bytes: Uint8Array) => bytes[0] >> 4 !== 6

/**
 * Runs the model through `list` and returns what went in and what came out. With `replay` the outside world answers the
 * inside addresses, and re-addresses what it sends.
 */
export function play(model: Model, list: readonly Step[], startMs: number, replay = false): Event[] {
  const events: Event[] = [], played: Played[] = [], sent: { side: Side; bytes: Uint8Array; source: Played }[] = []
  let nowMs = startMs | 0, latestMs = nowMs

  function send(step: Step, side: Side, bytes: Uint8Array, capBytes = bytes.length, extraWire = 0, net?: 4 | 6): void {
    if (bytes.length > 20_000) return
    const cut = bytes.slice(0, capBytes), wireBytes = Math.max(bytes.length, cut.length) + extraWire
    const input: ModelInput = { side, nowMs, bytes: cut, wireBytes }
    if (net !== undefined) input.net = net
    if (step.n[8] === 255) input.group = true
    if (model.options.firewall !== null) input.interface = step.n[9] % 3
    const entered = replay ? { ...input, bytes: enter(model, input) } : input
    const one = { input, outcome: model.packet(entered), from: step }
    played.push(one)
    events.push(one)
    latestMs = nowMs
    for (const { bytes, side, kind } of one.outcome.sent) {
      const seen = replay && input.side === 'inside' && side === 'outside' && kind === 'packet' ? cut : bytes
      sent.push({ bytes: seen, side, source: one })
    }
  }
  const { midcom } = model.options, text = (list: readonly number[]) => list.map(print4)
  // Beside those of all traffic: what outside and inside hosts may send to.
  const { fixed } = model, digits = (list: readonly string[]) => text(list.map(int32Of))
  const places: Places = {
    bound: [...text(midcom?.addresses ?? []), ...digits(fixed.outside())], bound6: prefixed(model),
    shown: [...text(midcom?.insidePool ?? []), ...digits(fixed.aliases())],
  }
  const hex = (list: readonly string[]) => list.map(addr => addrOf(words(addr)))
  const agents = new Agents(model, {
    inside4: hex(INSIDE4), outside4: hex(OUTSIDE4), inside6: hex(INSIDE6), outside6: hex(OUTSIDE6), ports: PORTS,
  })

  function order(step: Step, commands: Command[]): void {
    if (commands.length === 0) return
    model.command(commands, nowMs)
    events.push({ commands, nowMs, from: step })
    latestMs = nowMs
  }
  const latest = <T>(list: readonly T[], back: number) => list[list.length - 1 - back % Math.max(list.length, 1)]

  for (const step of list) {
    const { n, six } = step
    nowMs = (latestMs + Math.min(((nowMs - latestMs) | 0) + STEPS_MS[step.dt], LONGEST_MS)) | 0
    const side: Side = step.outside ? 'outside' : 'inside'
    const ended = latest(sent, step.back), before = latest(played, step.back)
    switch (step.kind) {
      case 'fresh': {
        const cap = n[12] === 0 ? n[13] : Infinity
        const pad = n[12] === 1 ? new Uint8Array(n[13] % 20).fill(0xee) : new Uint8Array(0)
        send(step, side, concat(buildPacket(freshSpec(step, side, replay, places)), pad), cap)
        break
      }
      case 'odd': {
        const spec = freshSpec(step, side, replay, places), odd = step.six ? ODD6 : [...ODD4, ...POOL4]
        if (n[13] % 2 === 0) spec.src = pick(odd, n[12])
        else spec.dst = pick(odd, n[12])
        send(step, side, buildPacket(spec), Infinity, 0, n[13] > 250 ? pick([4, 6] as const, n[13]) : undefined)
        break
      }
      case 'reply':
        if (ended) send(step, ended.side, replyTo(ended.bytes, step), n[0] === 0 ? n[1] : Infinity)
        break
      case 'error':
        if (ended && ended.bytes.length >= 20) sendError(step, ended)
        break
      case 'again':
        if (before) {
          const { input } = before, ttlAt = four(input.bytes) ? 8 : 7
          const bytes = step.six ? bend(input.bytes, ttlAt, pick(TTLS, n[0]), true) : input.bytes
          const from = n[1] > 240 ? other(input.side) : input.side
          send(step, from, bytes, bytes.length, input.wireBytes - input.bytes.length)
        }
        break
      case 'bend':
        if (before && before.input.bytes.length > 0) {
          const { input } = before, values = [0, 1, 255, n[2], n[2]]
          const at = n[0] % Math.min(input.bytes.length, 120)
          const bent = bend(input.bytes, at, pick(values, n[1]), n[3] % 4 !== 0)
          send(step, input.side, bent, bent.length, input.wireBytes - input.bytes.length)
        }
        break
      case 'split':
        split(step, side, ended)
        break
      case 'piece':
        send(step, side, lonePiece(step, side, replay, places))
        break
      case 'many': {
        // More pieces than a datagram may have, with the first one somewhere among them.
        if (n[0] > 64) break
        const most = 60 + n[1] % 8, firstAt = n[2] % 2 === 0 ? 0 : n[3] % most
        for (let i = 0; i < most; i++) {
          const place = i === firstAt ? 0 : i < firstAt ? i + 1 : i
          const fixed: Record<number, number> = { 0: 4, 2: 0, 6: i === most - 1 ? 0 : 1, 7: 0 }
          const numbers = n.map((v, at) => fixed[at] ?? v)
          send(step, side, lonePiece({ ...step, n: numbers }, side, replay, places, place * 8))
        }
        break
      }
      case 'zero':
        if (before) zero(step, before)
        break
      case 'world':
        if (!replay) world(step)
        break
      case 'aim':
        aim(step)
        break
      case 'crowd':
        // So many flows of rules that the table is soon full.
        for (let i = 0; i < 8; i++) {
          aim({ ...step, n: n.map((v, at) => at === 11 || at === 12 ? 1 : v + 37 * i * (at + 1) & 255) })
          const dst = pick(six ? OUTSIDE6 : OUTSIDE4, n[1] + i), proto = pick(['udp', 'udp', 'tcp'] as const, n[2] + i)
          const src = pick(six ? INSIDE6 : INSIDE4, n[0] + i), srcPort = 2000 + n[3] % 16 + i
          send(step, 'inside', buildPacket({ src, dst, proto, srcPort, dstPort: pick(PORTS, n[4]), tcpFlags: 2 }))
        }
        break
      case 'rules':
        order(step, [{ op: 'replace-rules', rules: randomRules(createPrng(n[0] << 16 | n[1] << 8 | n[2]), n[3] % 9) }])
        break
      case 'long':
        sendLong(step, side)
        break
      case 'enable':
        order(step, agents.enable(n, step.six))
        break
      case 'disable':
        if (n[0] % 2 === 0) order(step, agents.disable(n, step.six))
        break
      case 'end':
        order(step, agents.end(n))
        break
      case 'replace': {
        // What one rule leaves another may take before any packet comes.
        const ended = agents.end(n)
        order(step, ended)
        order(step, agents.enable(n.toReversed(), step.six))
        break
      }
    }
  }

  function sendError(step: Step, about: { side: Side; bytes: Uint8Array; source: Played }): void {
    const { n } = step, v4 = four(about.bytes)
    const routers = v4 ? [...OUTSIDE4, ...INSIDE4, ...POOL4] : [...OUTSIDE6, ...INSIDE6]
    let original = about.bytes
    if (n[0] < 16) original = bend(original, 1 + n[1] % (Math.min(original.length, 48) - 1), n[2], n[0] % 2 === 0)
    if (v4 && n[13] > 200) original = optioned(original, pick([[131, 7, 4, 10, 0, 0, 1, 0], [7, 7, 4, 0, 0, 0, 0, 0], [137, 3, 4, 0], [137, 9, 0, 0]], n[13]))
    const quoted = v4 ? 28 : 48, checksum = pick(CHECKSUMS, n[3])
    const spec = {
      src: pick(routers, n[4]), original, icmpType: v4 ? pick([3, 3, 11, 12], n[5]) : pick([1, 2, 3, 4], n[5]),
      icmpCode: n[6] % 16, word: n[7], checksum: n[8] < 100 ? checksum : 'right' as const,
      ttl: pick(TTLS, n[9] < 200 ? 0 : n[9]),
      ...n[10] < 128 ? {} : { quoteBytes: n[10] < 160 ? n[11] % 64 : quoted + n[11] % 40 },
      ...n[12] < 16 ? { dst: pick(v4 ? [...POOL4, ...INSIDE4, ...OUTSIDE4] : [...OUTSIDE6, ...INSIDE6], n[12]) } : {},
    }
    const bytes = icmpError(spec)
    const cap = n[13] < 48 ? (v4 ? 28 : 48) + n[13] * 2 : Infinity
    if (n[13] >= 48 && n[13] < 64) {
      const parts = fragment(bytes, [pick([8, 16, 40, 48], n[11])], { id: n[13] % 3 })
      for (const part of parts) send(step, about.side, part)
    } else send(step, about.side, bytes, cap)
  }

  /** A packet around the MTU of a narrow link, or a SYN that names its MSS. */
  function sendLong(step: Step, side: Side): void {
    const { n } = step, spec = { ...freshSpec(step, side, replay, places), ttl: 64, id: n[9] }
    if (n[12] % 4 === 0) {
      const mss = [2, 4, n[6], n[10]]
      const options = pick([[...mss], [1, ...mss, 1, 1, 1], [3, 3, 7, ...mss, 0], [2, 4, 5], [1, 1, 2, 2]], n[11])
      const tcpFlags = pick([2, 18, 2, 16], n[5])
      send(step, side, buildPacket({ ...spec, proto: 'tcp', tcpFlags, tcpOptions: Uint8Array.from(options) }))
      return
    }
    const payload = payloadOf(pick([1226, 1232, 1238, 1240, 1252, 1258, 1260, 1260, 1268, 1400, 2500, 4000], n[10]))
    const whole = buildPacket({ ...spec, dontFragment: n[11] % 4 === 0, payload })
    if (n[12] % 4 > 1) {
      send(step, side, whole, n[13] < 40 ? 40 + n[13] * 32 : Infinity)
      return
    }
    try {
      const parts = fragment(whole, [1296, 1304], { id: n[9] % 3 })
      for (const part of pick([[0, 1, 2], [1, 0, 2], [2, 1, 0]], n[0]).map(i => parts[i])) if (part) send(step, side, part)
    } catch {
      send(step, side, whole)
    }
  }

  function split(step: Step, side: Side, ended: { side: Side; bytes: Uint8Array } | undefined): void {
    const { n } = step, asReply = n[10] < 100 && ended !== undefined
    const spec = { ...freshSpec(step, side, replay, places), id: n[9] % 3, payload: payloadOf(16 + n[11]) }
    const whole = asReply ? replyTo(ended.bytes, step) : buildPacket(spec)
    const from = asReply ? ended.side : side
    if (whole.length < (four(whole) ? 20 : 40)) return
    let parts: Uint8Array[]
    try {
      parts = fragment(whole, [pick([8, 16, 24, 32], n[0]), pick([8, 16, 24, 64], n[1])], { id: n[9] % 3 })
    } catch {
      return
    }
    const orders = [
      [0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1], [0, 2], [1, 2],
      [1, 1, 0, 2], [0, 0, 1, 1, 2, 2], [2, 2, 0, 1],
    ]
    for (const i of pick(orders, n[12])) if (parts[i]) send(step, n[13] > 250 ? other(from) : from, parts[i])
  }

  /** Sends `before` again with a checksum that the rewriting turns into 0, or with one of all zeros or ones. */
  function zero(step: Step, before: Played): void {
    const { input, outcome } = before, { bytes } = input, [first] = outcome.sent
    if (!four(bytes) || bytes.length < 28 || first?.kind !== 'packet') return
    const l4 = (bytes[0] & 15) * 4, at = l4 + ({ 6: 16, 17: 6, 1: 2, 136: 6, 33: 6 }[bytes[9]] ?? 6)
    if (at + 2 > bytes.length || at + 2 > first.bytes.length) return
    const was = get16(bytes, at), became = get16(first.bytes, at)
    const values = [(was - became + 65535) % 65535, 0xffff, 0, 1]
    send(step, input.side, put16(bytes, at, pick(values, step.n[0])), bytes.length, input.wireBytes - bytes.length)
  }

  /** A reply from the world to an inside address, or an error about what an inside host sent. */
  function world(step: Step): void {
    const sentFromInside = latest(played.filter(p => p.input.side === 'inside' && four(p.input.bytes)), step.back)
    if (!sentFromInside) return
    const { bytes } = sentFromInside.input
    if (bytes.length < 28 || bytes[0] >> 4 !== 4) return
    const back = step.n[2] < 128
      ? replyTo(bytes, step)
      : icmpError({ src: pick(OUTSIDE4, step.n[0]), original: bytes, icmpType: 3 })
    const entered = enter(model, { side: 'outside', nowMs, bytes: back, wireBytes: back.length })
    send(step, 'outside', entered)
  }
  /** A packet that some rule, or some binding, is about. */
  function aim(step: Step): void {
    const { n } = step, { bindings } = model.midcom
    const mapped = model.flows.all().filter(f => f.mapping !== null && hasPorts(f))
    if (mapped.length > 0 && n[12] % 8 === 0) {
      // A stranger at a mapping that is there.
      const { mapping, protocol } = pick(mapped, n[0]), { addr, port } = mapping!.outside
      send(step, 'outside', buildPacket({
        src: pick(OUTSIDE4, n[1]), dst: addressOf(addr), proto: protocol === 6 ? 'tcp' : protocol === 17 ? 'udp' : 'icmp',
        srcPort: pick(PORTS, n[2]), dstPort: port, icmpId: port, tcpFlags: pick([2, 2, 16, 18], n[3]), payload: payloadOf(8),
      }))
      return
    }
    if (agents.rules.length === 0) return
    const rule = pick(agents.rules, n[0]), { version } = rule
    const proto = rule.protocol >= 0 ? rule.protocol : pick([17, 6, 1, 47, 136, 58], n[2])
    const local = agents.pointIn(rule.local, version, 'local', n[3]), peer = agents.pointIn(rule.peer, version, 'peer', n[4])
    const ported = proto === 6 || proto === 17, icmp = proto === (version === 4 ? 1 : 58)
    if (icmp) local.port = pick(PORTS, n[3])
    else if (!ported) local.port = 0
    if (!ported) peer.port = 0
    const way = rule.out && !rule.in ? n[5] % 5 > 0 : rule.in && !rule.out ? n[5] % 5 === 0 : n[5] % 2 === 0
    const four = version === 4 && model.options.nat44
    const far = four && n[6] % 4 > 0 ? bindings.shownFor(proto, peer) ?? peer : peer
    const near = four
      ? bindings.mappingOf(proto, local)?.outside ?? model.flows.mappingOf(proto, local)?.outside
        ?? { addr: model.flows.pairedAddr(local.addr), port: local.port }
      : local
    // Now and then another inside host takes the place of the peer (hairpinning).
    const hairpin = four && !way && n[13] % 8 === 0
    const other = hairpin ? { addr: addrOf(words(pick(INSIDE4, n[4]))), port: peer.port } : peer
    const [src, dst] = way ? [local, far] : [other, near], side: Side = way || hairpin ? 'inside' : 'outside'
    const id = way ? local.port : near.port, names: Record<number, Protocol> = { 6: 'tcp', 17: 'udp', 1: 'icmp', 58: 'icmp6' }
    const spec: PacketSpec = {
      src: addressOf(src.addr), dst: addressOf(dst.addr), proto: ported || icmp ? names[proto] : proto,
      srcPort: src.port, dstPort: dst.port, tcpFlags: pick([2, 2, 2, 2, 16, 18, 3, 17, 6], n[8]), icmpId: id,
      icmpType: icmp && version === 6 ? pick([128, 128, 129], n[7]) : pick([8, 8, 0, 13], n[7]),
      payload: payloadOf(ported || icmp ? pick(LENGTHS, n[9]) : 24), id: n[10] % 3,
    }
    const whole = buildPacket(spec)
    if (n[11] % 8 > 0) {
      send(step, side, whole)
      return
    }
    try {
      const parts = fragment(buildPacket({ ...spec, payload: payloadOf(64) }), [24, 24], { id: n[10] % 3 })
      for (const i of pick([[0, 1, 2], [1, 0, 2], [2, 0, 1]], n[12])) if (parts[i]) send(step, side, parts[i])
    } catch {
      send(step, side, whole)
    }
  }
  return events
}

/** `bound6`: what stands for IPv6 hosts outside, and what looks so. */
interface Places { bound: string[]; shown: string[]; bound6: string[] }

function prefixed({ prefixes, options }: Model): string[] {
  if ((options.npt6 ?? []).length === 0) return []
  const seen = INSIDE6.map(text => prefixes.outward(addrOf(words(text))))
    .flatMap(found => found.is === 'done' ? [found.addr.match(/..../g)!.join(':')] : [])
  return [...seen, ...seen, '2001:db8:1:ffff::1', '2001:db8:1:2::', '2001:db8:1:300:ffff:ffff:ffff:ffff']
}

function payloadOf(length: number): Uint8Array { return Uint8Array.from({ length }, (_, i) => i * 7 + length & 255) }

function freshSpec({ n, six }: Step, side: Side, replay: boolean, { bound, shown, bound6 }: Places): PacketSpec {
  const inside = six ? bound6.length > 0 ? [...INSIDE6, ...INSIDE6, ...INSIDE6, ...ODD_INSIDE6] : INSIDE6 : INSIDE4, outside = six ? OUTSIDE6 : OUTSIDE4
  // Mostly across the box; from inside also to our own addresses (hairpin) and to other inside hosts.
  const ours = [...POOL4, ...POOL4, INSIDE4[0], OUTSIDE4[1], ...bound, ...bound]
  const far = side === 'inside'
    ? six ? [...OUTSIDE6, ...OUTSIDE6, ...INSIDE6, ...bound6] : [...OUTSIDE4, ...OUTSIDE4, ...POOL4, ...POOL4, INSIDE4[1], ...bound, ...shown]
    : six ? bound6.length > 0 && !replay ? [...bound6, ...bound6, ...INSIDE6] : [...INSIDE6, ...INSIDE6, OUTSIDE6[0]] : replay ? INSIDE4 : ours
  const proto = six && n[2] % PROTOCOLS.length < 8 && n[2] % PROTOCOLS.length > 5 ? 'icmp6' : pick(PROTOCOLS, n[2])
  const types = six ? [128, 128, 129, 144, 145, ...ICMP_TYPES] : ICMP_TYPES
  const spec: PacketSpec = {
    src: pick(side === 'inside' ? inside : outside, n[0]), dst: pick(far, n[1]), proto,
    srcPort: pick(PORTS, n[3]), dstPort: pick(PORTS, n[4]), tcpFlags: pick(FLAGS, n[5]), icmpId: pick(PORTS, n[3]),
    icmpType: pick(types, n[5]), payload: payloadOf(pick(LENGTHS, n[6])), ttl: n[7] < 200 ? 64 : pick(TTLS, n[7]),
    id: n[8] % 3, seq: pick(SEQS, n[12] % 3 > 0 ? n[7] % 4 : n[7]), ack: pick(SEQS, n[13] % 3 > 0 ? n[9] % 4 : n[9]),
    window: pick(WINDOWS, n[10]), tcpOptions: Uint8Array.from(pick(TCP_OPTIONS, n[8])), tos: n[12] % 4 === 0 ? n[13] : 0,
  }
  if (n[13] < 50) spec.tcpOptions = Uint8Array.from(pick([[2, 4, 5, 180], [3, 3, 7], [1, 4, 2, 8, 2], [8, 10], [2, 1], [11, 6, 0, 0, 0, 0]], n[13]))
  if (typeof proto === 'number' && n[6] % 2 === 0) spec.payload = payloadOf(24)
  if (n[9] < 80) spec.checksum = pick(CHECKSUMS, n[9])
  if (n[10] < 40) spec.ipChecksum = pick(CHECKSUMS, n[10])
  if (!six && n[11] < 20) {
    const options = [[1], [7, 7, 4, 0, 0, 0, 0], [148, 4, 0, 0], [131, 3, 4], [7, 1], [0, 131], [68, 4, 5, 0]]
    spec.options = Uint8Array.from(pick(options, n[11]))
  }
  if (six && n[11] < 80) {
    const chains = [[0], [60], [0, 60], [43], [51], [60, 0], [0, 43, 60], [44], [135], [60, 44]]
    spec.extensions = pick(chains, n[11]).map(header => ({
      header,
      body: header === 43 ? Uint8Array.of(2, n[11] % 2) : new Uint8Array(header === 51 ? 10 : 6),
    }))
  }
  return spec
}

/** An IPv4 packet with these options in the place of its own, if it has a header at all. */
function optioned(bytes: Uint8Array, options: number[]): Uint8Array {
  const header = (bytes[0] & 15) * 4
  if (bytes.length < 20 || header < 20 || header > bytes.length) return bytes
  const head = put16(Uint8Array.from([...bytes.slice(0, 20), ...options]), 10, 0)
  head[0] = 0x45 + options.length / 4
  return concat(put16(head, 10, complement(sumOf(head))), bytes.slice(header))
}

/** A packet back to where `bytes` came from, sometimes not quite. */
function replyTo(bytes: Uint8Array, { n }: Step): Uint8Array {
  const v4 = four(bytes), out = bytes.slice(), at = v4 ? 12 : 8, size = v4 ? 4 : 16
  if (out.length < (v4 ? 20 : 40)) return out
  out.set(bytes.slice(at, at + size), at + size)
  out.set(bytes.slice(at + size, at + 2 * size), at)
  out[v4 ? 8 : 7] = 64
  const l4 = v4 ? (bytes[0] & 15) * 4 : 40, protocol = bytes[v4 ? 9 : 6]
  if ((protocol === 6 || protocol === 17) && out.length >= l4 + 4) {
    out.set(bytes.slice(l4, l4 + 2), l4 + 2)
    out.set(bytes.slice(l4 + 2, l4 + 4), l4)
    if (protocol === 6 && out.length > l4 + 13) {
      out[l4 + 13] = pick([18, 16, 16, 17, ...FLAGS], n[2])
      // Mostly it acknowledges what it answers, and goes on where that has acknowledged.
      const view = new DataView(out.buffer), [seq, ack] = [view.getUint32(l4 + 4), view.getUint32(l4 + 8)]
      if (n[5] < 200) {
        view.setUint32(l4 + 4, ack + pick([0, 0, 0, 1, -1, 500], n[6]) >>> 0)
        view.setUint32(l4 + 8, seq + pick([1, 0, 1, 2, 20, 1000, -70_000], n[7]) >>> 0)
      }
    }
    if (n[3] < 24) out[l4 + 1] ^= 1                       // from another port of the same peer
  }
  if (protocol === 1 || protocol === 58) {
    const answer: Record<number, number> = { 8: 0, 0: 8, 13: 14, 14: 13, 128: 129, 129: 128 }
    if (out.length > l4) out[l4] = n[3] < 24 ? out[l4] : answer[out[l4]] ?? out[l4]
  }
  if (n[4] < 24) out[at + size - 1] ^= 3                  // from another peer
  // The checksums above are wrong by the type or the flags now, which translation keeps.
  return v4 ? headerFixed(out) : out
}

function headerFixed(bytes: Uint8Array): Uint8Array {
  const header = (bytes[0] & 15) * 4
  if (header < 20 || header > bytes.length) return bytes
  const zeroed = put16(bytes, 10, 0).slice(0, header), right = new Uint8Array(header)
  right.set([0xff, 0xff], 10)                             // sums to what a right header sums to
  return put16(bytes, 10, carried(right, zeroed, 10))
}

function bend(bytes: Uint8Array, at: number, value: number, fix: boolean): Uint8Array {
  const copy = bytes.slice()
  copy[at] = value
  return fix && four(copy) && copy.length >= 20 ? headerFixed(copy) : copy
}

/** A fragment by itself, of one of three datagrams: overlaps and gaps come by themselves. */
function lonePiece({ n, six }: Step, side: Side, replay: boolean, { bound, shown, bound6 }: Places, at = -1): Uint8Array {
  const proto = pick(['udp', 'udp', 'tcp', 'icmp', 47] as const, n[0])
  const offset = at >= 0 ? at : pick([0, 0, 8, 16, 24, 32, 40, 65528, 65520], n[1])
  const number = proto === 47 ? 47 : { udp: 17, tcp: 6, icmp: 1 }[proto]
  // Around the most that is held, and small ones.
  const lengths = n[2] > 250 ? [9168, 9176, 9192, 9200] : [8, 16, 24, 32, 8, 16, 7, 0, 12, 8 * 64]
  const payload = payloadOf(pick(lengths, n[2])), id = n[3] % 3
  const near = six ? side === 'outside' && bound6.length > 0 && !replay ? bound6 : INSIDE6 : side === 'inside' || replay ? INSIDE4 : [...POOL4, ...bound]
  const far = six ? side === 'inside' ? [...OUTSIDE6, ...bound6] : OUTSIDE6 : side === 'inside' ? [...OUTSIDE4.slice(0, 2), ...shown] : OUTSIDE4.slice(0, 2)
  const ends = [pick(near, bound.length > 0 || bound6.length > 0 ? n[4] : n[4] % 2), pick(far, n[5])]
  const [src, dst] = side === 'inside' ? ends : ends.reverse()
  const common = { src, dst, id, moreFragments: n[6] % 4 !== 0, ttl: n[7] < 230 ? 64 : 1 }
  if (offset > 0) return buildPacket({ ...common, proto: number, fragOffset: offset, payload })
  const spec = { ...common, proto, srcPort: pick(PORTS, n[8]), dstPort: pick(PORTS, n[9]), icmpId: pick(PORTS, n[8]) }
  return buildPacket({ ...spec, payload })
}
