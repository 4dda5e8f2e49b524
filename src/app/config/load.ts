/**
 * From a file to `Config`, or to everything that is wrong with it. The schema is checked first, setting by setting;
 * then what lies between settings: a pool too large, two entries that overlap, a pool that reaches inside.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Address, Prefix } from '../../base/address.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import type { Range } from './address.ts'
import { betweenSettings } from './between.ts'
import { assembleNat, rangeWords } from './assemble-nat.ts'
import type {
  AgentConfig, ChecksumCheck, Config, MidcomConfig, Policy, SpoofingCheck, WindowCheck,
} from './config.ts'
import { ruleOf } from './firewall.ts'
import type { InterfaceAddress, InterfacesConfig } from './interfaces.ts'
import { readDocument, reporter, type Problem } from './document.ts'
import { schemaProblems } from './problems.ts'
import type { Ports } from './quantity.ts'
import { reader } from './reader.ts'
import { SCHEMA } from './schema.ts'
import { assembleSnmp } from './snmp-assembly.ts'
import { parseKey, type Endpoint } from './values.ts'

/** A configuration that cannot be used. `code` is stable; `message` has a line for each problem. */
export class ConfigError extends Error {
  readonly code: 'config-unreadable' | 'config-invalid'
  readonly file: string
  /** Empty when the file could not be read at all. */
  readonly problems: Problem[]
  constructor(code: ConfigError['code'], file: string, problems: Problem[], message: string) {
    super(message)
    this.name = 'ConfigError'
    this.code = code
    this.file = file
    this.problems = problems
  }
}

export type Checked = { config: Config; problems: [] } | { config: null; problems: Problem[] }

/** Far above any real file, far below what would make the parser slow. */
const FILE_MOST_BYTES = 1 << 18

/** Why good settings do not do for what they are read for; told at the first of these places (JSON pointers) that the file has. */
export interface SettingFault { pointers: string[]; message: string; suggestion?: string }
/** What else a configuration has to be like, once it is good. */
export type Demand = (config: Config) => SettingFault[]

/** Reads and checks a file; `-` is standard input. Throws `ConfigError`. */
export function loadConfig(path: string, demand?: Demand): Config {
  return configOf(readText(path), path, demand)
}

/** The same of the text of that file. */
export function configOf(text: string, path: string, demand?: Demand): Config {
  const { config, problems } = checkConfig(text, folderOf(path), demand)
  if (config !== null) return config
  const lines = problems.map(problem => problemText(path, problem))
  throw new ConfigError('config-invalid', path, problems, lines.join('\n'))
}

export function defaultConfig(): Config {
  return assemble({}, '.', () => 0)
}

/** `file:line:column: message; suggestion`, which editors and terminals make a link of. */
export function problemText(file: string, { line, column, path, message, suggestion }: Problem): string {
  return `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}${message}`
    + (suggestion === undefined ? '' : `; ${suggestion}`)
}

/** The text of a file, or `ConfigError`. `advice` is for who has none yet, and `kind` what it would be. */
export function readText(path: string, kind = 'configuration', advice = '`pinhole init` prints one to begin with'): string {
  const unreadable = (what: string) => new ConfigError('config-unreadable', path, [], `${path}: ${what}`)
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path === '-' ? 0 : path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw unreadable(`there is no such file; ${advice}`)
    if (code === 'EISDIR') throw unreadable('this is a directory; name the file in it')
    if (code === 'EACCES') throw unreadable('no permission to read this file')
    throw unreadable(message)
  }
  if (bytes.length > FILE_MOST_BYTES) throw unreadable(`${bytes.length} bytes are too many for a ${kind}`)
  if (bytes[0] === 0xff && bytes[1] === 0xfe || bytes[0] === 0xfe && bytes[1] === 0xff) {
    throw unreadable('this is UTF-16; save it as UTF-8')
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)      // drops a byte order mark
  } catch {
    throw unreadable('this is not UTF-8 text')
  }
}

/** Files that a configuration names lie where it lies. */
export function folderOf(path: string): string {
  return path === '-' ? '.' : dirname(path)
}

/**
 * Checks the text of a file: its settings, or every problem, in the order of the file.
 * @param folder where the files lie that it names
 */
export function checkConfig(text: string, folder = '.', demand: Demand = () => []): Checked {
  const document = readDocument(text.replace(/^\uFEFF/, ''))
  const problems = [...document.problems, ...schemaProblems(document, SCHEMA, document.data), ...betweenSettings(document, folder)]
  if (problems.length === 0) {
    const lineOf = (pointer: string) => document.locate(document.places.get(pointer)?.value ?? 0).line
    const config = assemble(document.data, folder, lineOf)
    const found = reporter(document, problems)
    for (const { pointers, message, suggestion } of demand(config)) found(pointers, message, suggestion)
    if (problems.length === 0) return { config, problems: [] }
  }
  return { config: null, problems: problems.sort((a, b) => a.line - b.line || a.column - b.column) }
}

