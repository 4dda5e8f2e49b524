/** The driver's cutting of joined frames (native/segment.h), held against joining its segments again, and against tcpdump. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { buildPacket, verify } from '../wire/build.ts'
import { pseudo4, pseudo6 } from '../wire/checksum.ts'
import { loadAddon, type Addon } from './addon.ts'
import { DeviceError } from './device.ts'
import { encodePcap } from './testing.ts'

function addonHere(): Addon | string {
  try {
    return loadAddon()
  } catch (error) {
    if (error instanceof DeviceError) return error.message
    throw error
  }
}

const addon = addonHere()
const skip = typeof addon === 'string' ? addon : false
const GSO = { tcp4: 1, udpFragments: 3, tcp6: 4, udp: 5, ecn: 0x80 }
const MOST_BYTES = 9014, SLOT_BYTES = 9216, MOST_SEGMENTS = 7000
const FIN = 1, PSH = 8, CWR = 0x80
const into = new Uint8Array(64 << 20), lengths = new Int32Array(MOST_SEGMENTS)

interface Joined {
  isTcp: boolean
  isSix: boolean
  frame: Uint8Array
  /** Bytes before the payload, and of it in each segment. */
  l4: number
  head: number
  size: number
}

/** The virtio_net_hdr of a frame, in the byte order of the machine. */
function headerOf(type: number, { l4, isTcp, head, size }: Pick<Joined, 'l4' | 'isTcp' | 'head' | 'size'>, flags = 1): Uint8Array {
  return new Uint8Array(Uint16Array.of(flags | type << 8, head, size, l4, isTcp ? 16 : 6).buffer)
}

function typeOf({ isTcp, isSix }: Joined): number { return isTcp ? (isSix ? GSO.tcp6 : GSO.tcp4) : GSO.udp }

function cut(joined: Uint8Array, header: Uint8Array, mostBytes = MOST_BYTES): Uint8Array[] | null {
  const count = (addon as Addon).segments(joined, header, mostBytes, into, SLOT_BYTES, lengths)
  if (count < 0) return null
  return Array.from({ length: count }, (_, i) => into.slice(i * SLOT_BYTES, i * SLOT_BYTES + lengths[i]!))
}

const specs = fc.record({
  isTcp: fc.boolean(), isSix: fc.boolean(), words: fc.array(fc.nat(), { minLength: 8, maxLength: 8 }), flags: fc.integer({ min: 0, max: 255 }),
  // No option that tcpdump would look into.
  ipOptions: fc.integer({ min: 0, max: 10 }), tcpOptions: fc.integer({ min: 0, max: 10 }), hops: fc.boolean(), routes: fc.boolean(),
  bytes: fc.integer({ min: 2, max: 60_000 }), size: fc.integer({ min: 1, max: 8800 }), trailer: fc.integer({ min: 0, max: 20 }),
})
type Spec = typeof specs extends fc.Arbitrary<infer T> ? T : never

