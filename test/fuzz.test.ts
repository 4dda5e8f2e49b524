/**
 * An attack on the packet path with whatever bytes: random ones, bent ones of real captures, cut ones, traffic that hangs together.
 * Nothing may throw, be written or be read beside the frames; what it is decided may not depend on what was not captured, on padding,
 * or on how packets fall into batches. PINHOLE_SEED repeats a run, PINHOLE_RUNS makes it longer (1 is a run of CI).
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test, { type TestContext } from 'node:test'
import { createPrng } from '../src/base/prng.ts'
import { CHECKSUM_REPAIR_ZERO } from '../src/engine/options.ts'
import type { Outlet } from '../src/plane/plane.ts'
import { buildPacket, fragment, icmpError, verify } from '../src/wire/build.ts'
import { DROP, HELD, NET_IPV4, NET_IPV6, TO_INSIDE, TO_OUTSIDE } from '../src/wire/frames.ts'
import { SHARED, chance, framed, framesIn, make, mutate, pick, randomBytes, whole, type Frame } from './fuzz/corpus.ts'
import { createMachine, someOptions, type Machine } from './fuzz/machine.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? 20240611)
const RUNS = Number(process.env['PINHOLE_RUNS'] ?? 1)
const STEPS_MS = [0, 0, 0, 0, 0, 1, 5, 10, 20, 25, 30, 90, 1000, 300_000, 1_000_000]
/** Days and years without a packet. */
const LEAPS_MS = [2 ** 30, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 32 + 5, 150_000_000_000, -(2 ** 33)]
/** Timers count modulo 2^32 ms; a run may begin anywhere. */
const STARTS_MS = [0, 0, 0x7fffff00, 0x7fffffff, -50, -(2 ** 31)]

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Runs cases 0 … count-1, each repeatable alone; a failure names its seed. */
function attack(count: number, one: (seed: number) => void): void {
  for (let n = 0; n < count; n++) {
    try {
      one(SEED + n)
    } catch (error) {
      throw new Error(`PINHOLE_SEED=${SEED + n}: ${(error as Error).message}`, { cause: error })
    }
  }
}

const own = await framesIn('pcaps', 400)
const shared = await framesIn(SHARED, 150)
const seeds = [...own, ...shared]

/** Says which captures took part. */
function name(t: TestContext): void {
  t.diagnostic(`seed ${SEED}; ${own.length} frames of pcaps/, ${existsSync(SHARED) ? shared.length : 'no'} frames of ${SHARED}`)
}

function isSent(verdict: number): boolean { return verdict === TO_INSIDE || verdict === TO_OUTSIDE }

/** What lies behind the network packet in its frame becomes something else. Rows of `at` are located. */
function otherPadding(list: readonly Frame[], at: Machine, noise: Uint8Array): Frame[] {
  const { net, l3, off, view } = at.frames
  return list.slice(0, at.rows()).map((frame, i) => {
    const p = l3[i], present = off[i] + frame.bytes.length - p
    let bytes = Infinity
    if (net[i] === NET_IPV4 && present >= 20) bytes = Math.max(20, view.getUint16(p + 2))
    if (net[i] === NET_IPV6 && present >= 40) bytes = 40 + view.getUint16(p + 4)
    if (bytes >= present) return frame
    const changed = frame.bytes.slice(), from = p - off[i] + bytes
    for (let n = from; n < changed.length; n++) changed[n] ^= noise[n & 255] | 1
    return { ...frame, bytes: changed }
  })
}

