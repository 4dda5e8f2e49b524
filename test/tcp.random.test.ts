/**
 * TCP of the engine against its slow model on a handful of connections whose segments mostly follow one another, and sometimes do
 * not: windows, half-open bounds, unsolicited SYNs. Where the other random tests wander about, this one stays close to what TCP is.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { buildPacket, fragment } from '../src/wire/build.ts'
import { told } from './model/compare.ts'
import { EngineDriver } from './model/engine-driver.ts'
import { addrOf } from './model/packet.ts'
import { OPTIONS, words } from './model/setup.ts'
import { createModel, type ModelInput, type ModelOptions } from './nat.model.ts'

const RUNS = Number(process.env['PINHOLE_RUNS'] ?? 700)
const FIN = 1, SYN = 2, RST = 4, ACK = 16
const FLAGS = [ACK, ACK, ACK, ACK, ACK, SYN | ACK, SYN, FIN | ACK, RST, RST | ACK, 0, SYN | FIN]
/** Off where it should be. */
const OFFSETS = [0, 0, 0, 0, 0, 0, 0, 1, -1, 100, -100, 1000, 65_535, -65_535, -66_000, -66_001, 70_000, 2 ** 20, 2 ** 30, 2 ** 31 - 1, -(2 ** 31)]
const LENGTHS = [0, 0, 1, 100, 1000], GRANTS = [65_535, 65_535, 1000, 100, 1, 0]
const SYN_OPTIONS = [[], [3, 3, 0], [1, 3, 3, 7], [3, 3, 14], [3, 3, 99], [2, 4, 5, 180], [3, 2], [0, 3, 3, 4], [8, 0, 3, 3, 2]]
const PAUSES_MS = [0, 0, 0, 1, 5, 19, 20, 21, 100]

interface Move { connection: number; out: boolean; n: number[] }
const byte = fc.nat({ max: 255 })
const move: fc.Arbitrary<Move> = fc.record({
  connection: fc.nat({ max: 5 }), out: fc.boolean(), n: fc.array(byte, { minLength: 10, maxLength: 10 }),
})
const isn = fc.constantFrom(1000, 0xffff_fff0, 0x7fff_ffff, 0)

const boxes: fc.Arbitrary<ModelOptions> = fc.record({
  tcpWindow: fc.constantFrom('off', 'loose', 'strict', 'strict', 'strict'), tcpMidstream: fc.boolean(),
  filtering: fc.constant('address-dependent'), tcpFiltering: fc.constantFrom('endpoint-independent', 'address-dependent'),
  inboundPermit: fc.boolean(), nat44: fc.nat({ max: 3 }).map(n => n > 0), flows: fc.constantFrom(16, 32),
  halfOpen: fc.constantFrom(0, 0, 2, 3, 8), halfOpenPerSource: fc.constantFrom(0, 0, 1, 2), heldSyns: fc.constantFrom(0, 1, 2, 8),
  tcpFlags: fc.nat({ max: 3 }).map(n => n > 0), icmpErrorsPerSecond: fc.constantFrom(1, 100),
}).map(changes => ({
  ...OPTIONS, ...changes,
  timers: { ...OPTIONS.timers, tcpOpeningMs: 60, tcpClosingMs: 90, tcpEstablishedMs: 1000, unsolicitedSynMs: 20 },
}))

const pick = <T>(from: readonly T[], n: number): T => from[n % from.length]

test('TCP of the engine agrees with its model, segment by segment', () => {
  const seen = new Map<string, number>()
  let late = 0
  fc.assert(fc.property(boxes, fc.array(move, { minLength: 1, maxLength: 60, size: 'max' }), isn, fc.nat({ max: 2 }), (options, moves, first, startAt) => {
    const model = createModel(options), driver = new EngineDriver(options, 14)
    let nowMs = [0, 0x7fff_fff0, -100][startAt]
    // By connection and direction: the next number, as an honest end would count.
    const next = new Map<string, number>()
    moves.forEach(({ connection, out, n }, at) => {
      const six = connection === 5, [inside, peer] = six ? ['fd00::1', '2001:db8::1'] : [pick(['10.0.0.1', '10.0.0.1', '10.0.0.2'], connection), pick(['198.51.100.1', '198.51.100.2'], connection >> 1)]
      const insidePort = 5000 + (connection & 1), peerPort = 80
      const hex = addrOf(words(inside))
      const mapped = six || !options.nat44 ? null : model.flows.mappingOf(6, { addr: hex, port: insidePort })?.outside
      const outside = six || !options.nat44 ? inside : (mapped?.addr ?? model.flows.pairedAddr(hex)).match(/../g)!.map(pair => parseInt(pair, 16)).join('.')
      const own = `${connection} ${out}`, other = `${connection} ${!out}`
      const tcpFlags = pick(FLAGS, n[0]), seq = (next.get(own) ?? first) + pick(OFFSETS, n[1]), ack = (next.get(other) ?? first) + pick(OFFSETS, n[2])
      const payload = new Uint8Array(pick(LENGTHS, n[3]))
      const common = { proto: 'tcp' as const, tcpFlags, seq: seq >>> 0, ack: ack >>> 0, window: pick(GRANTS, n[4]), payload, id: n[5] % 4 }
      const tcpOptions = (tcpFlags & SYN) !== 0 ? Uint8Array.from(pick(SYN_OPTIONS, n[6])) : undefined
      const ends = out ? { src: inside, dst: peer, srcPort: insidePort, dstPort: peerPort }
        : { src: peer, dst: outside, srcPort: peerPort, dstPort: mapped?.port ?? insidePort }
      const whole = buildPacket({ ...common, ...ends, ...tcpOptions !== undefined && { tcpOptions } })
      if (pick(OFFSETS, n[1]) === 0) next.set(own, seq + payload.length + (tcpFlags & SYN ? 1 : 0) + (tcpFlags & FIN ? 1 : 0))
      nowMs = nowMs + pick(PAUSES_MS, n[7]) | 0
      const pieces = n[8] < 12 && payload.length >= 1000 ? fragment(whole, [512], { id: n[5] % 4 }) : [whole]
      for (const bytes of pieces) {
        // Now and then the options of a SYN were not captured.
        const captured = n[9] < 10 ? bytes.slice(0, (six ? 40 : 20) + 20 + n[9] % 4) : bytes
        const input: ModelInput = { side: out ? 'inside' : 'outside', nowMs, bytes: captured, wireBytes: bytes.length }
        const expected = model.packet(input), [outcome] = driver.run([input])
        assert.equal(told(outcome!), told(expected), `segment ${at}`)
        const word = expected.reason ?? expected.verdict
        seen.set(word, (seen.get(word) ?? 0) + 1)
        late += expected.late.length
      }
    })
    driver.checkSums()
  }), { numRuns: RUNS, includeErrorInReport: true })
  for (const word of [
    'inside', 'outside', 'tcp-out-of-window', 'tcp-bad-ack', 'tcp-rst-out-of-window', 'tcp-syn-in-window', 'half-open-source', 'no-mapping', 'tcp-null',
  ]) assert.ok((seen.get(word) ?? 0) > 0, `${word} was never met: ${JSON.stringify([...seen])}`)
  assert.ok(late > 0, 'no SYN was answered')
})
