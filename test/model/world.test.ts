/** The model of the replay's outside world: last section of docs/behaviour.md. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { buildPacket, icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import { box, ends, paired, IN_A, OUT, OUT_2 } from './setup.ts'
import { enter } from './world.model.ts'

const A = paired(IN_A)
const UDP: PacketSpec = { src: IN_A, dst: OUT, proto: 'udp', srcPort: 5000, dstPort: 53, payload: new Uint8Array(4) }
const REPLY: PacketSpec = { ...UDP, src: OUT, dst: IN_A, srcPort: 53, dstPort: 5000 }
const through = (b: ReturnType<typeof box>, spec: PacketSpec | Uint8Array) => {
  const bytes = spec instanceof Uint8Array ? spec : buildPacket(spec)
  return enter(b.model, { side: 'outside', nowMs: b.nowMs, bytes, wireBytes: bytes.length })
}

test('a reply to an inside host goes to the mapping that it has, or to its paired address', () => {
  const b = box({ portPreservation: false })
  assert.equal(ends(through(b, REPLY)), OUT + ':53 > ' + A + ':5000')
  const left = b.in(UDP).sent[0].bytes, port = left[20] * 256 + left[21]
  const reply = through(b, REPLY)
  assert.equal(ends(reply), OUT + ':53 > ' + A + ':' + port)
  assert.deepEqual(verify(reply), [])
  assert.deepEqual(b.out(reply).sent[0].bytes, buildPacket({ ...REPLY, ttl: 63 }))
  b.nowMs = 300_000
  assert.equal(ends(through(b, REPLY)), OUT + ':53 > ' + A + ':5000')
})

test('an error is re-addressed by the packet inside it', () => {
  const b = box({ portPreservation: false })
  b.in(UDP)
  const error = icmpError({ src: OUT_2, original: buildPacket(UDP), icmpType: 3 }), entered = through(b, error)
  assert.deepEqual(verify(entered), [])
  const { verdict, sent: [{ bytes }] } = b.out(entered)
  assert.equal(verdict, 'inside')
  assert.deepEqual(bytes.slice(20), error.slice(20))
})

test('fragments after the first go to the paired address, and everything else enters as it is', () => {
  const b = box()
  assert.equal(ends(through(b, { ...REPLY, proto: 17, fragOffset: 8 })), OUT + ' > ' + A)
  const cases: PacketSpec[] = [
    { ...REPLY, dst: OUT_2 }, { ...REPLY, ipChecksum: 'wrong' }, { ...REPLY, proto: 17, payload: new Uint8Array(5) },
  ]
  for (const spec of cases) {
    assert.deepEqual(through(b, spec), buildPacket(spec))
  }
  assert.deepEqual(through(box({ nat44: false }), REPLY), buildPacket(REPLY))
})
