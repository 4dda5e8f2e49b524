import test from 'node:test'
import assert from 'node:assert/strict'
import v8 from 'node:v8'
import vm from 'node:vm'
import { createLink } from './link.ts'
import { buildPacket, concat, linkBytes } from './build.ts'
import * as ethernet from './ethernet.ts'
import {
  createFrames, LINK_ETHERNET, LINK_LINUX_SLL, LINK_LINUX_SLL2, NET_ARP, NET_IPV4, NET_IPV6, NET_LINK_TRUNCATED, NET_LINK_UNSUPPORTED, NET_NOT_IP,
  type Frames,
} from './frames.ts'

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const MACS = '020000000002 020000000001 '
const four = buildPacket({ src: '192.0.2.1', dst: '192.0.2.2', proto: 'udp', payload: Uint8Array.of(1, 2, 3) })
const six = buildPacket({ src: '2001:db8::1', dst: '2001:db8::2', proto: 'udp' })

/** One row per frame, with bytes between them that belong to none. */
function batch(rows: readonly { link: number; bytes: Uint8Array }[], spareBytes = 200): Frames {
  const poolBytes = rows.reduce((sum, { bytes }) => sum + bytes.length + 3, spareBytes)
  const frames = createFrames({ capacity: rows.length, poolBytes })
  let at = 1
  rows.forEach(({ link, bytes }, i) => {
    frames.pool.set(bytes, at)
    frames.link[i] = link
    frames.off[i] = at
    frames.capBytes[i] = frames.wireBytes[i] = bytes.length
    at += bytes.length + 3
  })
  return frames
}

/** Kind of the network header, and its distance from the start of the frame. */
function located(link: number, bytes: Uint8Array): [number, number] {
  const frames = batch([{ link, bytes }])
  createLink(frames).locate(1)
  return [frames.net[0], frames.l3[0] - frames.off[0]]
}
const kind = (link: number, bytes: Uint8Array) => located(link, bytes)[0]

test('Ethernet with any stack of tags leads to the packet', () => {
  assert.deepEqual(located(1, buildPacket({ src: '192.0.2.1', dst: '192.0.2.2', proto: 'udp', link: 'ethernet' })), [NET_IPV4, 14])
  assert.deepEqual(located(1, concat(bytesOf(MACS + '86dd'), six)), [NET_IPV6, 14])
  assert.deepEqual(located(1, concat(bytesOf(MACS + '88a8 0001 9100 0002 8100 0003 86dd'), six)), [NET_IPV6, 26])
  for (let tags = 0; tags <= ethernet.MAX_TAGS; tags++) {
    assert.deepEqual(located(1, concat(bytesOf(MACS + '8100 0001'.repeat(tags) + '0800'), four)), [NET_IPV4, 14 + 4 * tags])
  }
  assert.equal(kind(1, concat(bytesOf(MACS + '8100 0001'.repeat(ethernet.MAX_TAGS + 1) + '0800'), four)), NET_LINK_UNSUPPORTED)
})

test('what Ethernet carries besides IP is told apart', () => {
  assert.deepEqual(located(1, bytesOf(MACS + '0806')), [NET_ARP, 14])
  assert.deepEqual(located(1, bytesOf(MACS + '8100 0001 0806')), [NET_ARP, 18])
  assert.equal(kind(1, bytesOf(MACS + '88cc 0207')), NET_NOT_IP)
  assert.equal(kind(1, concat(bytesOf(MACS + '8864 1100 0001 001e 0021'), four)), NET_LINK_UNSUPPORTED)
  assert.equal(kind(1, concat(bytesOf(MACS + '8847 00001 1 40'), four)), NET_LINK_UNSUPPORTED)
  assert.equal(kind(1, bytesOf(MACS + '8863 11090000')), NET_NOT_IP)
})

test('LLC and SNAP: a length in the place of the type (RFC 1042)', () => {
  assert.deepEqual(located(1, concat(bytesOf(MACS + '0027 aaaa03 000000 0800'), four)), [NET_IPV4, 22])
  assert.deepEqual(located(1, concat(bytesOf(MACS + '8100 0007 0027 aaaa03 000000 86dd'), six)), [NET_IPV6, 26])
  assert.equal(kind(1, bytesOf(MACS + '0026 424203 0000000000')), NET_NOT_IP, 'spanning tree')
  assert.equal(kind(1, bytesOf(MACS + '0026 ffff')), NET_LINK_TRUNCATED)
  assert.equal(kind(1, bytesOf(MACS + '0003 424203')), NET_NOT_IP, 'three bytes are a whole LLC header')
  assert.equal(kind(1, bytesOf(MACS + '0026 aaab03 000000 0800')), NET_NOT_IP)
  assert.equal(kind(1, bytesOf(MACS + '0026 aaaa04 000000 0800')), NET_NOT_IP)
  assert.equal(kind(1, bytesOf(MACS + '0026 aaaa03 000001 0800')), NET_NOT_IP)
  assert.equal(kind(1, bytesOf(MACS + '0600 aaaa03 000000 0800')), NET_NOT_IP, '0600 is the first type')
  assert.equal(kind(1, bytesOf(MACS + '0026 aaaa03 00000c 2000')), NET_NOT_IP, 'the organization is not 00-00-00')
  assert.equal(kind(1, bytesOf(MACS + '0026 aaaa03 000000 08')), NET_LINK_TRUNCATED)
  assert.equal(kind(1, concat(bytesOf(MACS + '0027 aaaa03 000000 8100 0001 0800'), four)), NET_NOT_IP)
})

