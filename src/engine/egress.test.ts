import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSteering } from '../channel/steering.ts'
import { buildPacket, fragment, verify, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { IDENTIFY_ALL, IDENTIFY_FRAGMENTS } from './options.ts'
import { createRig, type Outcome } from './testing.ts'

const HOST = '10.0.0.5', PEER = '198.51.100.7', HOST6 = 'fd00::5', PEER6 = '2001:db8::7'
const payload = (bytes: number) => Uint8Array.from({ length: bytes }, (_, n) => n * 7 & 255)
const out = (bytes: number, more: Partial<PacketSpec> = {}) =>
  buildPacket({ src: HOST, dst: PEER, proto: 'udp', srcPort: 5000, dstPort: 53, payload: payload(bytes), ...more })
const word = (bytes: Uint8Array, at: number) => bytes[at] << 8 | bytes[at + 1]
const all = ({ bytes, extras }: Outcome) => [bytes!, ...extras.map((one) => one.bytes)]

// @req RFC4787 REQ-13
// @req RFC5508 REQ-10, REQ-10a1
test('a packet that is too big and has DF is refused with code 4 and the MTU, quoted as it came (RFC 4787 REQ-13, RFC 1191)', () => {
  const rig = createRig({ mtuOutside: 1400 })
  const packet = out(1400, { dontFragment: true })
  const { verdict, reason, extras } = rig.send(SIDE_INSIDE, packet, 0)
  assert.deepEqual([verdict, reason, extras.length], [0, 'too-big', 1])
  const reply = extras[0].bytes
  assert.deepEqual([extras[0].verdict, reply[20], reply[21], word(reply, 26), reply.length], [TO_INSIDE, 3, 4, 1400, 576])
  assert.deepEqual(reply.slice(28), packet.slice(0, 548))
  assert.equal(rig.count('drop-too-big-packets'), 1)
})

// @req RFC4787 REQ-13a
test('a packet that is too big and has no DF leaves in fragments, in order, which hold its bytes (RFC 4787 REQ-13a)', () => {
  const rig = createRig({ mtuOutside: 1280 })
  const outcome = rig.send(SIDE_INSIDE, out(3000), 0), pieces = all(outcome)
  assert.equal(outcome.verdict, TO_OUTSIDE)
  assert.deepEqual(pieces.map((one) => [one.length, word(one, 2), word(one, 6)]),
    [[1276, 1276, 0x2000], [1276, 1276, 0x2000 | 157], [516, 516, 314]])
  const data = Uint8Array.from(pieces.flatMap((one) => [...one.slice(20)]))
  assert.deepEqual(data.slice(8), payload(3000))
  for (const one of pieces) {
    let sum = 0
    for (let at = 0; at < 20; at += 2) sum += word(one, at)
    assert.equal(sum % 65535, 0, 'the header checksum is right')
  }
})

test('options that ask for it are in every fragment, the others in the first alone (RFC 791 3.1)', () => {
  const rig = createRig({ mtuOutside: 1280 })
  const options = Uint8Array.of(7, 3, 4, 1, 148, 4, 0, 0)      // record route, router alert
  const pieces = all(rig.send(SIDE_INSIDE, out(2000, { options }), 0))
  assert.deepEqual(pieces.map((one) => (one[0] & 15) * 4), [28, 24])
  assert.deepEqual([...pieces[1].slice(20, 24)], [148, 4, 0, 0])
  assert.equal(word(pieces[1], 6), (1280 - 28 & ~7) / 8)
})

test('a fragment that is too big is cut again, and what was the middle stays it', () => {
  const rig = createRig({ mtuOutside: 1280 })
  const [first, second] = fragment(out(3500), [2000], { id: 7 })
  assert.deepEqual(all(rig.send(SIDE_INSIDE, first, 0)).map((one) => word(one, 6)), [0x2000, 0x2000 | 157])
  assert.deepEqual(all(rig.send(SIDE_INSIDE, second, 0)).map((one) => word(one, 6)), [0x2000 | 250, 250 + 157])
})

test('held fragments that are too big are cut when they leave', () => {
  const rig = createRig({ mtuOutside: 1280 })
  const [first, second] = fragment(out(3500), [2000], { id: 7 })
  rig.send(SIDE_INSIDE, second, 0)
  const pieces = all(rig.send(SIDE_INSIDE, first, 0))
  assert.deepEqual(pieces.map((one) => word(one, 6) & 0x1fff), [0, 157, 250, 407])
})

test('held fragments that are too big, behind a first one that is not, take their room again each time', () => {
  const rig = createRig({ mtuOutside: 1280 })
  const before = rig.engine.extras.off
  for (let n = 0; n < 5000; n++) {
    const [first, second] = fragment(out(1900), [400], { id: n & 0xffff }).map((bytes) => {
      bytes[4] = n >> 8
      bytes[5] = n & 255
      bytes[10] = bytes[11] = 0
      return bytes
    })
    rig.send(SIDE_INSIDE, second, 0)
    const pieces = all(rig.send(SIDE_INSIDE, first, 0))
    assert.deepEqual(pieces.map((one) => word(one, 6) & 0x1fff), [0, 50, 207], `datagram ${n}`)
    assert.equal(before[1], rig.engine.extras.off[1])
  }
})

test('held fragments that are too big and have DF are dropped, and others can be held in their place', () => {
  const rig = createRig({ mtuOutside: 1280 })
  for (let n = 0; n < 100; n++) {
    const [first, second] = fragment(out(1900, { dontFragment: true }), [400], { id: n })
    assert.equal(rig.send(SIDE_INSIDE, second, 0).reason, null, `datagram ${n}`)
    assert.deepEqual([rig.send(SIDE_INSIDE, first, 0).extras.length, rig.count('drop-too-big-packets')], [0, n + 1])
  }
})

test('IPv6 is never cut: packet too big goes back (RFC 8200 5)', () => {
  const rig = createRig({ mtuOutside: 1300 })
  const packet = buildPacket({ src: HOST6, dst: PEER6, proto: 'udp', srcPort: 5, dstPort: 6, payload: payload(1300) })
  const { reason, extras } = rig.send(SIDE_INSIDE, packet, 0)
  assert.equal(reason, 'too-big')
  const reply = extras[0].bytes
  assert.deepEqual([reply[40], reply[41], word(reply, 46), reply.length], [2, 0, 1300, 1280])
})

test('each side has an MTU of its own', () => {
  const rig = createRig({ mtuInside: 1300 })
  assert.equal(rig.send(SIDE_INSIDE, out(1400, { dontFragment: true }), 0).verdict, TO_OUTSIDE)
  const back = buildPacket({ src: PEER, dst: '203.0.113.1', proto: 'udp', srcPort: 53, dstPort: 5000, payload: payload(1400), dontFragment: true })
  const { reason, extras } = rig.send(SIDE_OUTSIDE, back, 0)
  assert.deepEqual([reason, extras[0].verdict, word(extras[0].bytes, 26)], ['too-big', TO_OUTSIDE, 1300])
})

test('packets too big that nobody waits for are dropped for that, and not answered', () => {
  const rig = createRig({ mtuInside: 1300 })
  const stray = buildPacket({ src: PEER, dst: '203.0.113.1', proto: 'udp', srcPort: 53, dstPort: 5000, payload: payload(1400), dontFragment: true })
  const { reason, extras } = rig.send(SIDE_OUTSIDE, stray, 0)
  assert.deepEqual([reason, extras.length], ['no-mapping', 0])
})

test('errors about what is too big keep to the rate of all errors', () => {
  const rig = createRig({ mtuOutside: 1400, icmpErrorsPerSecond: 2 })
  for (let n = 0; n < 5; n++) rig.send(SIDE_INSIDE, out(1400, { dontFragment: true }), 0)
  assert.deepEqual([rig.count('icmp-errors-originated'), rig.count('icmp-errors-suppressed')], [2, 3])
})

// @req RFC7857 10
test('two hosts that send the same identification in fragments do not share it outside (RFC 6864 5.3.1)', () => {
  const rig = createRig({ identification: IDENTIFY_FRAGMENTS })
  const ids = ['10.0.0.1', '10.0.0.2'].map((src) => {
    const pieces = fragment(out(100, { src }), [48], { id: 77 }).map((piece) => rig.send(SIDE_INSIDE, piece, 0).bytes!)
    assert.equal(word(pieces[0], 4), word(pieces[1], 4), 'all pieces of a datagram have one')
    return word(pieces[0], 4)
  })
  assert.notEqual(ids[0], ids[1])
  // What is whole keeps its own.
  assert.equal(word(rig.send(SIDE_INSIDE, out(100, { id: 77 }), 0).bytes!, 4), 77)
})

test('with identification: all whatever may be fragmented has its own, and what may not keeps it (RFC 6864 4.1)', () => {
  const rig = createRig({ identification: IDENTIFY_ALL })
  const seen = new Set<number>()
  for (let n = 0; n < 65_536; n++) seen.add(word(rig.send(SIDE_INSIDE, out(8, { id: 1 }), 0).bytes!, 4))
  assert.equal(seen.size, 65_536, 'none comes twice before all have')
  assert.equal(word(rig.send(SIDE_INSIDE, out(8, { id: 1, dontFragment: true }), 0).bytes!, 4), 1)
})

test('a SYN that announces more than fits announces what fits, with a right checksum; others stay', () => {
  const rig = createRig({ mtuOutside: 1400, mss: -1 })
  const syn = (mss: number, before: number[] = []) => buildPacket({
    src: HOST, dst: PEER, proto: 'tcp', srcPort: 9, dstPort: 80, tcpFlags: 2, tcpOptions: Uint8Array.of(...before, 2, 4, mss >> 8, mss & 255),
  })
  const mssOf = (packet: Uint8Array, at = 42) => word(rig.send(SIDE_INSIDE, packet, 0).bytes!, at)
  assert.deepEqual([mssOf(syn(1460)), mssOf(syn(1360)), mssOf(syn(536)), mssOf(syn(1460, [1]), 43)], [1360, 1360, 536, 1360])
  const sent = rig.send(SIDE_INSIDE, syn(1460, [1]), 0).bytes!
  const twin = buildPacket({
    src: '203.0.113.1', dst: PEER, proto: 'tcp', srcPort: 9, dstPort: 80, tcpFlags: 2, tcpOptions: Uint8Array.of(1, 2, 4, 5, 80),
  })
  assert.deepEqual(sent.slice(20), twin.slice(20))
})

test('over IPv6 the MSS that fits is 20 bytes less, and by two MTUs it is that of the smaller one (RFC 9293 3.7.1)', () => {
  const syn = (src: string, dst: string) => buildPacket({
    src, dst, proto: 'tcp', srcPort: 9, dstPort: 80, tcpFlags: 2, tcpOptions: Uint8Array.of(2, 4, 5, 180),
  })
  for (const mtus of [{ mtuOutside: 1400 }, { mtuInside: 1400 }, { mtuInside: 1400, mtuOutside: 1500 }, { mtuInside: 1500, mtuOutside: 1400 }]) {
    const rig = createRig({ ...mtus, mss: -1 })
    assert.equal(word(rig.send(SIDE_INSIDE, syn(HOST, PEER), 0).bytes!, 42), 1360)
    const six = rig.send(SIDE_INSIDE, syn(HOST6, PEER6), 0).bytes!
    assert.equal(word(six, 62), 1340)
    assert.deepEqual(verify(six), [])
  }
})

test('bytes that look like an MSS where no option can be stay as they are (RFC 9293 3.1)', () => {
  const rig = createRig({ mtuOutside: 1400, mss: -1 })
  const cases = {
    'behind the end of the list': [0, 2, 4, 255, 255, 0, 0, 0], 'behind an option of length 1': [8, 1, 2, 4, 255, 255, 0, 0],
    'behind an option of length 0': [8, 0, 2, 4, 255, 255, 0, 0], 'an MSS of another length': [2, 5, 255, 255, 0, 0, 0, 0],
    'an MSS that leaves the header': [1, 1, 1, 1, 1, 1, 2, 4],
  }
  for (const [name, options] of Object.entries(cases)) {
    const packet = buildPacket({
      src: HOST, dst: PEER, proto: 'tcp', srcPort: 9, dstPort: 80, tcpFlags: 2, tcpOptions: Uint8Array.from(options), payload: new Uint8Array(8).fill(255),
    })
    const { bytes } = rig.send(SIDE_INSIDE, packet, 0)
    assert.deepEqual([verify(bytes!), bytes!.slice(40)], [[], packet.slice(40)], name)
  }
})

test('what is as long as its link takes leaves whole; a byte more does not (RFC 791, RFC 1191)', () => {
  const rig = createRig({ mtuInside: 1300, mtuOutside: 1400 })
  const sent = (bytes: number, more: Partial<PacketSpec>) => rig.send(SIDE_INSIDE, out(bytes - 28, more), 0)
  for (const dontFragment of [false, true]) {
    const whole = sent(1400, { dontFragment })
    assert.deepEqual([whole.verdict, whole.bytes!.length, whole.extras.length], [TO_OUTSIDE, 1400, 0])
  }
  assert.deepEqual(all(sent(1401, {})).map((one) => one.length), [1396, 25])
  assert.equal(sent(1401, { dontFragment: true }).reason, 'too-big')
})

test('behind copied options that fill no word there are zeros, whatever lay there before (RFC 791 3.1)', () => {
  const rig = createRig({ mtuOutside: 1280 })
  rig.send(SIDE_INSIDE, buildPacket({ src: HOST, dst: PEER, proto: 'udp', srcPort: 5000, dstPort: 53, payload: new Uint8Array(3000).fill(255) }), 0)
  const [, second] = all(rig.send(SIDE_INSIDE, out(2000, { options: Uint8Array.of(130, 3, 9, 0) }), 0))
  assert.deepEqual([...second.slice(20, 24)], [130, 3, 9, 0])
})

test('the longest packet there is leaves whole in as many pieces as can be, behind the longest link header', () => {
  const options = Uint8Array.of(130, 40, ...new Uint8Array(38).fill(7)), rig = createRig({ mtuOutside: 1280, fragmentHold: 0 })
  const packet = out(65_535 - 60 - 8, { options })
  const pieces = all(rig.send(SIDE_INSIDE, packet, 0, { linkBytes: 64 }))
  assert.equal(pieces.length, 54)
  assert.deepEqual(Buffer.from(pieces.flatMap((one) => [...one.slice(60)])).subarray(8), Buffer.from(packet.slice(68)))
})

test('a later fragment is no SYN, whatever its bytes look like (RFC 791)', () => {
  const looks = new Uint8Array(1400)
  for (let at = 0; at < 1400; at += 8) looks.set([0x60, 2, 0, 0, 2, 4, 255, 255], at)
  looks.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0, 0, 2, 4, 255, 255])
  for (const [src, dst] of [[HOST, PEER], [HOST6, PEER6]]) {
    const rig = createRig({ mtuInside: 1300, mtuOutside: 1500, mss: -1 })
    const [first, second] = fragment(buildPacket({
      src, dst, proto: 'tcp', srcPort: 9, dstPort: 80, tcpFlags: 16, payload: Uint8Array.from([...new Uint8Array(20), ...looks]),
    }), [40], { id: 7 })
    rig.send(SIDE_INSIDE, first, 0)
    const { verdict, bytes } = rig.send(SIDE_INSIDE, second, 0)
    assert.deepEqual([verdict, bytes!.slice(-1400)], [TO_OUTSIDE, looks])
  }
})

