/** Bounds of what is held of datagrams in fragments; what becomes of them otherwise is held against the model (test/). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, verify } from '../wire/build.ts'
import { HELD, SIDE_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { createRig } from './testing.ts'

const HOST = '10.0.0.5', PEER = '198.51.100.7'
const first = (id: number) => buildPacket({ src: HOST, dst: PEER, proto: 'udp', srcPort: 5000, dstPort: 53, id, moreFragments: true, payload: new Uint8Array(8) })
const later = (id: number, bytes: number) => buildPacket({ src: HOST, dst: PEER, proto: 17, id, fragOffset: 16, payload: new Uint8Array(bytes).fill(7) })

test('a jumbo frame of 9,216 bytes and the longest link header are held; a byte more of either is not', () => {
  const rig = createRig(), longest = later(1, 9196)
  assert.equal(rig.send(SIDE_INSIDE, longest, 0, { linkBytes: 64 }).verdict, HELD)
  assert.equal(rig.send(SIDE_INSIDE, later(2, 9197), 0).reason, 'fragment-hold-full')
  assert.equal(rig.send(SIDE_INSIDE, later(3, 8), 0, { linkBytes: 65 }).reason, 'fragment-hold-full')
  const { verdict, extras: [released] } = rig.send(SIDE_INSIDE, first(1), 0)
  assert.deepEqual([verdict, released.bytes.length, verify(released.bytes)], [TO_OUTSIDE, 9216, []])
  assert.deepEqual(released.bytes.slice(20), longest.slice(20))
})

test('what is held and dropped counts as long as its frame was, though less of it was captured', () => {
  const rig = createRig()
  rig.send(SIDE_INSIDE, later(1, 1000), 0, { linkBytes: 14, capBytes: 100 })
  rig.engine.finish()
  assert.deepEqual([rig.count('drop-fragment-timeout-packets'), rig.count('drop-bytes'), rig.count('fragments-held-current')], [1, 1034, 0])
})

test('places of held fragments come back, however often they are taken', () => {
  const rig = createRig({ fragmentHold: 2 })
  for (let id = 0; id < 20; id++) {
    for (const piece of [later(id, 8), later(id + 100, 8)]) assert.equal(rig.send(SIDE_INSIDE, piece, 0).verdict, HELD, `datagram ${id}`)
    for (const one of [id, id + 100]) assert.equal(rig.send(SIDE_INSIDE, first(one), 0).extras.length, 1)
  }
})
