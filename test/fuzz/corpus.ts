/**
 * Frames to attack with: everything that the captures at hand hold, and packets made here that hang together (flows, replies,
 * errors about them, fragments, chains of extension headers), because a packet that no earlier one prepared is dropped too soon.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Prng } from '../../src/base/prng.ts'
import { captureBytes } from '../../src/phy/capture-reader.ts'
import { CaptureError } from '../../src/phy/capture-error.ts'
import { preloadCapture } from '../../src/phy/preload.ts'
import { buildPacket, concat, fragment, icmpError, type PacketSpec, type Protocol } from '../../src/wire/build.ts'
import { LINK_ETHERNET, LINK_IPV4, LINK_IPV6, LINK_RAW, createFrames } from '../../src/wire/frames.ts'

export interface Frame { link: number; bytes: Uint8Array; wireBytes: number }

export const SHARED = '../shared/pcaps'

/** At most `most` frames of each capture in `folder`, spread over it. */
export async function framesIn(folder: string, most: number): Promise<Frame[]> {
  if (!existsSync(folder)) return []
  const found: Frame[] = []
  const columns = createFrames({ capacity: 256, poolBytes: captureBytes() })
  for (const name of readdirSync(folder).sort()) {
    if (!/\.pcap(ng)?(\.gz)?$/.test(name)) continue
    try {
      const store = await preloadCapture(join(folder, name), columns, { poolStart: 0, poolEnd: captureBytes() })
      const step = Math.max(1, Math.floor(store.frames / most))
      for (let i = 0; i < store.frames; i += step) {
        found.push({ link: store.link[i], wireBytes: store.wireBytes[i], bytes: store.bytes.slice(store.off[i], store.off[i + 1]) })
      }
    } catch (error) {
      // A file that is no capture at all is not our subject.
      if (!(error instanceof CaptureError)) throw error
    }
  }
  return found
}

export function chance(prng: Prng, oneIn: number): boolean { return prng.below(oneIn) === 0 }
export function pick<T>(prng: Prng, from: readonly T[]): T { return from[prng.below(from.length)] }
export function randomBytes(prng: Prng, bytes: number): Uint8Array { return Uint8Array.from({ length: bytes }, () => prng.next()) }

export function whole(packet: Uint8Array, link = LINK_RAW): Frame { return { link, bytes: packet, wireBytes: packet.length } }

/** An IP packet as a frame of some link type. */
export function framed(prng: Prng, packet: Uint8Array): Frame {
  const six = packet.length > 0 && packet[0] >> 4 === 6
  const type = six ? [0x86, 0xdd] : [8, 0]
  const macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]
  const put = (header: readonly number[], link: number) => whole(concat(Uint8Array.from(header), packet), link)
  switch (prng.below(9)) {
    case 0: return put([...macs, 0x81, 0, 0, 7, ...type], LINK_ETHERNET)
    case 1: return put([...macs, 0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, ...type], LINK_ETHERNET)
    case 2: return put([...macs, packet.length + 8 >> 8, packet.length + 8, 0xaa, 0xaa, 3, 0, 0, 0, ...type], LINK_ETHERNET)
    case 3: return put([0, 0, 0, 1, 0, 6, ...macs.slice(6), 0, 0, ...type], 113)
    case 4: return put([...type, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, ...macs.slice(6), 0, 0], 276)
    case 5: return put([0, 0, 0, six ? 10 : 2], 108)
    case 6: return whole(packet, chance(prng, 2) ? LINK_RAW : six ? LINK_IPV6 : LINK_IPV4)
    default: {
      // A short frame is padded to 60 bytes, as Ethernet does, with what happened to lie in the buffer.
      const frame = put([...macs, ...type], LINK_ETHERNET)
      const bytes = frame.bytes.length < 60 ? concat(frame.bytes, randomBytes(prng, 60 - frame.bytes.length)) : frame.bytes
      return whole(bytes, LINK_ETHERNET)
    }
  }
}

const INSIDE4 = ['10.0.0.1', '10.0.0.2', '10.0.0.3'], OUTSIDE4 = ['198.51.100.1', '198.51.100.2', '192.0.2.1']
export const POOL4 = ['203.0.113.1', '203.0.113.2']
const INSIDE6 = ['fd00::1', 'fd00::2'], OUTSIDE6 = ['2001:db8::1', '2001:db8::2']
const ODD4 = ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255', '240.0.0.1', '169.254.0.1', '192.0.0.8']
const ODD6 = ['::', '::1', '::ffff:10.0.0.1', 'ff02::1', 'fe80::1']
const PORTS = [0, 1, 53, 80, 1023, 1024, 5000, 5001, 5002, 5003, 65535]
const PROTOCOLS: (Protocol | number)[] = ['udp', 'udp', 'tcp', 'tcp', 'icmp', 'icmp6', 'udplite', 'dccp', 0, 1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59,
  60, 132, 135, 139, 140, 255]
