/** How settings are shared out to several workers, and which settings they cannot share. */
import { createSteering, MOST_WORKERS, STRIPE_PORTS, type SteeringOptions } from '../../channel/steering.ts'
import { Failure, STATUS } from '../cli/status.ts'
import type { Config } from '../config/config.ts'

/** The engine's tables have no fewer. */
const LEAST_FLOWS = 16

/** @throws Failure about what several workers cannot do */
export function steeringOf(config: Config, workers: number): SteeringOptions {
  const { nat, limits: { perHost } } = config
  const refuse = (setting: string, why: string): never => {
    throw new Failure(STATUS.usage, `--workers ${workers}: ${setting}: ${why}`)
  }
  if (workers > MOST_WORKERS) refuse('workers', `at most ${MOST_WORKERS}`)
  if (nat.nat44 && nat.pools.some(({ hostsPerAddress }) => hostsPerAddress > 0)) {
    refuse('nat.pools.hosts-per-address', 'hosts with ports of their own on a fixed address need one worker')
  }
  const bySubnet = Object.values(perHost).some((bound) => bound > 0)
  if (bySubnet && nat.npt6.some(({ insideBits, outsideBits }) => Math.max(insideBits, outsideBits) > 48)) {
    refuse('limits.per-host', 'bounds of an IPv6 /64 and a prefix of nat.npt6 longer than 48 bits need one worker')
  }
  const { first, last } = nat.ports
  const isInBlocks = nat.portBlock > 0
  const options = { workers, stripeBase: isInBlocks ? first : 0, stripePorts: isInBlocks ? nat.portBlock : STRIPE_PORTS, bySubnet }
  if (!nat.nat44) return options
  if (isInBlocks) {
    const blocks = Math.floor((last - first + 1) / nat.portBlock)
    if (blocks < workers) refuse('nat.port-block', `${blocks} blocks an address are too few: a worker has at least one`)
    return options
  }
  const { ofPort } = createSteering(options)
  const ports = new Array<number>(workers).fill(0)
  for (let port = first; port <= last; port++) ports[ofPort(port)]!++
  if (ports.some((count) => count < STRIPE_PORTS)) {
    refuse('nat.ports', `${last - first + 1} ports are too few: each worker has ${STRIPE_PORTS} at least`)
  }
  return options
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
