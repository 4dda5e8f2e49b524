/** `pinhole run`: the command line of a box that runs until it is told to stop. */
import { randomInt } from 'node:crypto'
import { accessSync, constants } from 'node:fs'
import { Option, type Command } from 'commander'
import { parsePrefix, type Fault, type Parsed } from '../config/address.ts'
import { rangeWords, sharedPool } from '../config/assemble-nat.ts'
import {
  insideOf, interfaceFaults, parseHostAddress, parseInterfaceAddress, parseLinkName, type InterfacesConfig, type LiveInterface,
} from '../config/interfaces.ts'
import type { Config } from '../config/config.ts'
import { ConfigError, defaultConfig, loadConfig, type SettingFault } from '../config/load.ts'
import { scaled } from '../config/scaled.ts'
import { counted } from '../figures.ts'
import { usableRange } from '../config/values.ts'
import { POOL_MOST } from '../config/written.ts'
import { captureError } from '../../phy/capture-error.ts'
import { DRIVER_CHOICES, type DriverChoice } from '../../phy/drivers.ts'
import { linkName } from '../../phy/vlan.ts'
import { startBox, type BoxOptions, type BoxResult } from '../run/box.ts'
import { createConfigReader } from '../run/config-reader.ts'
import { prepareLive } from '../run/live.ts'
import { asUser } from '../run/privileges.ts'
import { defaultRecordDoor } from '../run/record-door.ts'
import { recordedConfiguration } from '../run/recorded-settings.ts'
import { createRunReport, runSummary } from '../run/report.ts'
import { sharingFaults } from '../workers/plan.ts'
import { checkOutputs, writeReport } from './outputs.ts'
import { atLeastOnce, pace, positive, seed, workers } from './values.ts'
import { Failure, STATUS } from './status.ts'

interface RunFlags {
  simulate?: true
  config?: string
  inside: string[]
  outside: string[]
  pool: string[]
  gateway: string[]
  workers: number
  driver?: DriverChoice
  timeScale: number
  fixOffload?: true
  user?: string
  recordDoor?: string
  pace: number
  loop: number
  seed?: number
  report?: string
  logMappings?: string
  quiet?: true
}

export function registerRun(program: Command): void {
  program.command('run')
    .summary('run a box between two interfaces, or one without interfaces')
    .description('Run a box until it is told to stop: between two interfaces, or with --simulate without any. Its doors are '
      + 'open for MIDCOM agents if the configuration says so.')
    .argument('[capture]', 'with --simulate: pcap or pcapng, plain or gzip: packets to forward, by the defaults if there is no '
      + 'configuration; without it there are none')
    .option('--config <file>', 'YAML configuration')
    .option('--inside <interface,address>', 'the inside interface and its addresses, as in in0,10.0.0.1/24, or in0:7,10.0.0.1/24 '
      + 'for VLAN 7 of it, repeatable; with --simulate a prefix of the inside network. Instead of those of the configuration',
    texts, [])
    .option('--outside <interface,address>', 'the outside interface and its addresses, as in out0,203.0.113.1/24, repeatable',
      texts, [])
    .option('--pool <addresses>', 'outside addresses of the NAT, as in 203.0.113.1-203.0.113.4, repeatable', texts, [])
    .option('--gateway <address>', 'the router on the outside link, one for each IP version', texts, [])
    .addOption(new Option('--driver <driver>', 'how frames come and go (see docs/live.md); else what the configuration '
      + 'says, or auto')
      .choices(DRIVER_CHOICES))
    .option('--workers <n>', 'processes that forward, each the flows of its share of inside hosts', workers, 1)
    .option('--fix-offload', 'switch off what joins frames on their way in (GRO, LRO), instead of refusing the interface')
    .option('--user <name>', 'become this user when interfaces and doors are open')
    .option('--record-door <path>', 'Unix socket where `pinhole record` asks, or none (default: one in /run/pinhole)')
    .option('--time-scale <n>', 'divide every timer of flows by n, so that a lab need not wait', positive, 1)
    .option('--simulate', 'without interfaces: packets come from the capture, and go nowhere')
    .option('--pace <pace>', 'of the capture: max, original, or a factor such as 2x or 0.5x', pace, 1)
    .option('--loop <n>', 'play the capture n times, or forever', atLeastOnce, 1)
    .option('--seed <n>', 'seed of all random choices, 0 … 2^32-1; without it one is drawn', seed)
    .option('--log-mappings <file>', 'add which inside host has which outside ports, a line of JSON each (- is standard output)')
    .option('--report <file>', 'write a JSON report at the end, and at SIGUSR2 (- is standard output, and only at the end)')
    .option('--quiet', 'do not log sessions')
    .addHelpText('after', `
A line that begins with "ready:" says that packets pass and doors are open, and which. SIGTERM and SIGINT tell agents that their
sessions end, and end the box with status 0 and a summary; a second signal ends it at once. SIGHUP reads the configuration again:
what agents may do and what SNMP users see count from then on, and agents that are gone lose their sessions; firewall.rules count
from then on, and flows that they forbid end at once, all others go on. Keys, users, doors, interfaces and all other settings count
from the next start. SIGUSR2 shows the summary of what the box has done until now, and writes it to the file of --report.

Interfaces need Linux, the driver that npm has compiled, and CAP_NET_RAW (root; CAP_NET_ADMIN as well for --fix-offload, and with
CAP_BPF for the drivers xdp, xdpdrv and xdpgeneric: AF_XDP where the interface has it, in its driver, or anywhere). The kernel
must not forward between them, and must not have addresses of the pool: the box looks, and says what to do.

Examples:
  pinhole run --inside in0,10.0.0.1/24 --outside out0,203.0.113.1/24 --pool 203.0.113.1-203.0.113.4 --gateway 203.0.113.254
  pinhole init --lab -o lab.yaml && pinhole run --simulate --config lab.yaml
  pinhole run --simulate capture.pcap
  pinhole run --simulate capture.pcap --loop forever --config lab.yaml`)
    .action(run)
  const option = program.commands.at(-1)?.options.find(({ long }) => long === '--pace')
  if (option !== undefined) option.defaultValueDescription = 'original'
}

