/** Plays a list of steps to the model and to the engine, and says where they first differ. */
import assert from 'node:assert/strict'
import { createModel, type ModelInput, type ModelOptions, type Outcome } from '../nat.model.ts'
import { EngineDriver } from './engine-driver.ts'
import { play, type Played, type Step } from './traffic.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** An outcome as text, so that differences print well. */
function told(outcome: Outcome): string {
  const sent = outcome.sent.map(s => `${s.kind} to ${s.side} ${s.wireBytes}: ${hex(s.bytes)}`)
  const held = outcome.heldDrops.map(h => h.reason).sort()
  const lines = [`${outcome.verdict} ${outcome.reason ?? ''}`, ...sent]
  if (held.length > 0) lines.push('held: ' + held.join(' '))
  return lines.join('\n')
}

function context(played: readonly Played[], at: number): string {
  return played.slice(0, at + 1).map(({ input, outcome, from }, i) => {
    const came = `#${i} ${from.kind} t=${input.nowMs} from ${input.side} ${input.wireBytes}: ${hex(input.bytes)}`
    return (came + '\n-> ' + told(outcome)).replaceAll('\n', '\n    ')
  }).join('\n')
}

export function compare(
  options: ModelOptions, list: readonly Step[], startMs: number, linkBytes: number, batch: number, replay = false,
): void {
  const model = createModel(options), driver = new EngineDriver(options, linkBytes, replay)
  const totals: string[] = []
  const tally = () => {
    const all = model.flows.all()
    return JSON.stringify({
      flows: all.length, mappings: new Set(all.map(f => f.mapping).filter(m => m !== null)).size,
      suppressed: model.icmpSuppressed(), held: model.fragments.heldCount(),
    })
  }
  const packet = model.packet
  const watched = { ...model, packet: (input: ModelInput) => {
    const outcome = packet(input)
    totals.push(tally())
    return outcome
  } }
  const played = play(watched, list, startMs, replay)
  for (let first = 0; first < played.length; first += batch) {
    const rows = played.slice(first, first + batch), outcomes = driver.packets(rows.map(p => p.input))
    rows.forEach((row, i) => {
      if (told(outcomes[i]) !== told(row.outcome)) {
        const [engine, other] = [told(outcomes[i]), told(row.outcome)]
        assert.fail(`packet #${first + i}\nengine: ${engine}\nmodel:  ${other}\n\n${context(played, first + i)}`)
      }
    })
    // Within a batch only the state after its last packet can be seen.
    const last = Math.min(first + batch, played.length) - 1
    const counted = JSON.stringify(driver.totals())
    if (counted !== totals[last]) {
      assert.fail(`counters after #${last}\nengine: ${counted}\nmodel:  ${totals[last]}\n\n${context(played, last)}`)
    }
  }
  driver.checkSums()
  assert.deepEqual(driver.finish().map(h => h.reason).sort(), model.finish().map(h => h.reason).sort(), 'at the end')
}
