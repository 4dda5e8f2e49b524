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
import type { Counters } from '../../channel/counters.ts'
import { systemReason } from '../../phy/capture-error.ts'
import { createTapMemory } from '../../phy/tap.ts'
import type { Policy, PolicyCore, PolicyStatistics } from '../../policy/api.ts'
import type { PolicyAuthorizer } from '../../policy/options.ts'
import type { Prefix } from '../../base/address.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { composeAuthorizer, composePolicy } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { counted } from '../figures.ts'
import { openCrew } from '../workers/crew.ts'
import { JournalError, openJournal, type OpenJournal } from './journal.ts'
import { recordedLinks, type Prepared } from './live.ts'
import { createLog } from './log.ts'
import { openMappingLog } from './mapping-log.ts'
import { openRecordDoor, type RecordDoor, type RecordDoorOptions } from './record-door.ts'
import { composeMibs } from './mibs.ts'
import { openPath, type PathReport } from './path.ts'
import type { Identity } from './privileges.ts'
import { REFUSALS_EVERY_MS, createRefusals } from './refusals.ts'
import { openSnmp, type SnmpDoor } from './snmp.ts'
import { composeSnmpAccess } from './snmp-access.ts'
import { timed } from './timed.ts'
import { createTurns, type EngineOfTurns } from './turns.ts'

export interface BoxOptions {
  config: Config
  inside: readonly Prefix[]
  seed: number
  /** Interfaces that packets come from and go to; null: none. */
  live: Prepared | null
  /** Processes that forward, at least 1; more than one between interfaces only. */
  workers: number
  /** Whom workers run as; absent: as this process. */
  identity?: Identity | undefined
  /** Called when the box cannot go on. */
  onFailure?: (why: string) => void
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
  /** Where packets come from: interfaces, as in `in0 (packet, MTU 1500)`, a capture, as in `few.pcap (30 packets)`, or nowhere. */
  readonly sources: readonly string[]
  /** What is open, as in `simco 127.0.0.1:7626`. */
  readonly doors: readonly string[]
  /**
   * What agents may do from now on, and the firewall rules; agents that are no longer there lose their sessions, and flows that
   * the rules forbid end. Nothing else changes.
   */
  reload(config: Config): void
  /** What it has done until now. */
  soFar(): BoxResult
  /** Tells agents, waits for what they are owed, closes. */
  stop(): Promise<BoxResult>
}

export interface BoxResult extends PathReport {
  counters: Counters
  /** Records of mappings that were written, and lost; null: nobody asked. */
  mappingLog: { written: number; lost: number } | null
  upMs: number
  turns: number
  /** null: nobody could set rules. */
  policy: PolicyStatistics | null
  simco: Readonly<SimcoCounters> | null
  snmp: Readonly<SnmpCounters> | null
  pdp: PdpStatistics | null
}

export async function startBox(options: BoxOptions): Promise<Box> {
  const { config, inside, seed } = options
  const log = createLog(options.log, () => performance.now())
  const isLogging = options.logMappings !== undefined
  const path = options.workers === 1 ? await openPath({ ...options, isLogging, log: log.line })
    : openCrew({ ...options, live: options.live!, isLogging, log: log.line, onFailure: options.onFailure ?? log.line })
  const tapMemory = options.live === null || options.recordDoor === undefined ? null : createTapMemory()
  const clock = heldClock()
  const turns = createTurns(path.engine, clock.nowMs, { isRemote: path.isRemote })
  const traffic = path.traffic(turns, tapMemory)
  const complain = (line: string) => { process.stderr.write(`pinhole: ${line}\n`) }
  const mappings = path.mappingLog === null ? null
    : openMappingLog(options.logMappings!, path.mappingLog, turns.nowMs, turns.wake, complain)
  const pump = (target: EngineOfTurns) => {
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
  const core = config.midcom.enabled ? composePolicy({ config, inside, seed }, path, current, pump) : null
  const policy = core === null ? null : timed(core, turns.advance, turns.wake)
  const server = policy === null ? null : openSimco(config, policy, log.line)
  const journal = core === null ? null : await openRules(config)
  /** What it wrote is on the disk; a summary, or why the box does not start, is still owed. */
  const closeJournal = async () => {
    await journal?.close().catch((error: unknown) => { complain(`midcom.state: ${(error as Error).message}`) })
  }
  let snmp: SnmpDoor | null
  let doors: string[]
  let recordDoor: RecordDoor | null = null
  try {
    // What was kept comes back here.
    snmp = null
    if (core !== null) {
      const mibs = { config, path, core, turns, journal, wallMs: () => Date.now(), log: log.line }
      snmp = openSnmp(config, () => composeMibs(mibs), log.line)
      carryOut(core)
    }
    await path.ready()
    await path.begin(clock.start)
    doors = await openDoors(server, snmp)
    if (tapMemory !== null) {
      recordDoor = await openRecordDoor(options.recordDoor!, recordedLinks(options.live!), seed, tapMemory, log.line)
    }
    options.onOpen?.()
  } catch (error) {
    path.close()
    await recordDoor?.close()
    await closeJournal()
    throw error
  }
  turns.start(core, mappings === null ? traffic : mappings.beside(traffic))
  const refusals = createRefusals(path.counters, log.line)
  const telling = setInterval(() => {
    path.refresh()
    refusals.tell()
  }, REFUSALS_EVERY_MS).unref()
  const resultOf = (report: PathReport, upMs: number): BoxResult => ({
    ...report, counters: path.counters, mappingLog: mappings?.counts() ?? null, upMs, turns: turns.count,
    policy: core?.statistics() ?? null,
    simco: server?.counters ?? null, snmp: snmp?.server.counters ?? null, pdp: pdp?.statistics() ?? null,
  })
  let known = config.midcom.agents
  return {
    sources: path.sources, doors,
    reload(next) {
      // Whatever of it cannot be used shows before anything has changed.
      const decides = composeAuthorizer(next, pdp), access = composeSnmpAccess(next.midcom)
      const { rules } = next.firewall
      path.replaceRules(rules, turns, (ended) => {
        log.line(`firewall: ${counted(rules.length, 'rule counts', 'rules count')}, ${counted(ended, 'flow')} ended`)
      })
      authorizer = decides
      pdp?.forget()
      policy?.authorizationChanged()
      snmp?.server.setAccess(access)
      for (const { name } of known) {
        if (!next.midcom.agents.some((agent) => agent.name === name)) policy?.terminateSessions(name, 'authorization')
      }
      known = next.midcom.agents
    },
    soFar: () => resultOf(path.soFar(), turns.nowMs()),
    async stop() {
      // Packets of interfaces go on until agents have what they are owed.
      path.stopCapture(turns)
      await Promise.all([server?.close(), snmp?.server.close()])
      await closeJournal()
      pdp?.close()
      clearInterval(telling)
      path.refresh()
      refusals.tell()
      log.end()
      const upMs = turns.nowMs()
      turns.stop()
      const report = await path.finish(turns, async () => { await recordDoor?.close() })
      await mappings?.close()
      return resultOf(report, upMs)
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
