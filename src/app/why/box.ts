/** A box in the state that a capture has left it in, which can be sent one more packet and says what became of it. */
import { counterIndex } from '../../channel/counters.ts'
import { CaptureError } from '../../phy/capture-error.ts'
import { openCapture, type CaptureFault, type CaptureReader } from '../../phy/capture-reader.ts'
import { sidesBySource } from '../../plane/sides.ts'
import type { Prefix } from '../../base/address.ts'
import { LINK_RAW, SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { compose, composeAuthorizer, composePolicy, type PoolShare } from '../compose.ts'
import type { Config } from '../config/config.ts'
import type { Explainer } from '../explain/explain.ts'
import type { Explanation, Side } from '../explain/explanation.ts'
import { createWatch } from '../explain/watch.ts'
import { createMover } from '../replay/mover.ts'
import { createPlayer } from '../script/player.ts'
import { asksPolicy, replacesRules, type Step } from '../script/script.ts'

const DROPS = counterIndex('drop-packets')

export interface BoxOptions {
  config: Config
  /** Where its firewall rules stand; null: nowhere. */
  rulesFile: string | null
  inside: readonly Prefix[]
  seed: number
  /** Side that the packet sent comes by; null: its source decides. */
  from: Side | null
  /** Capture that the box has seen; null: it is new. */
  after: string | null
  /** What agents do meanwhile; null: there are none. */
  script: readonly Step[] | null
}

export interface Box {
  /** `laterMs` after the last packet. `side`: instead of that of the box. */
  send(bytes: Uint8Array, laterMs: number, side?: Side): Promise<Explanation>
  /** What the capture came to. */
  readonly packets: number
  readonly drops: number
  readonly fault: CaptureFault | null
  /** Milliseconds since the first packet. */
  virtualMs(): number
}

export async function openBox({ config, rulesFile, inside, seed, from, after, script }: BoxOptions): Promise<Box> {
  const input: { reader: CaptureReader | null; share: PoolShare } = { reader: null, share: { poolStart: 0, poolEnd: 0 } }
  let forced: number | null = null
  let isOurs = false
  let heard: Explanation | null = null
  const explainer: Explainer = {
    watch: (frames, counters, engine, outlets) => createWatch(frames, counters, engine, outlets, {
      match: () => isOurs, asksOutcome: false, explained: (explanation) => { heard = explanation }, dropped: null, answered: null,
      comment: null,
      midcomRule: (number) => explainer.midcomRule(number), rulesFile,
    }),
    midcomRule: () => undefined, ready: () => Promise.resolve(), finish: () => Promise.resolve(),
  }
  const machine = await compose({
    config, inside, seed, outInside: undefined, outOutside: undefined, explainer, clockNs: () => 0,
    // Without a capture, time begins with the box: what is later is, and agents had their time.
    isFromZero: after === null, isReplaceable: replacesRules(script),
    interfaceName: (id) => input.reader?.interfaces[id]?.name,
    sides: (frames, prefixes) => {
      const bySource = sidesBySource(frames, prefixes)
      return {
        // Who says by which side a packet comes may say so of one with a source of the other.
        isBySource: from === null,
        decide(count) {
          bySource.decide(count)
          if (forced !== null) frames.side[0] = forced
        },
      }
    },
    async openInput(frames, share) {
      input.share = share
      if (after !== null) input.reader = await openCapture(after, frames, share)
    },
  }).catch((error: unknown) => {
    throw error instanceof CaptureError ? new Failure(STATUS.usage, error.message, { cause: error }) : error
  })
  const { frames, plane, watched, counters } = machine
  const mover = createMover(machine)
  const policy = script === null || !asksPolicy(script) ? null
    : composePolicy({ config, inside, seed }, machine, composeAuthorizer(config, null), mover.pump)
  if (policy !== null) explainer.midcomRule = policy.ruleInSlot
  const player = script === null ? null : createPlayer(script, policy, mover.move, (rules) => mover.replaceRules(rules, inside,
    seed))
  let sec = 0, nsec = 0, packets = 0

  /** Rows `0` … `count`-1, each after what agents do before it. */
  async function run(count: number): Promise<void> {
    watched!.arrived(count)
    plane.begin(count)
    for (let done = 0; done < count;) {
      let due = count
      if (player !== null) {
        mover.start(done)
        await player.happen(mover.at(done))
        due = mover.before(done, count, player.nextMs())
      }
      for (; done < due; done++) plane.run(done, done + 1)
    }
    packets += count
    sec = frames.sec[count - 1]
    nsec = frames.nsec[count - 1]
  }

  const { reader } = input
  if (reader !== null) {
    try {
      do for (let count = reader.fill(); count > 0; count = reader.fill()) await run(count)
      while (await reader.more())
    } finally {
      await reader.close()
    }
  }
  const drops = counters[DROPS]
  if (reader === null) mover.start(0)

  async function send(bytes: Uint8Array, laterMs: number, side: Side | null = from): Promise<Explanation> {
    frames.pool.set(bytes, input.share.poolStart)
    frames.off[0] = input.share.poolStart
    frames.capBytes[0] = frames.wireBytes[0] = bytes.length
    frames.link[0] = LINK_RAW
    frames.iface[0] = 0
    const at = nsec + laterMs % 1000 * 1_000_000
    frames.sec[0] = sec + Math.floor(laterMs / 1000) + Math.floor(at / 1_000_000_000)
    frames.nsec[0] = at % 1_000_000_000
    forced = side === null ? null : side === 'inside' ? SIDE_INSIDE : SIDE_OUTSIDE
    isOurs = true
    await run(1)
    isOurs = false
    forced = null
    return heard!
  }

  return { send, packets, drops, fault: reader?.fault ?? null, virtualMs: plane.virtualMs }
}