/* Assembly. */

/** Only for settings that have been found good. */
function assemble(data: unknown, folder: string, lineOf: (pointer: string) => number): Config {
  const { plain, value, list } = reader(data, '')
  return {
    inside: list<Prefix>('inside')!,
    interfaces: assembleInterfaces(data),
    box: {
      insideAddress: value('box.inside-address'), address6: value('box.address6'),
      mtuInside: value('box.mtu-inside'), mtuOutside: value('box.mtu-outside'),
      mss: plain('box.mss') === 'mtu' ? -1 : value('box.mss'),
    },
    nat: assembleNat(reader, data),
    firewall: {
      outbound: plain<Policy>('firewall.outbound'),
      inbound6: plain<Policy>('firewall.inbound6'),
      echo6: plain<Policy>('firewall.echo6'),
      ipsec6: plain<Policy>('firewall.ipsec6'),
      tcpMidstream: plain('firewall.tcp-midstream'),
      unsolicitedSyn: plain('firewall.unsolicited-syn'),
      rules: plain<unknown[]>('firewall.rules').map((entry, i) => assembleRule(entry, lineOf(`/firewall/rules/${i}`))),
    },
    timers: {
      udpMs: value('timers.udp'),
      udpPorts: plain<unknown[]>('timers.udp-ports').map(assembleUdpPort),
      udpInboundRefresh: plain('timers.udp-inbound-refresh'),
      tcpOpeningMs: value('timers.tcp-opening'),
      tcpClosingMs: value('timers.tcp-closing'),
      tcpEstablishedMs: value('timers.tcp-established'),
      icmpQueryMs: value('timers.icmp-query'),
      otherMs: value('timers.other'),
      associationMs: value('timers.association'),
      associationOpeningMs: value('timers.association-opening'),
      fragmentMs: value('timers.fragment'),
      unsolicitedSynMs: value('timers.unsolicited-syn'), portHoldMs: value('timers.port-hold'),
    },
    limits: {
      flows: value('limits.flows'),
      fragmentDatagrams: value('limits.fragment-datagrams'),
      fragmentHold: value('limits.fragment-hold'),
      icmpErrorsPerSecond: value('limits.icmp-errors-per-second'),
      icmpPerSecond: value('limits.icmp-per-second'),
      fragmentsPerSecond: value('limits.fragments-per-second'),
      halfOpen: value('limits.half-open'),
      halfOpenPerSource: value('limits.half-open-per-source'),
      heldSyns: value('limits.held-syns'), heldPorts: value('limits.held-ports'),
      perHost: {
        flows: value('limits.per-host.flows'), flowsPerSecond: value('limits.per-host.flows-per-second'),
        ports: value('limits.per-host.ports'), udpPorts: value('limits.per-host.udp-ports'),
        tcpPorts: value('limits.per-host.tcp-ports'), identifiers: value('limits.per-host.icmp-identifiers'),
      },
      fullTable: plain('limits.full-table'), refusal: plain('limits.refusal'),
    },
    checks: {
      ipv4Checksum: plain<ChecksumCheck>('checks.ipv4-checksum'),
      tcpFlags: plain<string>('checks.tcp-flags') === 'drop',
      tcpWindow: plain<WindowCheck>('checks.tcp-window'),
      reserved6: plain('checks.reserved6'),
      uniqueLocal: plain('checks.unique-local'),
      spoofing: plain<SpoofingCheck>('checks.spoofing'),
    },
    midcom: assembleMidcom(data, folder),
  }
}

function assembleInterfaces(data: unknown): InterfacesConfig | null {
  const { plain, value, list } = reader(data, '')
  const link = (side: string) => {
    const vlan = value<number | string>(`interfaces.${side}.vlan`)
    return {
      name: value<string>(`interfaces.${side}.name`), vlan: typeof vlan === 'number' ? vlan : 0,
      addresses: list<InterfaceAddress>(`interfaces.${side}.addresses`)!,
    }
  }
  const inside = link('inside'), outside = link('outside')
  if (inside.name === '' && outside.name === '') return null
  return {
    inside, outside, gateways: list<Address>('interfaces.gateways')!,
    routes: plain<unknown[]>('interfaces.routes').map((entry) => {
      const one = reader(entry, 'interfaces.routes[].')
      return { to: one.value<Prefix>('to'), via: one.value<Address>('via') }
    }),
    driver: plain('interfaces.driver'),
  }
}

function assembleUdpPort(entry: unknown): { port: number; idleMs: number } {
  const { value } = reader(entry, 'timers.udp-ports[].')
  return { port: value('port'), idleMs: value('idle') }
}