test('raw IP goes by the version nibble', () => {
  for (const link of [101, 12, 14]) {
    assert.deepEqual(located(link, four), [NET_IPV4, 0])
    assert.deepEqual(located(link, six), [NET_IPV6, 0])
    assert.equal(kind(link, Uint8Array.of(0x50)), NET_NOT_IP)
    assert.equal(kind(link, new Uint8Array(0)), NET_LINK_TRUNCATED)
  }
  assert.deepEqual(located(228, six), [NET_IPV4, 0], 'the link type rules; the engine sees the version')
  assert.deepEqual(located(229, six), [NET_IPV6, 0])
})

test('BSD loopback: NULL in either byte order, LOOP in network order', () => {
  assert.deepEqual(located(0, concat(bytesOf('02000000'), four)), [NET_IPV4, 4])
  assert.deepEqual(located(0, concat(bytesOf('00000002'), four)), [NET_IPV4, 4])
  for (const family of ['0a', '18', '1c', '1e']) {
    assert.deepEqual(located(0, concat(bytesOf(family + '000000'), six)), [NET_IPV6, 4])
    assert.deepEqual(located(0, concat(bytesOf('000000' + family), six)), [NET_IPV6, 4])
    assert.deepEqual(located(108, concat(bytesOf('000000' + family), six)), [NET_IPV6, 4])
    assert.equal(kind(108, concat(bytesOf(family + '000000'), six)), NET_NOT_IP)
  }
  assert.equal(kind(0, bytesOf('07000000')), NET_NOT_IP)
  assert.equal(kind(0, bytesOf('ffffffff')), NET_NOT_IP)
  assert.equal(kind(0, bytesOf('0000ffff')), NET_NOT_IP)
  assert.equal(kind(0, bytesOf('020000')), NET_LINK_TRUNCATED)
})

test('cooked captures of Linux, with a tag inside', () => {
  const sll = (protocol: string) => bytesOf('0000 0001 0006 0200000000010000' + protocol)
  assert.deepEqual(located(113, concat(sll('0800'), four)), [NET_IPV4, 16])
  assert.deepEqual(located(113, concat(sll('86dd'), six)), [NET_IPV6, 16])
  assert.deepEqual(located(113, concat(sll('8100'), bytesOf('0007 0800'), four)), [NET_IPV4, 20])
  assert.deepEqual(located(113, concat(sll('0004'), bytesOf('aaaa03 000000 0800'), four)), [NET_IPV4, 24])
  assert.deepEqual(located(113, concat(sll('0806'))), [NET_ARP, 16])
  assert.equal(kind(113, sll('0001')), NET_NOT_IP)
  assert.equal(kind(113, sll('8100')), NET_LINK_TRUNCATED)
  assert.equal(kind(113, sll('0800').slice(0, 15)), NET_LINK_TRUNCATED)
  const sll2 = (protocol: string) => bytesOf(protocol + '0000 00000002 0001 00 06 0200000000010000')
  assert.deepEqual(located(276, concat(sll2('0800'), four)), [NET_IPV4, 20])
  assert.deepEqual(located(276, concat(sll2('88a8'), bytesOf('0007 86dd'), six)), [NET_IPV6, 24])
  assert.equal(kind(276, sll2('0800').slice(0, 19)), NET_LINK_TRUNCATED)
  assert.equal(kind(276, sll2('0806')), NET_ARP, 'twenty bytes are a whole header')
  assert.equal(kind(276, concat(sll2('0600'), bytesOf('aaaa03 000000 0800'))), NET_NOT_IP)
})

test('a frame cut inside its link header is truncated at every length', () => {
  const header = bytesOf(MACS + '8100 0001 88a8 0002 0027 aaaa03 000000 0800')
  for (let bytes = 0; bytes < header.length; bytes++) assert.equal(kind(1, header.slice(0, bytes)), NET_LINK_TRUNCATED, String(bytes))
  assert.deepEqual(located(1, header), [NET_IPV4, header.length])
})

