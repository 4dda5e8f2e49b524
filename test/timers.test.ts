/**
 * Each timer of the configuration at its edge: what it keeps is there a millisecond before, and gone at that millisecond and one later.
 * A setting below `timers` without a probe fails, so that a timer that is added is measured too.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { engineOptions } from '../src/app/compose.ts'
import { checkConfig } from '../src/app/config/load.ts'
import { settings } from '../src/app/config/schema.ts'
import { buildPacket, fragment } from '../src/wire/build.ts'
import { A, ACK, B, FIN, NAT, RST, SYN, X, box, echo, reply, sourcePort, tcp, udp, word, type Box } from './conformance/box.ts'

/** Where time starts: it is modulo 2^32, and no edge of int32 may matter. */
const STARTS = [0, 0x7fff_ffff, 0x7fff_ffff - 100_000, -1, -(2 ** 31)]

interface Probe {
  /** YAML below `timers:`, for a time in milliseconds. */
  yaml?: (ms: number) => string
  /** More settings of `nat`. */
  nat?: string
  defaultMs: number
  otherMs: number
  begin(b: Box): void
  /** Is there still what the timer keeps? May use it up. */
  isThere(b: Box): boolean
}

const segment = (flags: number) => tcp(A, 5000, X, 80, flags, { seq: 100, ack: flags & ACK ? 900 : 0 })
const answer = (flags: number) => tcp(X, 80, NAT, 5000, flags, { seq: 900, ack: flags & ACK ? 101 : 0 })
function open(b: Box): void {
  b.in(segment(SYN))
  b.out(answer(SYN | ACK))
  b.in(segment(ACK))
}
const hasFlow = (b: Box) => {
  b.engine.expire(b.nowMs)
  return b.count('flows-current') === 1
}
const pieces = fragment(buildPacket(udp(A, 5000, X, 53, { id: 9, payload: new Uint8Array(100) })), [40, 40])
const sctp = (src: string, dst: string) => ({ proto: 132, src, dst, payload: new Uint8Array(24) })
const gre = (src: string, dst: string) => ({ proto: 47, src, dst, payload: new Uint8Array(8) })

/** By setting; where one has several cases, they are told apart behind a colon. */
const PROBES: Record<string, Probe> = {
  'timers.udp': { defaultMs: 300_000, otherMs: 120_001, begin: b => b.in(udp(A, 5000, X, 53)), isThere: b => word(b.out(udp(X, 53, NAT, 5000))) === 'inside' },
  'timers.udp: IPv6': { defaultMs: 300_000, otherMs: 120_001, begin: b => b.in(udp('fd00::1', 5000, '2001:db8::1', 53)), isThere: b => word(b.out(udp('2001:db8::1', 53, 'fd00::1', 5000))) === 'inside' },
  'timers.udp-ports[].idle': {
    yaml: ms => `udp-ports: [{port: 53, idle: ${ms}ms}]`, defaultMs: 30_000, otherMs: 1001,
    begin: b => b.in(udp(A, 5000, X, 53)), isThere: b => word(b.out(udp(X, 53, NAT, 5000))) === 'inside',
  },
  'timers.tcp-opening: by a SYN from inside': { defaultMs: 240_000, otherMs: 5001, begin: b => b.in(segment(SYN)), isThere: hasFlow },
  'timers.tcp-opening: from the middle': { defaultMs: 240_000, otherMs: 5001, begin: b => b.in(segment(ACK)), isThere: hasFlow },
  'timers.tcp-established': { defaultMs: 7_440_000, otherMs: 8_000_001, begin: open, isThere: hasFlow },
  'timers.tcp-established: closed by one end': { defaultMs: 7_440_000, otherMs: 8_000_001, begin: b => { open(b); b.in(segment(FIN | ACK)) }, isThere: hasFlow },
  'timers.tcp-closing: by both ends': { defaultMs: 240_000, otherMs: 240_001, begin: b => { open(b); b.in(segment(FIN | ACK)); b.out(answer(FIN | ACK)) }, isThere: hasFlow },
  'timers.tcp-closing: by a reset': { defaultMs: 240_000, otherMs: 240_001, begin: b => { open(b); b.out(answer(RST)) }, isThere: hasFlow },
  'timers.icmp-query': { defaultMs: 60_000, otherMs: 60_001, begin: b => b.in(echo(A, X, 7)), isThere: b => word(b.out(reply(X, NAT, 7))) === 'inside' },
  'timers.other': { defaultMs: 300_000, otherMs: 1001, begin: b => b.in(gre(A, X)), isThere: b => word(b.out(gre(X, NAT))) === 'inside' },
  'timers.association-opening': { defaultMs: 480_000, otherMs: 480_001, begin: b => b.in(sctp(A, X)), isThere: hasFlow },
  'timers.association': { defaultMs: 7_440_000, otherMs: 8_000_001, begin: b => { b.in(sctp(A, X)); b.out(sctp(X, NAT)) }, isThere: hasFlow },
  'timers.fragment: held for the first': { defaultMs: 2000, otherMs: 1001, begin: b => b.in(pieces[1]), isThere: b => b.in(pieces[0]).extras.length === 1 },
  'timers.fragment: after the first': { defaultMs: 2000, otherMs: 1001, begin: b => b.in(pieces[0]), isThere: b => word(b.in(pieces[1])) === 'outside' },
  // Of a mapping that ends as it begins: another host does not get its port before.
  'timers.port-hold': {
    nat: ', port-hold: all', defaultMs: 120_000, otherMs: 1001,
    begin: (b) => {
      const endsMs = b.nowMs
      b.nowMs = endsMs - 300_000 | 0
      b.in(udp(A, 5000, X, 53))
      b.nowMs = endsMs
      b.engine.expire(endsMs)
    },
    isThere: b => sourcePort(b.in(udp(B, 5000, X, 53))) !== 5000,
  },
  // It keeps silence; a packet to somewhere else moves time.
  'timers.unsolicited-syn': { defaultMs: 6000, otherMs: 7001, begin: b => b.out(answer(SYN)), isThere: b => !b.engine.late(b.nowMs) },
}

function boxWith(yaml: string, nat: string): Box {
  const { config, problems } = checkConfig(`inside: [10.0.0.0/8, "fd00::/8"]\nnat: {pool: [${NAT}]${nat}}\n${yaml}`)
  assert.deepEqual(problems, [])
  return box({ ...engineOptions(config!, config!.inside, 1, 0), flows: 16 })
}

for (const [name, { yaml, nat = '', defaultMs, otherMs, begin, isThere }] of Object.entries(PROBES)) {
  const key = name.split(':')[0].replace('timers.', '')
  test(`timers: ${name} ends at its millisecond, ${defaultMs} ms or as configured, wherever the clock wraps`, () => {
    for (const ms of [defaultMs, otherMs]) {
      const written = yaml === undefined ? (ms === defaultMs ? '' : `timers: {${key}: ${ms}ms}`) : `timers: {${yaml(ms)}}`
      for (const start of STARTS) {
        for (const late of [-1, 0, 1]) {
          const b = boxWith(written, nat)
          b.nowMs = start
          begin(b)
          b.nowMs = start + ms + late | 0
          assert.equal(isThere(b), late < 0, `${ms} ms from ${start}, ${late} ms late`)
        }
      }
    }
  })
}

test('timers: each duration below timers has a probe, and each probe a setting', () => {
  const durations = settings().filter(([path, setting]) => path.startsWith('timers.') && setting['x-value']?.kind === 'duration').map(([path]) => path)
  assert.deepEqual([...new Set(Object.keys(PROBES).map(name => name.split(':')[0]))].sort(), durations.sort())
})