function assembleRule(entry: unknown, line: number): FirewallRule {
  const { rule, conflict } = ruleOf(entry)
  if (rule === null) throw new Error(conflict.message)
  return { ...rule, line }
}

function assembleMidcom(data: unknown, folder: string): MidcomConfig {
  const { plain, value, list } = reader(data, '')
  const seconds = (path: string) => value<number>(path) / 1000
  const file = (path: string) => plain<string>(path) === '' ? null : resolve(folder, plain(path))
  return {
    enabled: plain('midcom.enabled'),
    ports: value('midcom.ports'),
    addresses: list<Range>('midcom.addresses')!.flatMap(rangeWords),
    insidePool: list<Range>('midcom.inside-pool')!.flatMap(rangeWords),
    service: plain('midcom.service'),
    strictNatMode: plain('midcom.strict-nat-mode'),
    maxLifetimeSec: seconds('midcom.max-lifetime'),
    idleTimeoutSec: seconds('midcom.idle-timeout'),
    extend: plain('midcom.extend'),
    disableRules: plain('midcom.disable-rules'),
    wildcards: {
      internal: plain('midcom.wildcards.internal'), external: plain('midcom.wildcards.external'),
      ports: plain('midcom.wildcards.ports'),
    },
    limits: {
      rules: value('midcom.limits.rules'), portsPerRule: value('midcom.limits.ports-per-rule'),
      sessions: value('midcom.limits.sessions'), boundPorts: value('midcom.limits.bound-ports'),
    },
    agents: plain<unknown[]>('midcom.agents').map(entry => assembleAgent(entry, folder)),
    simco: {
      listen: list<Endpoint>('midcom.simco.listen')!,
      tls: { cert: file('midcom.simco.tls.cert'), key: file('midcom.simco.tls.key'), ca: file('midcom.simco.tls.ca') },
      allowPlain: plain('midcom.simco.allow-plain'),
      loopbackAgent: plain<string>('midcom.simco.loopback-agent') || null,
      challenge: plain('midcom.simco.challenge'),
      limits: {
        connections: value('midcom.simco.limits.connections'),
        connectionsPerRemote: value('midcom.simco.limits.connections-per-remote'),
        openMs: value('midcom.simco.limits.open'), idleMs: value('midcom.simco.limits.idle'),
        messageMs: value('midcom.simco.limits.message'), stalledMs: value('midcom.simco.limits.stalled'),
        drainMs: value('midcom.simco.limits.drain'), queuedBytes: value('midcom.simco.limits.queued-bytes'),
        failuresPerMinute: value('midcom.simco.limits.failures-per-minute'),
        faultsPerMinute: value('midcom.simco.limits.faults-per-minute'), faultWaitMs: value('midcom.simco.limits.fault-wait'),
      },
    },
    snmp: assembleSnmp(data, folder),
    stateDirectory: file('midcom.state'),
    pdp: {
      url: plain<string>('midcom.pdp.url') || null, timeoutMs: value('midcom.pdp.timeout'),
      maxConcurrent: value('midcom.pdp.concurrent'), maxWaiting: value('midcom.pdp.waiting'), cacheMs: value('midcom.pdp.cache'),
      ca: file('midcom.pdp.ca'), tokenFile: file('midcom.pdp.token-file'),
    },
  }
}

/** A setting that is left out restricts nothing, and is null. */
function assembleAgent(entry: unknown, folder: string): AgentConfig {
  const { plain, value, list } = reader(entry, 'midcom.agents[].')
  const [key, keyFile] = [plain<string | undefined>('key'), plain<string | undefined>('key-file')]
  const read = (text: string) => {
    const parsed = parseKey(text)
    if (!parsed.ok) throw new Error(`${keyFile}: ${parsed.message}`)
    return parsed.value
  }
  return {
    name: plain('name'),
    key: key !== undefined ? read(key) : keyFile !== undefined ? read(readFileSync(resolve(folder, keyFile), 'utf8')) : null,
    certificates: list<string>('certificates') ?? [],
    may: plain<AgentConfig['may'] | undefined>('may') ?? null,
    inside: list<Prefix>('inside'),
    outside: list<Prefix>('outside'),
    insidePorts: list<Ports>('inside-ports'),
    outsidePorts: list<Ports>('outside-ports'),
    protocols: list<number>('protocols'),
    directions: plain<AgentConfig['directions'] | undefined>('directions') ?? null,
    maxLifetimeSec: plain('max-lifetime') === undefined ? null : value<number>('max-lifetime') / 1000,
    maxRules: plain('max-rules') === undefined ? null : value<number>('max-rules'),
    actsFor: plain<string[] | undefined>('acts-for') ?? [],
    pdp: plain('pdp'),
  }
}
