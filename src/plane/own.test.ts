/** What a live box answers itself, and what it leaves to the packet path. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { print4 } from '../base/address.ts'
import { createPrng } from '../base/prng.ts'
import * as arp from '../wire/arp.ts'
import { buildPacket, fragment, icmpError, verify, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import * as ndp from '../wire/ndp.ts'
import { BROADCAST } from '../wire/ethernet.ts'
import { HOST_MAC, MACS, arpFrame, createLinkRig, ethernet, ndpFrame, readArp, words, type LinkRig } from './live-testing.ts'

const frame = (spec: PacketSpec) => {
  const packet = buildPacket(spec)
  return ethernet(MACS[0], HOST_MAC, packet[0]! >>> 4 === 4 ? 0x0800 : 0x86dd, packet)
}
const echo = (src: string, dst: string, more: Partial<PacketSpec> = {}) =>
  frame({ proto: dst.includes(':') ? 'icmp6' : 'icmp', src, dst, icmpType: dst.includes(':') ? 128 : 8, icmpId: 7, icmpSeq: 1, payload: Uint8Array.of(1, 2, 3), ...more })
const packetOf = (sent: Uint8Array) => sent.slice(14)

/** A rig whose inside and outside host are known neighbours. */
function rigOf(...args: Parameters<typeof createLinkRig>): LinkRig {
  const rig = createLinkRig(...args)
  const hello = (side: number, host: string, own: string) => {
    rig.hear(0, [side, arpFrame(arp.REQUEST, host, own)])
    rig.sent(side)
  }
  hello(SIDE_INSIDE, '10.0.0.5', '10.0.0.1')
  hello(SIDE_OUTSIDE, '203.0.113.254', '203.0.113.1')
  rig.hear(0, [SIDE_INSIDE, ndpFrame(ndp.SOLICITATION, '2001:db8:1::5', 'ff02::1:ff00:1', '2001:db8:1::1')])
  rig.hear(0, [SIDE_OUTSIDE, ndpFrame(ndp.SOLICITATION, '2001:db8:2::9', 'ff02::1:ff00:1', '2001:db8:2::1')])
  rig.sent(SIDE_INSIDE)
  rig.sent(SIDE_OUTSIDE)
  return rig
}

test('own: ARP is answered for the box and for what its NAT shows, each on its own link, and for nobody else (RFC 826)', () => {
  const rig = createLinkRig()
  const asks: [number, string, string, boolean][] = [
    [SIDE_INSIDE, '10.0.0.5', '10.0.0.1', true], [SIDE_INSIDE, '10.0.0.5', '10.0.0.6', false], [SIDE_INSIDE, '10.0.0.5', '203.0.113.1', false],
    [SIDE_OUTSIDE, '203.0.113.9', '203.0.113.1', true], [SIDE_OUTSIDE, '203.0.113.9', '203.0.113.2', true],
    [SIDE_OUTSIDE, '203.0.113.9', '203.0.113.3', false], [SIDE_OUTSIDE, '203.0.113.9', '10.0.0.1', false],
    // A probe (RFC 5227).
    [SIDE_OUTSIDE, '0.0.0.0', '203.0.113.1', true],
  ]
  for (const [side, from, about, isAnswered] of asks) {
    assert.deepEqual(rig.hear(1, [side, arpFrame(arp.REQUEST, from, about)]), [], 'the packet path never sees ARP')
    const [reply, ...more] = rig.sent(side)
    assert.equal(reply !== undefined, isAnswered, `${about} for ${from}`)
    assert.deepEqual([more, rig.sent(1 - side)], [[], []])
    if (reply === undefined) continue
    const { operation, senderMac, senderAddr, targetMac, targetAddr } = readArp(reply)!
    assert.deepEqual([operation, senderMac, print4(senderAddr), targetMac, print4(targetAddr)], [arp.REPLY, [...MACS[side]!], about, HOST_MAC, from])
    assert.deepEqual([...reply.subarray(0, 12)], [...HOST_MAC, ...MACS[side]!])
  }
  // Who has asked us is a neighbour; who has asked others, or is not on the link, is not.
  assert.deepEqual(rig.neighbours.macOf(SIDE_INSIDE, 4, Int32Array.of(words('10.0.0.5')[0]!, 0, 0, 0)), HOST_MAC)
  assert.equal(rig.neighbours.count(), 2)
})

