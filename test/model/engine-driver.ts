/**
 * Drives the engine with the packets of the model and tells what it did in the words of the model. Frames lie in the
 * pool with a link header in front and guard bytes around them, which must survive.
 */
import assert from 'node:assert/strict'
import {
  COUNTERS, DROP_FIRST, counterIndex, createCounters, readCounters, type BaseCounter,
} from '../../src/channel/counters.ts'
import { createCommandRing, createRuleActivity } from '../../src/channel/commands.ts'
import * as record from '../../src/channel/mapping-log.ts'
import { DROP_REASONS, type DropReason } from '../../src/channel/reasons.ts'
import { createEngine, engineScratchBytes } from '../../src/engine/engine.ts'
import { EXTRA_PIECE, EXTRA_RELEASED } from '../../src/engine/extras.ts'
import {
  CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO, CHECKSUM_VERIFY, FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT,
  FILTER_ENDPOINT_INDEPENDENT, IDENTIFY_ALL, IDENTIFY_FRAGMENTS, IDENTIFY_KEEP,
  SPOOFING_BOTH, SPOOFING_IGNORE, SPOOFING_OUTSIDE, WINDOW_LOOSE, WINDOW_OFF, WINDOW_STRICT,
} from '../../src/engine/options.ts'
import { createPrefixSet } from '../../src/base/address.ts'
import { createRuleSet } from '../../src/engine/firewall-set.ts'
import { createWorld, needsWorld } from '../../src/plane/world.ts'
import { DROP, HELD, SIDE_INSIDE, SIDE_OUTSIDE, TO_INSIDE, createFrames } from '../../src/wire/frames.ts'
import type { ModelInput, ModelOptions, Outcome, Sent } from '../nat.model.ts'
import type { FirewallRule } from '../../src/engine/firewall-rule.ts'
import { publish, type Command, type MidcomCommand } from './commands.ts'
import type { Activity } from './midcom.ts'
import { addrOf } from './packet.ts'

const FILTERING = {
  'endpoint-independent': FILTER_ENDPOINT_INDEPENDENT, 'address-dependent': FILTER_ADDRESS_DEPENDENT,
  'address-and-port-dependent': FILTER_ADDRESS_AND_PORT_DEPENDENT,
}
const CHECKSUM = { verify: CHECKSUM_VERIFY, 'repair-zero': CHECKSUM_REPAIR_ZERO, ignore: CHECKSUM_IGNORE }
const WINDOW = { off: WINDOW_OFF, loose: WINDOW_LOOSE, strict: WINDOW_STRICT }
const SPOOFING = { ignore: SPOOFING_IGNORE, outside: SPOOFING_OUTSIDE, both: SPOOFING_BOTH }
const IDENTIFY = { keep: IDENTIFY_KEEP, fragments: IDENTIFY_FRAGMENTS, all: IDENTIFY_ALL }
const GUARD = 0xa5, GUARD_BYTES = 32

/** Counters that the contract lets us predict. */
export interface Totals {
  flows: number; mappings: number; suppressed: number; halfOpen: number; syns: number; waiting: number; blocks: number; logged: string[]; held: number; rules: Activity[]; firewall: Hits[]
}
export interface Hits { packets: number; bytes: number }
/** A packet, or commands that are carried out before the next one. */
export type Doing = ModelInput | { commands: readonly Command[]; nowMs: number }
const isCommand = (doing: Doing): doing is { commands: readonly Command[]; nowMs: number } => 'commands' in doing
/** Units of work at a time, in turns: what is done in slices is the same. */
const BUDGETS = [1, 1000, 2, 7, 64]

export class EngineDriver {
  private readonly frames
  private readonly counters = createCounters()
  private readonly engine
  private readonly world
  private readonly scratchStart: number
  private readonly linkBytes: number
  private readonly ring = createCommandRing(64)
  private readonly activity
  private readonly options: ModelOptions
  private readonly log = record.createMappingLog(65_536)
  /** What the log says is there. */
  private readonly logged = new Set<string>()
  private turns = 0
  /** Drops by reason when the last packet was done. */
  private counted: number[]

