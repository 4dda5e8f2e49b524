/**
 * A rule set that is replaced while 100,000 flows are open: how long packets wait for it. The flows are examined in slices of so many
 * between packets, as `pinhole run` asks for them, and that is what bounds the wait. Measured is the time of the processor, which others
 * that use it do not add to, but the collector and the compiler on their own threads do: so one slice in a hundred is left out.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRule } from '../src/app/firewall/ipfilter.ts'
import { createRuleSet } from '../src/engine/firewall-set.ts'
import { createRig } from '../src/engine/testing.ts'
import { SIDE_INSIDE, TO_OUTSIDE } from '../src/wire/frames.ts'
import { buildPacket } from '../src/wire/build.ts'

const FLOWS = 100_000, HALF = 50_000
/** As app/run/turns.ts has it at the most. */
const UNITS = 256
const MOST_MS = 1, ROUNDS = 5

function rule(text: string) {
  const parsed = parseRule(text)
  assert.ok(parsed.ok, text)
  return parsed.value
}
const set = (...texts: string[]) => createRuleSet(texts.map(rule), [], 1)

test('with 100,000 flows open a replacement of the rules goes on in slices of far less than a millisecond, and ends what it forbids', (t) => {
  const rig = createRig({ flows: 131_072, firewall: { set: set(), interfaceName: () => undefined } })
  const packets = [7, 9].map(last => Array.from({ length: HALF }, (_, n) => buildPacket({
    proto: 'udp', src: `10.0.${n >>> 8}.${n & 255}`, srcPort: 5000, dst: `198.51.100.${last}`, dstPort: 53,
  })))
  const sets = [set('deny in 17 from any to 198.51.100.7 53'), set()]
  const longest: number[] = [], usual: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    for (const list of packets) for (const packet of list) assert.equal(rig.send(SIDE_INSIDE, packet, 0).verdict, TO_OUTSIDE)
    assert.equal(rig.count('flows-current'), FLOWS)
    const stalls: number[] = []
    const timed = (work: () => boolean) => {
      const start = process.cpuUsage(), more = work(), { user, system } = process.cpuUsage(start)
      stalls.push((user + system) / 1000)
      return more
    }
    timed(() => { rig.engine.replaceRules(sets[0]!); return true })
    let slices = 0
    while (timed(() => rig.engine.applyCommands(0, UNITS))) {
      // Between slices no packet of a forbidden flow passes, whether it was examined or not, and the others do.
      const n = slices++ * 7919 % HALF
      assert.equal(rig.send(SIDE_INSIDE, packets[0]![n]!, 0).reason, 'denied-by-firewall')
      assert.equal(rig.send(SIDE_INSIDE, packets[1]![n]!, 0).verdict, TO_OUTSIDE)
    }
    assert.ok(slices >= FLOWS / UNITS - 1, `${slices} slices`)
    assert.equal(rig.count('flows-current'), HALF)
    timed(() => { rig.engine.replaceRules(sets[1]!); return true })
    while (timed(() => rig.engine.applyCommands(0, UNITS)));
    stalls.sort((a, b) => a - b)
    longest.push(stalls.at(-1)!)
    usual.push(stalls[Math.floor(stalls.length * 0.99)]!)
  }
  const text = (stalls: number[]) => stalls.map(ms => ms.toFixed(3)).join(', ')
  t.diagnostic(`stalls in ms, of 99 in 100 slices: ${text(usual)}; the longest: ${text(longest)}`)
  assert.ok(Math.min(...usual) < MOST_MS, text(usual))
})