test('own: an address that somebody else claims is told, and nothing is learned from that', () => {
  const rig = createLinkRig()
  rig.hear(1, [SIDE_OUTSIDE, arpFrame(arp.REPLY, '203.0.113.2', '203.0.113.9')])
  assert.deepEqual([rig.conflicts, rig.count('address-conflicts'), rig.neighbours.count()], [['203.0.113.2'], 1, 0])
})

test('own: who says over neighbour discovery that it has an address of the box is told of, and is not its neighbour (RFC 4862 5.4.4)', () => {
  const rig = createLinkRig(), mine = '2001:db8:1::1'
  // It comes back to us: nobody else has it.
  for (const type of [ndp.SOLICITATION, ndp.ADVERTISEMENT]) rig.hear(1, [SIDE_INSIDE, ndpFrame(type, mine, 'ff02::1', mine, 0, [...MACS[0]])])
  assert.deepEqual([rig.conflicts, rig.sent(SIDE_INSIDE)], [[], []])
  rig.hear(2, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, mine, 'ff02::1', mine, ndp.OVERRIDE)])
  rig.hear(3, [SIDE_INSIDE, ndpFrame(ndp.SOLICITATION, mine, 'ff02::1:ff00:1', mine)])
  rig.hear(4, [SIDE_INSIDE, ndpFrame(ndp.SOLICITATION, mine, 'ff02::1:ff00:1', 'fe80::1')])
  assert.deepEqual([rig.conflicts, rig.count('address-conflicts'), rig.neighbours.count()], [[mine, mine, mine], 3, 0])
  assert.deepEqual(rig.sent(SIDE_INSIDE), [])
})

test('own: an ARP reply to others makes nobody a neighbour, but who is known may tell a new address (RFC 826)', () => {
  const rig = createLinkRig(), five = '10.0.0.5', key = Int32Array.of(words(five)[0]!, 0, 0, 0), other = [2, 0, 0, 0, 0, 0x77]
  rig.hear(1, [SIDE_INSIDE, arpFrame(arp.REPLY, five, five)], [SIDE_INSIDE, arpFrame(arp.REPLY, five, '10.0.0.6')], [SIDE_INSIDE, arpFrame(arp.REQUEST, five, '10.0.0.6')])
  assert.deepEqual([rig.neighbours.count(), rig.neighbours.macOf(SIDE_INSIDE, 4, key)], [0, null])
  // It is asked for, and says in the meantime to others who it is.
  rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: '198.51.100.1', dst: five, srcPort: 1, dstPort: 2 }))
  rig.hear(2, [SIDE_INSIDE, arpFrame(arp.REQUEST, five, '10.0.0.6')])
  assert.deepEqual([rig.neighbours.macOf(SIDE_INSIDE, 4, key), rig.sent(SIDE_INSIDE).length], [HOST_MAC, 2])
  rig.hear(3, [SIDE_INSIDE, arpFrame(arp.REPLY, five, five, other)])
  assert.deepEqual(rig.neighbours.macOf(SIDE_INSIDE, 4, key), other)
})

test('own: ARP of another kind, cut short or sent by a group is counted, and neither answered nor believed (RFC 1812 3.3.2)', () => {
  const rig = createLinkRig(), good = arpFrame(arp.REQUEST, '10.0.0.5', '10.0.0.1')
  const changed = (at: number, value: number) => good.map((octet, i) => i === 14 + at ? value : octet)
  const bad = [
    changed(1, 6), changed(2, 0x86), changed(4, 8), changed(5, 16), changed(7, 3), changed(7, 0), good.subarray(0, 14 + 27), good.subarray(0, 14),
    arpFrame(arp.REQUEST, '10.0.0.5', '10.0.0.1', [255, 255, 255, 255, 255, 255]), arpFrame(arp.REPLY, '10.0.0.5', '10.0.0.1', [1, 0, 0x5e, 0, 0, 1]),
  ]
  for (const frame of bad) assert.deepEqual(rig.hear(1, [SIDE_INSIDE, frame]), [])
  assert.deepEqual([rig.sent(SIDE_INSIDE), rig.neighbours.count(), rig.count('arp-packets-bad'), rig.count('arp-requests')], [[], 0, bad.length, 0])
})

