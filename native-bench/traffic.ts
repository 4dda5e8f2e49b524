/**
 * Captures made to measure with: the same parameters and seed give the same bytes. Classic pcap with nanosecond stamps,
 * Ethernet, IPv4, UDP and TCP half and half, right checksums. A frame of "64 bytes" is one of 60 in a capture: the wire
 * adds its check sequence.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { createPrng } from '../src/base/prng.ts'

export type SizeMix = '64b' | 'imix' | 'mixed'
export type Distribution = 'uniform' | 'zipf'

/** Frame bytes in the capture, and how often of how many. */
const MIXES: Record<SizeMix, readonly (readonly [bytes: number, share: number])[]> = {
  '64b': [[60, 1]],
  // The "simple IMIX": 7:4:1 of 64, 594 and 1518 bytes on the wire.
  imix: [[60, 7], [590, 4], [1514, 1]],
  // Acknowledgements and voice with some bulk between them: keeps files of millions of packets small.
  mixed: [[60, 20], [590, 1], [1514, 1]],
}

const ETHERNET_BYTES = 14, IPV4_BYTES = 20
const TCP = 6, UDP = 17
export const SYN = 2, SYN_ACK = 18, ACK = 16

export const FIRST_POOL_ADDRESS = 0xcb007101 | 0      // 203.0.113.1
/** Flows of one inside host. */
const FLOWS_OF_HOST = 16
const START_SEC = 1_700_000_000
const NS_PER_SEC = 1_000_000_000

/** Flows as columns. `outside` and `outsidePort` are the box's choice; who opened the flows fills them in. */
export interface FlowSet {
  count: number
  inside: Int32Array
  insidePort: Uint16Array
  peer: Int32Array
  peerPort: Uint16Array
  protocol: Uint8Array
  outside: Int32Array
  outsidePort: Uint16Array
}

/** `shared`: so many neighbouring flows share one inside endpoint, and with it one mapping. */
export function makeFlows(count: number, seed: number, shared = 1): FlowSet {
  const { next } = createPrng(seed)
  const set: FlowSet = {
    count, inside: new Int32Array(count), insidePort: new Uint16Array(count), peer: new Int32Array(count),
    peerPort: new Uint16Array(count), protocol: new Uint8Array(count), outside: new Int32Array(count),
    outsidePort: new Uint16Array(count),
  }
  const endpoints = Math.ceil(count / shared)
  const hosts = Math.ceil(endpoints / FLOWS_OF_HOST)
  for (let i = 0; i < count; i++) {
    const endpoint = Math.floor(i / shared)
    const host = endpoint % hosts, nth = Math.floor(endpoint / hosts)
    set.inside[i] = 0x0a000100 + host
    // Steps of a prime: hosts differ, and the flows of one host do too.
    set.insidePort[i] = 1024 + (nth * 7919 + host * 31) % 64512
    // 45.0.0.0/8, of which nothing is special.
    set.peer[i] = 0x2d000000 | next() & 0xffffff
    set.peerPort[i] = (next() & 3) === 0 ? 53 + (next() & 0xfff) : 443
    set.protocol[i] = (endpoint & 1) === 0 ? UDP : TCP
  }
  return set
}

/** Writes frames into a file, one packet a tick of `stepNs`. */
export class CaptureWriter {
  packets = 0
  private readonly fd: number
  private readonly bytes = Buffer.alloc(1 << 20)
  private at = 24
  private nowNs: number
  private readonly stepNs: number

  constructor(path: string, stepNs: number, startNs = 0) {
    this.stepNs = stepNs
    this.nowNs = startNs
    this.fd = openSync(path, 'w')
    const { bytes } = this
    bytes.writeUInt32LE(0xa1b23c4d, 0)
    bytes.writeUInt16LE(2, 4)
    bytes.writeUInt16LE(4, 6)
    bytes.writeUInt32LE(262144, 16)
    bytes.writeUInt32LE(1, 20)
  }

  frame(
    frameBytes: number, protocol: number, src: number, srcPort: number, dst: number, dstPort: number, flags: number,
  ): void {
    const { bytes } = this
    if (this.at + 16 + frameBytes > bytes.length) this.flush()
    bytes.writeUInt32LE(START_SEC + Math.floor(this.nowNs / NS_PER_SEC), this.at)
    bytes.writeUInt32LE(this.nowNs % NS_PER_SEC, this.at + 4)
    bytes.writeUInt32LE(frameBytes, this.at + 8)
    bytes.writeUInt32LE(frameBytes, this.at + 12)
    putFrame(bytes, this.at + 16, frameBytes, protocol, src, srcPort, dst, dstPort, flags)
    this.at += 16 + frameBytes
    this.nowNs += this.stepNs
    this.packets++
  }

  private flush(): void {
    writeSync(this.fd, this.bytes, 0, this.at)
    this.at = 0
  }

  close(): void {
    this.flush()
    closeSync(this.fd)
  }
}

