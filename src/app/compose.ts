/** The machine on one screen: the packet path, and the policy that tells it what agents may. Nothing below knows its neighbours. */
import { type CommandRing, createCommandRing, createRuleActivity, type RuleActivity } from '../channel/commands.ts'
import { type Counters, createCounters } from '../channel/counters.ts'
import type { MappingLog } from '../channel/mapping-log.ts'
import { combine } from '../control/pdp/combine.ts'
import type { Pdp } from '../control/pdp/pdp.ts'
import { createEngine, engineScratchBytes, type Engine } from '../engine/engine.ts'
import { createRuleSet } from '../engine/firewall-set.ts'
import {
  CHECKSUM_IGNORE, CHECKSUM_REPAIR_ZERO, CHECKSUM_VERIFY, FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT,
  FILTER_ENDPOINT_INDEPENDENT, IDENTIFY_ALL, IDENTIFY_FRAGMENTS, IDENTIFY_KEEP,
  SPOOFING_BOTH, SPOOFING_IGNORE, SPOOFING_OUTSIDE, WINDOW_LOOSE, WINDOW_OFF, WINDOW_STRICT,
  type EngineOptions, type FirewallOptions, type ShareOptions,
} from '../engine/options.ts'
import { captureBytes } from '../phy/capture-reader.ts'
import { openPcapngWriter, writerBytes, type PcapngWriter } from '../phy/pcapng-writer.ts'
import { PLANE_SCRATCH_BYTES, createPlane, type Outlet, type Plane } from '../plane/plane.ts'
import type { Sides } from '../plane/sides.ts'
import { createWorld, needsWorld } from '../plane/world.ts'
import { BIDIRECTIONAL, INBOUND, OUTBOUND, type PolicyCore } from '../policy/api.ts'
import { createAuthorizer, type AgentProfile } from '../policy/authorizer.ts'
import type { PolicyAuthorizer, PolicyOptions } from '../policy/options.ts'
import { createPolicy } from '../policy/policy.ts'
import { createPrefixSet, type Prefix } from '../base/address.ts'
import { createFrames, type Frames } from '../wire/frames.ts'
import { fixedForPolicy, natOptions, sharedPool } from './config/assemble-nat.ts'
import type { AgentConfig, Config } from './config/config.ts'
import type { Explainer } from './explain/explain.ts'
import type { Watched } from './explain/watch.ts'

/** Frames looked at together. */
export const BATCH_FRAMES = 256
const WRITER_BUFFER_BYTES = 2 * 1024 * 1024

const FILTERS = {
  'endpoint-independent': FILTER_ENDPOINT_INDEPENDENT,
  'address-dependent': FILTER_ADDRESS_DEPENDENT,
  'address-and-port-dependent': FILTER_ADDRESS_AND_PORT_DEPENDENT,
}
const IDENTIFICATIONS = { keep: IDENTIFY_KEEP, fragments: IDENTIFY_FRAGMENTS, all: IDENTIFY_ALL }
const CHECKSUMS = { verify: CHECKSUM_VERIFY, 'repair-zero': CHECKSUM_REPAIR_ZERO, ignore: CHECKSUM_IGNORE }
const WINDOWS = { off: WINDOW_OFF, loose: WINDOW_LOOSE, strict: WINDOW_STRICT }
const SPOOFING = { ignore: SPOOFING_IGNORE, outside: SPOOFING_OUTSIDE, both: SPOOFING_BOTH }

/** The one slot in the wall between policy and packets. */
export interface Channel { ring: CommandRing; activity: RuleActivity }

/** Records. A transaction that writes more lets the packet path catch up in between; what ends one rule fits in any case. */
const LEAST_RING = 1024, ENOUGH_RING = 4096

/** Records of the ring, a power of two. */
export function ringRecords({ midcom }: Config): number {
  const { rules, portsPerRule } = midcom.limits
  return 2 ** Math.ceil(Math.log2(Math.max(LEAST_RING, Math.min(ENOUGH_RING, rules * 4), portsPerRule + 3)))
}

/** null: no agent may set rules, and the packet path knows of none. */
export function createChannel(config: Config): Channel | null {
  if (!config.midcom.enabled) return null
  return { ring: createCommandRing(ringRecords(config)), activity: createRuleActivity(config.midcom.limits.rules) }
}