const FLAGS = [2, 2, 2, 18, 16, 16, 24, 17, 1, 4, 20, 0, 6]
const EXTENSIONS = [0, 43, 44, 51, 60, 60, 135, 139, 140]

function address(prng: Prng, six: boolean, inside: boolean): string {
  if (chance(prng, 40)) return pick(prng, six ? ODD6 : ODD4)
  if (!six && !inside && chance(prng, 6)) return pick(prng, POOL4)
  return pick(prng, six ? inside ? INSIDE6 : OUTSIDE6 : inside ? INSIDE4 : OUTSIDE4)
}

function extensions(prng: Prng): { header: number; body: Uint8Array }[] {
  return Array.from({ length: prng.below(chance(prng, 8) ? 11 : 4) }, (_, n) => {
    const header = n === 0 && chance(prng, 3) ? 0 : pick(prng, EXTENSIONS)
    const body = header === 44 ? Uint8Array.of(chance(prng, 3) ? prng.next() : 0, chance(prng, 2) ? 0 : prng.next(), 0, 0, 0, prng.below(4))
      : randomBytes(prng, prng.below(3) * 8 + 6)
    return { header, body }
  })
}

function spec(prng: Prng): PacketSpec {
  const six = chance(prng, 3), outward = !chance(prng, 3)
  const payload = randomBytes(prng, pick(prng, [0, 0, 1, 7, 8, 20, 64, 300, 1400]))
  return {
    src: address(prng, six, outward), dst: address(prng, six, !outward), proto: pick(prng, PROTOCOLS), payload,
    srcPort: pick(prng, PORTS), dstPort: pick(prng, PORTS), tcpFlags: pick(prng, FLAGS), icmpId: pick(prng, PORTS),
    icmpType: pick(prng, six ? [128, 128, 129, 1, 2, 3, 4, 135] : [8, 8, 0, 13, 14, 3, 4, 5, 11, 12]), icmpSeq: prng.below(3),
    ttl: pick(prng, [64, 64, 64, 64, 255, 2, 1, 0]), id: prng.below(4), coverage: pick(prng, [0, 0, 8]),
    ...!six && chance(prng, 5) && { options: pick(prng, [
      Uint8Array.of(1, 1, 1, 1), Uint8Array.of(7, 7, 4, 0, 0, 0, 0), Uint8Array.of(131, 7, 4, 1, 2, 3, 4), Uint8Array.of(148, 4, 0, 0),
      Uint8Array.of(1, 1, 1, 7), Uint8Array.of(7, 1), Uint8Array.of(0, 137, 40), randomBytes(prng, 40),
    ]) },
    ...chance(prng, 5) && { tcpOptions: randomBytes(prng, prng.below(41)) },
    ...six && chance(prng, 2) && { extensions: extensions(prng) },
    ...chance(prng, 8) && { moreFragments: chance(prng, 2), fragOffset: prng.below(8) * 8 },
    checksum: pick(prng, ['right', 'right', 'right', 'zero', 'wrong'] as const),
    ipChecksum: pick(prng, ['right', 'right', 'right', 'right', 'zero', 'wrong'] as const),
  }
}

function set16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8
  bytes[at + 1] = value
}

/** Makes the IPv4 header checksum right, so that what was bent gets further than the first check. */
export function mend(bytes: Uint8Array, l3 = 0): void {
  const header = (bytes[l3] & 15) * 4
  if (bytes[l3] >> 4 !== 4 || l3 + Math.max(header, 20) > bytes.length) return
  set16(bytes, l3 + 10, 0)
  let sum = 0
  for (let at = l3; at < l3 + header; at += 2) sum += bytes[at] << 8 | bytes[at + 1]
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  set16(bytes, l3 + 10, ~sum & 0xffff)
}

/** What the other end might answer: both ends exchanged, which leaves the checksums right. */
function answer(prng: Prng, packet: Uint8Array): Uint8Array {
  const bytes = packet.slice(), six = bytes[0] >> 4 === 6
  if (bytes.length < 48) return bytes
  const at = six ? 8 : 12, size = six ? 16 : 4
  bytes.set(packet.slice(at + size, at + 2 * size), at)
  bytes.set(packet.slice(at, at + size), at + size)
  const l4 = six ? 40 : (bytes[0] & 15) * 4, protocol = bytes[six ? 6 : 9]
  if (l4 + 20 > bytes.length) return bytes
  if (protocol === 6 || protocol === 17) {
    bytes.set(packet.slice(l4, l4 + 2), l4 + 2)
    bytes.set(packet.slice(l4 + 2, l4 + 4), l4)
  }
  if (protocol === 6) bytes[l4 + 13] = pick(prng, FLAGS)
  if (protocol === 1 && bytes[l4] === 8) bytes[l4] = 0
  if (protocol === 58 && bytes[l4] === 128) bytes[l4] = 129
  // As it comes to the box: the hop that was taken away on the way out is put back.
  bytes[six ? 7 : 8] = 64
  mend(bytes)
  return bytes
}

