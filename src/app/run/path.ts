/** The packet path as the rest of a box sees it: in this process (below), or in several others (app/workers/crew.ts). */
import { performance } from 'node:perf_hooks'
import type { Prefix } from '../../base/address.ts'
import { readCounters, type Counters } from '../../channel/counters.ts'
import { createMappingLog, type MappingLog } from '../../channel/mapping-log.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { CaptureError } from '../../phy/capture-error.ts'
import { preloadCapture, type CaptureStore } from '../../phy/preload.ts'
import { sidesByInterface, sidesBySource } from '../../plane/sides.ts'
import { SIDE_INSIDE } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { compose, type Channel, type Machine, type PoolShare } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { counted } from '../figures.ts'
import { firewallReport, type FirewallReport } from '../firewall/report.ts'
import { logRecords } from '../mappings/records.ts'
import type { WorkersReport } from '../workers/report.ts'
import { createLive, type LiveReport, type Prepared } from './live.ts'
import { createRuleChange } from './rule-change.ts'
import { createTraffic, type PlayedTraffic } from './traffic.ts'
import type { EngineOfTurns, Traffic, Turns } from './turns.ts'

/** Batches of interfaces that are forwarded after everything else has ended: what their rings may hold. */
const DRAIN_TURNS = 64

export interface PathReport {
  packets: number
  interfaces: LiveReport | null
  /** As firewallReport; null too where workers have not told yet, which they do at their end. */
  firewall: FirewallReport | null
  /** null: workers have not told yet. */
  tableBytes: number | null
  ruleBytes: number | null
  /** null: it was one. */
  workers: WorkersReport | null
}

export interface PacketPath {
  /** null: no agent may set rules. */
  readonly channel: Channel | null
  /** Where packets come from: interfaces, as in `in0 (packet, MTU 1500)`, a capture, as in `few.pcap (30 packets)`, or nowhere. */
  readonly sources: readonly string[]
  readonly engine: EngineOfTurns
  /** As of the last `refresh`, where others count; else as of now. */
  readonly counters: Counters
  refresh(): void
  /** null: nobody asks about mappings. */
  readonly mappingLog: MappingLog | null
  /** Are commands carried out elsewhere? */
  readonly isRemote: boolean
  /** What turns forward, once there are turns; null: nothing comes this way. */
  traffic(turns: Turns, tapMemory: SharedArrayBuffer | null): Traffic | null
  /** All that has to be there before time begins. */
  ready(): Promise<void>
  /** Time begins: starts the clock. */
  begin(startClock: () => void): Promise<void>
  /** From now on these count, and in a little while `done` is told how many flows they ended. */
  replaceRules(rules: readonly FirewallRule[], turns: Turns, done: (ended: number) => void): void
  /** What it has done until now. */
  soFar(): PathReport
  /** No packets but those of interfaces. */
  stopCapture(turns: Turns): void
  /** What has come until now still leaves; `then` comes before interfaces are given back. */
  finish(turns: Turns, then: () => Promise<void>): Promise<PathReport>
  /** Gives everything back, where it did not come to `finish`. */
  close(): void
}

export interface PathOptions {
  config: Config
  inside: readonly Prefix[]
  seed: number
  live: Prepared | null
  capture: string | null
  pace: number
  loops: number
  isLogging: boolean
  log: (line: string) => void
}

export async function openPath(options: PathOptions): Promise<PacketPath> {
  const { config, inside, seed, capture, log } = options
  const live = options.live === null ? null : createLive(options.live)
  let share: PoolShare = { poolStart: 0, poolEnd: 0 }
  let store: CaptureStore | null = null
  const mappingLog = options.isLogging ? createMappingLog(logRecords(config)) : null
  const machine = await compose({
    config, inside, seed, mappingLog, isReplaceable: true,
    interfaceName: (id) => live?.names[id] ?? store?.interfaces[id]?.name,
    sides: live === null ? sidesBySource : (frames) => sidesByInterface(frames, (id) => id === SIDE_INSIDE),
    outInside: undefined, outOutside: undefined, clockNs: () => performance.now() * 1e6,
    ...live !== null && { live: live.frames },
    async openInput(frames, itsShare) {
      share = itsShare
      if (live !== null) live.open(frames, share.poolStart)
      else if (capture !== null) store = await readCapture(capture, frames, share)
    },
  })
  const { engine, frames, plane, counters, channel } = machine
  const loaded = store as CaptureStore | null
  const played: PlayedTraffic | null = loaded === null ? null : createTraffic({
    ...options, ...share, store: loaded, frames, plane,
    onOver(packets) { log(`${capture} is over: ${counted(packets, 'packet')}; the box goes on until it is stopped`) },
  })
  const change = createRuleChange(engine, counters, inside, seed)
  let traffic: (Traffic & { packets(): number }) | null = played
  const soFar = (): PathReport => ({
    packets: traffic?.packets() ?? 0, interfaces: live?.report() ?? null,
    firewall: firewallReport(engine, readCounters(counters)), tableBytes: engine.tableBytes, ruleBytes: engine.ruleBytes(),
    workers: null,
  })

  return {
    channel, engine, counters, mappingLog, isRemote: false,
    sources: live?.opened() ?? (loaded === null ? [] : [`${capture} (${counted(loaded.frames, 'packet')})`]),
    refresh() { /* they are ours */ },
    traffic(turns, tapMemory) {
      traffic = live?.traffic({ machine, wake: turns.wake, turnNow: turns.turnNow, log, tapMemory }) ?? played
      return traffic
    },
    async ready() { /* it is */ },
    async begin(startClock) {
      // With a capture the packet path counts time from the first packet; that it is the time of the box, that one comes at once.
      played?.turn(() => 0)
      startClock()
    },
    replaceRules(rules, turns, done) { change.replace(rules, () => { turns.pump(engine) }, done) },
    soFar,
    stopCapture(turns) {
      if (live === null) turns.stopTraffic()
    },
    async finish(turns, then) {
      change.stop()
      if (live !== null) for (let n = 0; n < DRAIN_TURNS && traffic!.turn(turns.nowMs); n++) { /* the next batch */ }
      plane.finish()
      await then()
      const report = soFar()
      live?.close()
      return report
    },
    close() { live?.close() },
  }
}

async function readCapture(capture: string, frames: Machine['frames'], share: PoolShare): Promise<CaptureStore> {
  try {
    const store = await preloadCapture(capture, frames, share)
    // What comes before the damage would be played as if it were all.
    if (store.fault !== null) throw new Failure(STATUS.input, `${capture}: byte ${store.fault.offset}: ${store.fault.reason}`)
    return store
  } catch (error) {
    if (error instanceof CaptureError) throw new Failure(STATUS.usage, error.message, { cause: error })
    throw error
  }
}