/** The same row of two machines that were given the same frame. */
function compareRow(a: Machine, b: Machine, i: number, what: string): void {
  const f = a.frames, g = b.frames
  assert.equal(g.verdict[i], f.verdict[i], `${what}: verdict of row ${i}: ${a.buffer.toString('hex', f.off[i], f.off[i] + f.capBytes[i])}`)
  assert.equal(g.reason[i], f.reason[i], `${what}: reason of row ${i}`)
  assert.equal(g.netBytes[i], f.netBytes[i], `${what}: length of row ${i}`)
  // What was dropped may have been bent on the way, but nobody sees it any more.
  if (f.verdict[i] !== DROP) {
    const end = Math.min(f.off[i] + f.capBytes[i], f.l3[i] + f.netBytes[i])
    assert.ok(a.buffer.compare(b.buffer, f.off[i], end, f.off[i], end) === 0, `${what}: bytes of row ${i}`)
  }
  const x = a.engine.extras, y = b.engine.extras
  assert.equal(y.count(), x.count(), `${what}: extras of row ${i}`)
  for (let n = 0; n < x.count(); n++) {
    for (const column of ['kind', 'verdict', 'off', 'l3', 'capBytes', 'wireBytes', 'link', 'iface'] as const) {
      assert.equal(y[column][n], x[column][n], `${what}: ${column} of extra ${n} of row ${i}`)
    }
    // A released frame carries its padding no further than its network packet.
    assert.ok(x.capBytes[n] <= x.wireBytes[n], `${what}: extra ${n} of row ${i} is longer than it was on the wire`)
    const last = x.off[n] + x.capBytes[n]
    assert.ok(a.buffer.compare(b.buffer, x.off[n], last, x.off[n], last) === 0, `${what}: bytes of extra ${n} of row ${i}`)
  }
}

/** The network packet of row i if all of it is there. */
function packetOf({ frames }: Machine, i: number): Uint8Array | null {
  const { pool, net, l3, off, capBytes, netBytes } = frames
  if (net[i] !== NET_IPV4 && net[i] !== NET_IPV6) return null
  return l3[i] + netBytes[i] > off[i] + capBytes[i] || netBytes[i] < 20 ? null : pool.slice(l3[i], l3[i] + netBytes[i])
}

/** What `verify` says, in words that translation may not change. */
function problemsOf(bytes: Uint8Array, version: number, repairs: boolean): string[] {
  return verify(bytes).map((problem) => problem.replace('udplite: no checksum', 'udplite: checksum'))
    // ICMPv6 over IPv4 is any other protocol to a NAT, but not to our judge.
    .filter((problem) => version === 6 || !problem.endsWith('icmp6: checksum'))
    .filter((problem) => !repairs || problem !== 'ipv4: header checksum')
}

/** Runs one batch through machines that must agree; returns what left, newest last. */
function together(machines: readonly Machine[], lists: readonly (readonly Frame[])[], nowMs: number, steps: readonly number[], repairs: boolean): Uint8Array[] {
  const [a] = machines
  const count = a.rows()
  machines.forEach((machine, n) => {
    assert.equal(n === 0 ? count : machine.load(lists[n]), count)
    machine.locate(count)
    machine.sides.decide(count)
    machine.engine.lookAhead(count)
  })
  const came = Array.from({ length: count }, (_, i) => packetOf(a, i))
  const left: Uint8Array[] = []
  let now = nowMs
  for (let i = 0; i < count; i++) {
    now = now + steps[i] | 0
    for (const machine of machines) machine.engine.forward(i, now)
    for (let n = 1; n < machines.length; n++) compareRow(a, machines[n], i, n === 1 ? 'bytes that were not captured count' : 'padding counts')
    const { verdict, reason, pool } = a.frames
    assert.ok(verdict[i] <= HELD, `row ${i} has no verdict`)
    if (verdict[i] === DROP) assert.ok(reason[i] < 99, `row ${i} has no reason`)
    const before = came[i]
    if (isSent(verdict[i])) {
      const packet = packetOf(a, i)
      if (packet !== null && before !== null) {
        assert.equal(packet.length, before.length)
        const judge = (bytes: Uint8Array) => problemsOf(bytes, before[0] >> 4, repairs)
        assert.deepEqual(judge(packet), judge(before), `row ${i}: what was right is right, what was wrong is wrong\n`
          + `${Buffer.from(before).toString('hex')}\n${Buffer.from(packet).toString('hex')}`)
        left.push(packet)
      }
    }
    const { extras } = a.engine
    for (let n = 0; n < extras.count(); n++) {
      assert.ok(isSent(extras.verdict[n]) && extras.l3[n] >= extras.off[n] && extras.capBytes[n] >= extras.l3[n] - extras.off[n])
      const packet = pool.slice(extras.l3[n], extras.off[n] + extras.capBytes[n])
      // A reply is ours, and right in every bit; what it quotes is not ours to judge.
      if (extras.kind[n] === 1) {
        assert.deepEqual(verify(packet).filter((problem) => !problem.startsWith('quoted')), [], `row ${i}: our own ICMP error`)
      }
      left.push(packet)
    }
  }
  return left
}

