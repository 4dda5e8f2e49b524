/** Next hops and their Ethernet addresses: resolution, waiting packets, aging, and what a link full of strangers does. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { print4, print6 } from '../base/address.ts'
import { createPrng } from '../base/prng.ts'
import * as arp from '../wire/arp.ts'
import { buildPacket } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import * as ndp from '../wire/ndp.ts'
import { HOST_MAC, MACS, arpFrame, createLinkRig, ndpFrame, readArp, words, type LinkRig } from './live-testing.ts'
import { QUEUE_PER_NEIGHBOUR } from './neighbours.ts'

const packet = (dst: string, n = 0) => buildPacket({ proto: 'udp', src: dst.includes(':') ? '2001:db8:9::9' : '198.51.100.7', dst, srcPort: 1000 + n, dstPort: 53, payload: new Uint8Array(20) })
const ofPacket = (frame: Uint8Array) => ({ dst: [...frame.subarray(0, 6)], src: [...frame.subarray(6, 12)], packet: frame.slice(14) })
const asked = (frame: Uint8Array) => { const said = readArp(frame); return said === null ? null : `${print4(said.targetAddr)} ${frame[0] === 255 ? 'all' : 'it'}` }
const askedFor6 = (frame: Uint8Array) => print6(Int32Array.from({ length: 4 }, (_, i) => new DataView(frame.buffer).getInt32(14 + 48 + 4 * i)))

function answer(rig: LinkRig, address: string, nowMs: number, mac = HOST_MAC): void {
  rig.hear(nowMs, [SIDE_INSIDE, arpFrame(arp.REPLY, address, '10.0.0.1', mac, MACS[0])])
}

test('neighbours: packets wait for the answer, leave in order, and those that come later leave at once', () => {
  const rig = createLinkRig()
  for (let n = 0; n < 3; n++) rig.send(SIDE_INSIDE, packet('10.0.0.5', n))
  const [request, ...none] = rig.sent(SIDE_INSIDE)
  assert.deepEqual([asked(request!), none], ['10.0.0.5 all', []])
  assert.deepEqual(readArp(request!)!.senderMac, [...MACS[0]])
  answer(rig, '10.0.0.5', 5)
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(ofPacket), [0, 1, 2].map((n) => ({ dst: HOST_MAC, src: [...MACS[0]], packet: packet('10.0.0.5', n) })))
  rig.send(SIDE_INSIDE, packet('10.0.0.5', 3))
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(ofPacket), [{ dst: HOST_MAC, src: [...MACS[0]], packet: packet('10.0.0.5', 3) }])
  assert.equal(rig.count('neighbours-resolved'), 1)
})

test('neighbours: IPv6 is asked for at the group of the address, from a link-local one (RFC 4861 7.2.2)', () => {
  const rig = createLinkRig()
  rig.send(SIDE_INSIDE, packet('2001:db8:1::5'))
  const [request] = rig.sent(SIDE_INSIDE)
  assert.deepEqual([...request!.subarray(0, 6)], [0x33, 0x33, 0xff, 0, 0, 5])
  assert.equal(askedFor6(request!), '2001:db8:1::5')
  rig.hear(5, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, '2001:db8:1::5', 'fe80::1', '2001:db8:1::5', ndp.SOLICITED | ndp.OVERRIDE)])
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(ofPacket), [{ dst: HOST_MAC, src: [...MACS[0]], packet: packet('2001:db8:1::5') }])
})

test('neighbours: what is not on the link goes to the router, whose address is asked for once', () => {
  const rig = createLinkRig()
  rig.send(SIDE_OUTSIDE, packet('192.0.2.1'))
  rig.send(SIDE_OUTSIDE, packet('192.0.2.2'))
  rig.send(SIDE_OUTSIDE, packet('203.0.113.9'))
  assert.deepEqual(rig.sent(SIDE_OUTSIDE).map(asked), ['203.0.113.254 all', '203.0.113.9 all'])
})

test('neighbours: the newest packets wait, the oldest make room (RFC 4861 7.2.2)', () => {
  const rig = createLinkRig()
  for (let n = 0; n < QUEUE_PER_NEIGHBOUR + 4; n++) rig.send(SIDE_INSIDE, packet('10.0.0.5', n))
  rig.sent(SIDE_INSIDE)
  answer(rig, '10.0.0.5', 1)
  assert.deepEqual(rig.sent(SIDE_INSIDE).map((frame) => ofPacket(frame).packet), Array.from({ length: QUEUE_PER_NEIGHBOUR }, (_, n) => packet('10.0.0.5', n + 4)))
  assert.equal(rig.count('neighbour-queue-drops'), 4)
})

test('neighbours: three times in three seconds, then it is given up, and its packets are handed back', () => {
  const rig = createLinkRig()
  rig.neighbours.advance(0)
  for (let n = 0; n < 2; n++) rig.send(SIDE_INSIDE, packet('10.0.0.5', n))
  let requests = rig.sent(SIDE_INSIDE).length
  for (const ms of [999, 1000, 1999, 2000, 2999]) {
    assert.ok(rig.neighbours.nextMs() <= Math.ceil((ms + 1) / 1000) * 1000)
    rig.neighbours.advance(ms)
    requests += rig.sent(SIDE_INSIDE).length
    assert.equal(requests, 1 + Math.floor(ms / 1000), `at ${ms} ms`)
    assert.equal(rig.neighbours.undelivered(), null)
  }
  rig.neighbours.advance(3000)
  for (let n = 0; n < 2; n++) {
    const { side, p, bytes, hadRoute } = rig.neighbours.undelivered()!
    assert.deepEqual([side, hadRoute, rig.frames.pool.slice(p, p + bytes)], [SIDE_INSIDE, true, packet('10.0.0.5', n)])
  }
  assert.equal(rig.neighbours.undelivered(), null)
  assert.deepEqual([rig.neighbours.count(), rig.count('neighbours-failed'), rig.neighbours.nextMs()], [0, 1, Infinity])
})

test('neighbours: without a route a packet is handed back at once; of a flood some are, and the rest is counted', () => {
  const rig = createLinkRig()
  for (let n = 0; n < 100; n++) rig.send(SIDE_OUTSIDE, packet('2001:db8:77::1', n))
  assert.equal(rig.count('no-route-packets'), 100)
  const first = rig.neighbours.undelivered()!
  assert.deepEqual([first.hadRoute, rig.frames.pool.slice(first.p, first.p + first.bytes)], [false, packet('2001:db8:77::1', 0)])
  let told = 1
  while (rig.neighbours.undelivered() !== null) told++
  assert.equal(told, 16)
  // The room is free again.
  rig.send(SIDE_OUTSIDE, packet('2001:db8:77::1'))
  assert.notEqual(rig.neighbours.undelivered(), null)
})

test('neighbours: one in use is asked again after 30 s, at its address and while packets go on; one that is silent is asked for by all', () => {
  const rig = createLinkRig()
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  answer(rig, '10.0.0.5', 0)
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  rig.sent(SIDE_INSIDE)
  rig.neighbours.advance(29_999)
  assert.deepEqual(rig.sent(SIDE_INSIDE), [])
  rig.neighbours.advance(30_000)
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(asked), ['10.0.0.5 it'])
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  assert.equal(rig.sent(SIDE_INSIDE).length, 1, 'packets go on')
  answer(rig, '10.0.0.5', 30_001)
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  rig.sent(SIDE_INSIDE)
  for (const ms of [60_001, 61_001, 62_001]) {
    rig.neighbours.advance(ms)
    assert.deepEqual(rig.sent(SIDE_INSIDE).map(asked), ['10.0.0.5 it'], `at ${ms}`)
  }
  rig.neighbours.advance(63_001)
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(asked), ['10.0.0.5 all'])
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  assert.deepEqual(rig.sent(SIDE_INSIDE), [], 'packets wait now')
  const elsewhere = [2, 0, 0, 0, 0, 0x77]
  answer(rig, '10.0.0.5', 63_002, elsewhere)
  assert.deepEqual(rig.sent(SIDE_INSIDE).map((frame) => ofPacket(frame).dst), [elsewhere])
})

test('neighbours: one that nobody uses is kept for ten minutes, and asked nothing', () => {
  const rig = createLinkRig()
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  answer(rig, '10.0.0.5', 0)
  rig.sent(SIDE_INSIDE)
  for (let ms = 0; ms <= 595_000; ms += 1000) rig.neighbours.advance(ms)
  assert.deepEqual([rig.sent(SIDE_INSIDE), rig.neighbours.count()], [[], 1])
  for (let ms = 595_000; ms <= 606_000; ms += 1000) rig.neighbours.advance(ms)
  assert.equal(rig.neighbours.count(), 0)
  // Whoever was sent there by the cache asks anew.
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(asked), ['10.0.0.5 all'])
})

test('neighbours: whoever was known on a link that is another one is asked for anew, from its address then; of the other link nobody is', () => {
  const rig = createLinkRig()
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  rig.send(SIDE_INSIDE, packet('10.0.0.6'))
  rig.send(SIDE_OUTSIDE, packet('203.0.113.9'))
  rig.sent(SIDE_INSIDE)
  rig.sent(SIDE_OUTSIDE)
  answer(rig, '10.0.0.5', 5)
  rig.hear(5, [SIDE_OUTSIDE, arpFrame(arp.REPLY, '203.0.113.9', '203.0.113.1', HOST_MAC, MACS[1])])
  rig.sent(SIDE_INSIDE)
  rig.sent(SIDE_OUTSIDE)
  const mac = [2, 0, 0, 0, 0, 0x77]
  rig.ends[SIDE_INSIDE] = { ...rig.ends[SIDE_INSIDE], mac }
  rig.neighbours.forget(SIDE_INSIDE)
  assert.equal(rig.count('neighbours-current'), 2)
  rig.send(SIDE_INSIDE, packet('10.0.0.5', 1))
  const [request] = rig.sent(SIDE_INSIDE)
  assert.deepEqual([asked(request!), [...request!.subarray(6, 12)], readArp(request!)!.senderMac], ['10.0.0.5 all', mac, mac])
  rig.hear(6, [SIDE_INSIDE, arpFrame(arp.REPLY, '10.0.0.5', '10.0.0.1', HOST_MAC, mac)])
  rig.hear(6, [SIDE_INSIDE, arpFrame(arp.REPLY, '10.0.0.6', '10.0.0.1', HOST_MAC, mac)])
  // That which waited leaves, too.
  assert.deepEqual(rig.sent(SIDE_INSIDE).map(ofPacket), [packet('10.0.0.5', 1), packet('10.0.0.6')].map((one) => ({ dst: HOST_MAC, src: mac, packet: one })))
  rig.send(SIDE_OUTSIDE, packet('203.0.113.9', 1))
  assert.deepEqual(rig.sent(SIDE_OUTSIDE).map(ofPacket), [{ dst: HOST_MAC, src: [...MACS[1]], packet: packet('203.0.113.9', 1) }])
})

test('neighbours: an advertisement that does not override changes no address (RFC 4861 7.2.5)', () => {
  const rig = createLinkRig(), five = '2001:db8:1::5', other = [2, 0, 0, 0, 0, 0x55]
  const say = (flags: number, mac = other) => rig.hear(10, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, five, 'fe80::1', five, flags, mac)])
  const mac = () => rig.neighbours.macOf(SIDE_INSIDE, 6, words(five))
  say(ndp.OVERRIDE)
  assert.equal(mac(), null, 'nobody asked for it')
  rig.send(SIDE_INSIDE, packet(five))
  say(ndp.SOLICITED, HOST_MAC)
  say(ndp.SOLICITED)
  assert.deepEqual(mac(), HOST_MAC)
  say(ndp.OVERRIDE)
  assert.deepEqual(mac(), other)
})

test('neighbours: nobody has the address of a group, however it is told (RFC 1812 3.3.2)', () => {
  const rig = createLinkRig(), five = '2001:db8:1::5', group = [0x33, 0x33, 0, 0, 0, 1]
  const say = (flags: number, mac: number[]) => rig.hear(10, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, five, 'fe80::1', five, flags, mac)])
  rig.send(SIDE_INSIDE, packet(five))
  say(ndp.SOLICITED | ndp.OVERRIDE, group)
  assert.equal(rig.neighbours.macOf(SIDE_INSIDE, 6, words(five)), null)
  say(ndp.SOLICITED | ndp.OVERRIDE, HOST_MAC)
  say(ndp.SOLICITED | ndp.OVERRIDE, group)
  assert.deepEqual(rig.neighbours.macOf(SIDE_INSIDE, 6, words(five)), HOST_MAC)
})

test('neighbours: a scan of a link asks for so many at once, and forgets nobody who answers', () => {
  const rig = createLinkRig({ most: 2000, queueFrames: 64 })
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  answer(rig, '10.0.0.5', 0)
  for (let n = 0; n < 3000; n++) rig.send(SIDE_OUTSIDE, packet(`203.0.113.${2 + n % 250}`))
  for (let n = 0; n < 3000; n++) rig.send(SIDE_INSIDE, packet(`2001:db8:1::${(n + 0x1000).toString(16)}`))
  assert.equal(rig.neighbours.count(), 1 + 512)
  assert.ok(rig.count('neighbours-full') > 0)
  rig.sent(SIDE_INSIDE)
  rig.send(SIDE_INSIDE, packet('10.0.0.5'))
  assert.equal(rig.sent(SIDE_INSIDE).length, 1)
  for (let ms = 1000; ms <= 4000; ms += 1000) rig.neighbours.advance(ms)
  while (rig.neighbours.undelivered() !== null) { /* all are handed back */ }
  assert.equal(rig.neighbours.count(), 1)
})