test('own: both links are told which addresses are here', () => {
  const rig = createLinkRig()
  rig.own.announce()
  const said = (side: number) => rig.sent(side).map((sent) => {
    const packet = readArp(sent)
    return packet === null ? 'nd' : `${print4(packet.senderAddr)} ${print4(packet.targetAddr)} ${sent[0]}`
  })
  assert.deepEqual(said(SIDE_INSIDE), ['10.0.0.1 10.0.0.1 255', 'nd', 'nd'])
  assert.deepEqual(said(SIDE_OUTSIDE), ['203.0.113.1 203.0.113.1 255', '203.0.113.2 203.0.113.2 255', 'nd', 'nd'])
})

test('own: echo requests to the box are answered from either side, over both versions, and the answers are sound', () => {
  const rig = rigOf()
  const asks: [number, string, string][] = [
    [SIDE_INSIDE, '10.0.0.5', '10.0.0.1'], [SIDE_INSIDE, '10.0.0.5', '203.0.113.1'], [SIDE_OUTSIDE, '203.0.113.254', '203.0.113.1'],
    [SIDE_INSIDE, '2001:db8:1::5', '2001:db8:1::1'], [SIDE_OUTSIDE, '2001:db8:2::9', '2001:db8:1::1'],
  ]
  for (const [side, src, dst] of asks) {
    assert.deepEqual(rig.hear(2, [side, echo(src, dst, { ttl: 3 })]), [])
    const [reply, ...none] = rig.sent(side)
    assert.deepEqual(none, [])
    assert.deepEqual(verify(packetOf(reply!)), [])
    assert.deepEqual(packetOf(reply!), packetOf(echo(dst, src, { icmpType: dst.includes(':') ? 129 : 0, ttl: 64 })))
    assert.deepEqual([...reply!.subarray(0, 12)], [...HOST_MAC, ...MACS[side]!])
  }
  assert.equal(rig.count('echo-requests'), asks.length)
})

test('own: what else comes to the box is refused by the error that names why (RFC 1122 3.2.2.1, RFC 4443 3.1)', () => {
  const rig = rigOf()
  const cases: [PacketSpec, number, number][] = [
    [{ proto: 'udp', src: '10.0.0.5', dst: '10.0.0.1', srcPort: 1, dstPort: 9 }, 3, 3],
    [{ proto: 'tcp', src: '10.0.0.5', dst: '10.0.0.1', srcPort: 1, dstPort: 9, tcpFlags: 2 }, 3, 3],
    [{ proto: 47, src: '10.0.0.5', dst: '10.0.0.1' }, 3, 2],
    [{ proto: 'udp', src: '2001:db8:1::5', dst: '2001:db8:1::1', srcPort: 1, dstPort: 9 }, 1, 4],
    [{ proto: 47, src: '2001:db8:1::5', dst: '2001:db8:1::1' }, 4, 1],
  ]
  for (const [spec, type, code] of cases) {
    const asked = frame(spec)
    assert.deepEqual(rig.hear(3, [SIDE_INSIDE, asked]), [])
    const [reply, ...none] = rig.sent(SIDE_INSIDE)
    assert.deepEqual(none, [])
    assert.deepEqual(verify(packetOf(reply!)), [])
    const l4 = 14 + (asked[12] === 0x08 ? 20 : 40)
    assert.deepEqual([reply![l4], reply![l4 + 1], reply!.slice(l4 + 8)], [type, code, packetOf(asked)])
  }
  // Never about an error.
  const about = buildPacket({ proto: 'udp', src: '10.0.0.1', dst: '10.0.0.5', srcPort: 1, dstPort: 2 })
  assert.deepEqual(rig.hear(3, [SIDE_INSIDE, ethernet(MACS[0], HOST_MAC, 0x0800, icmpError({ src: '10.0.0.5', dst: '10.0.0.1', original: about, icmpType: 3 }))]), [])
  assert.deepEqual(rig.sent(SIDE_INSIDE), [])
})

test('own: an outside address that the NAT shares is the box\'s for echo requests alone', () => {
  const rig = rigOf({ addresses: [{}, {}, {}, { isShared: true }] })
  const tcp = frame({ proto: 'tcp', src: '203.0.113.254', dst: '203.0.113.1', srcPort: 1, dstPort: 5000 })
  const reply = echo('203.0.113.254', '203.0.113.1', { icmpType: 0 })
  assert.deepEqual(rig.hear(4, [SIDE_OUTSIDE, tcp], [SIDE_OUTSIDE, echo('203.0.113.254', '203.0.113.1')], [SIDE_OUTSIDE, reply]), [tcp, reply])
  assert.equal(rig.sent(SIDE_OUTSIDE).length, 1)
})