test('whatever comes, nothing beside the frames is read or written, and checksums stay as right as they were', (t) => {
  name(t)
  attack(Math.ceil(120 * RUNS), (seed) => {
    const prng = createPrng(seed), options = someOptions(prng)
    const machines = ([chance(prng, 2) ? 'zeros' : 'random', 'ones', 'zeros'] as const).map((poison) => createMachine(options, poison, null, 64))
    const [a, b, c] = machines
    const noise = randomBytes(prng, 256)
    let sent: Uint8Array[] = []
    let nowMs = pick(prng, STARTS_MS)
    // Time begins at 0 for an engine, as it does for a plane.
    for (const machine of machines) machine.engine.expire(nowMs)
    for (let batch = 0; batch < 12; batch++) {
      const list: Frame[] = []
      for (const most = 1 + prng.below(64); list.length < most;) {
        for (const frame of make(prng, sent, seeds)) list.push(chance(prng, 3) ? mutate(prng, frame) : frame)
      }
      a.load(list)
      a.locate(a.rows())
      const steps = list.map(() => pick(prng, STEPS_MS))
      const other = otherPadding(list, a, noise)
      sent = [...sent, ...together([a, b, c], [list, list, other], nowMs, steps, options.ipv4Checksum === CHECKSUM_REPAIR_ZERO)].slice(-64)
      for (let i = 0; i < a.rows(); i++) nowMs = nowMs + steps[i] | 0
      assert.deepEqual(b.counters, a.counters, 'counters')
      assert.deepEqual(c.counters, a.counters, 'counters, with other padding')
      for (const machine of machines) {
        machine.checkPoison()
        machine.checkSums()
      }
      a.checkFlows(nowMs)
    }
    for (const machine of machines) {
      machine.checkPool()
      machine.engine.finish()
      machine.checkSums()
    }
    assert.deepEqual(b.counters, a.counters, 'counters at the end')
  })
})

/** One of every kind: what is cut at every byte. */
function kinds(): Uint8Array[] {
  const payload = Uint8Array.from({ length: 40 }, (_, n) => n)
  const ends = { src: '10.0.0.1', dst: '198.51.100.1', srcPort: 5000, dstPort: 53, icmpId: 5000, payload }
  const ends6 = { ...ends, src: 'fd00::1', dst: '2001:db8::1' }
  const chain = [{ header: 0, body: new Uint8Array(6) }, { header: 60, body: new Uint8Array(14) }, { header: 43, body: Uint8Array.of(4, 0, 0, 0, 0, 0) },
    { header: 51, body: new Uint8Array(10) }, { header: 60 }]
  const udp = buildPacket({ ...ends, proto: 'udp' }), udp6 = buildPacket({ ...ends6, proto: 'udp' })
  const made = [
    udp, udp6, buildPacket({ ...ends, proto: 'tcp', tcpFlags: 2, tcpOptions: Uint8Array.of(2, 4, 5, 180, 1, 3, 3, 7) }),
    buildPacket({ ...ends6, proto: 'tcp', tcpFlags: 2 }), buildPacket({ ...ends, proto: 'icmp' }), buildPacket({ ...ends6, proto: 'icmp6' }),
    buildPacket({ ...ends, proto: 'udplite' }), buildPacket({ ...ends, proto: 'dccp' }), buildPacket({ ...ends, proto: 47 }),
    buildPacket({ ...ends, proto: 'udp', options: Uint8Array.of(148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0) }), buildPacket({ ...ends, proto: 'udp', ttl: 1 }),
    buildPacket({ ...ends6, proto: 'udp', extensions: chain }), buildPacket({ ...ends6, proto: 'udp', ttl: 1 }),
    buildPacket({ ...ends6, proto: 135, payload: Uint8Array.of(59, 0, 0, 0, 0, 0, 0, 0) }), buildPacket({ ...ends6, proto: 135, payload: new Uint8Array() }),
    buildPacket({ ...ends6, proto: 139, payload: new Uint8Array() }), buildPacket({ ...ends, proto: 'udp', src: '198.51.100.1', dst: '10.0.0.1' }),
    buildPacket({ ...ends, proto: 'udp', dst: '203.0.113.1', dstPort: 5000 }), buildPacket({ ...ends, proto: 'udp', dst: '203.0.113.2', dstPort: 5000 }),
  ]
  for (const original of [udp, udp6, made[2], made[4], made[5], made[6], made[7], made[9], made[11]]) {
    const six = original[0] >> 4 === 6
    const first = icmpError({ src: six ? '2001:db8::9' : '192.0.2.9', original, icmpType: six ? 1 : 3, multipart: Uint8Array.of(32, 0, 0, 0) })
    made.push(first, icmpError({ src: six ? '2001:db8::9' : '192.0.2.9', original: first, icmpType: six ? 3 : 11 }))
  }
  for (const packet of [udp, udp6, made[2]]) made.push(...fragment(packet, [24], { id: 7 }))
  return made
}