/** One frame whose payload is zeros, so that its checksum is that of its headers. */
export function putFrame(
  b: Buffer, at: number, frameBytes: number, protocol: number, src: number, srcPort: number, dst: number,
  dstPort: number, flags: number,
): void {
  const ip = at + ETHERNET_BYTES, l4 = ip + IPV4_BYTES
  const total = frameBytes - ETHERNET_BYTES, transport = total - IPV4_BYTES
  b.fill(0, at, at + frameBytes)
  b.writeUIntBE(0x020000000002, at, 6)
  b.writeUIntBE(0x020000000001, at + 6, 6)
  b.writeUInt16BE(0x0800, at + 12)
  b.writeUInt32BE(0x45000000 + total, ip)
  b.writeUInt32BE(0x4000, ip + 4)
  b.writeUInt16BE(64 << 8 | protocol, ip + 8)
  b.writeInt32BE(src, ip + 12)
  b.writeInt32BE(dst, ip + 16)
  b.writeUInt16BE(~fold(sumOf(b, ip, l4)) & 0xffff, ip + 10)
  b.writeUInt16BE(srcPort, l4)
  b.writeUInt16BE(dstPort, l4 + 2)
  let sumAt = l4 + 6
  if (protocol === TCP) {
    b.writeUInt16BE(5 << 12 | flags, l4 + 12)
    b.writeUInt16BE(0xffff, l4 + 14)
    sumAt = l4 + 16
  } else b.writeUInt16BE(transport, l4 + 4)
  const sum = ~fold(sumOf(b, ip + 12, l4 + (protocol === TCP ? 20 : 8)) + protocol + transport) & 0xffff
  b.writeUInt16BE(protocol === UDP && sum === 0 ? 0xffff : sum, sumAt)
}

function sumOf(b: Buffer, from: number, to: number): number {
  let sum = 0
  for (let at = from; at < to; at += 2) sum += b.readUInt16BE(at)
  return sum
}
function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}

/** The packet of flow `i` from inside. */
function outward(w: CaptureWriter, set: FlowSet, i: number, bytes: number, flags: number): void {
  w.frame(bytes, set.protocol[i], set.inside[i], set.insidePort[i], set.peer[i], set.peerPort[i], flags)
}
/** The packet of flow `i` from outside: to the outside endpoint, or as a capture inside the NAT has it. */
function inward(w: CaptureWriter, set: FlowSet, i: number, bytes: number, flags: number, preNat: boolean): void {
  w.frame(bytes, set.protocol[i], set.peer[i], set.peerPort[i], preNat ? set.inside[i] : set.outside[i],
    preNat ? set.insidePort[i] : set.outsidePort[i], flags)
}

/** One packet for each flow from inside: UDP, or a SYN. */
export function writeOpenings(path: string, set: FlowSet): number {
  const w = new CaptureWriter(path, 1000)
  for (let i = 0; i < set.count; i++) outward(w, set, i, 60, SYN)
  w.close()
  return w.packets
}

/** The openings, and for TCP at once the SYN-ACK to the outside endpoint: the flow is ESTABLISHED, and never many are half-open. */
export function writeWarm(path: string, set: FlowSet): number {
  const w = new CaptureWriter(path, 1000)
  for (let i = 0; i < set.count; i++) {
    outward(w, set, i, 60, SYN)
    if (set.protocol[i] === TCP) inward(w, set, i, 60, SYN_ACK, false)
  }
  w.close()
  return w.packets
}

export interface SteadySpec {
  packets: number
  sizes: SizeMix
  distribution: Distribution
  seed: number
}

/** Packets of known flows, half of them from outside, in an order that has nothing to do with that of their opening. */
export function writeSteady(path: string, set: FlowSet, spec: SteadySpec): number {
  const prng = createPrng(spec.seed)
  const chooseFlow = chooser(set.count, spec.distribution, prng.next)
  const chooseSize = sizes(spec.sizes, prng.next)
  const w = new CaptureWriter(path, 500, set.count * 2000 + NS_PER_SEC)
  for (let n = 0; n < spec.packets; n++) {
    const i = chooseFlow(), bytes = chooseSize()
    if ((prng.next() & 0x8000) === 0) outward(w, set, i, bytes, ACK)
    else inward(w, set, i, bytes, ACK, false)
  }
  w.close()
  return w.packets
}

/** A capture from inside the NAT: flows open with their first packet, and replies are addressed to inside hosts. */
export function writePreNat(path: string, set: FlowSet, spec: SteadySpec): number {
  const prng = createPrng(spec.seed)
  const chooseFlow = chooser(set.count, spec.distribution, prng.next)
  const chooseSize = sizes(spec.sizes, prng.next)
  const seen = new Uint8Array(set.count)
  const w = new CaptureWriter(path, 2000)
  for (let n = 0; n < spec.packets; n++) {
    const i = chooseFlow(), bytes = chooseSize()
    const out = (prng.next() & 0x8000) === 0
    const tcp = set.protocol[i] === TCP
    if (seen[i] === 0) outward(w, set, i, 60, SYN)
    else if (seen[i] === 1 && tcp) inward(w, set, i, 60, SYN_ACK, true)
    else if (out) outward(w, set, i, bytes, ACK)
    else inward(w, set, i, bytes, ACK, true)
    if (seen[i] < 2) seen[i]++
  }
  w.close()
  return w.packets
}

function sizes(mix: SizeMix, next: () => number): () => number {
  const list = MIXES[mix].flatMap(([bytes, share]) => Array.from({ length: share }, () => bytes))
  return () => list[(next() >>> 8) % list.length]
}

/** Flow numbers: all alike, or the k-th most frequent one 1/k as often as the first (Zipf with exponent 1). */
function chooser(count: number, distribution: Distribution, next: () => number): () => number {
  const unit = () => (next() >>> 0) / 2 ** 32
  if (distribution === 'uniform') return () => Math.floor(unit() * count)
  const order = Int32Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(unit() * (i + 1))
    const kept = order[i]
    order[i] = order[j]
    order[j] = kept
  }
  const upTo = new Float64Array(count)
  let sum = 0
  for (let k = 0; k < count; k++) upTo[k] = sum += 1 / (k + 1)
  return () => {
    const wanted = unit() * sum
    let low = 0, high = count - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (upTo[middle] < wanted) low = middle + 1
      else high = middle
    }
    return order[low]
  }
}
