import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, icmpError } from '../wire/build.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE, createFrames } from '../wire/frames.ts'
import { createDigest, type Digest } from './digest.ts'

const frames = createFrames({ capacity: 1, poolBytes: 4096 })
const AT = 100

function digestOf(run: (digest: Digest) => void): string {
  const digest = createDigest(frames)
  run(digest)
  return digest.text()
}

function put(packet: Uint8Array): number {
  frames.pool.fill(0)
  frames.pool.set(packet, AT)
  return packet.length
}

const packets = {
  'UDP over IPv4': buildPacket({ proto: 'udp', src: '192.0.2.1', dst: '198.51.100.1', srcPort: 1, dstPort: 2, payload: new Uint8Array(40) }),
  'TCP over IPv4': buildPacket({ proto: 'tcp', src: '192.0.2.1', dst: '198.51.100.1', srcPort: 1, dstPort: 2 }),
  'IPv6': buildPacket({ proto: 'udp', src: '2001:db8::1', dst: '2001:db8::2', srcPort: 1, dstPort: 2, payload: new Uint8Array(40) }),
  'a short packet': buildPacket({ proto: 'udp', src: '192.0.2.1', dst: '198.51.100.1', srcPort: 1, dstPort: 2, payload: new Uint8Array(3) }),
  'a cut packet': buildPacket({ proto: 'udp', src: '192.0.2.1', dst: '198.51.100.1', srcPort: 1, dstPort: 2 }).slice(0, 9),
}
for (const [name, packet] of Object.entries(packets)) {
  test(`digest: each bit of the headers shows (${name})`, () => {
    const bytes = put(packet)
    const sent = (digest: Digest) => digest.sent(SIDE_OUTSIDE, AT, bytes, bytes, 1_700_000_000, 5)
    const plain = digestOf(sent)
    for (let at = 0; at < Math.min(bytes, 40); at++) {
      for (let bit = 0; bit < 8; bit++) {
        frames.pool[AT + at] ^= 1 << bit
        assert.notEqual(digestOf(sent), plain, `bit ${bit} of byte ${at}`)
        frames.pool[AT + at] ^= 1 << bit
      }
    }
    // What lies around the packet does not belong to it.
    frames.pool[AT - 1] ^= 255
    frames.pool[AT + bytes] ^= 255
    assert.equal(digestOf(sent), plain)
  })
}

test('digest: side, time stamp and lengths show', () => {
  const bytes = put(packets['UDP over IPv4'])
  const variants: Parameters<Digest['sent']>[] = [
    [SIDE_OUTSIDE, AT, bytes, bytes, 1000, 5], [SIDE_INSIDE, AT, bytes, bytes, 1000, 5],
    [SIDE_OUTSIDE, AT, bytes - 1, bytes, 1000, 5], [SIDE_OUTSIDE, AT, bytes, bytes + 1, 1000, 5],
    [SIDE_OUTSIDE, AT, bytes, bytes, 1001, 5], [SIDE_OUTSIDE, AT, bytes, bytes, 1000 + 2 ** 31, 5],
    [SIDE_OUTSIDE, AT, bytes, bytes, 1000, 6], [SIDE_OUTSIDE, AT, bytes, bytes, 1000, 999_999_999],
    [SIDE_OUTSIDE, AT, bytes, bytes, 5, 1000], [SIDE_OUTSIDE, AT, 0, bytes, 1000, 5],
  ]
  assert.equal(new Set(variants.map((args) => digestOf((digest) => digest.sent(...args)))).size, variants.length)
})

test('digest: what became of a packet shows, and which reason a drop has, and the order of it all', () => {
  const bytes = put(packets['UDP over IPv4'])
  const sent = (digest: Digest) => digest.sent(SIDE_OUTSIDE, AT, bytes, bytes, 1000, 5)
  const seen = [
    digestOf(() => { /* nothing happened */ }), digestOf(sent), digestOf((digest) => digest.held()),
    ...Array.from({ length: 64 }, (_, reason) => digestOf((digest) => digest.dropped(reason))),
    digestOf((digest) => { digest.dropped(1); digest.dropped(2) }),
    digestOf((digest) => { digest.dropped(2); digest.dropped(1) }),
    digestOf((digest) => { digest.dropped(1); sent(digest) }),
    digestOf((digest) => { sent(digest); digest.dropped(1) }),
    digestOf((digest) => { sent(digest); sent(digest) }),
    digestOf((digest) => { digest.held(); digest.held() }),
  ]
  assert.equal(new Set(seen).size, seen.length)
  for (const text of seen) assert.match(text, /^[0-9a-f]{16}$/)
})

test('digest: one difference among many packets is not lost', () => {
  const bytes = put(packets['TCP over IPv4'])
  const run = (different: number) => digestOf((digest) => {
    for (let n = 0; n < 500; n++) digest.sent(SIDE_OUTSIDE, AT, bytes, bytes, 1000 + Math.floor(n / 10), n === different ? 1 : 0)
  })
  assert.equal(new Set(Array.from({ length: 501 }, (_, different) => run(different))).size, 501)
})

/** Words that a NAT rewrites lie beyond the first 40 bytes here, and no sum in front of them tells. */
const quoted = buildPacket({ proto: 'udp', src: '10.0.0.1', dst: '198.51.100.1', srcPort: 1000, dstPort: 53 })
const other = buildPacket({ proto: 'udp', src: '10.0.0.1', dst: '198.51.100.1', srcPort: 2000, dstPort: 53 })
const error = (original: Uint8Array) => icmpError({ src: '198.51.100.1', dst: '10.0.0.1', original, icmpType: 3 })
const options = Uint8Array.of(148, 4, 0, 0, ...new Array<number>(20).fill(1))
const withOptions = (srcPort: number) =>
  buildPacket({ proto: 'udp', src: '192.0.2.1', dst: '198.51.100.1', srcPort, dstPort: 53, options })
for (const [name, one, two] of [
  ['the port that an ICMP error quotes', error(quoted), error(other)],
  ['the port behind IPv4 options', withOptions(1000), withOptions(2000)],
] as const) {
  test(`digest: ${name} shows`, () => {
    const digests = [one, two].map((packet) => {
      const bytes = put(packet)
      return digestOf((digest) => digest.sent(SIDE_INSIDE, AT, bytes, bytes, 1000, 5))
    })
    assert.notEqual(digests[0], digests[1])
  })
}
