/** The program that the kernel steers by, run by a small interpreter here, against `plane/owner` and against plain arithmetic. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { createNpt6 } from '../../channel/npt6.ts'
import { createSteering, MOST_WORKERS, type SteeringOptions } from '../../channel/steering.ts'
import { ANYONE, BY_DATAGRAM, createOwner } from '../../plane/owner.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import { steeringProgram, type Instruction } from './program.ts'

const OURS = 0xcb007101 | 0

/** What linux/filter.rst says of these instructions, of a frame whose network header begins at 0. */
function runProgram(program: readonly Instruction[], type: number, packet: DataView): number {
  const memory = new Uint32Array(16)
  let a = 0, x = 0
  const load = (at: number, bytes: number): number => {
    const from = at + 0x100000
    if (from + bytes > packet.byteLength) return -1
    return bytes === 1 ? packet.getUint8(from) : bytes === 2 ? packet.getUint16(from) : packet.getUint32(from)
  }
  for (let at = 0; at < program.length; at++) {
    const [code, whenTrue, whenFalse, k] = program[at]!
    const offset = k | 0
    let loaded = 0
    switch (code) {
      case 0x20: case 0x28: case 0x30: loaded = a = offset === -0x1000 ? type : load(offset, [4, 2, 1][code - 0x20 >> 3]!); break
      case 0x48: case 0x50: loaded = a = load(offset + x, code === 0x48 ? 2 : 1); break
      case 0x61: x = memory[k]!; break
      case 0x02: memory[k] = a; break
      case 0x07: x = a; break
      case 0x0c: a = a + x >>> 0; break
      case 0x14: a = a - k >>> 0; break
      case 0x24: a = Math.imul(a, k) >>> 0; break
      case 0x34: a = Math.floor(a / k); break
      case 0x94: a %= k; break
      case 0x54: a = (a & k) >>> 0; break
      case 0x64: a = a << k >>> 0; break
      case 0x74: a >>>= k; break
      case 0x15: at += a === k ? whenTrue : whenFalse; break
      case 0x45: at += (a & k) !== 0 ? whenTrue : whenFalse; break
      case 0x06: return k
      case 0x16: return a
      default: assert.fail(`code 0x${code.toString(16)}`)
    }
    // A load beyond the packet ends the program with 0.
    if (loaded < 0) return 0
  }
  return assert.fail('it runs past its end')
}

interface Fields {
  isSix: boolean; src: number[]; dst: number[]; protocol: number; id: number; fragment: number; options: number
  srcPort: number; dstPort: number; icmpType: number
  quoted: { src: number; dst: number; protocol: number; srcPort: number }
}

/** An IP packet of these fields; only what steering looks at is right. */
function packetOf(f: Fields): DataView {
  const header = f.isSix ? 40 : 20 + f.options * 4
  const v = new DataView(new ArrayBuffer(header + 8 + 48))
  const l4 = header
  if (f.isSix) {
    v.setUint8(0, 0x60)
    v.setUint16(4, v.byteLength - 40)
    v.setUint8(6, f.protocol)
    f.src.forEach((word, n) => v.setInt32(8 + 4 * n, word))
    f.dst.forEach((word, n) => v.setInt32(24 + 4 * n, word))
  } else {
    v.setUint8(0, 0x45 + f.options)
    v.setUint16(4, f.id)
    v.setUint16(6, f.fragment)
    v.setUint8(9, f.protocol)
    v.setInt32(12, f.src[0]!)
    v.setInt32(16, f.dst[0]!)
  }
  if (f.protocol === 1 || f.protocol === 58) {
    v.setUint8(l4, f.icmpType)
    v.setUint16(l4 + 4, f.srcPort)
    if (!f.isSix) {
      v.setUint8(l4 + 8, 0x45)
      v.setUint8(l4 + 17, f.quoted.protocol)
      v.setInt32(l4 + 20, f.quoted.src)
      v.setInt32(l4 + 24, f.quoted.dst)
      v.setUint16(l4 + 28 + (f.quoted.protocol === 1 ? 4 : 0), f.quoted.srcPort)
    }
  } else {
    v.setUint16(l4, f.srcPort)
    v.setUint16(l4 + 2, f.dstPort)
  }
  return v
}

/** The rules of docs/live.md as plain arithmetic, with big integers. */
function model(o: SteeringOptions, f: Fields, side: number, nat44: boolean): number {
  const workers = BigInt(o.workers)
  const hash = (word: number) => Number(((((BigInt(word >>> 0) * 0x9e3779b1n) & 0xffffffffn) >> 16n) * workers) >> 16n)
  const stripe = (port: number) => Number(((BigInt(port) - BigInt(o.stripeBase) + (1n << 32n)) % (1n << 32n)) / BigInt(o.stripePorts) % workers)
  if (f.isSix) {
    const words = (side === SIDE_INSIDE ? f.src : f.dst).flatMap((word) => [word >>> 16, word & 0xffff]).slice(0, o.bySubnet ? 4 : 8)
    return hash(words.reduce((sum, word) => sum + word, 0) % 0xffff)
  }
  const hasPorts = (protocol: number) => [1, 6, 17].includes(protocol)
  const isError = f.protocol === 1 && f.fragment === 0 && [3, 11, 12].includes(f.icmpType)
  if (side === SIDE_INSIDE) {
    const protocol = isError ? f.quoted.protocol : f.protocol
    return nat44 && !hasPorts(protocol) ? 0 : hash(isError ? f.quoted.dst : f.src[0]!)
  }
  if (!nat44) return hash(f.dst[0]!)
  if (!hasPorts(f.protocol)) return 0
  if (f.fragment !== 0) return f.dst[0] === OURS ? BY_DATAGRAM : hash(f.dst[0]!)
  if (isError) {
    if (!hasPorts(f.quoted.protocol)) return 0
    return f.quoted.src === OURS ? stripe(f.quoted.srcPort) : hash(f.quoted.src)
  }
  return f.dst[0] === OURS ? stripe(f.protocol === 1 ? f.srcPort : f.dstPort) : hash(f.dst[0]!)
}

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

