/**
 * Rules that are all over at the same moment, while an agent that owns them listens: how long the turns of the box are until the
 * last one is gone. A turn is all that lies between two looks at the sockets: rules, commands, notifications, garbage.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createBox, enableRules, openDoor, openSession, type Box } from './box.ts'
import { agentName } from './config.ts'
import type { RulesParameters } from './rows.ts'
import { LOOPBACK } from './servers.ts'

const LIFETIME_SEC = 600, SETTLE_MS = 300
const HEADER_BYTES = 8, ARE_BYTES = 24
const SE = Uint8Array.of(1, 1, 0, 8, 0, 0, 0, 1, 0, 1, 0, 4, 3, 0, 0, 0)

/** Nanoseconds that the main thread was ready and waited for a processor, where the system tells; else 0. */
function createWaiting(): { ns: () => number; close: () => void } {
  let fd: number
  try {
    fd = openSync('/proc/self/schedstat', 'r')
  } catch {
    return { ns: () => 0, close: () => {} }
  }
  const text = Buffer.alloc(128)
  return {
    ns: () => Number(text.toString('latin1', 0, readSync(fd, text, 0, text.length, 0)).split(' ')[1]),
    close: () => closeSync(fd),
  }
}

/** Milliseconds between calls of `mark`, by the clock and without the waiting for a processor. */
function createStopwatch() {
  const waiting = createWaiting()
  const wallMs: number[] = [], ownMs: number[] = []
  let last = performance.now(), waitedNs = waiting.ns()
  function mark(): void {
    const now = performance.now(), waited = waiting.ns()
    wallMs.push(now - last)
    ownMs.push(Math.max(0, now - last - (waited - waitedNs) / 1e6))
    last = now
    waitedNs = waited
  }
  return { mark, wallMs, ownMs, close: waiting.close }
}
type Stopwatch = Pick<ReturnType<typeof createStopwatch>, 'wallMs' | 'ownMs'>

/** Turns until policy and packet path have nothing left to do. */
async function measureTurns({ core, turns }: Box): Promise<Stopwatch> {
  turns.wake()
  const watch = createStopwatch()
  await new Promise<void>(resolve => {
    function look(): void {
      watch.mark()
      if (core.nextDeadlineMs() === Infinity && core.appliedTicket() === core.ticket()) resolve()
      else setImmediate(look)
    }
    setImmediate(look)
  })
  watch.close()
  return watch
}

/** What the machine makes of as many turns of that length that do nothing: the longest one. */
function measureNothing(count: number, lengthMs: number): number {
  const watch = createStopwatch()
  for (let n = 0; n < count; n++) {
    const end = performance.now() + lengthMs
    while (performance.now() < end);
    watch.mark()
  }
  watch.close()
  return Math.max(0, Math.max(...watch.ownMs) - lengthMs)
}

export async function expireAtOnce({ rules, seed }: RulesParameters): Promise<object> {
  let leapMs = 0
  const box = createBox(seed, { port: 0, agents: 1, rules }, () => performance.now() + leapMs)
  const { core, turns } = box
  const { server, port } = await openDoor(box, 1, agentName(0))
  turns.start(core, null)
  const session = openSession(box, 0)

  async function once(count: number): Promise<Stopwatch> {
    enableRules(box, session, count, LIFETIME_SEC)
    // It comes when the rules are there, or it would be told of each of them first.
    const agent = spawn(process.execPath, [process.argv[1]!, 'listen', JSON.stringify({ port, events: count })],
      { stdio: ['ignore', 'ignore', 'inherit'] })
    const ended = new Promise<number | null>(resolve => { agent.once('exit', resolve) })
    while (core.statistics().sessions < 2 && agent.exitCode === null) await sleep(10)
    await sleep(SETTLE_MS)
    // They were made one after another, and all of them are over now.
    leapMs += LIFETIME_SEC * 1000
    const samples = await measureTurns(box)
    if (core.statistics().rules !== 0) throw new Error(`${core.statistics().rules} rules have not ended`)
    if (await ended !== 0) throw new Error('the agent was not told of all ends')
    return samples
  }

  // The compiler has its say first.
  await once(Math.ceil(rules / 5))
  const { wallMs, ownMs } = await once(rules)
  turns.stop()
  await server.close()
  const allMs = wallMs.reduce((sum, ms) => sum + ms, 0)
  const sorted = ownMs.sort((a, b) => a - b), count = sorted.length
  const meanMs = ownMs.reduce((sum, ms) => sum + ms, 0) / count
  return {
    longestMs: sorted[count - 1], p99Ms: sorted[Math.floor((count - 1) * 0.99)], longestWallMs: Math.max(...wallMs),
    machineMs: measureNothing(count, meanMs), turns: count, allMs,
  }
}

/** An agent that hears of as many ends of rules and leaves; with status 1 if the box ends the session before. */
export function listen({ port, events }: { port: number; events: number }): Promise<object> {
  let bytes = 0, wanted = Infinity
  return new Promise((resolve, reject) => {
    const socket = connect(port, LOOPBACK, () => socket.write(SE))
    socket.on('data', chunk => {
      // The reply to SE comes first, and in one piece.
      if (wanted === Infinity) wanted = HEADER_BYTES + chunk.readUInt16BE(2) + events * ARE_BYTES
      bytes += chunk.length
      if (bytes >= wanted) resolve({ bytes })
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`after ${bytes} of ${wanted} bytes the box left`)))
  })
}
