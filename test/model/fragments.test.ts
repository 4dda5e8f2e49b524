/** The model against hand-written packets: "Fragments" of docs/behaviour.md. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { buildPacket, fragment, verify, type PacketSpec } from '../../src/wire/build.ts'
import { box, word, ends, paired, IN_A, IN6, OUT, OUT6, type Box } from './setup.ts'
import type { Outcome } from '../nat.model.ts'

const SPEC: PacketSpec = {
  src: IN_A, dst: OUT, proto: 'udp', srcPort: 5000, dstPort: 53, id: 77, payload: new Uint8Array(40),
}
const cut = (spec: PacketSpec, ...sizes: number[]) => fragment(buildPacket(spec), sizes)
const THREE = cut(SPEC, 16, 16), words = (all: Outcome[]) => all.map(word)
const piece = (fragOffset: number, bytes: number, moreFragments: boolean, id = 77): PacketSpec =>
  ({ src: IN_A, dst: OUT, proto: 17, id, fragOffset, moreFragments, payload: new Uint8Array(bytes) })
const heldReasons = (o: Outcome) => o.heldDrops.map(h => h.reason)
const send = (b: Box, ...order: number[]) => order.map(i => b.in(THREE[i]))

test('fragments in order are translated one by one', () => {
  const b = box(), all = send(b, 0, 1, 2)
  assert.deepEqual(words(all), ['outside', 'outside', 'outside'])
  for (const { sent: [{ bytes }] } of all) assert.deepEqual(verify(bytes), [])
  assert.equal(ends(all[2].sent[0].bytes), paired(IN_A) + ' > ' + OUT)
  assert.equal(b.model.fragments.known.length, 0)
})

test('what comes before the first fragment waits for it, and follows in order of arrival (RFC 4787 REQ-14a)', () => {
  const b = box(), all = send(b, 2, 1, 0)
  assert.deepEqual(words(all), ['held', 'held', 'outside'])
  const { sent } = all[2]
  assert.deepEqual(sent.map(s => s.kind), ['packet', 'release', 'release'])
  assert.deepEqual(sent.map(s => s.bytes[7] * 8), [0, 32, 16])
  for (const { bytes } of sent) assert.deepEqual(verify(bytes), [])
  assert.equal(b.model.fragments.known.length, 0)
})

test('fragments that never meet their first one are dropped in time', () => {
  const b = box()
  send(b, 1, 2)
  b.nowMs = 2000
  const outcome = b.in(THREE[0])
  assert.equal(word(outcome), 'outside')
  assert.deepEqual(heldReasons(outcome), ['fragment-timeout', 'fragment-timeout'])
  b.in(piece(16, 8, true, 78))
  assert.deepEqual(b.model.finish(), [{ reason: 'fragment-timeout' }])
})

test('malformed and tiny fragments are dropped (RFC 1858 3, RFC 3128)', () => {
  const b = box()
  assert.equal(word(b.in(piece(8, 0, true))), 'fragment-bad-length')
  assert.equal(word(b.in(piece(8, 12, true))), 'fragment-bad-length')
  assert.equal(word(b.in(piece(65528, 8, false))), 'fragment-bad-length')
  // With its header the datagram must not pass 65,535 bytes (RFC 791).
  assert.equal(word(b.in(piece(65512, 4, false))), 'fragment-bad-length')
  assert.equal(word(b.in(piece(65512, 3, false))), 'held')
  assert.equal(word(b.in({ ...piece(8, 16, true), proto: 6 })), 'fragment-tiny')
  assert.equal(word(b.in(cut({ ...SPEC, proto: 'tcp' }, 16)[0])), 'fragment-tiny')
  assert.equal(word(b.in(cut({ ...SPEC, proto: 'tcp', id: 4 }, 24)[0])), 'outside')
})

test('an overlap takes the datagram with it, an exact repeat only itself (RFC 5722 3)', () => {
  const b = box()
  assert.deepEqual(words(send(b, 1, 1)), ['held', 'fragment-overlap'])
  const outcome = b.in(piece(24, 16, false))
  assert.deepEqual([word(outcome), heldReasons(outcome)], ['fragment-overlap', ['fragment-overlap']])
  assert.deepEqual(words(send(b, 0, 2)), ['fragment-overlap', 'fragment-overlap'])
  b.nowMs = 2000
  assert.deepEqual(words(send(b, 0, 1, 2)), ['outside', 'outside', 'outside'])
})

test('when the first fragment is dropped all others are', () => {
  const b = box({ outboundPermit: false })
  send(b, 1)
  const outcome = b.in(THREE[0])
  assert.deepEqual([word(outcome), heldReasons(outcome)], ['denied', ['fragment-of-dropped']])
  assert.equal(outcome.sent[0].kind, 'reply')
  assert.deepEqual(words(send(b, 2, 0)), ['fragment-of-dropped', 'fragment-of-dropped'])
})

test('tables of fragments have ends', () => {
  const b = box()
  for (let id = 1; id <= 4; id++) assert.equal(word(b.in(piece(16, 8, true, id))), 'held')
  assert.equal(word(b.in(piece(24, 8, true, 4))), 'fragment-hold-full')
  assert.equal(word(b.in(piece(24, 8, true, 5))), 'fragment-table-full')
  const many = box({ fragmentHold: 100 })
  for (let i = 1; i <= 64; i++) assert.equal(word(many.in(piece(8 * i, 8, true))), 'held')
  assert.equal(word(many.in(piece(8 * 65, 8, true))), 'fragment-table-full')
  assert.equal(word(many.in({ ...SPEC, ...piece(0, 8, true) })), 'fragment-table-full')
  assert.equal(word(box().in(piece(16, 9200, true))), 'fragment-hold-full')
  assert.equal(word(box().in(piece(16, 9192, true))), 'held')
})

test('a piece that could not be held may come again', () => {
  const b = box({ fragmentHold: 0 })
  const full = 'fragment-hold-full'
  assert.deepEqual(words(send(b, 1, 1, 0, 1, 2)), [full, full, 'outside', 'outside', 'outside'])
  assert.equal(b.model.fragments.known.length, 0)
})

test('a later fragment on its last hop is not answered (RFC 1812 4.3.2.7)', () => {
  const b = box(), last = (offset: number) => ({ ...piece(offset, 8, true), ttl: 1 })
  const late = buildPacket(last(16)), first = buildPacket(last(0))
  assert.deepEqual([word(b.in(late)), b.in(late).sent.length, b.in(first).sent.length], ['ttl-exceeded', 0, 1])
})

test('IPv6 fragments are followed too (RFC 8200 4.5)', () => {
  const b = box(), three = cut({ ...SPEC, src: IN6, dst: OUT6 }, 16, 16)
  assert.deepEqual(words([2, 0, 1].map(i => b.in(three[i]))), ['held', 'outside', 'outside'])
  assert.equal(b.model.fragments.known.length, 0)
  assert.equal(word(b.in(cut({ ...SPEC, src: IN6, dst: OUT6, proto: 'tcp' }, 8)[0])), 'fragment-tiny')
  assert.equal(word(b.in(cut({ ...SPEC, src: IN6, dst: OUT6, proto: 'tcp' }, 8)[1])), 'held')
})
