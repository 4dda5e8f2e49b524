/**
 * Commands that take many turns, with packets between their slices: what the contract leaves open there is which flows are
 * gone already, and nothing else. Section "Rules (MIDCOM)" of docs/behaviour.md.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { buildPacket } from '../../src/wire/build.ts'
import type { ModelOptions, Side } from '../nat.model.ts'
import type { MidcomCommand } from './commands.ts'
import { EngineDriver } from './engine-driver.ts'
import { addrOf } from './packet.ts'
import { IN_A, OPTIONS, OUT, OUT_2, words } from './setup.ts'
import type { Rule } from './rules.ts'

const FLOWS = 40, PORT = 2000
const OPTIONS_RULED: ModelOptions = {
  ...OPTIONS, flows: 256, midcom: { rules: 4, boundPorts: 0, portLo: 1, portHi: 1, addresses: [], insidePool: [] },
}
const all = { addr: '00000000', bits: 0, lo: 0, hi: 65535 }
const RULE: Rule = {
  rule: 1, priority: 1, version: 4, protocol: -1, local: all, peer: all,
  disable: false, out: true, in: true, bound: false, twice: false,
}
const blocking = (peer: string): MidcomCommand =>
  ({ op: 'add', rule: { ...RULE, rule: 2, priority: 0, peer: { ...all, addr: addrOf(words(peer)), bits: 32 }, disable: true } })

function machine(options: ModelOptions) {
  const driver = new EngineDriver(options)
  function send(srcPort: number, dst: string, side: Side = 'inside'): string {
    const bytes = buildPacket({ src: IN_A, srcPort, dst, dstPort: 53, proto: 'udp' })
    const [outcome] = driver.run([{ side, nowMs: 0, bytes, wireBytes: bytes.length }])
    return outcome!.reason ?? outcome!.verdict
  }
  /** Flows to `peer` that are there, in the order in which they were opened. */
  const open = (peer: string) => Array.from({ length: FLOWS }, (_, i) => send(PORT + i, peer) === 'outside')
  return { driver, send, open }
}

for (const budget of [1, 2, 7]) {
  test(`between slices of ${budget} a disable rule holds, its flows go in order of slots, and no other flow notices`, () => {
    const { driver, send, open } = machine(OPTIONS_RULED)
    for (const peer of [OUT, OUT_2]) for (let i = 0; i < FLOWS; i++) assert.equal(send(PORT + i, peer), 'outside')
    driver.write([blocking(OUT), { op: 'add', rule: RULE }])
    let more = true, slices = 0, gone = 0
    while (more) {
      more = driver.slice(0, budget)
      slices++
      assert.equal(send(PORT + FLOWS, OUT), 'denied-by-rule', 'no new flow')
      assert.ok(open(OUT_2).every(there => there))
      const there = open(OUT), first = there.indexOf(true)
      assert.ok(first === -1 || !there.slice(first).includes(false), 'the first slots first')
      const now = there.filter(flow => !flow).length
      assert.ok(now >= gone)
      gone = now
      if (gone < FLOWS) assert.equal(driver.waiting(), 2, 'not carried out before all are gone')
    }
    assert.ok(slices > 1)
    assert.deepEqual([gone, driver.waiting(), driver.totals().flows], [FLOWS, 0, FLOWS])
    driver.checkSums()
  })
}

test('between slices of the end of a rule its flows go with the last one first, and those that are there pass', () => {
  const { driver, send, open } = machine({ ...OPTIONS_RULED, outboundPermit: false })
  driver.write([{ op: 'add', rule: RULE }])
  while (driver.slice(0, 1)) assert.equal(driver.waiting(), 1)
  for (let i = 0; i < FLOWS; i++) assert.equal(send(PORT + i, OUT), 'outside')
  driver.write([{ op: 'delete', rule: 1 }])
  for (let more = true, least = FLOWS; more;) {
    more = driver.slice(0, 1)
    const there = open(OUT), count = there.lastIndexOf(true) + 1
    assert.ok(there.slice(0, count).every(flow => flow), 'the last ones first')
    assert.ok(count <= least)
    least = count
    if (!more) assert.equal(count, 0)
  }
  assert.deepEqual([driver.waiting(), driver.totals().flows], [0, 0])
  driver.checkSums()
})
