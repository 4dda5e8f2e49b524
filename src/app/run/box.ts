/**
 * A box that runs until it is stopped: the packet path, its doors, and policy between them. Packets come from live interfaces, or
 * from a capture, or not at all. Packets and control share one thread; see turns.ts.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { createPdp, PdpConfigError, type Pdp, type PdpStatistics } from '../../control/pdp/pdp.ts'
import {
  createSimcoServer, SimcoConfigError, type SimcoCounters, type SimcoListener, type SimcoLogRecord, type SimcoServer,
} from '../../control/simco/server.ts'
import type { SnmpCounters } from '../../control/snmp/server.ts'
import { counterIndex } from '../../channel/counters.ts'
import { createMappingLog } from '../../channel/mapping-log.ts'
import type { Engine } from '../../engine/engine.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import { buildRuleSet, type RuleSetBuilder } from '../../engine/firewall-set.ts'
import { CaptureError, systemReason } from '../../phy/capture-error.ts'
import { preloadCapture, type CaptureStore } from '../../phy/preload.ts'
import { createTapMemory } from '../../phy/tap.ts'
import { sidesByInterface, sidesBySource } from '../../plane/sides.ts'
import type { Policy, PolicyCore, PolicyStatistics } from '../../policy/api.ts'
import type { PolicyAuthorizer } from '../../policy/options.ts'
import type { Prefix } from '../../base/address.ts'
import { SIDE_INSIDE } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { compose, composeAuthorizer, composePolicy, type Machine, type PoolShare } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { logRecords } from '../mappings/records.ts'
import { JournalError, openJournal, type OpenJournal } from './journal.ts'
import type { Live, LiveReport } from './live.ts'
import { createLog } from './log.ts'
import { openMappingLog } from './mapping-log.ts'
import { openRecordDoor, type RecordDoor, type RecordDoorOptions } from './record-door.ts'
import { composeMibs } from './mibs.ts'
import { REFUSALS_EVERY_MS, createRefusals } from './refusals.ts'
import { openSnmp, type SnmpDoor } from './snmp.ts'
import { composeSnmpAccess } from './snmp-access.ts'
import { timed } from './timed.ts'
import { createTraffic } from './traffic.ts'
import { createTurns } from './turns.ts'

/** Batches of interfaces that are forwarded after everything else has ended: what their rings may hold. */
const DRAIN_TURNS = 64
/** Of a rule set, in one turn: a few hundredths of a millisecond. */
const BUILD_STEPS = 8

export interface BoxOptions {
  config: Config
  inside: readonly Prefix[]
  seed: number
  /** Interfaces that packets come from and go to; null: none. */
  live: Live | null
  /** null: no packets, but those of interfaces. */
  capture: string | null
  /** Capture seconds in a second; 0: as fast as it goes. */
  pace: number
  /** Infinity: for ever. */
  loops: number
  /** Where lines about mappings go; absent: nowhere. */
  logMappings?: string | undefined
  /** What happens to sessions and decisions, a line each. */
  log: (line: string) => void
  /** Where `pinhole record` may ask a live box, and what stands in a recording; absent: nowhere. */
  recordDoor?: RecordDoorOptions
  /** Called when all is open, before the first packet: privileges may go. */
  onOpen?: () => void
}

export interface Box {
  /** What is open, as in `simco 127.0.0.1:7626`. */
  readonly doors: readonly string[]
  readonly machine: Machine
  /**
   * What agents may do from now on, and the firewall rules; agents that are no longer there lose their sessions, and flows that
   * the rules forbid end. Nothing else changes.
   */
  reload(config: Config): void
  /** Tells agents, waits for what they are owed, closes. */
  stop(): Promise<BoxResult>
}

export interface BoxResult {
  machine: Machine
  /** Records of mappings that were written, and lost; null: nobody asked. */
  mappingLog: { written: number; lost: number } | null
  upMs: number
  packets: number
  turns: number
  interfaces: LiveReport | null
  /** null: nobody could set rules. */
  policy: PolicyStatistics | null
  simco: Readonly<SimcoCounters> | null
  snmp: Readonly<SnmpCounters> | null
  pdp: PdpStatistics | null
}

