/** Policy and engine together, on virtual time, with hands on both: requests in, packets in, and what became of them out. */
import assert from 'node:assert/strict'
import { parseAddress, parsePrefix, print4, print6 } from '../src/base/address.ts'
import { createCommandRing, createRuleActivity } from '../src/channel/commands.ts'
import { createRig } from '../src/engine/testing.ts'
import type { EngineOptions } from '../src/engine/options.ts'
import * as api from '../src/policy/api.ts'
import type { PolicyOptions } from '../src/policy/options.ts'
import { createPolicy } from '../src/policy/policy.ts'
import { buildPacket, verify, type PacketSpec } from '../src/wire/build.ts'
import { TO_OUTSIDE } from '../src/wire/frames.ts'
import * as ipv4 from '../src/wire/ipv4.ts'

/** An outside address of which ports are bound, and one that is bound as a whole. */
export const POOL = '203.0.113.1', WHOLE = '203.0.113.99'

export function words(text: string): Int32Array {
  const parsed = parseAddress(text)
  if (!parsed.ok) throw new Error(text)
  return parsed.value.words
}

/** '10.0.0.5', '10.0.0.0/8' or '*' (IPv4), '::' … */
export function tuple(text: string, protocol: number, port = 0, range = 1): api.Tuple {
  const [address, bits] = text === '*' ? ['0.0.0.0', '0'] : text.split('/')
  const version = address.includes(':') ? 6 : 4
  const [word0, word1 = 0, word2 = 0, word3 = 0] = words(address)
  return { version, word0, word1, word2, word3, prefixBits: bits === undefined ? (version === 4 ? 32 : 128) : Number(bits), protocol, port, range }
}
export const textOf = ({ version, word0, word1, word2, word3 }: api.Tuple) => version === 4 ? print4(word0) : print6(Int32Array.of(word0, word1, word2, word3))

export interface BoxOptions { engine?: Partial<EngineOptions>; policy?: Partial<PolicyOptions> }

export function createBox({ engine = {}, policy: changes = {} }: BoxOptions = {}) {
  const ring = createCommandRing(256), activity = createRuleActivity(64)
  const nat44 = engine.nat44 ?? true
  const pool = [words(POOL)[0]], addresses = nat44 ? [words(WHOLE)[0]] : [], insidePool = changes.insidePool ?? []
  const rig = createRig({
    outboundPermit: false, ...engine,
    midcom: { rules: 64, boundPorts: 256, portLow: 40000, portHigh: 49999, addresses, insidePool, ring, activity },
  })
  let nowMs = 0
  const policy = createPolicy({
    ring, activity, nat44, pool, portLow: 40000, portHigh: 49999, addresses, insidePool,
    inside: ['10.0.0.0/8', 'fd00::/8'].map((text) => {
      const parsed = parsePrefix(text)
      if (!parsed.ok) throw new Error(text)
      return parsed.value
    }),
    seed: 1, limits: { rules: 64, portsPerRule: 64, sessions: 16, boundPorts: 256 }, maxLifetimeSec: 3600, idleTimeoutSec: 0, extend: true,
    wildcards: { internal: true, external: true, ports: true }, service: 'traditional', strictNatMode: true, disableRules: true,
    authorizer: { decide: () => ({ permit: true }), mayAccess: (agent, owner) => agent === owner },
    pump: () => { while (rig.engine.applyCommands(nowMs | 0, 1e9)); },
    ...changes,
  })
  const events: string[] = []
  const session = value(policy.openSession('a', {
    ruleEvent: (rule, lifetimeSec, cause) => events.push(`${rule} ${lifetimeSec} ${cause}`), groupEvent: () => {}, terminated: () => {},
  }))
  const settle = () => {
    policy.pump()
    policy.applied()
    assert.equal(policy.appliedTicket(), policy.ticket())
  }
  return {
    ...rig, policy, session, events,
    at(ms: number) {
      nowMs = ms
      while (policy.advance(ms, 1000));
      settle()
    },
    go(side: number, spec: PacketSpec): string {
      const { verdict, reason, bytes } = rig.send(side, buildPacket(spec), nowMs | 0)
      if (bytes === null) return reason ?? 'held'
      assert.deepEqual(verify(bytes), [])
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      const way = verdict === TO_OUTSIDE ? 'out' : 'in'
      if (bytes[0] >>> 4 === 6) return way
      const port = (at: number) => [6, 17].includes(ipv4.protocol(view, 0)) ? `:${view.getUint16(20 + at)}` : ''
      return `${way} ${print4(ipv4.src(view, 0))}${port(0)} > ${print4(ipv4.dst(view, 0))}${port(2)}`
    },
    enable(request: Partial<api.EnableRequest> & Pick<api.EnableRequest, 'internal' | 'external' | 'direction'>) {
      const reply = value(session.enable({ reservation: 0, group: 0, parity: api.PARITY_ANY, lifetimeSec: 60, maxIdleSec: 0, ...request }))
      settle()
      return reply
    },
    reserve(request: Partial<api.ReserveRequest>) {
      return value(session.reserve({
        group: 0, service: 0, internalVersion: 4, externalVersion: 4, internal: null, protocol: 17, range: 1, parity: api.PARITY_ANY, lifetimeSec: 60, ...request,
      }))
    },
    disable(internal: api.Tuple, external: api.Tuple, lifetimeSec = 60) {
      const reply = value(session.disable({ internal, external, lifetimeSec }))
      settle()
      return reply
    },
    end(rule: number) {
      value(session.changeLifetime(rule, 0))
      settle()
    },
  }
}
export type Box = ReturnType<typeof createBox>

export function value<T>(outcome: api.Outcome<T> | Promise<api.Outcome<T>>): T {
  if (outcome instanceof Promise) throw new Error('the authorizer answers at once here')
  if (!outcome.ok) throw new Error(outcome.reason)
  return outcome.value
}
