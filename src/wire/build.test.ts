import test from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { buildPacket, concat, fragment, icmpError, linkBytes, verify, type PacketSpec, type Protocol } from './build.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const four = { src: '192.168.1.2', dst: '198.51.100.7' }, six = { src: '2001:db8::2', dst: '2001:db8:ffff::7' }
const text = (n: number) => Uint8Array.from({ length: n }, (_, i) => i * 7)

test('a UDP packet has the bytes that were summed by hand', () => {
  const ports = { srcPort: 1024, dstPort: 53 }, payload = Buffer.from('hi')
  const bytes = buildPacket({ src: '192.0.2.1', dst: '192.0.2.2', proto: 'udp', ...ports, id: 1, payload })
  assert.equal(hex(bytes), '4500001e000100004011f6cac0000201c0000202' + '04000035000a0f38' + '6869')
})

test('every kind of packet is clean by the verifier, and a wrong checksum is told', () => {
  for (const ends of [four, six]) {
    for (const proto of ['udp', 'tcp', 'dccp', 'udplite', ends === four ? 'icmp' : 'icmp6'] as Protocol[]) {
      for (const payload of [text(0), text(1), text(33), text(1400)]) {
        const spec: PacketSpec = { ...ends, proto, payload, srcPort: 5000, dstPort: 53, seq: 0xfffffff0, icmpId: 77 }
        assert.deepEqual(verify(buildPacket(spec)), [], proto)
        assert.deepEqual(verify(buildPacket({ ...spec, checksum: 'wrong' })), [proto + ': checksum'])
        const framed = { ...spec, link: 'ethernet' as const, vlan: [7, 8] }
        assert.equal(linkBytes(framed), 22)
        assert.deepEqual(verify(buildPacket(framed), 22), [])
      }
    }
  }
  assert.deepEqual(verify(buildPacket({ ...four, proto: 'udp', ipChecksum: 'wrong' })), ['ipv4: header checksum'])
  assert.deepEqual(verify(buildPacket({ ...four, proto: 'udp', checksum: 'zero' })), [])
  assert.deepEqual(verify(buildPacket({ ...six, proto: 'udp', checksum: 'zero' })), ['udp: no checksum over IPv6'])
})

test('partial coverage leaves the bytes behind it out of the sum (RFC 3828 3.1, RFC 4340 9.2)', () => {
  const cases = [['udplite', 12, 11], ['udplite', 8, 7], ['dccp', 1, 19], ['dccp', 3, 27]] as const
  for (const [proto, coverage, inside] of cases) {
    const bytes = buildPacket({ ...four, proto, coverage, payload: text(40) })
    assert.deepEqual(verify(bytes), [])
    const beyond = bytes.slice()
    beyond[20 + inside + 1] ^= 1
    assert.deepEqual(verify(beyond), [], proto + coverage)
    bytes[20 + inside] ^= 1
    assert.deepEqual(verify(bytes), [proto + ': checksum'])
  }
})

test('options and extension headers are padded and chained', () => {
  const options = buildPacket({ ...four, proto: 'udp', options: Uint8Array.of(148, 4, 0, 0, 7, 3, 4) })
  assert.equal(options[0], 0x47)
  assert.deepEqual(verify(options), [])
  const extended = buildPacket({
    ...six, proto: 'tcp', payload: text(9),
    extensions: [{ header: 0, body: Uint8Array.of(1, 4) }, { header: 51, body: text(10) }, { header: 60 }],
  })
  assert.deepEqual([extended[6], extended[40], extended[48], extended[49], extended[60]], [0, 51, 60, 1, 6])
  assert.deepEqual(verify(extended), [])
})

test('a routing header with segments left puts the final destination into the checksum (RFC 8200 8.1)', () => {
  const clean = buildPacket({ ...six, proto: 'udp', payload: text(5) })
  const body = concat(Uint8Array.of(2, 1, 0, 0, 0, 0), clean.slice(24, 40))
  const payload = clean.slice(40)
  const bytes = buildPacket({ ...six, dst: '2001:db8::99', proto: 17, extensions: [{ header: 43, body }], payload })
  assert.deepEqual(verify(bytes), [])
})