test('a packet cut at every byte, by the snap length, on the wire or by its own length field', (t) => {
  name(t)
  const prng = createPrng(SEED)
  const packets = kinds()
  for (let round = 0; round < Math.ceil(RUNS); round++) {
    for (const nat44 of [true, false]) {
      const options = { ...someOptions(prng), nat44, flows: 64, outboundPermit: true, icmpErrorsPerSecond: 1000, fragmentHold: 4 }
      const a = createMachine(options, 'zeros', null, 64), b = createMachine(options, 'ones', null, 64), c = createMachine(options, 'random', null, 64)
      let nowMs = 0
      for (const packet of packets) {
        const cuts: Frame[] = []
        for (let bytes = 0; bytes <= packet.length; bytes++) {
          const frame = framed(prng, packet)
          const at = frame.bytes.length - packet.length < 0 ? 0 : Math.min(frame.bytes.length, bytes)
          // By the snap length, on the wire, and by a length field that says so, with the rest left as padding.
          cuts.push({ ...frame, bytes: frame.bytes.slice(0, at) }, whole(frame.bytes.slice(0, at), frame.link))
          const short = packet.slice()
          if (short[0] >> 4 === 4) {
            short[2] = 0
            short[3] = bytes
            short[10] = short[11] = 0
          } else if (bytes >= 40) {
            short[4] = 0
            short[5] = bytes - 40
          }
          cuts.push(framed(prng, short))
        }
        for (let from = 0; from < cuts.length; from += 64) {
          // The packet itself first, so that what follows belongs to something.
          const list = [whole(packet), ...cuts.slice(from, from + 63)]
          a.load(list)
          a.locate(a.rows())
          const other = otherPadding(list, a, randomBytes(prng, 256))
          together([a, b, c], [list, list, other], nowMs, list.map(() => 1), options.ipv4Checksum === CHECKSUM_REPAIR_ZERO)
          nowMs += list.length
          for (const machine of [a, b, c]) machine.checkPoison()
        }
      }
      assert.deepEqual(b.counters, a.counters)
      assert.deepEqual(c.counters, a.counters)
      a.checkSums()
      a.checkPool()
    }
  }
})

/** An outlet that remembers all it was given, and that is now and then full. */
function createRecorder(pool: () => Uint8Array, isFull: () => boolean) {
  const hash = createHash('sha256')
  let packets = 0
  const outlet: Outlet = {
    write(off, capBytes, wireBytes, sec, nsec, link) {
      assert.ok(capBytes >= 0 && capBytes <= wireBytes, `a packet of ${wireBytes} bytes has ${capBytes}`)
      hash.update(`${capBytes} ${wireBytes} ${sec} ${nsec} ${link} `)
      hash.update(pool().slice(off, off + capBytes))
      packets++
      return true
    },
    room: () => !isFull(),
  }
  return { outlet, text: () => `${packets} ${hash.digest('hex')}` }
}