// @req RFC6092 REC-8 no[there is no DNS server in it]
// @req RFC6092 REC-9 no[there is no DHCPv6 server or relay in it]
// @req RFC6092 REC-13 no[it is a program, which a package manager updates]
/** The settings as the engine takes them. */
export function engineOptions(
  config: Config, inside: readonly Prefix[], seed: number, scratchStart: number, channel: Channel | null = null,
  firewallOptions: FirewallOptions | null = null,
): EngineOptions {
  const { box, nat, firewall, timers, limits, checks, midcom } = config
  const { fullTable, refusal, heldPorts, ...bounds } = limits
  const { portHoldMs, ...idleTimes } = timers
  const [word0, word1, word2, word3] = box.address6
  return {
    inside: createPrefixSet(inside),
    nat44: nat.nat44, pool: sharedPool(nat), nat: natOptions(nat), npt6: nat.npt6,
    portLow: nat.ports.first, portHigh: nat.ports.last,
    portPreservation: nat.portPreservation, filtering: FILTERS[nat.filtering], tcpFiltering: FILTERS[nat.tcpFiltering],
    hairpinning: nat.hairpinning,
    portHold: nat.portHold === 'never' ? null : { holdMs: portHoldMs, most: heldPorts, isAll: nat.portHold === 'all' },
    portBlocks: nat.portBlock === 0 ? null : { size: nat.portBlock, perHost: nat.portBlocksPerHost },
    outboundPermit: firewall.outbound === 'permit', inboundPermit: firewall.inbound6 === 'permit',
    echo6: firewall.echo6 === 'permit', ipsec6: firewall.ipsec6 === 'permit',
    tcpMidstream: firewall.tcpMidstream,
    ...idleTimes, ...bounds, heldSyns: firewall.unsolicitedSyn === 'drop' ? 0 : limits.heldSyns,
    keepsFlows: fullTable === 'refuse', refusesByHost: refusal === 'host-unreachable',
    ipv4Checksum: CHECKSUMS[checks.ipv4Checksum], tcpFlags: checks.tcpFlags,
    reserved6: checks.reserved6 === 'drop', uniqueLocal: checks.uniqueLocal === 'drop',
    tcpWindow: WINDOWS[checks.tcpWindow], spoofing: SPOOFING[checks.spoofing],
    mtuInside: box.mtuInside, mtuOutside: box.mtuOutside, mss: box.mss, identification: IDENTIFICATIONS[nat.identification],
    boxAddress4: box.insideAddress, boxAddress6: [word0, word1, word2, word3],
    seed, scratchStart,
    firewall: firewallOptions,
    midcom: channel === null ? null : {
      rules: midcom.limits.rules, boundPorts: midcom.limits.boundPorts, portLow: midcom.ports.first, portHigh: midcom.ports.last,
      addresses: midcom.addresses, insidePool: midcom.insidePool, ...channel,
    },
  }
}

const DIRECTIONS = { inbound: INBOUND, outbound: OUTBOUND, bidirectional: BIDIRECTIONAL }

/** What an agent may do, as the authorizer takes it: there, too, what is not said is not restricted. */
export function profileOf(agent: AgentConfig): AgentProfile {
  const ports = (list: AgentConfig['insidePorts']) => list!.map(({ first, last }) => ({ low: first, high: last }))
  return {
    name: agent.name, actsFor: agent.actsFor,
    ...agent.may !== null && { transactions: agent.may },
    ...agent.inside !== null && { inside: agent.inside },
    ...agent.outside !== null && { outside: agent.outside },
    ...agent.insidePorts !== null && { insidePorts: ports(agent.insidePorts) },
    ...agent.outsidePorts !== null && { outsidePorts: ports(agent.outsidePorts) },
    ...agent.protocols !== null && { protocols: agent.protocols },
    ...agent.directions !== null && { directions: agent.directions.map((name) => DIRECTIONS[name]) },
    ...agent.maxLifetimeSec !== null && { maxLifetimeSec: agent.maxLifetimeSec },
    ...agent.maxRules !== null && { maxRules: agent.maxRules },
  }
}

/** Who decides: the profiles of the agents, and after them the external point, about those agents that say so. */
export function composeAuthorizer({ midcom }: Config, pdp: Pdp | null): PolicyAuthorizer {
  const profiles: PolicyAuthorizer = createAuthorizer(midcom.agents.map(profileOf))
  const external = new Set(midcom.agents.filter((agent) => agent.pdp).map(({ name }) => name))
  return pdp === null ? profiles : combine(profiles, pdp, (agent) => external.has(agent))
}

/** The settings as policy takes them. `pump` lets the packet path carry out what it has been told. */
export function policyOptions(
  config: Config, inside: readonly Prefix[], seed: number, channel: Channel, authorizer: PolicyAuthorizer, pump: () => void,
): PolicyOptions {
  const { nat, midcom } = config
  const { maxLifetimeSec, idleTimeoutSec, extend, wildcards, service, strictNatMode, disableRules, limits } = midcom
  return {
    ...channel, inside, seed, limits, maxLifetimeSec, idleTimeoutSec, extend, wildcards, service, strictNatMode, disableRules,
    nat44: nat.nat44, pool: nat.nat44 ? sharedPool(nat) : [], npt6: nat.npt6, ...fixedForPolicy(nat),
    portLow: midcom.ports.first, portHigh: midcom.ports.last,
    addresses: midcom.addresses, insidePool: midcom.insidePool, authorizer, pump,
  }
}

/** Policy over a machine of this thread. `nowMs` is the time of both. */
export function composePolicy<E>(
  { config, inside, seed }: Pick<ComposeOptions, 'config' | 'inside' | 'seed'>,
  { channel, engine }: { channel: Channel | null; engine: E },
  authorizer: PolicyAuthorizer, pump: (engine: E) => void,
): PolicyCore {
  if (channel === null) throw new Error('the packet path was made without a channel')
  return createPolicy(policyOptions(config, inside, seed, channel, authorizer, () => pump(engine)))
}

