/** A policy core with a data plane that does as it is told, for tests. */
import { parseAddress, parsePrefix } from '../base/address.ts'
import { createCommandRing, createRuleActivity, OP, OP_RULE_ADD, RULE } from '../channel/commands.ts'
import type { CommandRing, RuleActivity } from '../channel/commands.ts'
import { INBOUND, PARITY_ANY, UDP } from './api.ts'
import type { DisableRequest, EnableRequest, Outcome, Policy, ReserveRequest, Session, SessionListener, Tuple } from './api.ts'
import { decode } from './model/commands.ts'
import type { Command } from './model/commands.ts'
import type { PolicyOptions } from './options.ts'
import { createPolicy } from './policy.ts'

function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

export function ip(text: string): number {
  const parsed = parseAddress(text)
  must(parsed.ok, text)
  return parsed.value.words[0]
}

/** `10.0.0.1`, `10.0.0.0/8`, `fd00::1`, with a port or none. */
export function tuple(text: string, port = 0, range = 1, protocol: number = UDP): Tuple {
  const [address, bits] = text.split('/')
  const parsed = parseAddress(address)
  must(parsed.ok, text)
  const { version, words } = parsed.value
  const [word0, word1 = 0, word2 = 0, word3 = 0] = words
  const prefixBits = bits !== undefined ? Number(bits) : version === 4 ? 32 : 128
  return { version, word0, word1, word2, word3, prefixBits, protocol, port, range }
}

export const A0 = tuple('10.0.0.1', 5000), A3 = tuple('198.51.100.1', 6000)

export function enableRequest(parts: Partial<EnableRequest> = {}): EnableRequest {
  return {
    reservation: 0, group: 0, direction: INBOUND, parity: PARITY_ANY, internal: A0, external: A3, lifetimeSec: 60, maxIdleSec: 0,
    ...parts,
  }
}
export function reserveRequest(parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return {
    group: 0, service: 0, internalVersion: 4, externalVersion: 4, internal: null, protocol: UDP, range: 1, parity: PARITY_ANY,
    lifetimeSec: 60, ...parts,
  }
}
export function disableRequest(parts: Partial<DisableRequest> = {}): DisableRequest {
  return { internal: tuple('0.0.0.0/0'), external: A3, lifetimeSec: 60, ...parts }
}

/** The value of a success that is there at once. */
export function ok<T>(outcome: Outcome<T> | Promise<Outcome<T>>): T {
  must(!(outcome instanceof Promise), 'an answer that is there at once')
  must(outcome.ok, JSON.stringify(outcome))
  return outcome.value
}

/** The reason of a failure, or 'ok'. */
export function reasonOf(outcome: Outcome<unknown> | Promise<Outcome<unknown>>): string {
  must(!(outcome instanceof Promise), 'an answer that is there at once')
  return outcome.ok ? 'ok' : outcome.reason
}

export interface Rig {
  policy: Policy
  options: PolicyOptions
  ring: CommandRing
  activity: RuleActivity
  /** What sessions were told, as `agent: rule 1 60 agent`. */
  events: string[]
  open(agent?: string, listener?: Partial<SessionListener>): Session
  /** Commands since the last call, all carried out now. */
  told(): Command[]
  /** Moves the clock on from where it is. */
  pass(ms: number, budget?: number): boolean
  nowMs: number
}

export type RigOptions = Partial<Omit<PolicyOptions, 'limits' | 'ring'>> & {
  limits?: Partial<PolicyOptions['limits']>
  ringRecords?: number
  /** The data plane carries out nothing until `told` is called. */
  stuck?: boolean
}

export function createRig({ limits, ringRecords = 64, stuck = false, ...parts }: RigOptions = {}): Rig {
  const ring = createCommandRing(ringRecords)
  const all = { rules: 100, portsPerRule: 16, sessions: 8, boundPorts: 1000, ...limits }
  const activity = createRuleActivity(all.rules)
  const commands: Command[] = []
  const carryOut = () => {
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      const rule = ring.words[at + RULE]
      if (ring.words[at + OP] === OP_RULE_ADD) {
        activity.lastUsedMs[rule] = rig.nowMs | 0
        activity.packets[rule] = activity.bytes[rule] = 0
      }
      commands.push(decode(ring.words, at))
      ring.done()
    }
  }
  const inside = ['10.0.0.0/8', 'fd00::/8'].map((text) => {
    const parsed = parsePrefix(text)
    must(parsed.ok, text)
    return parsed.value
  })
  const options: PolicyOptions = {
    ring, activity, nat44: true, pool: [ip('192.0.2.1'), ip('192.0.2.2')], portLow: 40_000, portHigh: 40_099,
    addresses: [ip('192.0.2.100'), ip('192.0.2.101')], insidePool: [], inside, seed: 7, limits: all, maxLifetimeSec: 3600,
    idleTimeoutSec: 0, extend: true, wildcards: { internal: true, external: true, ports: true }, service: 'traditional',
    strictNatMode: false, disableRules: true,
    authorizer: { decide: () => ({ permit: true }), mayAccess: (agent, owner) => agent === owner || agent === 'root' },
    ...(stuck ? {} : { pump: carryOut }),
    ...parts,
  }
  const events: string[] = []
  const rig: Rig = {
    policy: createPolicy(options), options, ring, activity, events, nowMs: 1_000_000,
    open(agent = 'alice', listener = {}) {
      return ok(rig.policy.openSession(agent, {
        ruleEvent: (rule, lifetimeSec, cause) => events.push(`${agent}: rule ${rule} ${lifetimeSec} ${cause}`),
        groupEvent: (group, lifetimeSec) => events.push(`${agent}: group ${group} ${lifetimeSec}`),
        terminated: (reason) => events.push(`${agent}: terminated ${reason}`),
        ...listener,
      }))
    },
    told() {
      carryOut()
      return commands.splice(0)
    },
    pass(ms, budget = 1000) {
      rig.nowMs += ms
      return rig.policy.advance(rig.nowMs, budget)
    },
  }
  rig.policy.advance(rig.nowMs, 1)
  return rig
}

/** The commands in a line each: the operation and what distinguishes it. */
export function lines(commands: readonly Command[]): string[] {
  return commands.map((command) => {
    const { op, rule, count, localPort, peerPort } = command
    if (rule !== undefined) return `${op} ${rule}`
    if (op.endsWith('address') || count === 0) return op
    return `${op} ${localPort ?? peerPort}+${count}`
  })
}
