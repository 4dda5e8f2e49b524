/**
 * Any bytes at all: nothing in this room may throw or read outside the frame. Every frame ends where its pool ends, and
 * every second one starts where its pool starts, so that a read beyond either is an exception of the view.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createPrng, type Prng } from '../base/prng.ts'
import * as arp from './arp.ts'
import { print4, print6 } from '../base/address.ts'
import { buildPacket, icmpError, verify, type Protocol } from './build.ts'
import * as ethernet from './ethernet.ts'
import { createFrames, NET_ARP, NET_IPV4, NET_IPV6 } from './frames.ts'
import * as icmp from './icmp.ts'
import * as ipv4 from './ipv4.ts'
import * as ipv6 from './ipv6.ts'
import { createLink } from './link.ts'
import { printFrame, printPacket } from './print.ts'
import * as tcp from './tcp.ts'
import * as udp from './udp.ts'

const FOLDER = '../shared/pcaps'
const SEED = Number(process.env['PINHOLE_SEED'] ?? 20240611)
const LINK_TYPES = [0, 1, 1, 1, 12, 14, 101, 108, 113, 228, 229, 276, 9, 104, 239]

interface Frame { link: number; bytes: Uint8Array }

/** Reads what it can of a capture file and stops at the first record that makes no sense. */
function framesOf(file: Uint8Array): Frame[] {
  const v = new DataView(file.buffer, file.byteOffset, file.byteLength), found: Frame[] = []
  if (file.length < 24) return found
  const magic = v.getUint32(0)
  if (magic !== 0x0a0d0d0a) {
    const little = [0xd4c3b2a1, 0x4d3cb2a1, 0x34cdb2a1].includes(magic), record = magic === 0x34cdb2a1 ? 24 : 16
    const link = v.getUint32(20, little) & 0xffff
    for (let at = 24; at + record <= file.length;) {
      const bytes = v.getUint32(at + 8, little)
      at += record
      if (at + bytes > file.length) break
      found.push({ link, bytes: file.slice(at, at + bytes) })
      at += bytes
    }
    return found
  }
  let little = false, links: number[] = []
  for (let at = 0; at + 12 <= file.length;) {
    const section = v.getUint32(at) === 0x0a0d0d0a
    if (section) {
      little = v.getUint32(at + 8, true) === 0x1a2b3c4d
      links = []
    }
    const type = v.getUint32(at, little), length = v.getUint32(at + 4, little), body = at + 8
    if (length < 12 || length % 4 !== 0 || at + length > file.length) break
    if (type === 1) links.push(v.getUint16(body, little))
    const cap = type === 6 && length >= 32 ? v.getUint32(body + 12, little) : type === 3 ? length - 16 : -1
    const start = body + (type === 6 ? 20 : 4)
    if (cap >= 0 && start + cap <= at + length) {
      found.push({ link: links[type === 6 ? v.getUint32(body, little) : 0] ?? 1, bytes: file.slice(start, start + cap) })
    }
    at += length
  }
  return found
}

const columns = createFrames({ capacity: 1, poolBytes: 0 })

/** Uses every reader of the room on one frame, each after the check that its contract asks for. */
function exercise({ link, bytes }: Frame): number {
  const off = bytes.length & 1 ? 0 : 64, pool = new Uint8Array(off + bytes.length), view = new DataView(pool.buffer)
  pool.set(bytes, off)
  const frames = { ...columns, pool, view }
  frames.off[0] = off
  frames.capBytes[0] = frames.wireBytes[0] = bytes.length
  frames.link[0] = link
  createLink(frames).locate(1)
  const net = frames.net[0], l3 = frames.l3[0], end = pool.length
  assert.ok(printFrame(frames, 0).length > 0)
  const header = ethernet.check(view, off, end)
  if (header > 0) ethernet.parse(view, off, header)
  if (net === NET_ARP && arp.check(view, l3, end) > 0) arp.parse(view, l3)
  if (net !== NET_IPV4 && net !== NET_IPV6) {
    // No claim about l3; the printers must bear any offset inside the frame all the same.
    printPacket(view, off, end)
    return net
  }
  assert.ok(l3 >= off && l3 <= end)
  if (net === NET_IPV4) read4(view, l3, end)
  else read6(view, l3, end)
  verify(pool, l3)
  return net
}

