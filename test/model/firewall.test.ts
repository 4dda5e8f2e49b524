/**
 * Firewall rules that are replaced while packets flow: no packet of a forbidden flow passes after the replacement, whether its
 * flow was examined already or not, and no other flow loses one. Section "Firewall rules" of docs/behaviour.md: "Replacing".
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { parseRule } from '../../src/app/firewall/ipfilter.ts'
import type { FirewallRule } from '../../src/engine/firewall-rule.ts'
import { buildPacket, icmpError, type PacketSpec } from '../../src/wire/build.ts'
import type { ModelOptions, Side } from '../nat.model.ts'
import { EngineDriver } from './engine-driver.ts'
import { box, IN6, IN_A, OPTIONS, OUT, OUT6, OUT_2, paired, word } from './setup.ts'

const FLOWS = 40, PORT = 2000, A = paired(IN_A)

function rules(...texts: string[]): FirewallRule[] {
  return texts.map(text => {
    const rule = parseRule(text)
    if (!rule.ok) throw new RangeError(`${text}: ${rule.message}`)
    return rule.value
  })
}

function machine(changes: Partial<ModelOptions> = {}) {
  const driver = new EngineDriver({ ...OPTIONS, flows: 256, firewall: [], ...changes })
  const sent = (side: Side, bytes: Uint8Array) => {
    const [outcome] = driver.run([{ side, nowMs: 0, bytes, wireBytes: bytes.length }])
    return outcome!
  }
  const send = (side: Side, spec: PacketSpec) => word(sent(side, buildPacket(spec)))
  const udp = (src: string, srcPort: number, dst: string, dstPort: number): PacketSpec => ({ src, srcPort, dst, dstPort, proto: 'udp' })
  return { driver, send, sent, udp }
}

for (const budget of [1, 2, 7]) {
  test(`between slices of ${budget} no packet of a flow that new rules forbid passes, and no other flow loses one`, () => {
    const { driver, send, udp } = machine()
    const all = Array.from({ length: FLOWS }, (_, i) => PORT + i)
    for (const peer of [OUT, OUT_2]) for (const port of all) assert.equal(send('inside', udp(IN_A, port, peer, 53)), 'outside')
    for (const port of all) assert.equal(send('inside', udp(IN6, port, OUT6, 53)), 'outside')
    driver.replace(rules(`deny in 17 from any to ${OUT}`, `deny in 17 from any to ${OUT6}`))
    let slices = 0, more = true
    while (more) {
      const port = PORT + slices * 7 % FLOWS
      assert.equal(send('outside', udp(OUT, 53, A, port)), 'filtered', 'a reply, while the mapping lives by its other flow')
      assert.equal(send('inside', udp(IN_A, port, OUT, 53)), 'denied-by-firewall')
      assert.equal(send('inside', udp(IN6, port, OUT6, 53)), 'denied-by-firewall')
      assert.equal(send('outside', udp(OUT6, 53, IN6, port)), 'denied')
      assert.equal(send('outside', udp(OUT_2, 53, A, port)), 'inside')
      assert.equal(send('inside', udp(IN_A, port, OUT_2, 53)), 'outside')
      more = driver.slice(0, budget)
      slices++
    }
    assert.ok(slices > 10)
    for (const port of all) assert.equal(send('outside', udp(OUT_2, 53, A, port)), 'inside')
    assert.equal(driver.totals().flows, FLOWS)
    driver.checkSums()
  })
}

test('an ICMP error about a flow that new rules forbid does not pass, before the flow is examined either', () => {
  const { driver, send, sent, udp } = machine()
  const first = sent('inside', buildPacket(udp(IN_A, PORT, OUT, 53))).sent[0]!.bytes
  const error = icmpError({ src: '192.0.2.77', original: first, icmpType: 3, icmpCode: 3 })
  assert.equal(word(sent('outside', error)), 'inside')
  driver.replace(rules('deny in 17 from any to any'))
  assert.equal(word(sent('outside', error)), 'icmp-error-no-flow')
  while (driver.slice(0, 1));
  assert.equal(send('inside', udp(IN_A, PORT, OUT, 53)), 'denied-by-firewall')
})

test('a second replacement before the first is done counts alone', () => {
  const { driver, send, udp } = machine()
  for (let i = 0; i < FLOWS; i++) send('inside', udp(IN_A, PORT + i, OUT, 53))
  driver.replace(rules('deny in ip from any to any'))
  assert.equal(driver.slice(0, 3), true)
  driver.replace([])
  while (driver.slice(0, 3));
  assert.equal(driver.totals().flows, FLOWS - 3)
})

test('a flow is asked about as the packet that opened it: its direction, flags and options', () => {
  const b = box({ flows: 32, firewall: rules('permit out 6 from any to any setup'), inboundPermit: false, nat44: false })
  const tcp = (side: 'in' | 'out', port: number, tcpFlags: number) => side === 'in'
    ? b.in({ src: IN_A, srcPort: port, dst: OUT, dstPort: 80, proto: 'tcp', tcpFlags }) : b.out({ src: OUT, srcPort: 80, dst: IN_A, dstPort: port, proto: 'tcp', tcpFlags })
  assert.equal(word(tcp('out', 1, 2)), 'inside')
  assert.equal(word(tcp('out', 2, 16)), 'denied')
  assert.equal(word(tcp('in', 3, 16)), 'outside')
  b.order({ op: 'replace-rules', rules: rules('deny in 6 from any to any established') })
  assert.equal(word(tcp('out', 1, 16)), 'denied', 'no rule admits it any more')
  assert.equal(word(tcp('in', 3, 16)), 'denied-by-firewall', 'its first packet had ACK')
  assert.equal(word(tcp('in', 3, 2)), 'outside')
})

test('TCP options that the capture has cut off are not there', () => {
  const { driver } = machine({ firewall: rules('deny in 6 from any to any tcpoptions mss') })
  const syn = (port: number) => buildPacket({ src: IN_A, srcPort: port, dst: OUT, dstPort: 80, proto: 'tcp', tcpFlags: 2, tcpOptions: Uint8Array.of(1, 1, 1, 1, 2, 4, 5, 180) })
  const sent = (bytes: Uint8Array, wireBytes = bytes.length) => word(driver.run([{ side: 'inside', nowMs: 0, bytes, wireBytes }])[0]!)
  assert.equal(sent(syn(1)), 'denied-by-firewall')
  assert.equal(sent(syn(2).slice(0, 44), 48), 'outside')
  assert.equal(sent(syn(3).slice(0, 47), 48), 'outside')
  assert.deepEqual(driver.totals().firewall.map(({ packets }) => packets), [2, 1])
})

test('interfaces beyond 16 bits are none that a rule names, and leave a flow its rule', () => {
  const named = (name: string): FirewallRule => ({ ...rules('deny in 17 from any to any')[0]!, interfaces: { names: [name], not: false } })
  const { driver, udp } = machine({ firewall: [named('65538'), named('2'), ...rules('permit in ip from any to any')] })
  const sent = (interface_: number) =>
    word(driver.run([{ side: 'inside', nowMs: 0, bytes: buildPacket(udp(IN_A, PORT + interface_ % 7, OUT, 53)), wireBytes: 28, interface: interface_ }])[0]!)
  assert.deepEqual([sent(2), sent(65_538), sent(1)], ['denied-by-firewall', 'outside', 'outside'])
  driver.replace([named('2')])
  while (driver.slice(0, 4));
  assert.equal(driver.totals().flows, 2)
})

test('a machine without firewall takes no rules', () => {
  assert.throws(() => { machine({ firewall: null }).driver.replace([]) }, /without a firewall/)
})

test('from outside a rule admits only where there is a mapping, whatever the filter says', () => {
  const b = box({ filtering: 'address-and-port-dependent', firewall: rules(`permit out 17 from ${OUT_2} to ${IN_A} ${PORT}`, 'deny out ip from any to any') })
  const reply = (src: string, dstPort: number) => word(b.out({ src, srcPort: 9, dst: A, dstPort, proto: 'udp' }))
  assert.equal(reply(OUT_2, PORT), 'no-mapping')
  b.in({ src: IN_A, srcPort: PORT, dst: OUT, dstPort: 53, proto: 'udp' })
  assert.deepEqual([reply(OUT_2, PORT), reply(OUT, PORT)], ['inside', 'denied-by-firewall'])
  assert.deepEqual(b.model.firewall.hits.map(({ packets }) => packets), [1, 1, 1])
})