export async function startBox(options: BoxOptions): Promise<Box> {
  const { config, inside, seed, capture, live } = options
  const log = createLog(options.log, () => performance.now())
  let share: PoolShare = { poolStart: 0, poolEnd: 0 }
  let store: CaptureStore | null = null
  const records = options.logMappings === undefined ? null : createMappingLog(logRecords(config))
  const machine = await compose({
    config, inside, seed, mappingLog: records, isReplaceable: true,
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
  const { engine, frames, plane } = machine
  const tapMemory = live === null || options.recordDoor === undefined ? null : createTapMemory()
  const clock = heldClock()
  const turns = createTurns(engine, clock.nowMs)
  const played = store === null ? null : createTraffic({ ...options, ...share, store, frames, plane })
  const traffic = live?.traffic({ machine, wake: turns.wake, turnNow: turns.turnNow, log: log.line, tapMemory }) ?? played
  const mappings = records === null ? null
    : openMappingLog(options.logMappings!, records, turns.nowMs, turns.wake, (line) => process.stderr.write(`pinhole: ${line}\n`))
  const pump = (target: Engine) => {
    turns.pump(target)
    if (mappings?.isBehind() === true) turns.wake()
  }

  const pdp = openPdp(config, log.line)
  let authorizer = composeAuthorizer(config, pdp)
  const current: PolicyAuthorizer = {
    decide: (question) => authorizer.decide(question),
    mayAccess: (agent, owner) => authorizer.mayAccess(agent, owner),
    maxRules: (agent) => authorizer.maxRules?.(agent) ?? Infinity,
  }
  const core = config.midcom.enabled ? composePolicy({ config, inside, seed }, machine, current, pump) : null
  const policy = core === null ? null : timed(core, turns.advance, turns.wake)
  const server = policy === null ? null : openSimco(config, policy, log.line)
  const journal = core === null ? null : await openRules(config)
  let snmp: SnmpDoor | null
  let doors: string[]
  let recordDoor: RecordDoor | null = null
  try {
    // What was kept comes back here.
    snmp = null
    if (core !== null) {
      const mibs = { config, machine, core, turns, journal, wallMs: () => Date.now(), log: log.line }
      snmp = openSnmp(config, () => composeMibs(mibs), log.line)
      carryOut(core)
    }
    // With a capture the packet path counts time from the first packet; so that it is the time of the box, that one comes at once.
    played?.turn(() => 0)
    clock.start()
    doors = await openDoors(server, snmp)
    if (tapMemory !== null) recordDoor = await openRecordDoor(options.recordDoor!, live!.links, seed, tapMemory, log.line)
    options.onOpen?.()
  } catch (error) {
    live?.close()
    await recordDoor?.close()
    await journal?.close()
    throw error
  }
  turns.start(core, mappings === null ? traffic : mappings.beside(traffic))
  const refusals = createRefusals(machine.counters, log.line)
  const telling = setInterval(refusals.tell, REFUSALS_EVERY_MS).unref()
  let known = config.midcom.agents
  let building: RuleSetBuilder | null = null

  /** Makes tables of the rules a little at a time, then has them count at once; the flows that are there follow in slices. */
  function replaceRules(rules: readonly FirewallRule[]): void {
    const ENDED = counterIndex('firewall-flows-ended'), builder = buildRuleSet(rules, inside, seed)
    building = builder
    const build = () => {
      // What is read meanwhile takes its place.
      if (building !== builder) return
      if (builder.step(BUILD_STEPS)) return void setImmediate(build)
      building = null
      const before = machine.counters[ENDED]
      engine.replaceRules(builder.set())
      turns.pump(engine)
      const tell = () => {
        if (engine.firewall.isChanging()) return void setImmediate(tell)
        log.line(`firewall: ${rules.length} rules count, ${machine.counters[ENDED] - before} flows ended`)
      }
      tell()
    }
    build()
  }

  return {
    doors, machine,
    reload(next) {
      replaceRules(next.firewall.rules)
      authorizer = composeAuthorizer(next, pdp)
      pdp?.forget()
      policy?.authorizationChanged()
      snmp?.server.setAccess(composeSnmpAccess(next.midcom))
      for (const { name } of known) {
        if (!next.midcom.agents.some((agent) => agent.name === name)) policy?.terminateSessions(name, 'authorization')
      }
      known = next.midcom.agents
    },
    async stop() {
      building = null
      // Packets of interfaces go on until agents have what they are owed.
      if (live === null) turns.stopTraffic()
      await Promise.all([server?.close(), snmp?.server.close()])
      await journal?.close()
      pdp?.close()
      clearInterval(telling)
      refusals.tell()
      log.end()
      const upMs = turns.nowMs()
      turns.stop()
      // What has come until now still leaves.
      if (live !== null) for (let n = 0; n < DRAIN_TURNS && traffic!.turn(turns.nowMs); n++) { /* the next batch */ }
      plane.finish()
      await recordDoor?.close()
      const interfaces = live?.report() ?? null
      live?.close()
      await mappings?.close()
      return {
        machine, mappingLog: mappings?.counts() ?? null,
        upMs, packets: traffic?.packets() ?? 0, turns: turns.count, interfaces, policy: core?.statistics() ?? null,
        simco: server?.counters ?? null, snmp: snmp?.server.counters ?? null, pdp: pdp?.statistics() ?? null,
      }
    },
  }
}

/** Time stands still until the box is as it was left: that much work comes before the first packet and takes none of its time. */
function heldClock(): { nowMs(): number; start(): void } {
  const heldMs = performance.now()
  let lostMs = -1
  return {
    nowMs: () => lostMs < 0 ? heldMs : performance.now() - lostMs,
    start() { lostMs = performance.now() - heldMs },
  }
}

/** The packet path does everything that it has been told. */
function carryOut(core: PolicyCore): void {
  while ((core.appliedTicket() - core.ticket() | 0) < 0) core.pump()
}

/** Rules that outlast a restart are those that SNMP shows. */
async function openRules({ midcom: { snmp, stateDirectory } }: Config): Promise<OpenJournal | null> {
  if (snmp.listen.length === 0 || stateDirectory === null) return null
  try {
    return await openJournal(join(stateDirectory, 'rules'))
  } catch (error) {
    if (!(error instanceof JournalError)) throw error
    throw new Failure(STATUS.usage, `midcom.state: ${error.message}`, { cause: error })
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

function openPdp({ midcom }: Config, log: BoxOptions['log']): Pdp | null {
  const { url, timeoutMs, maxConcurrent, maxWaiting, cacheMs, ca, tokenFile } = midcom.pdp
  if (url === null) return null
  try {
    return createPdp({
      ...PDP_FIXED, url, timeoutMs, maxConcurrent, maxWaiting, cacheMs,
      ...ca !== null && { ca: readFileSync(ca) },
      ...tokenFile !== null && { token: readFileSync(tokenFile, 'utf8').trim() },
      onFailure: (failure, detail, { agent, kind }) => log(`pdp: ${failure}: ${detail} (${kind} of ${agent})`),
    })
  } catch (error) {
    if (!(error instanceof PdpConfigError)) throw error
    throw new Failure(STATUS.usage, `midcom.pdp.${error.setting}: ${error.message}`, { cause: error })
  }
}

/** Answers are a line of JSON; permits in the cache take a few hundred bytes each. */
const PDP_FIXED = { maxAnswerBytes: 16_384, cacheEntries: 1024 }

function openSimco({ midcom }: Config, policy: Policy, log: BoxOptions['log']): SimcoServer | null {
  const { listen, tls, allowPlain, loopbackAgent, challenge, limits } = midcom.simco
  if (listen.length === 0) return null
  const hasKeys = midcom.agents.some(({ key }) => key !== null)
  const common: Omit<SimcoListener, 'host' | 'port'> = {
    // Without a key there is nothing to prove.
    allowPlain, challenge: challenge && hasKeys,
    ...loopbackAgent !== null && { loopbackAgent },
    ...tls.cert !== null && tls.key !== null && {
      tls: { cert: readFileSync(tls.cert), key: readFileSync(tls.key), ...tls.ca !== null && { ca: readFileSync(tls.ca) } },
    },
  }
  try {
    return createSimcoServer({
      policy, limits, listeners: listen.map((endpoint) => ({ ...common, ...endpoint })),
      agents: midcom.agents.map(({ name, key, certificates }) => ({ name, certificates, ...key !== null && { key } })),
      log: (record) => log(logLine(record)),
    })
  } catch (error) {
    if (!(error instanceof SimcoConfigError)) throw error
    const message = error.code === 'simco-no-identity'
      ? 'nobody could come in: give an agent a key or a certificate, or name a loopback-agent' : error.message
    throw new Failure(STATUS.usage, `midcom.simco: ${message}`, { cause: error })
  }
}

/** All of them, or none. */
async function openDoors(simco: SimcoServer | null, snmp: SnmpDoor | null): Promise<string[]> {
  const doors = await listen(simco)
  try {
    return [...doors, ...await snmp?.listen() ?? []]
  } catch (error) {
    await simco?.close()
    throw error
  }
}

async function listen(server: SimcoServer | null): Promise<string[]> {
  if (server === null) return []
  try {
    const addresses = await server.listen()
    return addresses.map(({ address, port }) => `simco ${address.includes(':') ? `[${address}]` : address}:${port}`)
  } catch (error) {
    throw new Failure(STATUS.usage, `cannot open the simco door: ${systemText(error as NodeJS.ErrnoException)}`, { cause: error })
  }
}

/** `listen EADDRINUSE: address already in use 127.0.0.1:7626`, without the call. */
function systemText(error: NodeJS.ErrnoException): string {
  const said = /^listen (E[A-Z0-9]+): (.*)$/.exec(error.message)
  return said === null ? systemReason(error) : `${said[2]} (${said[1]})`
}

function logLine({ event, connection, remote, agent, code, detail }: SimcoLogRecord): string {
  const parts = [
    `simco: ${event}`, connection === 0 ? '' : `#${connection}`, remote, agent ?? '',
    code === undefined ? '' : `0x${code.toString(16).padStart(4, '0')}`, detail ?? '',
  ]
  return parts.filter((part) => part !== '').join(' ')
}