test('neighbours: with hosts that answer, or not, or late, or from elsewhere, no packet is lost without a count, doubled, or sent wrong', () => {
  for (let round = 0; round < 30; round++) {
    const seed = (Date.now() + round * 7919) & 0xffffff, prng = createPrng(seed)
    const rig = createLinkRig({ most: 24, queueFrames: 40 })
    // A host's address, whether it answers, and its present Ethernet address.
    const hosts = Array.from({ length: 30 }, (_, n) => ({
      address: n % 3 === 0 ? `2001:db8:1::${(n + 10).toString(16)}` : `10.0.0.${n + 10}`, answers: n % 4 !== 3, mac: [2, 0, 0, 0, 1, n],
    }))
    let sent = 0, left = 0, handedBack = 0, lateAnswers: { atMs: number; host: (typeof hosts)[number] }[] = []
    const ids = new Set<string>()
    for (let ms = 0; ms < 60_000; ms += 1 + prng.below(900)) {
      rig.neighbours.advance(ms)
      if (prng.below(50) === 0) {
        const host = hosts.filter(({ answers }) => answers)[prng.below(20)]!
        host.mac = [2, 0, 0, 0, 2 + prng.below(9), host.mac[5]!]
        if (!host.address.includes(':')) rig.hear(ms, [SIDE_INSIDE, arpFrame(arp.REQUEST, host.address, host.address, host.mac)])
        else rig.hear(ms, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, host.address, 'ff02::1', host.address, ndp.OVERRIDE, host.mac)])
      }
      for (const { host } of lateAnswers.filter(({ atMs }) => atMs <= ms)) {
        if (host.address.includes(':')) rig.hear(ms, [SIDE_INSIDE, ndpFrame(ndp.ADVERTISEMENT, host.address, 'fe80::1', host.address, ndp.SOLICITED | ndp.OVERRIDE, host.mac)])
        else answer(rig, host.address, ms, host.mac)
      }
      lateAnswers = lateAnswers.filter(({ atMs }) => atMs > ms)
      for (let n = prng.below(6); n > 0; n--) rig.send(SIDE_INSIDE, packet(hosts[prng.below(hosts.length)]!.address, sent++ % 60_000))
      for (const frame of rig.sent(SIDE_INSIDE)) {
        const said = readArp(frame), type = frame[12]! << 8 | frame[13]!
        const target = said !== null ? print4(said.targetAddr) : type === 0x86dd && frame[20] === 58 ? askedFor6(frame) : null
        if (target !== null) {
          const host = hosts.find(({ address }) => address === target)!
          if (host.answers) lateAnswers.push({ atMs: ms + prng.below(1500), host })
          continue
        }
        left++
        const id = `${frame.subarray(14).join()}`
        assert.ok(!ids.has(id), `seed ${seed}: a packet left twice`)
        ids.add(id)
        const host = hosts.find(({ mac }) => mac[5] === frame[5])
        const dst = type === 0x0800 ? print4(new DataView(frame.buffer).getInt32(30)) : print6(Int32Array.from({ length: 4 }, (_, i) => new DataView(frame.buffer).getInt32(38 + 4 * i)))
        assert.equal(host?.address, dst, `seed ${seed}`)
        assert.ok(host!.answers, `seed ${seed}`)
      }
      while (rig.neighbours.undelivered() !== null) handedBack++
    }
    for (let ms = 60_000; ms < 80_000; ms += 500) {
      rig.neighbours.advance(ms)
      while (rig.neighbours.undelivered() !== null) handedBack++
    }
    assert.equal(left + handedBack + rig.count('neighbour-queue-drops') + rig.count('neighbours-full'), sent, `seed ${seed}`)
  }
})