/** A frame as the other end of a veth pair gives it: the checksum field holds the sum of the pseudo header. */
function joinedOf(spec: Spec): Joined {
  const { isTcp, isSix, words: [id, seq, ack, ports, window, a, b, c], flags, bytes, trailer } = spec as Spec & { words: [number, number, number, number, number, number, number, number] }
  const nops = (count: number) => new Uint8Array(4 * count).fill(1)
  const extensions = [...spec.hops ? [{ header: 0, body: new Uint8Array(6) }] : [], ...spec.routes ? [{ header: 60, body: new Uint8Array(14) }] : []]
  const built = buildPacket({
    link: 'ethernet', proto: isTcp ? 'tcp' : 'udp', src: isSix ? Int32Array.of(0x20010db8, a, b, c) : a, dst: isSix ? Int32Array.of(0x20010db8, c, a, b) : b,
    srcPort: ports & 0xffff, dstPort: ports >>> 16 & 0x7fff, payload: new Uint8Array(bytes).map((_, i) => Math.imul(i + c, 2654435761) >>> 24),
    ...isSix ? { extensions } : { id: id & 0xffff, dontFragment: (id & 0x10000) !== 0, options: nops(spec.ipOptions) },
    ...isTcp ? { seq: seq * 2 >>> 0, ack, window: window & 0xffff, tcpFlags: flags, tcpOptions: nops(spec.tcpOptions) } : {},
  })
  const l4 = 14 + (isSix ? 40 + extensions.reduce((sum, { body }) => sum + 2 + body.length, 0) : 20 + 4 * spec.ipOptions)
  const head = l4 + (isTcp ? 20 + 4 * spec.tcpOptions : 8)
  const frame = new Uint8Array(built.length + trailer)
  frame.set(built)
  const view = new DataView(frame.buffer), l4Bytes = built.length - l4, number = isTcp ? 6 : 17
  view.setUint16(l4 + (isTcp ? 16 : 6), isSix ? pseudo6(view, 14, number, l4Bytes) : pseudo4(view.getInt32(26), view.getInt32(30), number, l4Bytes))
  // Few segments of one octet each, for there are 60,000 of them.
  return { isTcp, isSix, frame, l4, head, size: Math.max(spec.size, Math.ceil(bytes / 500)) }
}

/** One frame out of segments, the plain way; what each says of itself is looked at. The checksum is that of the first. */
function join(segments: readonly Uint8Array[], { isTcp, isSix, l4, head, frame }: Joined): Uint8Array {
  const first = segments[0]!, last = segments.at(-1)!
  const bytes = head + segments.reduce((sum, one) => sum + one.length - head, 0)
  const whole = new Uint8Array(bytes), view = new DataView(whole.buffer)
  const idOf = (one: Uint8Array) => one[18]! << 8 | one[19]!
  const seqOf = (one: Uint8Array) => new DataView(one.buffer).getUint32(l4 + 4)
  whole.set(first.subarray(0, head))
  let at = head
  for (const [i, one] of segments.entries()) {
    if (!isSix) assert.equal(idOf(one), idOf(first) + i & 0xffff)
    if (isTcp) {
      assert.equal(seqOf(one), seqOf(first) + (at - head) >>> 0)
      const flags = one[l4 + 13]!, wanted = frame[l4 + 13]!
      assert.equal(flags, wanted & ~(i === 0 ? 0 : CWR) & ~(one === last ? 0 : FIN | PSH))
    }
    whole.set(one.subarray(head), at)
    at += one.length - head
  }
  if (isSix) view.setUint16(18, bytes - 54)
  else {
    view.setUint16(16, bytes - 14)
    view.setUint16(24, frame[24]! << 8 | frame[25]!)
  }
  if (isTcp) whole[l4 + 13]! |= last[l4 + 13]! & (FIN | PSH)
  else view.setUint16(l4 + 4, bytes - l4)
  const field = l4 + (isTcp ? 16 : 6)
  whole.set(frame.subarray(field, field + 2), field)
  return whole
}

test('segments: joined again they are the frame, each is right by itself, and none but the last is short', { skip }, () => {
  fc.assert(fc.property(specs, (spec) => {
    const joined = joinedOf(spec), { frame, head, size } = joined
    const segments = cut(frame, headerOf(typeOf(joined), joined), head + size)!
    assert.deepEqual(segments.map((one) => one.length - head), segments.map((_, i) => Math.min(size, spec.bytes - i * size)))
    for (const one of segments) assert.deepEqual(verify(one, 14), [])
    assert.deepEqual(join(segments, joined), frame.subarray(0, frame.length - spec.trailer))
  }), { numRuns: 200 })
})