test('own: what the kernel has too is left to the kernel', () => {
  const rig = rigOf({ addresses: [{ isKernels: true }, { isKernels: true }] })
  const tcp = frame({ proto: 'tcp', src: '10.0.0.5', dst: '10.0.0.1', srcPort: 1, dstPort: 7626 })
  assert.deepEqual(rig.hear(4, [SIDE_INSIDE, tcp], [SIDE_INSIDE, echo('2001:db8:1::5', '2001:db8:1::1')], [SIDE_INSIDE, arpFrame(arp.REQUEST, '10.0.0.5', '10.0.0.1')],
    [SIDE_INSIDE, ndpFrame(ndp.SOLICITATION, '2001:db8:1::5', 'ff02::1:ff00:1', '2001:db8:1::1')]), [])
  assert.deepEqual(rig.sent(SIDE_INSIDE), [])
  assert.equal(rig.count('kernel-packets'), 2)
})

test('own: an address that only looks like one of the box, or is one on the other link, is somebody else\'s', () => {
  const rig = rigOf()
  const others = [
    echo('10.0.0.5', '198.51.100.1'), echo('2001:db8:1::5', '2001:db8:9::1'), echo('2001:db8:1::5', 'fe80::2'),
    echo('2001:db8:1::5', 'ff05::1'), frame({ proto: 'udp', src: '10.0.0.5', dst: '10.0.1.1', srcPort: 1, dstPort: 2 }),
  ]
  assert.deepEqual(rig.hear(5, ...others.map((other): [number, Uint8Array] => [SIDE_INSIDE, other])), others)
  assert.deepEqual(rig.hear(5, [SIDE_OUTSIDE, echo('fe80::9', 'fe80::2')]), [])
  assert.equal(rig.count('echo-requests'), 1)
})

test('own: its own announcement that comes back is no conflict, and what is told to all is no answer (RFC 4861 7.1.2)', () => {
  const rig = createLinkRig()
  rig.hear(1, [SIDE_OUTSIDE, arpFrame(arp.REQUEST, '203.0.113.2', '203.0.113.2', [...MACS[1]])])
  assert.deepEqual([rig.conflicts, rig.count('address-conflicts')], [[], 0])
  rig.send(SIDE_INSIDE, buildPacket({ proto: 'udp', src: '2001:db8:9::9', dst: '2001:db8:1::5', srcPort: 1, dstPort: 2 }))
  const about = '2001:db8:1::5', key = words(about)
  const tell = (nowMs: number, dst: string, flags: number) => rig.hear(nowMs, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, about, dst, about, flags)])
  tell(2, 'ff02::1', ndp.SOLICITED | ndp.OVERRIDE)
  assert.deepEqual([rig.count('neighbour-messages'), rig.count('neighbour-messages-bad'), rig.neighbours.macOf(SIDE_INSIDE, 6, key)], [1, 1, null])
  tell(3, 'ff02::1', ndp.OVERRIDE)
  assert.deepEqual([rig.count('neighbour-messages'), rig.count('neighbour-messages-bad'), rig.neighbours.macOf(SIDE_INSIDE, 6, key)], [2, 1, HOST_MAC])
  // Of an address of the box itself nothing is learned.
  rig.hear(4, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, '2001:db8:1::1', 'ff02::1', '2001:db8:1::1', ndp.OVERRIDE)])
  assert.deepEqual([rig.count('address-conflicts'), rig.neighbours.count()], [1, 1])
})

test('own: rows of others keep their order and everything that belongs to them', () => {
  const rig = rigOf()
  const through = (n: number) => frame({ proto: 'udp', src: '10.0.0.5', dst: '198.51.100.1', srcPort: n, dstPort: 9 })
  const kept = rig.hear(5, [SIDE_INSIDE, through(1)], [SIDE_INSIDE, echo('10.0.0.5', '10.0.0.1')], [SIDE_OUTSIDE, through(2)], [SIDE_OUTSIDE, arpFrame(arp.REQUEST, '203.0.113.9', '203.0.113.1')], [SIDE_INSIDE, through(3)])
  assert.deepEqual(kept, [through(1), through(2), through(3)])
  assert.deepEqual([...rig.frames.iface.subarray(0, 3)], [SIDE_INSIDE, SIDE_OUTSIDE, SIDE_INSIDE])
})