test('fragments of an IPv4 packet join to the packet they were cut from', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 20 }).map(n => 8 * n), { maxLength: 8 })
  fc.assert(fc.property(fc.integer({ min: 1, max: 600 }), sizes, (bytes, cut) => {
    const options = Uint8Array.of(7, 3, 4, 148, 4, 0, 0)   // record route stays in the first, router alert is copied
    const whole = buildPacket({ ...four, proto: 'udp', payload: text(bytes), options, id: 9 })
    const pieces = fragment(whole, cut)
    let joined: Uint8Array = new Uint8Array(0)
    pieces.forEach((piece, i) => {
      assert.deepEqual(verify(piece), i === 0 && pieces.length === 1 ? verify(whole) : [])
      const header = (piece[0] & 15) * 4, field = piece[6] << 8 | piece[7]
      assert.equal(header, i === 0 ? 28 : 24)
      assert.equal((field & 0x1fff) * 8, joined.length)
      assert.equal((field & 0x2000) !== 0, i + 1 < pieces.length)
      joined = concat(joined, piece.slice(header))
    })
    assert.deepEqual(joined, whole.slice(28))
  }))
})

test('fragments of an IPv6 packet repeat the hop-by-hop and routing headers (RFC 8200 4.5)', () => {
  const whole = buildPacket({
    ...six, proto: 'udp', payload: text(100), link: 'ethernet',
    extensions: [
      { header: 0, body: Uint8Array.of(1, 4) }, { header: 60 },
      { header: 43, body: Uint8Array.of(4, 0, 0, 0) }, { header: 60 },
    ],
  })
  const pieces = fragment(whole, [16, 48], { l3: 14, id: 5 })
  assert.equal(pieces.length, 3)
  for (const piece of pieces) {
    assert.deepEqual(verify(piece, 14), [])
    assert.deepEqual([6, 40, 48, 56, 64].map(at => piece[14 + at]), [0, 60, 43, 44, 60])
  }
  assert.deepEqual(concat(...pieces.map(piece => piece.slice(14 + 72))), whole.slice(14 + 64))
  assert.throws(() => fragment(whole, [12], { l3: 14 }), RangeError)
})

test('a later fragment by itself carries no transport header', () => {
  for (const ends of [four, six]) {
    const where = { fragOffset: 1480, moreFragments: true, id: 3 }
    const bytes = buildPacket({ ...ends, proto: 'udp', ...where, payload: text(16) })
    assert.equal(bytes.length, ends === four ? 36 : 64)
    assert.deepEqual(verify(bytes), [])
  }
})

test('an ICMP error quotes the packet, and the verifier judges the quote', () => {
  for (const ends of [four, six]) {
    const v4 = ends === four
    const original = buildPacket({ ...ends, proto: 'udp', srcPort: 5000, dstPort: 53, payload: text(1400) })
    const spec = { src: v4 ? '203.0.113.1' : '2001:db8:1::1', icmpType: v4 ? 3 : 1, icmpCode: 4, word: 1280, original }
    const bytes = icmpError(spec)
    assert.equal(bytes.length, v4 ? 576 : 1280)
    assert.deepEqual(verify(bytes), [])
    assert.deepEqual(verify(icmpError({ ...spec, quoteBytes: v4 ? 28 : 48 })), [])
    const whole = buildPacket({ ...ends, proto: 'udp', payload: text(30), checksum: 'wrong' })
    assert.deepEqual(verify(icmpError({ ...spec, word: 0, original: whole })), ['quoted udp: checksum'])
    const structure = Uint8Array.of(0x20, 0, 0, 0)
    const multipart = icmpError({ ...spec, word: 0, original: original.slice(0, 100), multipart: structure })
    assert.equal(multipart.length, (v4 ? 28 : 48) + 128 + 4)
    assert.deepEqual(verify(multipart), [])
    const turned = icmpError({ ...spec, checksum: 'wrong' })
    assert.deepEqual(verify(turned), [(v4 ? 'icmp' : 'icmp6') + ': checksum'])
  }
})

test('lengths that lie are told', () => {
  const bytes = buildPacket({ ...four, proto: 'udp', payload: text(10) })
  assert.deepEqual(verify(bytes.slice(0, 30)), ['ipv4: total length 38 beyond the frame'])
  assert.deepEqual(verify(bytes.slice(0, 19)), ['ip: header cut short'])
  assert.deepEqual(verify(new Uint8Array(0)), ['ip: version 0'])
  const short = buildPacket({ ...four, proto: 6, payload: text(12) })
  assert.deepEqual(verify(short), ['tcp: header cut short'])
  const udp = buildPacket({ ...six, proto: 17, payload: Uint8Array.of(0, 1, 0, 2, 0, 99, 1, 1) })
  assert.deepEqual(verify(udp), ['udp: length 99'])
})

test('the verifier takes any bytes', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120, size: 'max' }), fc.constantFrom(0x45, 0x46, 0x60, 0), (bytes, first) => {
    if (bytes.length > 0 && first > 0) bytes[0] = first
    verify(bytes)
  }), { numRuns: 5000 })
})