  /** With `replay` the outside world re-addresses what comes from outside. */
  constructor(o: ModelOptions, linkBytes = 0, replay = false, poolBytes = 1 << 20) {
    const { mtuInside = 0, mtuOutside = 0, mss = 0, identification = 'keep' } = o.egress ?? {}
    const scratchBytes = engineScratchBytes({ fragmentHold: o.fragmentHold, heldSyns: o.heldSyns, mtuInside, mtuOutside })
    this.linkBytes = linkBytes
    this.options = o
    this.scratchStart = poolBytes
    this.frames = createFrames({ capacity: 64, poolBytes: poolBytes + scratchBytes + GUARD_BYTES })
    this.frames.pool.fill(GUARD)
    const [w0, w1, w2, w3] = Array.from(o.boxAddress6)
    const inside = createPrefixSet(o.insidePrefixes)
    const { midcom } = o, { ring } = this
    this.activity = createRuleActivity(midcom?.rules ?? 0)
    this.engine = createEngine({
      inside, nat44: o.nat44, pool: o.pool, portLow: o.portLo, portHigh: o.portHi,
      portPreservation: o.portPreservation, filtering: FILTERING[o.filtering], tcpFiltering: FILTERING[o.tcpFiltering], hairpinning: o.hairpinning,
      outboundPermit: o.outboundPermit, inboundPermit: o.inboundPermit, tcpMidstream: o.tcpMidstream, ...o.timers,
      flows: o.flows, fragmentDatagrams: o.fragmentDatagrams, fragmentHold: o.fragmentHold,
      icmpErrorsPerSecond: o.icmpErrorsPerSecond,
      icmpPerSecond: o.icmpPerSecond, fragmentsPerSecond: o.fragmentsPerSecond, halfOpen: o.halfOpen, halfOpenPerSource: o.halfOpenPerSource,
      heldSyns: o.heldSyns, tcpWindow: WINDOW[o.tcpWindow], ipv4Checksum: CHECKSUM[o.ipv4Checksum],
      tcpFlags: o.tcpFlags, spoofing: SPOOFING[o.spoofing], boxAddress4: o.boxAddress4,
      boxAddress6: [w0, w1, w2, w3], seed: o.seed, nat: o.nat ?? null, npt6: o.npt6 ?? [],
      echo6: o.echo6 ?? false, ipsec6: o.ipsec6 ?? false, reserved6: o.reserved6 ?? false, uniqueLocal: o.uniqueLocal ?? false,
      ...o.perHost && { perHost: o.perHost }, keepsFlows: o.keepsFlows ?? false, refusesByHost: o.refusesByHost ?? false,
      mappingLog: this.log, portHold: o.portHold ?? null, portBlocks: o.portBlocks ?? null,
      mtuInside, mtuOutside, mss, identification: IDENTIFY[identification], scratchStart: poolBytes,
      midcom: midcom === null ? null : {
        rules: midcom.rules, boundPorts: midcom.boundPorts, portLow: midcom.portLo, portHigh: midcom.portHi,
        addresses: midcom.addresses, insidePool: midcom.insidePool, ring, activity: this.activity,
      },
      firewall: o.firewall === null ? null
        : { set: createRuleSet(o.firewall, o.insidePrefixes, o.seed), interfaceName: id => `eth${id}` },
    }, this.frames, this.counters)
    this.counted = this.reasonCounts()
    this.world = replay && needsWorld(o) ? createWorld(this.frames, this.engine, inside, o.nat44) : null
  }