test('own: what is broken, in fragments, spoofed or from a group is the packet path\'s, which has names for it', () => {
  const rig = rigOf()
  const pieces = fragment(buildPacket({ proto: 'icmp', src: '10.0.0.5', dst: '10.0.0.1', icmpType: 8, payload: new Uint8Array(64) }), [32])
  const wrong: Uint8Array[] = [
    echo('10.0.0.5', '10.0.0.1', { ipChecksum: 'wrong' }), echo('10.0.0.5', '10.0.0.1', { checksum: 'wrong' }), echo('198.51.100.1', '10.0.0.1'),
    echo('10.0.0.1', '10.0.0.1'), echo('127.0.0.1', '10.0.0.1'), echo('224.0.0.5', '10.0.0.1'), echo('10.0.0.5', '10.0.0.1').slice(0, 40),
    echo('2001:db8:77::1', '2001:db8:1::1'), echo('ff02::5', '2001:db8:1::1'), echo('::', '2001:db8:1::1'), echo('::1', '2001:db8:1::1'),
    echo('2001:db8:2::1', '2001:db8:1::1'), echo('2001:db8:1::5', '2001:db8:1::1', { checksum: 'wrong' }),
  ]
  for (const bad of wrong) assert.deepEqual(rig.hear(6, [SIDE_INSIDE, bad]), [bad])
  const spoofed = [echo('10.0.0.5', '203.0.113.1'), echo('2001:db8:1::5', '2001:db8:2::1')]
  for (const bad of spoofed) assert.deepEqual(rig.hear(6, [SIDE_OUTSIDE, bad]), [bad])
  const broadcast = ethernet(BROADCAST, HOST_MAC, 0x0800, packetOf(echo('10.0.0.5', '10.0.0.1')))
  assert.deepEqual(rig.hear(6, [SIDE_INSIDE, broadcast]), [broadcast])
  rig.hear(6, ...pieces.map((piece): [number, Uint8Array] => [SIDE_INSIDE, ethernet(MACS[0], HOST_MAC, 0x0800, piece)]))
  assert.deepEqual(rig.sent(SIDE_INSIDE), [])
})

test('own: a solicitation is answered to who asked, one without a sender to all (RFC 4861 7.2.4, RFC 4862 5.4.3)', () => {
  const rig = createLinkRig()
  rig.hear(7, [SIDE_INSIDE, ndpFrame(ndp.SOLICITATION, '2001:db8:1::5', 'ff02::1:ff00:1', '2001:db8:1::1')])
  const [advertisement] = rig.sent(SIDE_INSIDE)
  const view = new DataView(advertisement!.buffer)
  assert.deepEqual(verify(packetOf(advertisement!)), [])
  assert.deepEqual([[...advertisement!.subarray(0, 6)], ndp.flags(view, 54), [...advertisement!.subarray(38, 54)]], [HOST_MAC, ndp.ROUTER | ndp.SOLICITED | ndp.OVERRIDE, [...echo('::1', '2001:db8:1::5').subarray(38, 54)]])
  assert.ok(ndp.check(view, 14, 54, advertisement!.length))
  // Somebody wants the address for itself: a solicitation without a sender, and then without the option that tells its address.
  const probe = new Uint8Array(ndp.PACKET_BYTES)
  ndp.emit({ type: ndp.SOLICITATION, src: new Int32Array(4), dst: words('ff02::1:ff00:1'), target: words('2001:db8:1::1'), flags: 0, mac: HOST_MAC }, new DataView(probe.buffer), 0)
  rig.hear(8, [SIDE_INSIDE, ethernet([0x33, 0x33, 0xff, 0, 0, 1], HOST_MAC, 0x86dd, probe)])
  assert.deepEqual([rig.sent(SIDE_INSIDE), rig.count('neighbour-messages-bad')], [[], 1], 'it must not tell an address (RFC 4861 7.1.1)')
  const bare = buildPacket({ proto: 'icmp6', src: '::', dst: 'ff02::1:ff00:1', ttl: 255, icmpType: 135, payload: Uint8Array.from([...echo('::1', '2001:db8:1::1').subarray(38, 54)]), icmpId: 0, icmpSeq: 0 })
  rig.hear(9, [SIDE_INSIDE, ethernet([0x33, 0x33, 0xff, 0, 0, 1], HOST_MAC, 0x86dd, bare)])
  const [toAll] = rig.sent(SIDE_INSIDE)
  assert.deepEqual([[...toAll!.subarray(0, 6)], ndp.flags(new DataView(toAll!.buffer), 54)], [[0x33, 0x33, 0, 0, 0, 1], ndp.ROUTER | ndp.OVERRIDE])
})

