import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import * as ethernet from './ethernet.ts'

const mac = fc.array(fc.nat(255), { minLength: 6, maxLength: 6 })
const tag = fc.record({ type: fc.constantFrom(0x8100, 0x88a8, 0x9100), control: fc.nat(0xffff) }, { noNullPrototype: true })
const headers = fc.record({
  dst: mac, src: mac, tags: fc.array(tag, { maxLength: ethernet.MAX_TAGS }), type: fc.constantFrom(0x0800, 0x86dd, 0x0806, 60),
}, { noNullPrototype: true })

test('a header emitted is the header parsed, and its addresses swap', () => {
  fc.assert(fc.property(headers, fc.nat(3), (repr, off) => {
    const v = new DataView(new ArrayBuffer(off + 14 + 4 * repr.tags.length)), end = v.byteLength
    const bytes = ethernet.emit(repr, v, off)
    assert.equal(off + bytes, end)
    assert.equal(ethernet.check(v, off, end), bytes)
    assert.deepEqual(ethernet.parse(v, off, bytes), repr)
    for (let cut = off; cut < end; cut++) assert.equal(ethernet.check(v, off, cut), 0)
    ethernet.swapAddresses(v, off)
    assert.deepEqual(ethernet.parse(v, off, bytes), { ...repr, dst: repr.src, src: repr.dst })
    ethernet.setLastType(v, off, bytes, 0x1234)
    assert.equal(ethernet.lastType(v, off, bytes), 0x1234)
  }))
})

test('more tags than the limit are refused', () => {
  const tags = Array.from({ length: ethernet.MAX_TAGS + 1 }, () => ({ type: 0x8100, control: 1 }))
  const v = new DataView(new ArrayBuffer(100))
  ethernet.emit({ dst: [0, 0, 0, 0, 0, 0], src: [0, 0, 0, 0, 0, 0], tags, type: 0x0800 }, v, 0)
  assert.equal(ethernet.check(v, 0, 100), 0)
})

test('the group bit is the lowest of the first byte', () => {
  assert.equal(ethernet.isGroup(new DataView(Uint8Array.of(0x01, 0, 0x5e).buffer), 0), true)
  assert.equal(ethernet.isGroup(new DataView(Uint8Array.of(0x02, 1, 0x5e).buffer), 0), false)
})

test('a hardware address prints in pairs of hex digits', () => {
  assert.equal(ethernet.printMac([0, 10, 255, 1, 2, 3]), '00:0a:ff:01:02:03')
})