test('every other link type is unsupported', () => {
  for (const link of [9, 104, 105, 127, 239, 511]) assert.equal(kind(link, four), NET_LINK_UNSUPPORTED)
})

test('a batch is located row by row, and rows beyond the count are left alone', () => {
  const frames = batch([{ link: 1, bytes: concat(bytesOf(MACS + '0800'), four) }, { link: 101, bytes: six }, { link: 228, bytes: four }])
  frames.net[2] = 77
  createLink(frames).locate(2)
  assert.deepEqual([...frames.net], [NET_IPV4, NET_IPV6, 77])
})

test('the link header of a reply has its addresses exchanged and keeps the rest', () => {
  const cases: [number, Uint8Array, Uint8Array][] = [
    [1, bytesOf(MACS + '0800'), bytesOf('020000000001 020000000002 0800')],
    [1, bytesOf(MACS + '8100 e007 0800'), bytesOf('020000000001 020000000002 8100 e007 0800')],
    [1, bytesOf(MACS + '8100 e007 0029 aaaa03 000000 0800'), bytesOf('020000000001 020000000002 8100 e007 0040 aaaa03 000000 0800')],
    [101, new Uint8Array(0), new Uint8Array(0)], [0, bytesOf('02000000'), bytesOf('02000000')],
    [113, bytesOf('0000 0001 0006 0200000000010000 0800'), bytesOf('0000 0001 0006 0200000000010000 0800')],
  ]
  for (const [type, header, reply] of cases) {
    const frames = batch([{ link: type, bytes: concat(header, four) }]), link = createLink(frames)
    link.locate(1)
    const before = frames.pool.slice(0, 100)
    assert.equal(link.headerForReply(0, 120, 56), header.length)
    assert.deepEqual(frames.pool.slice(120, 120 + header.length), reply)
    assert.deepEqual(frames.pool.slice(0, 100), before, 'the frame itself stays')
    assert.deepEqual(frames.pool.slice(120 + header.length), new Uint8Array(frames.pool.length - 120 - header.length))
  }
})

test('locating rows allocates less than a byte a row', () => {
  v8.setFlagsFromString('--expose-gc')
  const gc = vm.runInNewContext('gc') as () => void
  const specs = [{}, { vlan: [5] }, { ip: 6 as const, src: '2001:db8::1', dst: '2001:db8::2' }]
  const rows = Array.from({ length: 10_000 }, (_, i) => {
    const spec = { src: '192.0.2.1', dst: '192.0.2.2', proto: 'udp' as const, link: 'ethernet' as const, ...specs[i % 3] }
    return { link: 1, bytes: buildPacket(spec), linkBytes: linkBytes(spec) }
  })
  const frames = batch(rows), link = createLink(frames)
  for (let round = 0; round < 200; round++) link.locate(rows.length)
  // What allocates for rows does so in every round; a compilation that ends in one of them is not of the rows.
  const grown: number[] = []
  for (let round = 0; round < 11; round++) {
    gc()
    const before = process.memoryUsage().heapUsed
    for (let turn = 0; turn < 10; turn++) link.locate(rows.length)
    grown.push(process.memoryUsage().heapUsed - before)
  }
  const median = grown.sort((a, b) => a - b)[5]
  assert.ok(median / 1e5 < 1, `${median} bytes for 1e5 rows`)
  rows.forEach(({ linkBytes: bytes }, i) => assert.equal(frames.l3[i] - frames.off[i], bytes))
})

test('locate tells frames to a group apart, by Ethernet address and by cooked packet type', () => {
  const frames = createFrames({ capacity: 6, poolBytes: 6 * 64 })
  const rows: [link: number, bytes: number[], group: number][] = [
    [LINK_ETHERNET, [2, 0, 0, 0, 0, 1], 0],
    [LINK_ETHERNET, [1, 0, 0x5e, 0, 0, 1], 1],
    [LINK_ETHERNET, [255, 255, 255, 255, 255, 255], 1],
    [LINK_LINUX_SLL, [0, 0], 0],
    [LINK_LINUX_SLL, [0, 1], 1],
    [LINK_LINUX_SLL2, [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 1],
  ]
  rows.forEach(([link, bytes], i) => {
    frames.pool.set(bytes, i * 64)
    frames.off[i] = i * 64
    frames.capBytes[i] = frames.wireBytes[i] = 40
    frames.link[i] = link
  })
  createLink(frames).locate(rows.length)
  assert.deepEqual([...frames.group], rows.map(([, , group]) => group))
})
