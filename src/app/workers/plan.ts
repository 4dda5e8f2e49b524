/** How settings are shared out to several workers, and which settings they cannot share. */
import { createSteering, STRIPE_PORTS, type SteeringOptions } from '../../channel/steering.ts'
import type { Config } from '../config/config.ts'
import type { SettingFault } from '../config/load.ts'

/** The engine's tables have no fewer. */
const LEAST_FLOWS = 16

/** Why several workers cannot share these settings: nothing, or what is wrong with each. */
export function sharingFaults(config: Pick<Config, 'nat' | 'limits'>, workers: number): SettingFault[] {
  const { nat } = config, options = steeringOf(config, workers)
  const faults: SettingFault[] = []
  const found = (pointers: string[], why: string, suggestion: string) => {
    faults.push({ pointers, message: `--workers ${workers}: ${why}`, suggestion })
  }
  const fixed = nat.nat44 ? nat.pools.findIndex(({ hostsPerAddress }) => hostsPerAddress > 0) : -1
  if (fixed >= 0) {
    found([`/nat/pools/${fixed}/hosts-per-address`], 'hosts with ports of their own on a fixed address need one worker',
      'leave it out, or run one worker')
  }
  const long = nat.npt6.findIndex(({ insideBits, outsideBits }) => Math.max(insideBits, outsideBits) > 48)
  if (options.bySubnet && long >= 0) {
    found([`/nat/npt6/${long}`], 'a prefix longer than 48 bits and bounds of an IPv6 /64 (limits.per-host) need one worker',
      'leave one of them out, or run one worker')
  }
  if (!nat.nat44) return faults
  const { first, last } = nat.ports
  if (nat.portBlock > 0) {
    const blocks = Math.floor((last - first + 1) / nat.portBlock)
    if (blocks < workers) {
      found(['/nat/port-block'], `${blocks} blocks an address are too few: a worker has at least one`, 'write fewer ports a block')
    }
    return faults
  }
  const { ofPort } = createSteering(options)
  const ports = new Array<number>(workers).fill(0)
  for (let port = first; port <= last; port++) ports[ofPort(port)]!++
  if (ports.some((count) => count < STRIPE_PORTS)) {
    found(['/nat/ports'], `${last - first + 1} ports are too few: each worker has ${STRIPE_PORTS} at least`, 'write a longer range')
  }
  return faults
}

/** For settings without faults. */
export function steeringOf({ nat, limits: { perHost } }: Pick<Config, 'nat' | 'limits'>, workers: number): SteeringOptions {
  const isInBlocks = nat.portBlock > 0
  return {
    workers, stripeBase: isInBlocks ? nat.ports.first : 0, stripePorts: isInBlocks ? nat.portBlock : STRIPE_PORTS,
    bySubnet: Object.values(perHost).some((bound) => bound > 0),
  }
}

/**
 * Settings of one of several workers: what bounds memory or work of the box is shared out, what bounds one host is not, for a host
 * has one worker. Nothing of agents is in it but how much they may ask for.
 */
export function configOfWorker(config: Config, workers: number): Config {
  const { limits, midcom } = config
  const part = (bound: number) => Math.ceil(bound / workers)
  return {
    ...config,
    limits: {
      ...limits,
      flows: Math.max(LEAST_FLOWS, part(limits.flows)),
      fragmentDatagrams: part(limits.fragmentDatagrams), fragmentHold: part(limits.fragmentHold),
      icmpErrorsPerSecond: part(limits.icmpErrorsPerSecond), icmpPerSecond: part(limits.icmpPerSecond),
      fragmentsPerSecond: part(limits.fragmentsPerSecond), halfOpen: part(limits.halfOpen), heldSyns: part(limits.heldSyns),
      heldPorts: part(limits.heldPorts),
    },
    midcom: {
      ...midcom, agents: [], simco: { ...midcom.simco, listen: [] }, snmp: { ...midcom.snmp, listen: [], users: [], targets: [] },
      pdp: { ...midcom.pdp, url: null, tokenFile: null },
    },
  }
}
