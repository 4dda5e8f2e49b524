/**
 * A process that forwards the packets of one part of a box (crew.ts starts it): the same packet path as that of a box with one
 * worker, with rings of sockets that are not its own, and counters, commands and records of mappings in memory that is shared.
 */
import { performance } from 'node:perf_hooks'
import { createCommandReader, type CommandReader } from '../../channel/command-fan.ts'
import { createMappingLog } from '../../channel/mapping-log.ts'
import { readCounters } from '../../channel/counters.ts'
import { createSteering } from '../../channel/steering.ts'
import { TURNED } from '../../engine/share.ts'
import { loadAddon } from '../../phy/addon.ts'
import type { Driver } from '../../phy/drivers.ts'
import { openRings, reservePool, ringBytes } from '../../phy/packet.ts'
import { sidesByInterface } from '../../plane/sides.ts'
import { SIDE_INSIDE } from '../../wire/frames.ts'
import { compose } from '../compose.ts'
import { tuneCompiler } from '../compiler.ts'
import { firewallReport } from '../firewall/report.ts'
import { createLive, linkOptions } from '../run/live.ts'
import { createRuleChange } from '../run/rule-change.ts'
import { createTurns, type PolicyOfTurns, type Traffic } from '../run/turns.ts'
import { createGather, gatherBytes } from './gather.ts'
import { createHandover } from './handover.ts'
import { BEATS, COMMANDS_WRITTEN, COMMANDS_APPLIED, KEPT, SLEEPS, layOut, stateOf } from './memory.ts'
import { FD_BELLS, FD_INSIDE, FD_MEMORY, machineMs, type FromWorker, type ToWorker, type WorkerSetup } from './messages.ts'
import { createPart } from './part.ts'

/** Batches that are forwarded at the end: what rings may hold. */
const DRAIN_TURNS = 64
/** The box is shown that this one lives so often; counters that the kernel has are asked for then. */
const BEAT_MS = 1000
/** Units of `Engine.applyCommands` while there is nothing else to do. */
const UNITS_AT_START = 4096

function tell(message: FromWorker, then: () => void = () => { /* nothing waits for it */ }): void {
  if (process.connected) process.send!(message, then)
}

