/** A box in this process: packet path and policy on one thread, by turns, as `pinhole run --simulate` composes them. */
import { composeAuthorizer, policyOptions } from '../../src/app/compose.ts'
import { checkConfig } from '../../src/app/config/load.ts'
import { timed } from '../../src/app/run/timed.ts'
import { createTurns, type Turns } from '../../src/app/run/turns.ts'
import { createSimcoServer, type SimcoServer } from '../../src/control/simco/server.ts'
import { BIDIRECTIONAL, PARITY_ANY, UDP, type EnableRequest, type Policy, type Session, type Tuple } from '../../src/policy/api.ts'
import { createPolicy } from '../../src/policy/policy.ts'
import { createMachine, type Machine } from '../replay/machine.ts'
import { FIRST_POOL_ADDRESS } from '../traffic.ts'
import { agentKey, agentName, boxConfig, type BoxNeeds } from './config.ts'
import { LOOPBACK } from './servers.ts'

export const BATCH_FRAMES = 256, FRAME_BYTES = 64
const POOL_SIZE = 4, FLOWS = 262_144
const UNITS = 1024

export interface Box {
  machine: Machine
  turns: Turns
  /** As the turns ask it. */
  core: Policy
  /** As the doors ask it. */
  policy: Policy
}

/** Without needs: without rules. */
export function machineOf(seed: number, needs: BoxNeeds | null): Machine {
  return createMachine({
    flows: FLOWS, poolFirst: FIRST_POOL_ADDRESS, poolSize: POOL_SIZE, seed, batchFrames: BATCH_FRAMES, frameBytes: FRAME_BYTES,
    configure(config) {
      if (needs === null) return
      const { config: checked, problems } = checkConfig(boxConfig(needs), '.')
      if (checked === null) throw new Error(problems.map(({ path, message }) => `${path}: ${message}`).join('; '))
      config.midcom = checked.midcom
    },
  })
}

export function createBox(seed: number, needs: BoxNeeds, clockMs: () => number): Box {
  const machine = machineOf(seed, needs)
  const { config, channel, engine } = machine
  const turns = createTurns(engine, clockMs)
  const core = createPolicy(policyOptions(
    config, config.inside, seed, channel!, composeAuthorizer(config, null), () => turns.pump(engine)))
  return { machine, turns, core, policy: timed(core, turns.advance, turns.wake) }
}

/** A door on a port of its own. `loopbackAgent` needs to prove nothing. */
export async function openDoor(
  { policy }: Box, agents: number, loopbackAgent: string | null,
): Promise<{ server: SimcoServer; port: number }> {
  const server = createSimcoServer({
    policy,
    listeners: [{ host: LOOPBACK, port: 0, challenge: loopbackAgent === null, ...loopbackAgent !== null && { loopbackAgent } }],
    agents: Array.from({ length: agents }, (_, i) => ({ name: agentName(i), key: agentKey(i) })),
  })
  const [{ port }] = await server.listen()
  return { server, port }
}

export function openSession({ policy }: Box, agent: number): Session {
  const outcome = policy.openSession(agentName(agent), { ruleEvent() {}, groupEvent() {}, terminated() {} })
  if ('then' in outcome || !outcome.ok) throw new Error('no session')
  return outcome.value
}

function endpoint(word0: number, port: number): Tuple {
  return { version: 4, word0, word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol: UDP, port, range: 1 }
}

/** The n-th rule, as load.c asks for it. */
function requestOf(n: number, lifetimeSec: number): EnableRequest {
  return {
    reservation: 0, group: 0, direction: BIDIRECTIONAL, parity: PARITY_ANY, lifetimeSec, maxIdleSec: 0,
    internal: endpoint(0x0a800000 + (n >>> 4), 1024 + (n & 15) * 4001),
    external: endpoint(0x2d000000 | Math.imul(n, 2654435761) >>> 8, 443),
  }
}

/** Rules of one port each; the packet path has carried all of them out. */
export function enableRules({ machine, turns, core }: Box, session: Session, count: number, lifetimeSec: number): void {
  for (let n = 0; n < count; n++) {
    const outcome = session.enable(requestOf(n, lifetimeSec))
    if ('then' in outcome || !outcome.ok) throw new Error(`rule ${n}: ${'then' in outcome ? 'later' : outcome.reason}`)
    core.pump()
  }
  while (machine.engine.applyCommands(turns.nowMs() | 0, UNITS));
  core.applied()
}
