/** A whole middlebox but for its packets: SIMCO over loopback, policy, and a data plane that carries out whatever it is told. */
import { parsePrefix } from '../src/base/address.ts'
import { createCommandRing, createRuleActivity } from '../src/channel/commands.ts'
import { createSimcoServer, type SimcoAgent, type SimcoListener, type SimcoServer, type SimcoServerOptions } from '../src/control/simco/server.ts'
import type { Policy } from '../src/policy/api.ts'
import type { PolicyAuthorizer, PolicyOptions } from '../src/policy/options.ts'
import { createPolicy } from '../src/policy/policy.ts'

export interface Middlebox {
  readonly port: number
  readonly policy: Policy
  readonly server: SimcoServer
  /** Lets this many seconds pass for the rules. */
  pass(seconds: number): void
  close(): Promise<void>
}

export interface MiddleboxOptions {
  /** By default plain, and everybody is `tester`. */
  listener?: Omit<SimcoListener, 'host' | 'port'>
  agents?: SimcoAgent[]
  authorizer?: PolicyAuthorizer
  policy?: Partial<PolicyOptions>
  server?: Partial<SimcoServerOptions>
  /** Port to listen on; chosen by the system if absent. */
  port?: number
}

/** Each agent does what it likes with its own rules, and `admin` with all. */
const EVERYTHING: PolicyAuthorizer = {
  decide: () => ({ permit: true }),
  mayAccess: (agent, owner) => agent === owner || agent === 'admin',
}

function prefix(text: string) {
  const parsed = parsePrefix(text)
  if (!parsed.ok) throw new Error(`${text}: ${parsed.reason}`)
  return parsed.value
}

/** A NAPT with the outside addresses 203.0.113.1 and .2 in front of 10.0.0.0/8 and 2001:db8:1::/48. */
export async function createMiddlebox(options: MiddleboxOptions = {}): Promise<Middlebox> {
  const ring = createCommandRing(1024), rules = 100
  const address = (host: number) => 203 << 24 | 113 << 8 | host
  const policy = createPolicy({
    ring, activity: createRuleActivity(rules), nat44: true, pool: [address(1), address(2)], portLow: 40_000, portHigh: 40_099,
    addresses: [address(10)], insidePool: [], inside: [prefix('10.0.0.0/8'), prefix('2001:db8:1::/48')], seed: 1,
    limits: { rules, portsPerRule: 16, sessions: 16, boundPorts: 400 },
    maxLifetimeSec: 3600, idleTimeoutSec: 0, extend: true, wildcards: { internal: false, external: true, ports: true },
    service: 'traditional', strictNatMode: false, disableRules: true, authorizer: options.authorizer ?? EVERYTHING,
    pump() {
      while (ring.peek() >= 0) ring.done()
      policy.applied()
    },
    ...options.policy,
  })
  let nowMs = 0
  policy.advance(nowMs, rules)
  const server = createSimcoServer({
    policy, agents: options.agents ?? [],
    listeners: [{ host: '127.0.0.1', port: options.port ?? 0, ...options.listener ?? { challenge: false, loopbackAgent: 'tester' } }],
    ...options.server,
  })
  const { port } = (await server.listen())[0]!
  return {
    port, policy, server,
    pass(seconds) {
      nowMs += seconds * 1000
      while (policy.advance(nowMs, rules));
    },
    close: () => server.close(),
  }
}
