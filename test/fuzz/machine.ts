/**
 * An engine, or a whole plane, whose pool is poison wherever no frame lies. Two of them with different poison, fed the same
 * frames, must do the same: then nothing was read that was not captured. And the poison must survive: then nothing was written
 * outside the frames and the scratch space.
 */
import assert from 'node:assert/strict'
import { createPrng, type Prng } from '../../src/base/prng.ts'
import { COUNTERS, DROP_FIRST, createCounters, readCounters } from '../../src/channel/counters.ts'
import { createEngine, engineScratchBytes } from '../../src/engine/engine.ts'
import { DEADLINE, FLOW_BITS, KIND } from '../../src/engine/flows.ts'
import type { EngineOptions } from '../../src/engine/options.ts'
import { createPlane, PLANE_SCRATCH_BYTES, type Outlet } from '../../src/plane/plane.ts'
import { sidesBySource } from '../../src/plane/sides.ts'
import { createWorld, needsWorld } from '../../src/plane/world.ts'
import { createPrefixSet, parse4, parsePrefix } from '../../src/base/address.ts'
import { createFrames } from '../../src/wire/frames.ts'
import { createLink } from '../../src/wire/link.ts'
import { POOL4, pick, type Frame } from './corpus.ts'

const GUARD_BYTES = 64
const FRAMES_BYTES = 3 * 1024 * 1024
const GAP_BYTES = 16

/** Fills with 0x00, 0xff or anything. */
export type Poison = 'zeros' | 'ones' | 'random'

function fill(bytes: Uint8Array, poison: Poison): void {
  if (poison !== 'random') {
    bytes.fill(poison === 'zeros' ? 0 : 0xff)
    return
  }
  const prng = createPrng(99)
  for (let at = 0; at < bytes.length; at++) bytes[at] = prng.next()
}

const number4 = (text: string) => {
  const parsed = parse4(text)
  if (!parsed.ok) throw new RangeError(text)
  return parsed.value
}
export const PREFIXES = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'].map((text) => {
  const parsed = parsePrefix(text)
  if (!parsed.ok) throw new RangeError(text)
  return parsed.value
})

export function someOptions(prng: Prng): Omit<EngineOptions, 'scratchStart'> {
  const short = prng.below(2) === 0
  return {
    inside: createPrefixSet(PREFIXES), nat44: prng.below(5) !== 0, pool: POOL4.slice(prng.below(2)).map(number4),
    portLow: 1024, portHigh: pick(prng, [1026, 1040, 65535]), portPreservation: prng.below(2) === 0, filtering: prng.below(3),
    hairpinning: prng.below(4) !== 0, outboundPermit: prng.below(8) !== 0, inboundPermit: prng.below(3) === 0,
    tcpMidstream: prng.below(3) !== 0, udpMs: short ? 40 : 300_000, tcpOpeningMs: short ? 20 : 240_000, tcpClosingMs: short ? 30 : 240_000,
    udpPorts: [{ port: 53, idleMs: short ? 10 : 5000 }], udpInboundRefresh: prng.below(2) === 0,
    tcpEstablishedMs: short ? 90 : 7_440_000, icmpQueryMs: short ? 20 : 60_000, otherMs: short ? 50 : 300_000,
    fragmentMs: short ? 25 : 2000, flows: pick(prng, [16, 23, 64, 1000]), fragmentDatagrams: pick(prng, [1, 3, 16]),
    fragmentHold: pick(prng, [0, 1, 4, 16]), icmpErrorsPerSecond: pick(prng, [0, 2, 1000]), ipv4Checksum: prng.below(3),
    tcpFiltering: prng.below(3), icmpPerSecond: pick(prng, [0, 0, 3]), fragmentsPerSecond: pick(prng, [0, 0, 3]),
    halfOpen: pick(prng, [0, 2, 8]), halfOpenPerSource: pick(prng, [0, 1, 3]), heldSyns: pick(prng, [0, 1, 16]),
    unsolicitedSynMs: short ? 30 : 6000, tcpWindow: prng.below(3),
    tcpFlags: prng.below(2) === 0, spoofing: prng.below(3),
    boxAddress4: number4('192.0.0.8'), boxAddress6: [0xfd000000 | 0, 0, 0, 0xff], seed: prng.next(),
  }
}

export type Machine = ReturnType<typeof createMachine>