function read4(v: DataView, l3: number, end: number): void {
  if (end - l3 < ipv4.HEADER_BYTES) return
  ipv4.headerSum(v, l3)
  print4(ipv4.src(v, l3))
  print4(ipv4.dst(v, l3))
  const l4 = l3 + ipv4.headerBytes(v, l3), netEnd = Math.min(l3 + ipv4.totalLength(v, l3), end)
  if (ipv4.headerBytes(v, l3) < ipv4.HEADER_BYTES || l4 > end) return
  ipv4.checkOptions(v, l3, l4)
  readTransport(v, l4, netEnd, ipv4.protocol(v, l3))
}

function read6(v: DataView, l3: number, end: number): void {
  if (end - l3 < ipv6.HEADER_BYTES) return
  print6(Int32Array.of(ipv6.srcWord(v, l3, 0), ipv6.srcWord(v, l3, 3), ipv6.dstWord(v, l3, 0), ipv6.dstWord(v, l3, 3)))
  const walk = ipv6.createWalk(), netEnd = l3 + 40 + ipv6.payloadLength(v, l3)
  // Captured bytes may go beyond the packet (padding) or end before it; the walk must bear both.
  if (ipv6.walk(v, l3, end, netEnd, walk) !== ipv6.WALK_OK) return
  assert.ok(walk.at[ipv6.WALK_L4] <= netEnd)
  if (walk.at[ipv6.WALK_FRAGMENT] > 0) v.getUint32(walk.at[ipv6.WALK_FRAGMENT] + 4)
  readTransport(v, walk.at[ipv6.WALK_L4], Math.min(netEnd, end), walk.at[ipv6.WALK_PROTOCOL])
}

function readTransport(v: DataView, l4: number, end: number, protocol: number): void {
  if (protocol === 6 && end - l4 >= tcp.HEADER_BYTES) {
    for (const read of [tcp.ports, tcp.seq, tcp.ack, tcp.headerBytes, tcp.flags, tcp.window, tcp.checksum]) read(v, l4)
  }
  if ((protocol === 17 || protocol === 136) && end - l4 >= udp.HEADER_BYTES) {
    for (const read of [udp.srcPort, udp.dstPort, udp.length, udp.checksum]) read(v, l4)
  }
  if ((protocol === 1 || protocol === 58) && end - l4 >= icmp.HEADER_BYTES) {
    for (const read of [icmp.type, icmp.code, icmp.checksum, icmp.id]) read(v, l4)
  }
}

function tried(frame: Frame, what: string): number {
  try {
    return exercise(frame)
  } catch (error) {
    const hex = Buffer.from(frame.bytes).toString('hex')
    throw new Error(`seed ${SEED}, ${what}, link type ${frame.link}: ${hex}`, { cause: error })
  }
}

/** A copy with a few bytes changed near its start, where the headers are, and often cut. */
function mutated({ link, bytes }: Frame, prng: Prng): Frame {
  const copy = bytes.slice(0, prng.below(2) === 0 ? bytes.length : prng.below(Math.min(bytes.length, 60000) + 1))
  if (copy.length === 0) return { link, bytes: copy }
  for (let count = prng.below(6); count >= 0; count--) {
    const at = prng.below(Math.min(copy.length, 128))
    copy[at] = [0, 0xff, prng.next(), copy[at] ^ 1 << prng.below(8), 4, 0x45, 0x60, 44][prng.below(8)]
  }
  return { link: prng.below(20) === 0 ? LINK_TYPES[prng.below(LINK_TYPES.length)] : link, bytes: copy }
}