test(`the kernel, the workers and plain arithmetic agree on whose a packet is (seed ${seed})`, () => {
  const prng = createPrng(seed), { below } = prng
  const word = () => (below(0x10000) << 16 | below(0x10000)) | 0
  const pick = <T>(...of: T[]): T => of[below(of.length)]!
  const met = new Map<string, number>()
  for (let round = 0; round < 60; round++) {
    const options: SteeringOptions = { workers: 1 + below(MOST_WORKERS), stripeBase: pick(0, 1024, 2000), stripePorts: pick(64, 100, 256, 1000), bySubnet: below(2) === 0 }
    const nat44 = below(4) !== 0
    const steering = createSteering(options)
    const programs = [SIDE_INSIDE, SIDE_OUTSIDE].map((side) => steeringProgram(options, side, nat44))
    for (let n = 0; n < 300; n++) {
      const side = pick(SIDE_INSIDE, SIDE_OUTSIDE), isSix = below(4) === 0
      const six = () => Array.from({ length: 4 }, word)
      const src = isSix ? six() : [pick(word(), 0x0a000000 + below(256))], dst = isSix ? six() : [side === SIDE_OUTSIDE && below(4) !== 0 ? OURS : word()]
      const f: Fields = {
        isSix, src, dst, protocol: isSix ? pick(6, 17, 50) : pick(6, 17, 1, 47), id: below(0x10000), fragment: pick(0, 0, 0, 0x2000, 100, 0x2001),
        options: below(4), srcPort: below(0x10000), dstPort: below(0x10000), icmpType: pick(0, 8, 3, 11, 12, 13),
        quoted: { src: pick(OURS, word()), dst: word(), protocol: pick(6, 17, 1, 47), srcPort: below(0x10000) },
      }
      if (isSix) f.fragment = 0
      const v = packetOf(f)
      const owner = createOwner({ view: v }, steering, {
        isOurs: (address) => address === OURS,
        ownerOut: (address, _portClass, port) => address === OURS ? steering.ofPort(port) : ANYONE,
      }, nat44)
      const should = model(options, f, side, nat44)
      assert.equal(owner.ownerOf(0, v.byteLength, side), should, JSON.stringify({ options, nat44, side, f }))
      const kernel = runProgram(programs[side]!, isSix ? 0x86dd : 0x0800, v)
      assert.ok(kernel < options.workers)
      const isError = f.protocol === 1 && f.fragment === 0 && [3, 11, 12].includes(f.icmpType)
      const isPlain = side === SIDE_INSIDE || isSix || !nat44 || f.dst[0] === OURS
      if (should === BY_DATAGRAM) assert.equal(kernel, steering.ofIdentification(f.id))
      else if (isError && (side === SIDE_INSIDE || nat44 || isPlain)) assert.equal(kernel, 0, 'errors go to the first worker')
      else if (isPlain) assert.equal(kernel, should, JSON.stringify({ options, nat44, side, f }))
      const kind = `${side} ${isSix} ${should === BY_DATAGRAM} ${isError}`
      met.set(kind, (met.get(kind) ?? 0) + 1)
    }
  }
  assert.ok(met.size >= 7, [...met.keys()].join('; '))
})

test('every worker has its share of hosts, and a stripe of the well-known ports (RFC 4787 REQ-3a)', () => {
  for (let workers = 1; workers <= MOST_WORKERS; workers++) {
    const { ofAddress4, ofPort } = createSteering({ workers, stripeBase: 0, stripePorts: 64, bySubnet: false })
    const hosts = new Map<number, number>(), known = new Set<number>()
    for (let host = 1; host < 4095; host++) hosts.set(ofAddress4(0x0a000000 + host), (hosts.get(ofAddress4(0x0a000000 + host)) ?? 0) + 1)
    for (let port = 1; port < 1024; port++) known.add(ofPort(port))
    assert.equal(known.size, workers)
    for (let worker = 0; worker < workers; worker++) assert.ok(Math.abs(hosts.get(worker)! / (4094 / workers) - 1) < 0.2, `${worker} of ${workers}: ${hosts.get(worker)}`)
  }
})

test('an IPv6 address and what stands for it outside have one worker (RFC 6296 2.6)', () => {
  const prng = createPrng(seed), word = () => (prng.below(0x10000) << 16 | prng.below(0x10000)) | 0
  for (const bits of [32, 48, 56, 64]) {
    const mask = bits > 32 ? -1 << 64 - bits : 0
    const npt6 = createNpt6([{ inside: [0xfd000001 | 0, 0x12345678 & mask], insideBits: bits, outside: [0x20010db8, 0x0abc0000 & mask], outsideBits: bits }])
    for (const bySubnet of bits <= 48 ? [true, false] : [false]) {
      const { ofSum6 } = createSteering({ workers: 7, stripeBase: 0, stripePorts: 64, bySubnet })
      const of = (words: Int32Array) => ofSum6([...words].slice(0, bySubnet ? 2 : 4).reduce((sum, one) => sum + (one >>> 16) + (one & 0xffff), 0))
      for (let n = 0; n < 200; n++) {
        const words = Int32Array.of(0xfd000001 | 0, bits > 32 ? (0x12345678 & mask) | (word() & ~mask) : word(), word(), word())
        const inside = of(words)
        if (npt6.outward(words, 0) !== 1) continue
        assert.equal(of(words), inside)
      }
    }
  }
})