async function open({ config, inside, seed, links, worker, shape, steering: steeringOptions, rules }: WorkerSetup) {
  const addon = loadAddon()
  const { workers } = shape
  const { bytes } = layOut(shape, null)
  const shared = addon.reserve(bytes)
  addon.share(shared, 0, FD_MEMORY, bytes)
  const { memory } = layOut(shape, shared)
  const mine = memory.workers[worker]!, { state } = memory
  const heads = { words: state, written: COMMANDS_WRITTEN, appliedOf: (reader: number) => stateOf(reader, COMMANDS_APPLIED) }
  const ring: CommandReader = createCommandReader(Math.max(1, shape.commandRecords), worker, heads, memory.commands)
  const steering = createSteering(steeringOptions)
  const ends = linkOptions(links), rings = ringBytes(ends)
  const holdStart = rings + bytes
  // Behind the rings of the interfaces lies the memory that frames are handed on in, and then fragments that wait.
  const driver: Driver = {
    check() { /* it is loaded */ },
    shareBytes: () => holdStart + gatherBytes(shape.frameBytes),
    reserve(poolBytes) {
      const pool = reservePool(poolBytes)
      addon.share(pool, rings, FD_MEMORY, bytes)
      return pool
    },
    // Who opened the sockets has seen to that.
    isBesideKernel: false,
    open: (interfaces, frames, start) => openRings(interfaces, frames, start, (_, number) => {
      const at = stateOf(worker, KEPT + number)
      return { socket: FD_INSIDE + number, kept: state.subarray(at, at + 1), counters: mine.devices[number]! }
    }),
  }
  const log = (line: string) => { tell({ kind: 'log', line: `worker ${worker}: ${line}` }) }
  const live = createLive({ config, links, driver, log, find: (side) => links[side]! }, mine.live)
  const machine = await compose({
    config: { ...config, firewall: { ...config.firewall, rules: [...rules] } },
    inside, seed, isReplaceable: true,
    mappingLog: shape.logRecords === 0 ? null : createMappingLog(shape.logRecords, mine.logHead, mine.logWords),
    // What turns round has met the inside interface.
    interfaceName: (id) => live.names[id === TURNED ? SIDE_INSIDE : id],
    sides: (frames) => sidesByInterface(frames, (id) => id === SIDE_INSIDE),
    outInside: undefined, outOutside: undefined, clockNs: () => performance.now() * 1e6,
    live: live.frames,
    borrowed: {
      counters: mine.counters, share: { steering, worker },
      channel: config.midcom.enabled ? { ring, activity: mine } : null,
    },
    openInput: async (frames, { poolStart }) => { live.open(frames, poolStart) },
  })
  const { engine, frames, plane, counters } = machine
  const handover = createHandover({
    frames, shape, worker, heads: memory.handed, start: rings + memory.handedStart, counters: mine.live,
  })
  const gather = createGather({
    frames, datagrams: config.limits.fragmentDatagrams, fragmentMs: config.timers.fragmentMs, start: holdStart,
    frameBytes: shape.frameBytes, counters: mine.live,
  })
  const part = createPart({ machine, worker, nat44: config.nat.nat44, handover, gather }, steering, workers)
  const change = createRuleChange(engine, counters, inside, seed)
  const awake = stateOf(worker, SLEEPS), beats = stateOf(worker, BEATS)
  let isDraining = false

  function go(standing: Int32Array, zeroMs: number): void {
    // The same moment on the clock of this process.
    const offsetMs = machineMs() - performance.now()
    const turns = createTurns(engine, () => performance.now() + offsetMs - zeroMs, { zeroMs: 0 })
    ring.restore(standing)
    while (ring.peek() >= 0 || engine.firewall.isChanging()) engine.applyCommands(turns.nowMs() | 0, UNITS_AT_START)
    const forwarded = live.traffic({ machine, wake: turns.wake, turnNow: turns.turnNow, log, tapMemory: null }, part, worker === 0)

    /** Says to whom it has given something, if they sleep. */
    function wakeOthers(): void {
      const to = handover.givenTo()
      for (let other = 0; to >>> other !== 0; other++) {
        if ((to >>> other & 1) !== 0 && Atomics.load(state, stateOf(other, SLEEPS)) !== 0) addon.ring(FD_BELLS + other)
      }
    }

    const traffic: Traffic = {
      turn(nowMs) {
        if (state[awake] !== 0) Atomics.store(state, awake, 0)
        const isBusy = forwarded.turn(nowMs)
        wakeOthers()
        if (isBusy) return true
        // Whoever gives this one something from here on rings; what was given before is seen.
        Atomics.store(state, awake, 1)
        return handover.isWaiting() || ring.peek() >= 0
      },
      nextMs: forwarded.nextMs,
    }
    const commands: PolicyOfTurns = {
      advance: () => false, nextDeadlineMs: () => Infinity,
      ticket: ring.written, appliedTicket: ring.applied,
      pump: () => { turns.pump(engine) },
      applied: () => { addon.ring(FD_BELLS + workers) },
    }
    addon.hear(FD_BELLS + worker, () => {
      addon.listen()
      turns.wake()
    })
    const beating = setInterval(() => {
      Atomics.add(state, beats, 1)
      live.report()
    }, BEAT_MS)
    turns.start(commands, traffic)
    tell({ kind: 'running' })

    handlers.rules = (id, next) => {
      change.replace(next, () => { turns.pump(engine) }, (ended) => { tell({ kind: 'rules', id, ended }) })
    }
    handlers.stop = () => {
      if (isDraining) return
      isDraining = true
      clearInterval(beating)
      change.stop()
      turns.stop()
      for (let n = 0; n < DRAIN_TURNS && forwarded.turn(turns.nowMs); n++) wakeOthers()
      plane.finish()
      live.report()
      live.close()
      const result = {
        firewall: firewallReport(engine, readCounters(counters)), tableBytes: engine.tableBytes, ruleBytes: engine.ruleBytes(),
      }
      tell({ kind: 'stopped', result }, () => process.exit(0))
    }
  }

  handlers.go = go
  tell({ kind: 'ready' })
}

interface Handlers {
  go: (standing: Int32Array, zeroMs: number) => void
  rules: (id: number, rules: WorkerSetup['rules']) => void
  stop: () => void
}

const handlers: Handlers = { go() { /* not open yet */ }, rules() { /* nor this */ }, stop() { process.exit(0) } }

tuneCompiler()
// The box says when it is over, to all in order; signals of a terminal or of a service manager come to each process at once.
// The box has got them too.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => { /* not here */ })
process.on('disconnect', () => process.exit(1))
process.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'setup': void open(message.setup); break
    case 'go': handlers.go(message.standing, message.zeroMs); break
    case 'rules': handlers.rules(message.id, message.rules); break
    case 'stop': handlers.stop(); break
  }
})