export interface ComposeOptions {
  config: Config
  /** Instead of the prefixes of the configuration. */
  inside: readonly Prefix[]
  seed: number
  /** Which side a frame came from; made once the frames exist. */
  sides: (frames: Frames, inside: EngineOptions['inside']) => Sides
  /** Firewall rules may be replaced: what that takes is made even if there are none. */
  isReplaceable: boolean
  /** The name of an interface that the source of frames has met. */
  interfaceName: (id: number) => string | undefined
  outInside: string | undefined
  outOutside: string | undefined
  clockNs: () => number
  /** Virtual time begins at second 0 of time stamps, not at the first packet. */
  isFromZero?: boolean
  /** Where the packet path tells of mappings; absent or null: nobody asks. */
  mappingLog?: MappingLog | null
  /** Explains packets; null: nobody watches. */
  explainer?: Explainer | null
  /** Opens the source of frames in its part of the pool. The outputs are emptied after that, so it may yet refuse. */
  openInput: (frames: Frames, share: PoolShare) => Promise<void>
  /** Frames come from interfaces, and leave by them: the source's part of the pool is theirs. Absent: from a capture. */
  live?: LiveFrames
  /** Absent: this is the only worker. */
  borrowed?: Borrowed
}

/** What a worker has that is not its own. */
export interface Borrowed {
  counters: Counters
  /** null: no agent may set rules. */
  channel: Channel | null
  share: ShareOptions
}

export interface LiveFrames {
  /** Bytes of their part, which begins the pool. */
  shareBytes: number
  /** Memory for a pool of so many bytes. */
  reserve: (poolBytes: number) => ArrayBuffer
  inside: Outlet
  outside: Outlet
}

export interface PoolShare { poolStart: number; poolEnd: number }

export interface Machine {
  frames: Frames
  counters: Counters
  engine: Engine
  plane: Plane
  /** null: no rules. */
  channel: Channel | null
  writers: { inside: PcapngWriter | null; outside: PcapngWriter | null }
  /** To be told of each batch before the plane is; rows are then to be run one by one. null: nobody watches. */
  watched: Watched | null
}

export async function compose(options: ComposeOptions): Promise<Machine> {
  const { config, inside, seed } = options
  let poolBytes = 0
  const share = (bytes: number) => (poolBytes += bytes + 63 & ~63) - (bytes + 63 & ~63)
  const { live } = options
  const sourceBytes = live?.shareBytes ?? captureBytes()
  const sourceStart = share(sourceBytes)
  const insideStart = share(options.outInside === undefined ? 0 : writerBytes(WRITER_BUFFER_BYTES))
  const outsideStart = share(options.outOutside === undefined ? 0 : writerBytes(WRITER_BUFFER_BYTES))
  const engineStart = share(engineScratchBytes({ ...config.limits, ...config.box }))
  const planeStart = share(PLANE_SCRATCH_BYTES)

  const frames = createFrames({ capacity: BATCH_FRAMES, poolBytes, ...live !== undefined && { buffer: live.reserve(poolBytes) } })
  const { counters, channel, share: itsShare } = options.borrowed
    ?? { counters: createCounters(), channel: createChannel(config), share: null }
  const { rules } = config.firewall
  const firewall = rules.length === 0 && !options.isReplaceable ? null
    : { set: createRuleSet(rules, inside, seed), interfaceName: options.interfaceName }
  const settings = engineOptions(config, inside, seed, engineStart, channel, firewall)
  const sides = options.sides(frames, settings.inside)
  settings.mappingLog = options.mappingLog ?? null
  settings.share = itsShare
  if (sides.isBySource) settings.spoofing = SPOOFING_IGNORE
  const engine = createEngine(settings, frames, counters)
  await options.openInput(frames, { poolStart: sourceStart, poolEnd: sourceStart + sourceBytes })
  const writer = (path: string | undefined, poolStart: number, ifName: string) => path === undefined ? null
    : openPcapngWriter(path, frames, { poolStart, poolEnd: poolStart + writerBytes(WRITER_BUFFER_BYTES), ifName })
  const towardsInside = await writer(options.outInside, insideStart, 'inside')
  let towardsOutside: PcapngWriter | null
  try {
    towardsOutside = await writer(options.outOutside, outsideStart, 'outside')
  } catch (error) {
    await towardsInside?.close()
    throw error
  }
  const writers = { inside: towardsInside, outside: towardsOutside }
  const watched = options.explainer?.watch(frames, counters, engine, writers) ?? null
  const plane = createPlane({
    frames, counters, engine: watched?.engine ?? engine, sides,
    world: live === undefined && needsWorld(settings) ? createWorld(frames, engine, settings.inside, settings.nat44) : null,
    inside: live?.inside ?? watched?.inside ?? towardsInside, outside: live?.outside ?? watched?.outside ?? towardsOutside,
    scratchStart: planeStart, clockNs: options.clockNs, ...(live !== undefined || options.isFromZero === true) && { firstSec: 0 },
  })
  return { frames, counters, engine, plane, channel, writers, watched }
}