export function createMachine(settings: Omit<EngineOptions, 'scratchStart'>, poison: Poison, outlet: Outlet | null = null, capacity = 256) {
  const engineStart = FRAMES_BYTES + GUARD_BYTES
  const engineEnd = engineStart + engineScratchBytes(settings)
  const planeStart = engineEnd + GUARD_BYTES
  const planeEnd = planeStart + PLANE_SCRATCH_BYTES
  const frames = createFrames({ capacity, poolBytes: planeEnd + GUARD_BYTES })
  const { pool, off, capBytes, wireBytes, link, sec, nsec, net, l3, side, verdict, reason, netBytes } = frames
  fill(pool, poison)
  const clean = pool.slice()
  const counters = createCounters()
  const options = { ...settings, scratchStart: engineStart }
  const engine = createEngine(options, frames, counters)
  const sides = sidesBySource(frames, settings.inside)
  const { locate } = createLink(frames)
  const plane = createPlane({
    frames, counters, engine, sides, world: needsWorld(settings) ? createWorld(frames, engine, settings.inside, settings.nat44) : null,
    inside: outlet, outside: outlet, scratchStart: planeStart, clockNs: () => 0,
  })
  const whole = Buffer.from(pool.buffer), was = Buffer.from(clean.buffer)
  let rows = 0
  let used = 0

  /** Puts frames into the pool, poison between them. Returns how many fitted. */
  function load(list: readonly Frame[]): number {
    rows = 0
    let at = GAP_BYTES
    for (const frame of list) {
      const bytes = frame.bytes.length
      if (rows === capacity || at + bytes + GAP_BYTES > FRAMES_BYTES) break
      off[rows] = at
      capBytes[rows] = bytes
      wireBytes[rows] = frame.wireBytes
      link[rows] = frame.link
      sec[rows] = nsec[rows] = 0
      // What the last batch left in the columns must not matter.
      net[rows] = 5
      l3[rows] = netBytes[rows] = -7
      side[rows] = 9
      verdict[rows] = 77
      reason[rows] = 99
      pool.set(frame.bytes, at)
      at += bytes + GAP_BYTES + (rows & 3)
      rows++
    }
    used = at
    return rows
  }

  function same(from: number, to: number): boolean { return whole.compare(was, from, to, from, to) === 0 }

  /** Nothing was written but frames and scratch space; then the frames are poison again. */
  function checkPoison(): void {
    let from = 0
    for (let i = 0; i < rows; i++) {
      assert.ok(same(from, off[i]), `bytes before frame ${i} were written`)
      from = off[i] + capBytes[i]
    }
    assert.ok(same(from, used + GAP_BYTES), 'bytes behind the last frame were written')
    assert.ok(same(FRAMES_BYTES, engineStart), 'bytes before the scratch space of the engine were written')
    assert.ok(same(engineEnd, planeStart), 'bytes behind the scratch space of the engine were written')
    assert.ok(same(planeEnd, planeEnd + GUARD_BYTES), 'bytes behind the scratch space of the plane were written')
    was.copy(whole, 0, 0, used)
  }

  /** The whole pool, now and then: `checkPoison` looks only where this batch lay. */
  function checkPool(): void {
    assert.ok(same(used, engineStart), 'bytes far from every frame were written')
  }

  /** What comes in goes out, is dropped for one reason, or is held. */
  function checkSums(): void {
    const named = readCounters(counters)
    const drops = COUNTERS.slice(DROP_FIRST).reduce((sum, name) => sum + named[name], 0)
    assert.equal(named['drop-packets'], drops, 'drops are the sum of their reasons')
    assert.equal(named['flows-opened'] - named['flows-expired'] - named['flows-evicted'] - named['firewall-flows-ended'], named['flows-current'], 'flows')
    assert.ok(named['flows-current'] <= settings.flows && named['flows-peak'] <= settings.flows, 'flows beyond the table')
    assert.ok(named['fragments-held-current'] >= 0 && named['fragments-held-current'] <= settings.fragmentHold, 'fragments held')
    assert.ok(named['mappings-closed'] <= named['mappings-opened'], 'mappings')
  }

  /** For a plane: every packet that came in is accounted for. */
  function checkBalance(): void {
    const named = readCounters(counters)
    const came = named['in-inside-packets'] + named['in-outside-packets']
    const left = named['out-inside-packets'] + named['out-outside-packets'] - named['icmp-errors-originated']
    assert.equal(came, left + named['drop-packets'] + named['fragments-held-current'], 'in = out + dropped + held')
  }

  /** Every record in use is counted, and none outlived its deadline. */
  function checkFlows(nowMs: number): void {
    const { F } = engine.flows
    let live = 0
    for (let base = 1 << FLOW_BITS; base < F.length; base += 1 << FLOW_BITS) {
      if (F[base + KIND] === 0) continue
      live++
      assert.ok(((F[base + DEADLINE] - nowMs) | 0) > 0, 'a flow outlived its deadline')
    }
    const named = readCounters(counters)
    const mappings = named['mappings-opened'] - named['mappings-closed']
    assert.equal(live, named['flows-current'], 'flows-current')
    assert.ok(mappings >= 0 && mappings <= live, 'a mapping exists while it has a flow')
  }

  return {
    frames, engine, plane, counters, sides, locate, load, checkPoison, checkPool, checkSums, checkBalance, checkFlows, buffer: whole,
    rows: () => rows,
  }
}