function texts(text: string, before: string[]): string[] {
  return [...before, text]
}

type Log = (line: string) => void

async function run(capture: string | undefined, flags: RunFlags, command: Command): Promise<void> {
  const log: Log = flags.quiet === true ? () => { /* asked for */ } : (line) => { process.stderr.write(`${line}\n`) }
  const identity = flags.user === undefined ? undefined : asUser(flags.user)
  const { config, live, inside } = flags.simulate === true ? simulated(capture, flags) : between(capture, flags, log)
  if (flags.workers > 1 && flags.recordDoor !== undefined && flags.recordDoor !== 'none') {
    throw new Failure(STATUS.usage, `--workers ${flags.workers}: --record-door: what several workers forward is not recorded`)
  }
  checkOutputs({ capture: capture ?? null, config: flags.config ?? null }, [flags.report, flags.logMappings])
  const options: BoxOptions = {
    config, inside, live, log, seed: flags.seed ?? randomInt(2 ** 32), capture: capture ?? null, pace: flags.pace,
    loops: flags.loop, logMappings: flags.logMappings,
    workers: flags.workers, identity,
    ...identity !== undefined && { onOpen: identity.become },
    onFailure: (why) => { fail(why) },
    ...live !== null && flags.workers === 1 && flags.recordDoor !== 'none' && { recordDoor: {
      path: flags.recordDoor ?? defaultRecordDoor(), version: command.parent?.version() ?? 'unknown', timeScale: flags.timeScale,
      configuration: recordedConfiguration({ file: flags.config, pool: flags.pool, config, inside }),
    } },
  }
  let fail: (why: string) => void = () => { /* nothing waits yet */ }
  const stopped = new Promise<void>((resolve) => {
    fail = (why) => {
      process.stderr.write(`pinhole: ${why}\n`)
      process.exitCode = STATUS.internal
      resolve()
    }
    // Once: the second signal has its usual effect.
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  // Until the box is there these are kept, for without a listener they would end it.
  let isAskedToReload = false, isAskedToTell = false
  let onHangup = () => { isAskedToReload = true }
  let onQuestion = () => { isAskedToTell = true }
  process.on('SIGHUP', () => { onHangup() })
  process.on('SIGUSR2', () => { onQuestion() })
  const box = await startBox(options)
  const reader = createConfigReader()
  let asked = 0
  const reload = async () => {
    if (flags.config === undefined) return log('there is no configuration to read again; the box goes on as it was')
    if (flags.config === '-') return log('what came from standard input cannot be read again; the box goes on as it was')
    const mine = ++asked
    try {
      const next = await reader.read(flags.config)
      // Read once more meanwhile.
      if (mine !== asked) return
      box.reload(next)
      const agents = counted(next.midcom.agents.length, 'agent'), rules = counted(next.firewall.rules.length, 'firewall rule')
      log(`reloaded what ${agents} may do, and ${rules}; keys, `
        + 'doors and all other settings count from the next start')
      if (live !== null) tellUnmoved(flags, live.config.interfaces!, next.interfaces, log)
    } catch (error) {
      // Of the system: no thread, no memory, no file descriptors. A box does not end for want of them.
      const why = error instanceof ConfigError ? error.message
        : `pinhole: ${flags.config} cannot be read again: ${(error as Error).message}`
      process.stderr.write(`${why}\npinhole: ${flags.config} is not used; the box goes on as it was\n`)
    }
  }
  const context = { version: command.parent?.version() ?? 'unknown', configFile: flags.config ?? null }
  function tell(result: BoxResult, file: string | undefined): void {
    const report = createRunReport(options, result, context)
    told.write(runSummary(report) + '\n')
    if (file !== undefined) writeReport(file, JSON.stringify(report, null, 2) + '\n')
  }
  onQuestion = () => {
    try {
      tell(box.soFar(), flags.report === '-' ? undefined : flags.report)
    } catch (error) {
      process.stderr.write(`pinhole: ${(error as Error).message}\n`)
    }
  }
  const path = box.sources.length === 0 ? [] : [box.sources.join(' to ')]
  // Whoever reads records or a report gets nothing else there.
  const told = flags.report === '-' || flags.logMappings === '-' ? process.stderr : process.stdout
  const ready = `ready: ${[...path, ...box.doors].join(', ')}\n`
  ;(flags.logMappings === '-' ? process.stderr : process.stdout).write(ready)
  onHangup = () => { void reload() }
  if (isAskedToReload) onHangup()
  if (isAskedToTell) onQuestion()
  await stopped
  onHangup = onQuestion = () => { /* it ends */ }
  const result = await box.stop()
  reader.close()
  tell(result, flags.report)
}

/** Says where the file has another interface or VLAN than the box has, unless the command line decides that. */
function tellUnmoved(flags: RunFlags, now: InterfacesConfig, next: InterfacesConfig | null, log: Log): void {
  for (const side of ['inside', 'outside'] as const) {
    if (next === null || flags[side].length > 0) continue
    const [wanted, has] = [linkName(next[side]), linkName(now[side])]
    if (wanted !== has) log(`interfaces.${side}: ${wanted} counts from the next start; the box goes on with ${has}`)
  }
}

type Setup = Pick<BoxOptions, 'config' | 'live' | 'inside'>

/** It is read when all else is known; that it is not there should be said before anything else is asked for. */
function checkCapture(capture: string): void {
  if (capture === '-') throw new Failure(STATUS.usage, 'the capture is read before the box starts: name a file')
  try {
    accessSync(capture, constants.R_OK)
  } catch (error) {
    throw new Failure(STATUS.usage, captureError('open', capture, error as NodeJS.ErrnoException).message, { cause: error })
  }
}

function simulated(capture: string | undefined, flags: RunFlags): Setup {
  const given = {
    outside: flags.outside.length > 0, pool: flags.pool.length > 0, gateway: flags.gateway.length > 0,
    workers: flags.workers > 1, driver: flags.driver !== undefined,
    'fix-offload': flags.fixOffload === true, user: flags.user !== undefined, 'record-door': flags.recordDoor !== undefined,
  }
  for (const [option, isGiven] of Object.entries(given)) {
    if (isGiven) throw new Failure(STATUS.usage, `--${option} is for interfaces, and with --simulate there are none`)
  }
  if (capture !== undefined) checkCapture(capture)
  if (flags.config === undefined && capture === undefined) {
    throw new Failure(STATUS.usage, 'a configuration is needed: `pinhole init --lab -o lab.yaml` makes one for --config; '
      + 'or name a capture, which needs none')
  }
  const config = flags.config === undefined ? defaultConfig() : loadConfig(flags.config)
  if (!config.midcom.enabled && capture === undefined) {
    throw new Failure(STATUS.usage, `${flags.config}: midcom.enabled is false, so nobody could do anything with this box`)
  }
  const inside = flags.inside.map((text) => {
    const parsed = parsePrefix(text)
    if (!parsed.ok) throw new Failure(STATUS.usage, `--inside: ${advice(parsed)}`)
    return parsed.value
  })
  return { config: scaled(config, flags.timeScale), live: null, inside: inside.length > 0 ? inside : config.inside }
}

/** A box between two interfaces: those of the options, or else of the configuration. */
function between(capture: string | undefined, flags: RunFlags, log: Log): Setup {
  if (capture !== undefined) {
    throw new Failure(STATUS.usage, 'a capture is played with --simulate; between interfaces there are their packets')
  }
  const config = flags.config === undefined ? defaultConfig()
    : loadConfig(flags.config, (settings) => flags.workers === 1 ? [] : sharedFaults(settings, flags))
  const found = interfacesOf(flags, config.interfaces)
  if (found === null) {
    throw new Failure(STATUS.usage, 'which interfaces? name them with --inside and --outside, or in `interfaces` of the '
      + 'configuration; `pinhole run --simulate` needs none')
  }
  if (flags.pool.length > 0) {
    config.nat.pool = [...new Set(flags.pool.flatMap((text) => rangeWords(parsed('pool', text, usableRange))))]
    const most = sharedPool(config.nat).length
    if (most > POOL_MOST) throw new Failure(STATUS.usage, `--pool: ${most} addresses are too many (1 to ${POOL_MOST})`)
  }
  const pool = config.nat.nat44 ? sharedPool(config.nat).map((address) => ({ first: address >>> 0, last: address >>> 0 })) : []
  const [fault] = interfaceFaults(found, pool)
  if (fault !== undefined) {
    throw new Failure(STATUS.usage, `interfaces: ${fault.message}${fault.suggestion === undefined ? '' : `; ${fault.suggestion}`}`)
  }
  // Several workers share the sockets of one driver.
  const driver = found.driver === 'auto' && flags.workers > 1 ? 'packet' : found.driver
  if (flags.workers > 1 && driver !== 'packet') {
    throw new Failure(STATUS.usage, `--workers ${flags.workers}: --driver ${driver}: ${ONE_WORKER}`)
  }
  const settings = scaled({ ...config, interfaces: { ...found, driver } }, flags.timeScale)
  const live = prepareLive(settings, { fixOffload: flags.fixOffload === true, log })
  return { config: live.config, live, inside: insideOf(found) }
}

const ONE_WORKER = 'this driver serves one worker; packet serves several'

/** What several workers cannot have of a configuration. */
function sharedFaults(config: Config, { workers: count, driver }: RunFlags): SettingFault[] {
  const configured = config.interfaces?.driver ?? 'auto'
  const isOther = driver === undefined && configured !== 'auto' && configured !== 'packet'
  const other = { pointers: ['/interfaces/driver'], message: `--workers ${count}: ${ONE_WORKER}` }
  return [...sharingFaults(config, count), ...isOther ? [other] : []]
}

function interfacesOf(flags: RunFlags, configured: InterfacesConfig | null): InterfacesConfig | null {
  const { inside, outside, gateway, driver } = flags
  if (inside.length === 0 && outside.length === 0 && gateway.length === 0) {
    return driver === undefined || configured === null ? configured : { ...configured, driver }
  }
  const one = (option: 'inside' | 'outside', list: string[]): LiveInterface => {
    if (list.length === 0) {
      if (configured === null) throw new Failure(STATUS.usage, `--${option} is missing, as in --${option} ${EXAMPLES[option]}`)
      return configured[option]
    }
    const parts = list.map((text) => text.split(','))
    const [[text]] = parts
    const link = parsed(option, text, parseLinkName)
    const other = parts.find(([first]) => first !== text)
    if (other !== undefined) {
      throw new Failure(STATUS.usage, `--${option}: ${other[0]} is a second interface, and there is one on each side`)
    }
    const addresses = parts.flatMap(([, ...rest]) => rest.map((text) => parsed(option, text, parseInterfaceAddress)))
    if (addresses.length === 0) {
      throw new Failure(STATUS.usage, `--${option} ${text} has no address; write as in ${EXAMPLES[option]}`)
    }
    return { ...link, addresses }
  }
  return {
    inside: one('inside', inside), outside: one('outside', outside), routes: configured?.routes ?? [],
    gateways: gateway.length === 0 ? configured?.gateways ?? [] : gateway.map((text) => parsed('gateway', text, parseHostAddress)),
    driver: driver ?? configured?.driver ?? 'auto',
  }
}

const EXAMPLES = { inside: 'in0,10.0.0.1/24', outside: 'out0,203.0.113.1/24' }

function parsed<T>(option: string, text: string, read: (text: string) => Parsed<T>): T {
  const value = read(text)
  if (!value.ok) throw new Failure(STATUS.usage, `--${option}: ${advice(value)}`)
  return value.value
}

function advice({ message, suggestion }: Fault): string {
  return suggestion === undefined ? message : `${message} (${suggestion})`
}
