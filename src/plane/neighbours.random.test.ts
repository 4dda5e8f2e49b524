/** Random traffic, answers and time on two small links against the slow model: what leaves, what comes back, what is known. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { buildPacket } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import * as ndp from '../wire/ndp.ts'
import { createLinkRig, readArp, words, type LinkRig } from './live-testing.ts'
import { askText, createNeighboursModel, hexOf } from './neighbours.model.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? Date.now() & 0xffff), RUNS = 30, STEPS = 400
const MOST = 6, QUEUE_FRAMES = 36, MAC_AT = 8
/** Addresses, and who takes packets there; null: there is no route. */
const DESTINATIONS: [side: number, to: string, hop: string | null][] = [
  ...['10.0.0.5', '10.0.0.6', '10.0.0.7', '2001:db8:1::5', '2001:db8:1::6', '2001:db8:1::1:5', 'fe80::5']
    .map((to): [number, string, string] => [SIDE_INSIDE, to, to]),
  [SIDE_INSIDE, '192.0.2.1', null], [SIDE_INSIDE, '2001:db8:3::1', null],
  [SIDE_OUTSIDE, '203.0.113.9', '203.0.113.9'], [SIDE_OUTSIDE, '2001:db8:2::9', '2001:db8:2::9'],
  [SIDE_OUTSIDE, '192.0.2.1', '203.0.113.254'], [SIDE_OUTSIDE, '192.0.2.2', '203.0.113.254'], [SIDE_OUTSIDE, 'fe80::5', 'fe80::5'],
]
const HOPS = DESTINATIONS.filter(([, , hop]) => hop !== null)
const MACS = ['020000000009', '02000000000a', '020000010009', '0300000000ff'], LEAPS_MS = [1, 1, 300, 1000, 1000, 5000, 31_000, 601_000]

const versionOf = (address: string) => address.includes(':') ? 6 : 4
/** Both tell hops as four words. */
const four = (address: string) => Int32Array.from({ length: 4 }, (_, i) => words(address)[i] ?? 0)

function told(side: number, frame: Uint8Array): string {
  const hex = Buffer.from(frame).toString('hex'), to = hex.slice(0, 12), said = readArp(frame)
  if (said !== null) return `${side}: ${askText(4, Int32Array.of(said.targetAddr, 0, 0, 0), to)}`
  if (frame[20] === 58 && frame[54] === ndp.SOLICITATION) {
    const view = new DataView(frame.buffer, frame.byteOffset)
    return `${side}: ${askText(6, Int32Array.from({ length: 4 }, (_, i) => view.getInt32(62 + 4 * i)), to)}`
  }
  return `${side}: ${hex.slice(28)} to ${to}`
}

function back(rig: LinkRig): string[] {
  const all: string[] = []
  for (let one = rig.neighbours.undelivered(); one !== null; one = rig.neighbours.undelivered()) {
    all.push(Buffer.from(rig.frames.pool.slice(one.p, one.p + one.bytes)).toString('hex'))
  }
  return all
}

function run(seed: number): void {
  const { below } = createPrng(seed)
  const rig = createLinkRig({ most: MOST, queueFrames: QUEUE_FRAMES }), model = createNeighboursModel(MOST, QUEUE_FRAMES)
  const { neighbours } = rig
  let nowMs = 0, drops = 0, full = 0, number = 0
  const macAt = (mac: string) => {
    rig.frames.pool.set(Buffer.from(mac, 'hex'), MAC_AT)
    return MAC_AT
  }
  for (let step = 0; step < STEPS; step++) {
    const what = below(8)
    nowMs += 1
    if (what < 4) {
      const [side, dst, hop] = DESTINATIONS[below(DESTINATIONS.length)]!
      for (let n = below(8) === 0 ? 20 : 1; n > 0; n--) {
        const packet = buildPacket({
          proto: 'udp', src: versionOf(dst) === 6 ? '2001:db8:9::9' : '198.51.100.7', dst, srcPort: 1 + number++, dstPort: 53,
          payload: new Uint8Array(20),
        })
        rig.send(side, packet)
        model.send(side, versionOf(dst), hop === null ? null : four(hop), Buffer.from(packet).toString('hex'))
      }
    } else if (what < 6) {
      const [side, , hop] = HOPS[below(HOPS.length)]!, mac = MACS[below(MACS.length)]!, why = below(3)
      const version = versionOf(hop!)
      if (version === 4 || below(2) === 0) {
        neighbours.learn(side, version, four(hop!), macAt(mac), why, nowMs)
        model.learn(side, version, four(hop!), mac, why, nowMs)
      } else {
        const isAnswer = below(2) === 0, isOverride = below(2) === 0, hasMac = below(4) !== 0
        const flags = (isAnswer ? ndp.SOLICITED : 0) | (isOverride ? ndp.OVERRIDE : 0)
        neighbours.advertised(side, four(hop!), hasMac ? macAt(mac) : 0, flags, nowMs)
        model.advertised(side, four(hop!), hasMac ? mac : null, isAnswer, isOverride, nowMs)
      }
    } else {
      nowMs += LEAPS_MS[below(LEAPS_MS.length)]!
      neighbours.advance(nowMs)
      model.advance(nowMs)
    }
    const found = [SIDE_INSIDE, SIDE_OUTSIDE].flatMap(side => rig.sent(side).map(frame => told(side, frame)))
    const expected = model.take(), where = `seed ${seed}, step ${step}`
    drops += expected.drops
    full += expected.full
    // Whose time has come at once may come in any order.
    const order = (all: string[]) => what < 6 ? all : all.sort()
    assert.deepEqual(order(found), order(expected.sent), where)
    assert.deepEqual(back(rig).sort(), expected.back.sort(), where)
    assert.deepEqual([neighbours.count(), rig.count('neighbour-queue-drops'), rig.count('neighbours-full')], [model.count(), drops, full], where)
    for (const [side, , hop] of HOPS) {
      const mac = neighbours.macOf(side, versionOf(hop!), four(hop!))
      assert.equal(mac === null ? null : hexOf(mac), model.macOf(side, versionOf(hop!), four(hop!)), where)
    }
  }
}

test('neighbours: random packets, answers, lies and time leave the same frames as the slow model, with tables that are too small', () => {
  for (let n = 0; n < RUNS; n++) run(SEED + n)
})