test('an MSS is looked for in the packet alone, not in what fills its frame', () => {
  const rig = createRig({ mtuOutside: 1400, mss: -1 })
  const [first] = fragment(buildPacket({
    src: HOST, dst: PEER, proto: 'tcp', srcPort: 9, dstPort: 80, tcpFlags: 2, tcpOptions: Uint8Array.of(1, 1, 1, 1, 2, 4, 5, 180),
  }), [24], { id: 7 })
  const plain = createRig().send(SIDE_INSIDE, first, 0).bytes
  assert.deepEqual(rig.send(SIDE_INSIDE, first, 0, { padding: Uint8Array.of(2, 4, 255, 255) }).bytes, plain)
})

test('a held fragment that was captured in part leaves with what was captured, and one that is dropped counts with its frame', () => {
  const rig = createRig({ mtuOutside: 1280 })
  const [first, second] = fragment(out(1900), [400], { id: 7 })
  rig.send(SIDE_INSIDE, second, 0, { linkBytes: 14, capBytes: 114 })
  assert.deepEqual(all(rig.send(SIDE_INSIDE, first, 0)).map((one) => one.length), [420, 100, 20])
  const [one, other] = fragment(out(1900, { dontFragment: true }), [400], { id: 8 })
  rig.send(SIDE_INSIDE, other, 0, { linkBytes: 14, padding: new Uint8Array(4) })
  rig.send(SIDE_INSIDE, one, 0)
  assert.deepEqual([rig.count('drop-too-big-packets'), rig.count('drop-bytes')], [1, 14 + other.length])
})

test('several workers share the identifications of an address: none comes twice before all have (RFC 6864 5.3.1)', () => {
  const steering = createSteering({ workers: 2, stripeBase: 0, stripePorts: 64, bySubnet: false }), seen = new Set<number>()
  for (const worker of [0, 1]) {
    const rig = createRig({ identification: IDENTIFY_ALL, share: { steering, worker } })
    for (let n = 0; n < 32_768; n++) seen.add(word(rig.send(SIDE_INSIDE, out(8, { id: 1 }), 0).bytes!, 4))
  }
  assert.equal(seen.size, 65_536)
})
