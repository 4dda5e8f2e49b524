/**
 * A packet path of several processes (`pinhole run --workers`). This one has policy and doors, opens the sockets, and forwards
 * nothing; each worker has the flows of its share of inside hosts, and outside ports of its own. Processes and not threads: what
 * one of them does wrong, down to a fault of the driver in C, ends nobody else. Its sockets stay open here, so that another one
 * goes on with them, even when root has been given up; keeper.ts sees to that.
 */
import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Prefix } from '../../base/address.ts'
import { createCommandFan } from '../../channel/command-fan.ts'
import { COUNTERS, counterIndex, createCounters } from '../../channel/counters.ts'
import { createMappingLog } from '../../channel/mapping-log.ts'
import { createRuleActivity } from '../../channel/commands.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { loadAddon } from '../../phy/addon.ts'
import { DEVICE_COUNTERS, DeviceError, type DeviceCounter } from '../../phy/device.ts'
import { openPacketSockets, type PacketSockets } from '../../phy/packet.ts'
import { spareKernel } from '../../phy/program.ts'
import { linkName } from '../../phy/vlan.ts'
import { LIVE_COUNTERS, liveCounterIndex, type LiveCounter } from '../../plane/live-counters.ts'
import { HEADER_BYTES } from '../../wire/ethernet.ts'
import { SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { ringRecords } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { logRecords } from '../mappings/records.ts'
import { linkOptions, linkText, type LiveReport, type Prepared } from '../run/live.ts'
import type { PacketPath, PathReport } from '../run/path.ts'
import type { Identity } from '../run/privileges.ts'
import { joinedFirewall, joinedLog } from './joined.ts'
import { createKeeper, tell } from './keeper.ts'
import {
  BEATS, COMMANDS_APPLIED, COMMANDS_WRITTEN, SLEEPS, layOut, stateOf, type MemoryShape, type WorkerMemory,
} from './memory.ts'
import { machineMs } from './messages.ts'
import { configOfWorker, steeringOf } from './plan.ts'
import { steeringProgram } from './program.ts'
import type { WorkersReport } from './report.ts'

/** How long policy waits at a time for workers when the ring is full. */
const PUMP_MS = 2

export interface CrewOptions {
  config: Config
  inside: readonly Prefix[]
  seed: number
  live: Prepared
  workers: number
  identity?: Identity | undefined
  isLogging: boolean
  log: (line: string) => void
  onFailure: (why: string) => void
}

/** @throws Failure */
export function openCrew(options: CrewOptions): PacketPath {
  const { config, live, workers, log } = options
  const steering = steeringOf(config, workers)
  const addon = loadAddon()
  const ends = linkOptions(live.links)
  const sockets = openSockets(live, steering, config)
  const spared = spareKernel(ends, live.log)
  const shape: MemoryShape = {
    workers, commandRecords: config.midcom.enabled ? ringRecords(config) : 0, rules: config.midcom.limits.rules,
    logRecords: options.isLogging ? logRecords(configOfWorker(config, workers)) : 0,
    frameBytes: Math.max(...ends.map(({ mtu }) => mtu)) + HEADER_BYTES,
  }
  const { bytes } = layOut(shape, null)
  const shared = addon.reserve(bytes), memoryFd = addon.memory(bytes)
  addon.share(shared, 0, memoryFd, bytes)
  const { memory } = layOut(shape, shared)
  const { state } = memory
  const bells = Array.from({ length: workers + 1 }, () => addon.bell())
  const counters = createCounters(), lost = createCounters()
  const totals = createTotals()
  let rules: readonly FirewallRule[] = config.firewall.rules
  let zeroMs = NaN

  /* What is shared: counters, commands, what rules have let through, mappings. */

  function refresh(): void {
    for (let i = 0; i < counters.length; i++) {
      let sum = lost[i]!, most = 0
      for (const one of memory.workers) {
        sum += one.counters[i]!
        most = Math.max(most, one.counters[i]!)
      }
      // One that took the place of another has been told less.
      counters[i] = !OF_ALL.has(i) ? sum : IS_GAUGE.has(i) ? most : Math.max(counters[i]!, most)
    }
  }

  /** Of a worker that died, its counts go on without what it had at that moment. */
  function retire(worker: number): void {
    const { counters: its, packets, bytes: ofRules } = memory.workers[worker]!
    for (const i of COUNTERS.keys()) if (!IS_GAUGE.has(i) && !OF_ALL.has(i)) lost[i]! += its[i]!
    its.fill(0)
    for (let rule = 0; rule < packets.length; rule++) {
      totals.packets[rule]! += packets[rule]!
      totals.bytes[rule]! += ofRules[rule]!
    }
    packets.fill(0)
    ofRules.fill(0)
    for (const name of GAUGES) memory.workers[worker]!.live[liveCounterIndex(name)] = 0
  }

  /** What workers that died had counted for rules. */
  function createTotals() {
    const { packets, bytes: ofRules } = createRuleActivity(config.midcom.enabled ? config.midcom.limits.rules : 0)
    return { packets, bytes: ofRules }
  }

  const activity = config.midcom.enabled ? createRuleActivity(config.midcom.limits.rules) : null
  const fan = activity === null ? null : createCommandFan(shape.commandRecords, workers,
    { words: state, written: COMMANDS_WRITTEN, appliedOf: (reader) => stateOf(reader, COMMANDS_APPLIED) }, memory.commands,
    (rule) => { totals.packets[rule] = totals.bytes[rule] = 0 })
  if (activity !== null) {
    activity.refresh = (rule) => {
      let usedMs = memory.workers[0]!.lastUsedMs[rule]!, packets = totals.packets[rule]!, ofRule = totals.bytes[rule]!
      for (const one of memory.workers) {
        if ((one.lastUsedMs[rule]! - usedMs | 0) > 0) usedMs = one.lastUsedMs[rule]!
        packets += one.packets[rule]!
        ofRule += one.bytes[rule]!
      }
      activity.lastUsedMs[rule] = usedMs
      activity.packets[rule] = packets
      activity.bytes[rule] = ofRule
    }
  }

  /** Rings whoever sleeps over something to carry out. */
  function rouse(): void {
    for (const [worker, { isReleased }] of keeper.workers.entries()) {
      if (isReleased && Atomics.load(state, stateOf(worker, SLEEPS)) !== 0) addon.ring(bells[worker]!)
    }
  }

  /* Workers. */

  /** Rules that each was started with. */
  const startedWith = new Array<readonly FirewallRule[]>(workers)

  const keeper = createKeeper({
    workers, log, onFailure: options.onFailure, nowMs: machineMs,
    launch(worker) {
      const { identity } = options
      const child = fork(WORKER, [], {
        serialization: 'advanced', execArgv: process.execArgv,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc', memoryFd, ...sockets.of[worker]!, ...bells],
        ...identity !== undefined && { uid: identity.uid, gid: identity.gid },
      })
      startedWith[worker] = rules
      tell(child, { kind: 'setup', setup: {
        config: { ...configOfWorker(config, workers), firewall: { ...config.firewall, rules: [] } },
        inside: options.inside, seed: options.seed, links: live.links, worker, shape, steering, rules,
      } })
      return child
    },
    /** From here on agents wait for it too. */
    release(worker, child) {
      tell(child, { kind: 'go', standing: fan?.join(worker) ?? new Int32Array(0), zeroMs })
      // They were replaced while it started. Whoever waits for that does not wait for this one.
      if (startedWith[worker] !== rules) tell(child, { kind: 'rules', id: 0, rules })
    },
    onEnd(worker) {
      fan?.leave(worker)
      const flows = memory.workers[worker]!.counters[FLOWS]!
      retire(worker)
      settle(worker)
      onApplied()
      return flows
    },
    signs(worker) {
      const applied = Atomics.load(state, stateOf(worker, COMMANDS_APPLIED))
      const isBehind = applied !== Atomics.load(state, COMMANDS_WRITTEN)
      return { beats: Atomics.load(state, stateOf(worker, BEATS)), applied, isBehind }
    },
    onRules(worker, id, flowsEnded) {
      if (change?.id !== id) return
      change.ended += flowsEnded
      settle(worker)
    },
  })

  /* Firewall rules. */

  interface Change { id: number; waiting: Set<number>; ended: number; done: (ended: number) => void }
  let change: Change | null = null
  let changes = 0

  /** It has them, or is no more. */
  function settle(worker: number): void {
    change?.waiting.delete(worker)
    finishChange()
  }

  function finishChange(): void {
    if (change === null || change.waiting.size > 0) return
    const { done, ended: flowsEnded } = change
    change = null
    done(flowsEnded)
  }

  let onApplied = () => { /* no turns yet */ }

  return {
    channel: fan === null || activity === null ? null : { ring: fan, activity },
    counters, refresh, isRemote: true,
    sources: ends.map((end) => linkText({ name: linkName(end), driver: live.driverName, mtu: end.mtu })),
    mappingLog: shape.logRecords === 0 ? null
      : joinedLog(memory.workers.map(({ logHead, logWords }) => createMappingLog(shape.logRecords, logHead, logWords))),
    engine: {
      applyCommands() {
        rouse()
        // Whoever needs room in the ring now gets it as fast as workers are.
        if (fan !== null && fan.room() < fan.capacity >> 1) {
          const untilMs = machineMs() + PUMP_MS, before = fan.applied()
          while (fan.applied() === before && fan.written() !== before && machineMs() < untilMs) { /* they carry them out */ }
        }
        return false
      },
      expire() { /* each worker does */ },
    },
    traffic(turns) {
      onApplied = turns.wake
      addon.hear(bells[workers]!, () => {
        addon.listen()
        turns.wake()
      })
      return null
    },
    ready: keeper.ready,
    async begin(startClock) {
      startClock()
      zeroMs = machineMs()
      await keeper.begin()
    },
    replaceRules(next, _turns, done) {
      rules = next
      const id = ++changes
      const waiting = keeper.workers.flatMap(({ isReleased }, worker) => isReleased ? [worker] : [])
      change = { id, waiting: new Set(waiting), ended: 0, done }
      for (const worker of change.waiting) keeper.send(worker, { kind: 'rules', id, rules: next })
      finishChange()
    },
    soFar,
    stopCapture() { /* there is none */ },
    async finish() {
      await keeper.stop()
      const results = keeper.workers.flatMap(({ result }) => result ?? [])
      return {
        ...soFar(), firewall: joinedFirewall(results.flatMap(({ firewall }) => firewall ?? []), counters),
        tableBytes: results.reduce((sum, { tableBytes }) => sum + tableBytes, 0),
        ruleBytes: results.reduce((sum, { ruleBytes }) => sum + ruleBytes, 0),
      }
    },
    close() {
      keeper.kill()
      spared.close()
    },
  }

  function sums<T extends string>(names: readonly T[], of: readonly Float64Array[]): Record<T, number> {
    return Object.fromEntries(names.map((name, i) => [name, of.reduce((sum, one) => sum + one[i]!, 0)])) as Record<T, number>
  }

  function soFar(): PathReport {
    refresh()
    return {
      // What each one received is counted in memory that outlives it.
      packets: memory.workers.reduce((sum, one) => sum + received(one), 0),
      interfaces: interfacesReport(), firewall: null, tableBytes: null, ruleBytes: null, workers: workersReport(),
    }
  }

  function interfacesReport(): LiveReport {
    return {
      links: ends.map((link, side) => ({
        name: linkName(link), driver: live.driverName, mtu: link.mtu,
        counters: sums<DeviceCounter>(DEVICE_COUNTERS, memory.workers.map(({ devices }) => devices[side]!)),
      })),
      counters: sums<LiveCounter>(LIVE_COUNTERS, memory.workers.map((one) => one.live)),
    }
  }

  function workersReport(): WorkersReport {
    const each = keeper.workers.map(({ restarts, flowsLost }, worker) => {
      const { counters: its, live: ofLive } = memory.workers[worker]!
      return {
        receivedFrames: received(memory.workers[worker]!),
        takenOverFrames: ofLive[liveCounterIndex('taken-over-frames')]!,
        handedOnFrames: ofLive[liveCounterIndex('handed-on-frames')]!,
        flows: its[FLOWS]!, restarts, flowsLost,
      }
    })
    return {
      count: workers, restarts: each.reduce((sum, { restarts }) => sum + restarts, 0),
      flowsLost: each.reduce((sum, { flowsLost }) => sum + flowsLost, 0), each,
    }
  }
}

const FLOWS = counterIndex('flows-current')
/** What is told to every worker, and counted by each. */
const OF_ALL = new Set(([
  'rules-current', 'rules-added', 'rules-ended', 'bindings-current', 'firewall-replacements',
] as const).map(counterIndex))
/** What is there now, or was at most. */
const IS_GAUGE = new Set(COUNTERS.flatMap((name, i) => /-(current|peak)$/.test(name) ? [i] : []))
const RECEIVED = DEVICE_COUNTERS.indexOf('received-frames')
const received = ({ devices: [inside, outside] }: WorkerMemory) => inside[RECEIVED]! + outside[RECEIVED]!
/** Of LIVE_COUNTERS, what is there now. */
const GAUGES = ['neighbours-current'] as const

/** Beside this file once compiled, and beside the bundle. */
const WORKER = fileURLToPath([new URL('./worker.js', import.meta.url), new URL('../workers/worker.js', import.meta.url)]
  .find((url) => existsSync(fileURLToPath(url))) ?? new URL('./worker.js', import.meta.url))

function openSockets(live: Prepared, steering: Parameters<typeof steeringProgram>[0], { nat }: Config): PacketSockets {
  const programs = [SIDE_INSIDE, SIDE_OUTSIDE].map((side) => {
    const program = steeringProgram(steering, side, nat.nat44)
    // `struct sock_filter`: code in the lower half of the first word, then where to go.
    return Int32Array.from(program.flatMap(([code, whenTrue, whenFalse, operand]) =>
      [code | whenTrue << 16 | whenFalse << 24, operand | 0]))
  })
  try {
    return openPacketSockets(linkOptions(live.links), steering.workers, programs)
  } catch (error) {
    if (error instanceof DeviceError) throw new Failure(STATUS.usage, error.message, { cause: error })
    throw error
  }
}