/** Plays frames through a plane in batches of so many; all that can be seen of it, as text. */
function play(options: Parameters<typeof createMachine>[0], list: readonly Frame[], stamps: readonly number[], batch: number, full: number): string {
  const prng = createPrng(batch)
  const machine: Machine = createMachine(options, batch === 7 ? 'ones' : 'random', null, 256)
  // The plane is made with its outlet; the recorder finds the pool when the first packet leaves.
  const recorder = createRecorder(() => again.frames.pool, () => full > 0 && chance(prng, full))
  const again = createMachine(options, batch === 7 ? 'ones' : 'zeros', recorder.outlet, 256)
  for (const one of [machine, again]) {
    for (let from = 0; from < list.length;) {
      const count = one.load(list.slice(from, from + batch))
      for (let i = 0; i < count; i++) {
        one.frames.sec[i] = Math.floor(stamps[from + i] / 1000)
        one.frames.nsec[i] = stamps[from + i] % 1000 * 1e6
      }
      one.plane.begin(count)
      for (let done = 0; done < count;) done = one.plane.run(done, count)
      one.checkPoison()
      one.checkSums()
      one.checkBalance()
      from += count
    }
    one.checkFlows(one.plane.virtualMs() | 0)
    one.plane.finish()
    one.checkSums()
    one.checkBalance()
  }
  assert.equal(again.plane.digest(), machine.plane.digest(), 'the digest does not depend on poison or outlets')
  assert.deepEqual(again.counters, machine.counters)
  return `${again.plane.digest()} ${recorder.text()} ${[...again.counters].join(' ')}`
}

test('a plane with the outside world does the same in batches of 1, 7 and 256, and with outlets that are now and then full', (t) => {
  name(t)
  attack(Math.ceil(14 * RUNS), (seed) => {
    const prng = createPrng(seed), options = someOptions(prng)
    const list: Frame[] = []
    const made: Uint8Array[] = []
    while (list.length < 700) {
      const frames = make(prng, made, seeds)
      for (const frame of frames) {
        list.push(chance(prng, 5) ? mutate(prng, frame) : frame)
        // As if each had gone out and come back: the world finds the mappings.
        if (frame.link === 101) made.push(frame.bytes)
      }
    }
    let atMs = 1_700_000_000_000
    const stamps = list.map(() => atMs += chance(prng, 200) ? pick(prng, LEAPS_MS) : pick(prng, STEPS_MS) - (chance(prng, 30) ? 40 : 0))
    const expected = play(options, list, stamps, 256, 0)
    assert.equal(play(options, list, stamps, 1, 0), expected, 'batches of 1')
    assert.equal(play(options, list, stamps, 7, 3), expected, 'batches of 7, outlets often full')
    assert.equal(play(options, list, stamps, 256, 2), expected, 'batches of 256, outlets often full')
  })
})

test('every captured frame, as it is and bent, in memory that does not grow', (t) => {
  name(t)
  const prng = createPrng(SEED)
  const options = { ...someOptions(prng), nat44: true, flows: 1000 }
  const machine = createMachine(options, 'random')
  // Bent beforehand: what is measured then is the plane, not this test.
  const lists = [seeds, ...Array.from({ length: 3 }, () => seeds.map((frame) => mutate(prng, frame)))]
  let stamp = 0
  let packets = 0
  const round = () => {
    for (const list of lists) {
      for (let from = 0; from < list.length;) {
        const count = machine.load(list.slice(from, from + 256))
        for (let i = 0; i < count; i++) machine.frames.sec[i] = stamp++
        machine.plane.begin(count)
        assert.equal(machine.plane.run(0, count), count)
        machine.checkPoison()
        from += count
        packets += count
      }
      machine.checkSums()
      machine.checkBalance()
      machine.checkFlows(machine.plane.virtualMs() | 0)
    }
  }
  const held = () => {
    gc()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  round()
  round()
  const before = held()
  for (let n = 0; n < Math.ceil(3 * RUNS); n++) round()
  const grown = held() - before
  assert.ok(grown < 1024 * 1024, `${grown} bytes more after ${packets} packets`)
})