test('random bytes of every link type', () => {
  const prng = createPrng(SEED)
  for (let round = 0; round < 60_000; round++) {
    const bytes = Uint8Array.from({ length: prng.below(100) }, () => prng.next())
    const link = LINK_TYPES[prng.below(LINK_TYPES.length)]
    // Half of them look like IP at first sight, or they would all end at the first check.
    if (prng.below(2) === 0 && bytes.length > 20) {
      bytes[12] = 8
      bytes[13] = 0
      bytes[link === 1 ? 14 : 0] = [0x45, 0x46, 0x4f, 0x60][prng.below(4)]
    }
    tried({ link, bytes }, `round ${round}`)
  }
})

test('mutations of packets of every kind', () => {
  const prng = createPrng(SEED)
  const four = { src: '192.0.2.1', dst: '192.0.2.2' }, six = { src: '2001:db8::1', dst: '2001:db8::2' }
  const seeds: Uint8Array[] = []
  for (const ends of [four, six]) {
    for (const proto of ['udp', 'tcp', 'udplite', 'dccp', ends === four ? 'icmp' : 'icmp6'] as Protocol[]) {
      const packet = buildPacket({ ...ends, proto, payload: new Uint8Array(24), tcpOptions: Uint8Array.of(2, 4, 5, 0xb4) })
      seeds.push(packet, icmpError({ src: ends.dst, original: packet, icmpType: ends === four ? 3 : 1, multipart: Uint8Array.of(32, 0, 0, 0) }))
    }
  }
  seeds.push(buildPacket({ ...four, proto: 'udp', options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0) }))
  seeds.push(buildPacket({
    ...six, proto: 'udp', moreFragments: true, extensions: [0, 60, 43, 51, 60].map(header => ({ header, body: new Uint8Array(6) })),
  }))
  for (const bytes of seeds) {
    for (let round = 0; round < 2000; round++) tried(mutated({ link: 101, bytes }, prng), `round ${round}`)
  }
})

const absent = existsSync(FOLDER) ? false : `the folder of captures ${FOLDER} is absent`

test('every frame of every capture, as it is and mutated', { skip: absent }, () => {
  const prng = createPrng(SEED)
  let count = 0, ip = 0
  for (const name of readdirSync(FOLDER).filter(file => /\.pcap(ng)?(\.gz)?$/.test(file))) {
    const file = readFileSync(`${FOLDER}/${name}`)
    framesOf(name.endsWith('.gz') ? gunzipSync(file) : file).forEach((frame, i) => {
      const net = tried(frame, `${name} frame ${i + 1}`)
      count++
      if (net === NET_IPV4 || net === NET_IPV6) ip++
      // Long captures repeat themselves: mutate their beginning and then a sample.
      if (i >= 500 && i % 16 !== 0) return
      for (let turn = 0; turn < 4; turn++) tried(mutated(frame, prng), `${name} frame ${i + 1} mutated`)
    })
  }
  assert.ok(count > 100_000, `${count} frames`)
  assert.ok(ip > count / 2, `${ip} of ${count} frames are IP`)
})

test('captures taken on the way have right checksums by the verifier', { skip: absent }, () => {
  const names = ['icmp-zeek-5-pings.pcap', 'icmp-zeek-icmp6.pcap', 'frag-PcapPlusPlus-ip6_fragments.pcap', 'ftp-zeek-ipv6.pcap']
  for (const name of names) {
    framesOf(readFileSync(`${FOLDER}/${name}`)).forEach(({ link, bytes }, i) => {
      const frames = { ...columns, pool: bytes, view: new DataView(bytes.buffer) }
      frames.off[0] = 0
      frames.capBytes[0] = bytes.length
      frames.link[0] = link
      createLink(frames).locate(1)
      if (frames.net[0] === NET_IPV4 || frames.net[0] === NET_IPV6) {
        assert.deepEqual(verify(bytes, frames.l3[0]), [], `${name} frame ${i + 1}`)
      }
    })
  }
})