test('own: whatever comes, nothing is thrown, and each frame is either answered for or left to the packet path', () => {
  const seed = Date.now() & 0xffffff, prng = createPrng(seed)
  const rig = rigOf({ addresses: [{}, {}, {}, { isShared: true }] })
  const corpus = [
    echo('10.0.0.5', '10.0.0.1'), echo('2001:db8:1::5', '2001:db8:1::1'), arpFrame(arp.REQUEST, '10.0.0.5', '10.0.0.1'),
    arpFrame(arp.REPLY, '10.0.0.5', '10.0.0.1'), ndpFrame(ndp.SOLICITATION, '2001:db8:1::5', 'fe80::1', 'fe80::1'),
    ndpFrame(ndp.ADVERTISEMENT, '2001:db8:1::5', 'fe80::1', '2001:db8:1::5', ndp.SOLICITED),
    frame({ proto: 'udp', src: '10.0.0.5', dst: '10.0.0.1', srcPort: 1, dstPort: 2 }),
    frame({ proto: 'tcp', src: '2001:db8:1::5', dst: '2001:db8:1::1', srcPort: 1, dstPort: 2, extensions: [{ header: 60 }] }),
  ]
  for (let n = 0; n < 20_000; n++) {
    let bytes = Uint8Array.from(corpus[prng.below(corpus.length)]!)
    for (let flips = prng.below(4); flips > 0; flips--) bytes[prng.below(bytes.length)]! ^= 1 << prng.below(8)
    if (prng.below(4) === 0) bytes = bytes.slice(0, prng.below(bytes.length + 1))
    const kept = rig.hear(10 + n, [prng.below(2), bytes])
    assert.ok(kept.length === 0 || (kept.length === 1 && Buffer.compare(kept[0]!, bytes) === 0), `seed ${seed}, round ${n}`)
    for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) {
      for (const sent of rig.sent(side)) {
        const type = sent[12]! << 8 | sent[13]!
        assert.ok([0x0800, 0x0806, 0x86dd].includes(type), `seed ${seed}, round ${n}`)
        assert.deepEqual(type === 0x0806 ? [] : verify(packetOf(sent)).filter((fault) => !fault.startsWith('quoted')), [], `seed ${seed}, round ${n}: ${Buffer.from(sent).toString('hex')}`)
      }
    }
    if (n % 100 === 0) rig.neighbours.advance(10 + n)
    while (rig.neighbours.undelivered() !== null) { /* handed back */ }
  }
})

test('own: where both sides are VLANs of one interface, both have its link-local address, each for its own link', () => {
  const rig = rigOf({ addresses: [{}, {}, {}, {}, {}, { words: words('fe80::1') }] })
  for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) {
    assert.deepEqual(rig.hear(1, [side, ndpFrame(ndp.SOLICITATION, 'fe80::9', 'ff02::1:ff00:1', 'fe80::1')]), [])
    const [advertised] = rig.sent(side)
    assert.deepEqual([...advertised!.subarray(6, 12)], [...MACS[side]!])
    assert.deepEqual(rig.hear(2, [side, echo('fe80::9', 'fe80::1')]), [])
    assert.deepEqual([rig.sent(side).length, rig.sent(1 - side).length], [1, 0])
  }
})

test('own: a frame with a second tag, or one of a kind that nobody has taken off, is of no link of ours: it is counted and goes no further', () => {
  const rig = rigOf()
  const packet = frame({ proto: 'udp', src: '10.0.0.5', dst: '198.51.100.7', srcPort: 1, dstPort: 2 })
  const tagged = (type: number, ...more: number[]) => Uint8Array.from([...packet.subarray(0, 12), type >>> 8, type & 255, ...more, ...packet.subarray(12)])
  const left = rig.hear(1, [SIDE_INSIDE, tagged(0x8100, 0, 9)], [SIDE_INSIDE, packet], [SIDE_INSIDE, tagged(0x9100, 0, 7)], [SIDE_OUTSIDE, tagged(0x88a8, 0, 7)])
  assert.deepEqual([left, rig.count('stacked-tag-frames')], [[packet], 3])
})