function errorAbout(prng: Prng, packet: Uint8Array, depth: number): Uint8Array {
  if (packet.length < 48 || packet[0] >> 4 !== 4 && packet[0] >> 4 !== 6) return packet
  const six = packet[0] >> 4 === 6
  const original = depth > 0 ? errorAbout(prng, packet, depth - 1) : packet
  return icmpError({
    src: address(prng, six, chance(prng, 2)), original, icmpType: pick(prng, six ? [1, 2, 3, 4] : [3, 11, 12]), icmpCode: prng.below(5),
    ...chance(prng, 3) && { quoteBytes: chance(prng, 2) ? prng.below(80) : 20 + prng.below(9) }, ...chance(prng, 6) && { multipart: randomBytes(prng, 12) },
    ttl: pick(prng, [64, 64, 2, 1]), checksum: pick(prng, ['right', 'right', 'right', 'wrong'] as const),
  })
}

/**
 * Traffic that hangs together. `sent` are network packets that left the box, the latest last: what the world answers to.
 * `seeds` are frames of captures.
 */
export function make(prng: Prng, sent: readonly Uint8Array[], seeds: readonly Frame[]): Frame[] {
  const before = sent.length > 0 ? sent[sent.length - 1 - prng.below(Math.min(sent.length, 24))] : null
  const dice = prng.below(20)
  if (before !== null && dice < 6) return [framed(prng, answer(prng, before))]
  if (before !== null && dice < 9) return [framed(prng, errorAbout(prng, before, chance(prng, 5) ? 1 + prng.below(3) : 0))]
  if (dice < 12 && seeds.length > 0) return [pick(prng, seeds)]
  if (dice < 14) {
    const packet = buildPacket({ ...spec(prng), moreFragments: false, fragOffset: 0 })
    const pieces = fragment(packet, Array.from({ length: prng.below(5) }, () => 8 * (1 + prng.below(20))), { id: prng.below(4) })
    if (chance(prng, 3)) pieces.push(pieces[prng.below(pieces.length)])
    if (chance(prng, 2)) pieces.sort(() => prng.next())
    return pieces.map((piece) => framed(prng, piece))
  }
  if (dice === 14) return [whole(randomBytes(prng, prng.below(200)), pick(prng, [0, 1, 1, 12, 14, 101, 108, 113, 228, 229, 276, 9, 104]))]
  return [framed(prng, buildPacket(spec(prng)))]
}

const BENT = [0, 1, 4, 5, 6, 8, 17, 19, 20, 27, 28, 40, 58, 60, 64, 127, 128, 255]

/** Bends a frame: bytes, length fields, snap length, what follows it on the wire. */
export function mutate(prng: Prng, frame: Frame): Frame {
  let bytes: Uint8Array = frame.bytes.slice()
  let wireBytes = frame.wireBytes
  for (let n = prng.below(4); n > 0 && bytes.length > 0; n--) {
    const at = prng.below(Math.min(bytes.length, chance(prng, 4) ? 65536 : 100))
    if (chance(prng, 2)) bytes[at] ^= 1 << prng.below(8)
    else bytes[at] = chance(prng, 2) ? pick(prng, BENT) : prng.next()
  }
  const l3 = frame.link === LINK_ETHERNET ? 14 : frame.link === 113 ? 16 : frame.link === 276 ? 20 : frame.link === 108 ? 4 : 0
  if (bytes.length > l3 + 20 && chance(prng, 3)) {
    // A length that lies by a little.
    const at = l3 + (bytes[l3] >> 4 === 6 ? 4 : 2)
    set16(bytes, at, (bytes[at] << 8 | bytes[at + 1]) + prng.below(65) - 32)
  }
  if (!chance(prng, 4) && bytes.length > l3) mend(bytes, l3)
  switch (prng.below(6)) {
    case 0: {
      // Cut by the snap length.
      bytes = bytes.slice(0, prng.below(Math.min(bytes.length, chance(prng, 2) ? 100 : 65536) + 1))
      break
    }
    case 1: {
      // Cut on the wire.
      bytes = bytes.slice(0, prng.below(Math.min(bytes.length, 65535) + 1))
      wireBytes = bytes.length
      break
    }
    case 2: {
      bytes = concat(bytes, randomBytes(prng, prng.below(40)))
      wireBytes = Math.max(wireBytes, bytes.length)
    }
  }
  return { link: frame.link, bytes, wireBytes: Math.max(wireBytes, bytes.length) }
}