test('segments: what is too long after cutting, of another kind, in a tunnel or no such packet is not cut', { skip }, () => {
  fc.assert(fc.property(specs, (spec) => {
    const joined = joinedOf(spec), { frame, head, size, isTcp, l4 } = joined, type = typeOf(joined)
    assert.equal(cut(frame, headerOf(type, joined), head + size - 1), null)
    assert.equal(cut(frame, headerOf(type, { ...joined, size: 0 })), null)
    assert.equal(cut(frame, headerOf(type, joined, 0)), null)
    assert.equal(cut(frame, headerOf(type, { ...joined, l4: l4 + 28 })), null)
    for (const other of [0, GSO.udpFragments, isTcp ? GSO.udp : GSO.tcp4, isTcp ? 5 - type : GSO.tcp6]) assert.equal(cut(frame, headerOf(other, joined)), null)
    assert.equal(cut(frame.subarray(0, frame.length - spec.trailer - 1), headerOf(type, joined)), null)
    if (!joined.isSix) assert.equal(cut(frame.with(14, 0x44), headerOf(type, { ...joined, l4: 30 })), null, 'a header of 16 octets')
    if (isTcp) assert.notEqual(cut(frame, headerOf(type | GSO.ecn, joined)), null)
    if (isTcp) assert.equal(cut(frame.with(l4 + 12, 0x40), headerOf(type, joined)), null, 'a TCP header of 16 octets')
  }), { numRuns: 50 })
})

test('segments: a checksum of UDP that comes out as 0 is sent as all ones (RFC 768), and one of TCP is 0', { skip }, () => {
  fc.assert(fc.property(specs, (spec) => {
    const joined = joinedOf({ ...spec, size: 1000, bytes: 2000 }), { frame, head, l4, isTcp } = joined, field = l4 + (isTcp ? 16 : 6)
    const checksumOf = () => new DataView(cut(frame, headerOf(typeOf(joined), joined))![0]!.buffer).getUint16(field)
    const view = new DataView(frame.buffer), word = view.getUint16(head) + checksumOf()
    view.setUint16(head, (word & 0xffff) + (word >>> 16))
    assert.equal(checksumOf(), isTcp ? 0 : 0xffff)
  }), { numRuns: 50 })
})

test('segments: any octets are taken', { skip }, () => {
  fc.assert(fc.property(specs, fc.array(fc.tuple(fc.nat(130), fc.nat(255)), { maxLength: 8 }), fc.uint8Array({ minLength: 10, maxLength: 10 }), fc.boolean(), fc.nat(120), (spec, changes, any, isAny, length) => {
    const joined = joinedOf({ ...spec, bytes: Math.min(spec.bytes, 3000) }), { frame } = joined
    for (const [at, value] of changes) if (at < frame.length) frame[at] = value
    const header = isAny ? any : headerOf(typeOf(joined), joined)
    for (const bytes of [frame, frame.slice(0, length)]) for (const one of cut(bytes, header) ?? []) assert.ok(one.length > 14 && one.length <= MOST_BYTES)
  }), { numRuns: 2000 })
})

const hasTcpdump = spawnSync('tcpdump', ['--version']).status === 0
test('segments: tcpdump finds the checksums right', { skip: skip !== false ? skip : hasTcpdump ? false : 'no tcpdump' }, () => {
  const packets = fc.sample(specs, { numRuns: 60, seed: 1 }).flatMap((spec) => {
    const joined = joinedOf({ ...spec, routes: false })
    return cut(joined.frame, headerOf(typeOf(joined), joined))!.map((data) => ({ data, sec: 0, nsec: 0 }))
  })
  const { stdout } = spawnSync('tcpdump', ['-nvvr', '-'], { input: encodePcap(packets), encoding: 'utf8', maxBuffer: 1 << 28 })
  const right = stdout.match(/cksum 0x[0-9a-f]{4} \(correct\)|\[udp sum ok\]/g) ?? []
  assert.equal(right.length, packets.length)
  assert.equal(/incorrect|bad (udp )?cksum/.test(stdout), false)
})