  /** A batch: all rows are looked at ahead, then decided one after the other, with the commands between them. */
  run(doings: readonly Doing[]): (Outcome | null)[] {
    const { frames, engine, linkBytes } = this, inputs = doings.filter((doing): doing is ModelInput => !isCommand(doing))
    let at = GUARD_BYTES
    const ends: number[] = []
    inputs.forEach((input, i) => {
      frames.off[i] = at
      frames.l3[i] = at + linkBytes
      frames.capBytes[i] = linkBytes + input.bytes.length
      frames.wireBytes[i] = linkBytes + input.wireBytes
      frames.net[i] = input.net ?? (input.bytes.length > 0 && input.bytes[0] >> 4 === 6 ? 6 : 4)
      frames.iface[i] = input.interface ?? 0
      frames.group[i] = input.group === true ? 1 : 0
      frames.side[i] = input.side === 'inside' ? SIDE_INSIDE : SIDE_OUTSIDE
      // What the last batch left in the row must not matter.
      frames.verdict[i] = 77
      frames.reason[i] = 99
      frames.netBytes[i] = -1
      frames.pool.set(input.bytes, at + linkBytes)
      at += linkBytes + input.bytes.length
      ends.push(at)
      at += GUARD_BYTES
    })
    assert.ok(at <= this.scratchStart, 'the batch does not fit the pool')
    engine.lookAhead(inputs.length)
    let row = 0
    const outcomes = doings.map(doing => {
      if (!isCommand(doing)) return this.forward(row++, doing.nowMs)
      this.carryOut(doing.commands, doing.nowMs)
      return null
    })
    let from = 0
    inputs.forEach((_, i) => {
      this.checkGuard(from, frames.off[i] + linkBytes)
      from = ends[i]
    })
    this.checkGuard(from, at)
    assert.ok(frames.pool.slice(-GUARD_BYTES).every(byte => byte === GUARD), 'the scratch space was overrun')
    frames.pool.fill(GUARD, 0, at)
    return outcomes
  }

  private checkGuard(from: number, end: number): void {
    const { pool } = this.frames
    for (let g = from; g < end; g++) if (pool[g] !== GUARD) assert.fail('a guard byte was written')
  }

  private reasonCounts(): number[] { return DROP_REASONS.map((_, r) => this.counters[DROP_FIRST + r]) }

  private carryOut(commands: readonly Command[], nowMs: number): void {
    for (const command of commands) this.carryOutOne(command, nowMs)
  }

  private carryOutOne(command: Command, nowMs: number): void {
    if (command.op === 'replace-rules') this.replace(command.rules)
    else this.write([command])
    const budget = BUDGETS[this.turns++ % BUDGETS.length]
    for (let slices = 0; this.slice(nowMs, budget); slices++) assert.ok(slices < 10_000, 'commands have an end')
    assert.equal(this.waiting(), 0)
  }

  replace(rules: readonly FirewallRule[]): void {
    this.engine.replaceRules(createRuleSet(rules, this.options.insidePrefixes, this.options.seed))
  }
  write(commands: readonly MidcomCommand[]): void { for (const command of commands) publish(this.ring, command) }
  /** Some of the work that waits; true if there is more. */
  slice(nowMs: number, budget: number): boolean { return this.engine.applyCommands(nowMs, budget) }
  room(): number { return this.ring.room() }
  /** Rules and bindings now. */
  ruled(): number[] {
    const names: BaseCounter[] = ['rules-current', 'bindings-current']
    return names.map(name => this.counters[counterIndex(name)])
  }
  /** Hosts that something is counted of. */
  hosts(): number { return this.engine.flows.hosts.count() }
  /** Commands that are not carried out yet. */
  waiting(): number { return this.ring.written() - this.ring.applied() | 0 }

  private forward(i: number, nowMs: number): Outcome {
    const { frames, engine, linkBytes } = this, { extras } = engine
    const before = this.counted, late: Sent[] = []
    while (engine.late(nowMs)) {
      assert.ok(extras.count() <= 1)
      if (extras.count() === 0) continue
      const { off, l3 } = engine.lateAbout
      // The link header of the SYN is there for the one of the answer.
      assert.ok(l3 - off === linkBytes && frames.pool.subarray(off, l3).every(byte => byte === GUARD))
      late.push({ side: 'outside', kind: 'reply', bytes: frames.pool.slice(extras.l3[0], extras.l3[0] + extras.capBytes[0]), wireBytes: extras.wireBytes[0] })
    }
    if (this.world !== null && frames.side[i] === SIDE_OUTSIDE) {
      engine.expire(nowMs)
      this.world.meet(i)
    }
    engine.forward(i, nowMs)
    this.counted = this.reasonCounts()
    const dropped = this.counted.map((count, r) => count - before[r])
    const sent: Sent[] = []
    const sideOf = (verdict: number) => verdict === TO_INSIDE ? 'inside' as const : 'outside' as const
    const verdict = frames.verdict[i]
    if (verdict !== DROP && verdict !== HELD) {
      const start = frames.l3[i], end = Math.min(frames.off[i] + frames.capBytes[i], start + frames.netBytes[i])
      const bytes = frames.pool.slice(start, end)
      sent.push({ side: sideOf(verdict), kind: 'packet', bytes, wireBytes: frames.netBytes[i] })
    }
    for (let e = 0; e < extras.count(); e++) {
      const released = extras.kind[e] === EXTRA_RELEASED || extras.kind[e] === EXTRA_PIECE, start = extras.l3[e]
      assert.equal(start - extras.off[e], released ? linkBytes : 0)
      sent.push({
        side: sideOf(extras.verdict[e]), kind: released ? 'release' : 'reply',
        bytes: frames.pool.slice(start, extras.off[e] + extras.capBytes[e]),
        wireBytes: extras.wireBytes[e] - (start - extras.off[e]),
      })
    }
    const reason: DropReason | undefined = verdict === DROP ? DROP_REASONS[frames.reason[i]][0] : undefined
    if (verdict === DROP) dropped[frames.reason[i]]--
    const outcome: Outcome = {
      verdict: verdict === DROP ? 'drop' : verdict === HELD ? 'held' : sideOf(verdict), late, sent,
      heldDrops: heldOf(dropped),
    }
    return reason === undefined ? outcome : { ...outcome, reason }
  }

