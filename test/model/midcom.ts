/**
 * Rules of the model at work: what commands do to rules, bindings and flows, which flow belongs to which rule, and what
 * rules count. Section "Rules (MIDCOM)" of docs/behaviour.md.
 */
import { Bindings } from './bindings.ts'
import type { MidcomCommand } from './commands.ts'
import { sameMapping, type Flow, type Flows, type Half, type Mapping } from './flows.ts'
import { TCP } from './packet.ts'
import { Rules, covers, type Asked, type Rule } from './rules.ts'
import type { Way } from './tcp.ts'

export interface MidcomOptions {
  /** Rules have the numbers from 1 to this. */
  rules: number
  boundPorts: number
  portLo: number
  portHi: number
  /** Host-order int32. */
  addresses: readonly number[]
  insidePool: readonly number[]
}

export interface Activity { packets: number; bytes: number; lastUsedMs: number }

const WAYS: Way[] = ['out', 'in']
const other = (way: Way): Way => way === 'out' ? 'in' : 'out'

export class Midcom {
  readonly rules = new Rules()
  readonly bindings = new Bindings()
  /** By rule number. */
  readonly activity: Activity[]
  private readonly flows: Flows
  private readonly outboundPermit: boolean
  private events = 0

  constructor(options: { midcom: MidcomOptions | null; outboundPermit: boolean }, flows: Flows) {
    this.flows = flows
    this.outboundPermit = options.outboundPermit
    const rules = options.midcom?.rules ?? 0
    this.activity = Array.from({ length: rules + 1 }, () => ({ packets: 0, bytes: 0, lastUsedMs: 0 }))
  }

  /* Directions of a flow */

  /** Those of a new flow, which came in direction `way`. */
  halves(protocol: number, way: Way, rule: Rule | null): Record<Way, Half> {
    const free = (): Half => ({ rule: 0, since: 0, blocked: false })
    const halves = { out: free(), in: free() }
    if (rule === null) return halves
    halves[way] = this.taken(rule)
    halves[other(way)].blocked = protocol !== TCP && !this.outboundPermit
    return halves
  }

  taken(rule: Rule): Half { return { rule: rule.rule, since: ++this.events, blocked: false } }

  /** A packet, hairpinned or not, passes by a flow. */
  count(flow: Flow, way: Way, bytes: number, nowMs: number): void {
    const { halves } = flow
    const rule = halves[way].rule !== 0 || flow.protocol !== TCP ? halves[way].rule : halves[other(way)].rule
    if (rule === 0) return
    const activity = this.activity[rule]
    activity.packets++
    activity.bytes += bytes
    activity.lastUsedMs = nowMs
  }

  /* Commands */

  carryOut(command: MidcomCommand, nowMs: number): void {
    const { bindings } = this
    switch (command.op) {
      case 'add':
        this.rules.add(command.rule)
        this.activity[command.rule.rule] = { packets: 0, bytes: 0, lastUsedMs: nowMs }
        if (command.rule.disable) this.block(command.rule)
        break
      case 'delete':
        this.rules.remove(command.rule)
        for (const way of WAYS) this.giveUp(command.rule, way)
        break
      case 'bind-ports':
        for (let i = 0; i < command.count; i++) {
          const [local, outside] = [command.local, command.outside].map(e => ({ addr: e.addr, port: e.port + i }))
          bindings.ports.unshift({ protocol: command.protocol, local, outside })
        }
        break
      case 'unbind-ports':
        for (let i = 0; i < command.count; i++) this.unbindPort(command.protocol, command.local.addr, command.local.port + i)
        break
      case 'bind-address':
        bindings.addresses.push({ local: command.local, outside: command.outside })
        break
      case 'unbind-address':
        bindings.addresses = bindings.addresses.filter(b => b.local !== command.local)
        for (const flow of this.flows.all()) if (flow.mapping?.outside.addr === command.outside) this.flows.end(flow)
        break
      case 'bind-inside': {
        const { protocol, peer, inside, count } = command
        if (count === 0) bindings.inside.push({ protocol: null, peer, inside })
        for (let i = 0; i < count; i++) {
          const [one, shown] = [peer, inside].map(e => ({ addr: e.addr, port: e.port + i }))
          bindings.inside.push({ protocol, peer: one, inside: shown })
        }
        break
      }
      case 'unbind-inside': {
        const { protocol, inside, count } = command, { addr, port } = inside
        bindings.inside = bindings.inside.filter(b => b.inside.addr !== addr || (count === 0 ? b.protocol !== null
          : b.protocol !== protocol || b.inside.port < port || b.inside.port >= port + count))
        break
      }
    }
  }

  private block(rule: Rule): void {
    for (const flow of this.flows.all()) if (covers(rule, flow, flow.inside, flow.peer)) this.flows.end(flow)
  }

  /** Another rule takes the direction over, or it is blocked, or the flow ends. */
  private giveUp(ended: number, way: Way): void {
    const members = this.flows.all().filter(flow => flow.halves[way].rule === ended)
    members.sort((a, b) => b.halves[way].since - a.halves[way].since)
    for (const flow of members) {
      const { version, protocol, inside: local, peer, mapping, halves } = flow
      const asked: Asked = { version, protocol, way, local, peer, opens: true, bound: mapping?.bound ?? true }
      const heir = this.rules.of(asked)
      if (heir !== null && !heir.disable) halves[way] = this.taken(heir)
      else if (halves[other(way)].rule !== 0) halves[way] = { rule: 0, since: 0, blocked: true }
      else this.flows.end(flow)
    }
  }

  private unbindPort(protocol: number, addr: string, port: number): void {
    const { bindings, flows } = this
    const index = bindings.ports.findIndex(b => b.protocol === protocol && b.local.addr === addr && b.local.port === port)
    const [{ local, outside }] = bindings.ports.splice(index, 1)
    const binding: Mapping = { protocol, inside: local, outside, bound: true }
    const members = flows.all().filter(f => f.mapping !== null && sameMapping(f.mapping, binding))
    // Reading: newest by its opening.
    for (const flow of members.sort((a, b) => b.born - a.born)) flows.end(flow)
  }
}
