/**
 * The settings of the box, complete: what the file leaves out stands here as its default. A plain object, so that it
 * can be compared, copied and sent to another thread. What each setting means stands in schema.ts, with its range.
 */
import { createHash } from 'node:crypto'
import type { Prefix } from '../../base/address.ts'
import type { Npt6Pair } from '../../channel/npt6.ts'
import type { SimcoLimits } from '../../control/simco/options.ts'
import type { PeerAlias, PortForward, StaticNat, Untranslated } from '../../engine/nat-options.ts'
import type { HostLimits } from '../../engine/options.ts'
import type { FirewallRule } from '../../engine/firewall-rule.ts'
import type { TransactionKind } from '../../policy/authorizer.ts'
import type { Hosts } from './ends.ts'
import type { InterfacesConfig } from './interfaces.ts'
import type { SnmpConfig } from './snmp-config.ts'
import type { Ports } from './quantity.ts'
import type { Endpoint } from './values.ts'

export interface Config {
  /** None has host bits, no two are alike. */
  inside: Prefix[]
  /** null: none are named. */
  interfaces: InterfacesConfig | null
  box: {
    /** Host-order int32. */
    insideAddress: number
    /** Four host-order int32. */
    address6: Int32Array
    /** 0: no limit. */
    mtuInside: number
    mtuOutside: number
    /** 0: none, -1: by the MTUs. */
    mss: number
  }
  nat: {
    nat44: boolean
    /** Host-order int32, in the order written, no two alike. */
    pool: number[]
    pools: { inside: Hosts[]; addresses: number[]; hostsPerAddress: number }[]
    /** 0: none. */
    portBlock: number
    portBlocksPerHost: number
    portHold: 'never' | 'exposed' | 'all'
    ports: Ports
    reserve: Ports[]
    portPreservation: boolean
    filtering: Filtering
    tcpFiltering: Filtering
    hairpinning: boolean
    identification: 'keep' | 'fragments' | 'all'
    statics: StaticNat[]
    forwards: PortForward[]
    untranslated: Untranslated[]
    aliases: PeerAlias[]
    /** In the order written; no two overlap on either side. */
    npt6: Npt6Pair[]
  }
  firewall: {
    outbound: Policy
    inbound6: Policy
    echo6: Policy
    ipsec6: Policy
    tcpMidstream: boolean
    unsolicitedSyn: 'reject' | 'drop'
    /** In order. */
    rules: FirewallRule[]
  }
  timers: {
    udpMs: number
    /** Well-known ports, each once. */
    udpPorts: { port: number; idleMs: number }[]
    udpInboundRefresh: boolean
    tcpOpeningMs: number
    tcpClosingMs: number
    tcpEstablishedMs: number
    icmpQueryMs: number
    otherMs: number
    associationMs: number
    associationOpeningMs: number
    fragmentMs: number
    unsolicitedSynMs: number
    portHoldMs: number
  }
  limits: {
    flows: number
    fragmentDatagrams: number
    fragmentHold: number
    icmpErrorsPerSecond: number
    /** 0: any number, of these four. */
    icmpPerSecond: number
    fragmentsPerSecond: number
    halfOpen: number
    halfOpenPerSource: number
    heldSyns: number
    heldPorts: number
    /** 0: any number, of all. */
    perHost: HostLimits
    fullTable: 'evict' | 'refuse'
    refusal: 'prohibited' | 'host-unreachable'
  }
  checks: {
    ipv4Checksum: ChecksumCheck
    tcpFlags: boolean
    tcpWindow: WindowCheck
    reserved6: 'drop' | 'forward'
    uniqueLocal: 'drop' | 'forward'
    spoofing: SpoofingCheck
  }
  midcom: MidcomConfig
}

export interface MidcomConfig {
  enabled: boolean
  ports: Ports
  /** Host-order int32. */
  addresses: number[]
  insidePool: number[]
  service: 'traditional' | 'twice'
  strictNatMode: boolean
  maxLifetimeSec: number
  /** 0: off. */
  idleTimeoutSec: number
  extend: boolean
  disableRules: boolean
  wildcards: { internal: boolean; external: boolean; ports: boolean }
  limits: { rules: number; portsPerRule: number; sessions: number; boundPorts: number }
  agents: AgentConfig[]
  simco: {
    listen: Endpoint[]
    /** Paths of PEM files. */
    tls: { cert: string | null; key: string | null; ca: string | null }
    allowPlain: boolean
    loopbackAgent: string | null
    challenge: boolean
    limits: Omit<SimcoLimits, 'payloadBytes'>
  }
  snmp: SnmpConfig
  /** Directory of what outlives the box: the life of the SNMP engine; null: there is none. */
  stateDirectory: string | null
  pdp: {
    url: string | null
    timeoutMs: number
    maxConcurrent: number
    maxWaiting: number
    /** 0: off. */
    cacheMs: number
    ca: string | null
    tokenFile: string | null
  }
}

/** Who may ask; null where nothing is restricted. */
export interface AgentConfig {
  name: string
  key: Uint8Array | null
  /** `CN:…`, `DNS:…`, `URI:…`. */
  certificates: string[]
  may: TransactionKind[] | null
  inside: Prefix[] | null
  outside: Prefix[] | null
  insidePorts: Ports[] | null
  outsidePorts: Ports[] | null
  protocols: number[] | null
  directions: ('inbound' | 'outbound' | 'bidirectional')[] | null
  maxLifetimeSec: number | null
  maxRules: number | null
  actsFor: string[]
  pdp: boolean
}

export type Filtering = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'
export type Policy = 'permit' | 'deny'
export type WindowCheck = 'off' | 'loose' | 'strict'
export type SpoofingCheck = 'ignore' | 'outside' | 'both'
export type ChecksumCheck = 'verify' | 'repair-zero' | 'ignore'

/**
 * SHA-256 of the settings, in hex: two files that mean the same have the same digest. What a key is does not count, for a digest
 * goes into reports, nor where in its file a rule stands.
 */
export function digest(config: Config): string {
  return createHash('sha256').update(canonical(config)).digest('hex')
}

/** JSON with the keys of every object in order, and words of addresses as lists of numbers. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (key, part: unknown) => {
    if (key === 'line') return undefined
    if (part instanceof Int32Array) return [...part]
    if (part instanceof Uint8Array) return 'key'
    if (part === null || typeof part !== 'object' || Array.isArray(part)) return part
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1))
  })
}