  finish(): Outcome['heldDrops'] {
    this.engine.finish()
    return heldOf(this.reasonCounts().map((count, r) => count - this.counted[r]))
  }

  totals(): Totals {
    const count = (name: BaseCounter) => this.counters[counterIndex(name)]
    return {
      flows: count('flows-current'), mappings: count('mappings-opened') - count('mappings-closed'),
      suppressed: count('icmp-errors-suppressed'), halfOpen: count('half-open-current'), syns: count('syns-held-current'), waiting: count('ports-held-current'), blocks: count('port-blocks-current'), logged: this.drain(), held: count('fragments-held-current'),
      rules: Array.from(this.activity.packets, (packets, rule) =>
        ({ packets, bytes: this.activity.bytes[rule], lastUsedMs: this.activity.lastUsedMs[rule] })).slice(1),
      firewall: this.hits(),
    }
  }

  /** What the log of mappings says is there now: what comes was not there, and what goes was. */
  private drain(): string[] {
    const { words } = this.log
    for (let at = this.log.peek(); at >= 0; at = this.log.peek()) {
      const [op, , protocol, inside, outside, insidePort, outsidePort, lastPort] = words.subarray(at, at + record.LOG_WORDS)
      const isBlock = op === record.BLOCK_OPENED || op === record.BLOCK_CLOSED
      const text = `${protocol} ${addrOf([inside])}:${insidePort} ${addrOf([outside])}:${outsidePort}${isBlock ? `-${lastPort}` : ''}`
      if ([record.MAPPING_OPENED, record.BLOCK_OPENED, record.ADDRESS_OPENED].includes(op)) {
        assert.ok(!this.logged.has(text), `${text} comes twice`)
        this.logged.add(text)
      } else assert.ok(this.logged.delete(text), `${text} goes, and was not there`)
      this.log.done()
    }
    assert.equal(this.log.lost(), 0)
    return [...this.logged].sort()
  }

  private hits(): Hits[] {
    const { packets, bytes, set } = this.engine.firewall
    return Array.from({ length: (set()?.rules.length ?? 0) + 1 }, (_, rule) => ({ packets: packets[rule] ?? 0, bytes: bytes[rule] ?? 0 }))
  }

  /** Sums that must hold whatever happened. */
  checkSums(): void {
    const named = readCounters(this.counters)
    const drops = COUNTERS.slice(DROP_FIRST).reduce((sum, name) => sum + named[name], 0)
    assert.equal(named['drop-packets'], drops, 'drop-packets is the sum of the reasons')
    const ended = named['flows-expired'] + named['flows-evicted'] + named['rule-flows-ended'] + named['firewall-flows-ended']
    assert.equal(named['flows-opened'] - ended, named['flows-current'], 'every flow ends in one way')
  }
}

function heldOf(counts: readonly number[]): Outcome['heldDrops'] {
  const held: Outcome['heldDrops'] = []
  counts.forEach((count, r) => {
    if (count < 0) assert.fail('a drop was not counted: ' + DROP_REASONS[r][0])
    for (let i = 0; i < count; i++) held.push({ reason: DROP_REASONS[r][0] })
  })
  return held
}
