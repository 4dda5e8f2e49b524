/**
 * What one inside host may have, in the model: counted anew over all flows whenever it is asked. Section "Limits of a host" of
 * docs/behaviour.md.
 */
import type { DropReason } from '../../src/channel/reasons.ts'
import type { HostLimits } from '../../src/engine/options.ts'
import { Bucket } from './bucket.ts'
import type { Flow, Flows } from './flows.ts'
import { ICMP, TCP, UDP, type Addr } from './packet.ts'
import type { Way } from './tcp.ts'

/** One host: for IPv6 its /64. */
const hostOf = (addr: Addr): string => addr.slice(0, 16)

export class Hosts {
  private readonly limits: HostLimits | undefined
  private readonly flows: Flows
  /** Those that have flows have one. */
  private readonly buckets = new Map<string, Bucket>()

  constructor(limits: HostLimits | undefined, flows: Flows) {
    this.limits = limits
    this.flows = flows
  }

  private flowsOf(inside: Addr): Flow[] { return this.flows.all().filter(f => hostOf(f.inside.addr) === hostOf(inside)) }

  refused(inside: Addr, way: Way, nowMs: number): DropReason | null {
    const { flows = 0, flowsPerSecond = 0 } = this.limits ?? {}, own = this.flowsOf(inside).length
    if (flows > 0 && own >= flows) return 'host-flows'
    if (flowsPerSecond === 0 || way === 'in' || own === 0) return null
    return this.buckets.get(hostOf(inside))!.has(nowMs) ? null : 'host-rate'
  }

  /** Before the flow is there. */
  opens({ inside, openedBy }: Flow, nowMs: number): void {
    const host = hostOf(inside.addr)
    if (this.flowsOf(inside.addr).length === 0) this.buckets.set(host, new Bucket(this.limits?.flowsPerSecond ?? 0))
    if (openedBy === 'out') this.buckets.get(host)!.take(nowMs)
  }

  mayMap(inside: Addr, protocol: number): boolean {
    const { ports = 0, udpPorts = 0, tcpPorts = 0, identifiers = 0 } = this.limits ?? {}
    const own = this.flowsOf(inside).flatMap(({ mapping, protocol }) => mapping === null || mapping.bound ? []
      : [[UDP, TCP, ICMP].includes(protocol) ? `${protocol} ${mapping.outside.addr} ${mapping.outside.port}` : ''])
    const mapped = [...new Set(own)].filter(text => text !== ''), most = { [UDP]: udpPorts, [TCP]: tcpPorts, [ICMP]: identifiers }[protocol]!
    if (ports > 0 && mapped.length >= ports) return false
    return most === 0 || mapped.filter(text => text.startsWith(`${protocol} `)).length < most
  }
}
