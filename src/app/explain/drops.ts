/** Dropped packets by reason and flow, counted, in bounded memory: what `--explain drops` prints. */
import { DROP_FIRST, type Counters } from '../../channel/counters.ts'
import { DROP_REASONS } from '../../channel/reasons.ts'
import { REASON_TEXTS } from './reasons.ts'

/** Flows kept apart; packets of later ones are counted by reason only. */
export const MOST_FLOWS = 10_000

export interface DropSummary {
  reasons: ReasonDrops[]
}

export interface ReasonDrops {
  reason: string
  why: string
  clause: string
  hint: string
  /** All of them, those of `flows`, `others` and `held` together. */
  packets: number
  flows: FlowDrops[]
  /** Of flows beyond those kept apart. */
  others: number
  /** Fragments that were dropped while they were held. */
  held: number
}

export interface FlowDrops {
  side: 'inside' | 'outside'
  flow: string
  packets: number
  bytes: number
  firstPacket: number
  lastPacket: number
}

export function createDrops(mostFlows = MOST_FLOWS) {
  const flows = new Map<string, FlowDrops>()
  const counted = new Float64Array(DROP_REASONS.length), others = new Float64Array(DROP_REASONS.length)

  function add(reason: number, side: 'inside' | 'outside', flow: string, bytes: number, packet: number): void {
    counted[reason]++
    const key = `${reason} ${side} ${flow}`
    const known = flows.get(key)
    if (known !== undefined) {
      known.packets++
      known.bytes += bytes
      known.lastPacket = packet
    } else if (flows.size < mostFlows) flows.set(key, { side, flow, packets: 1, bytes, firstPacket: packet, lastPacket: packet })
    else others[reason]++
  }

  /**
   * The most frequent reason first, and in it the busiest flow. `counters`, when all drops were asked for, tell of fragments too
   * that were dropped while they were held.
   */
  function summary(counters: Counters | null): DropSummary {
    const reasons = DROP_REASONS.map(([reason], index) => {
      const held = counters === null ? 0 : counters[DROP_FIRST + index] - counted[index]
      const mine = [...flows].filter(([key]) => key.startsWith(`${index} `)).map(([, flow]) => flow)
        .sort((a, b) => b.packets - a.packets || a.firstPacket - b.firstPacket)
      const { why, clause, hint } = REASON_TEXTS[reason]
      return { reason, packets: counted[index] + held, why, clause, hint, flows: mine, others: others[index], held }
    })
    return { reasons: reasons.filter(({ packets }) => packets > 0).sort((a, b) => b.packets - a.packets) }
  }

  return { add, summary }
}

const grouped = (n: number) => n.toLocaleString('en-US')

export function dropsText({ reasons }: DropSummary): string {
  if (reasons.length === 0) return 'no packet was dropped\n'
  const lines = reasons.flatMap(({ reason, packets, why, clause, hint, flows, others, held }) => [
    `${reason}: ${grouped(packets)} ${packets === 1 ? 'packet' : 'packets'}, by ${clause}`,
    `  ${why}`,
    `  ${hint}`,
    ...flows.map(({ side, flow, packets: some, firstPacket, lastPacket }) => {
      const where = firstPacket === lastPacket ? `packet ${firstPacket}` : `packets ${firstPacket} to ${lastPacket}`
      return `  ${grouped(some).padStart(9)}  ${side.padEnd(7)}  ${flow}  (${where})`
    }),
    ...held > 0 ? [`  ${grouped(held).padStart(9)}  while they were held as fragments`] : [],
    ...others > 0 ? [`  ${grouped(others).padStart(9)}  of flows beyond the first ${grouped(MOST_FLOWS)}`] : [],
  ])
  return lines.join('\n') + '\n'
}

/** A line of JSON for each reason and flow. */
export function dropsJson({ reasons }: DropSummary): string {
  return reasons.flatMap(({ reason, why, clause, hint, flows, others, held }) => {
    const about = { schema: 'pinhole-explain/1', kind: 'drops', reason, why, clause, hint }
    return [
      ...flows.map((flow) => ({ ...about, ...flow })),
      ...held > 0 ? [{ ...about, side: null, flow: null, packets: held, held: true }] : [],
      ...others > 0 ? [{ ...about, side: null, flow: null, packets: others }] : [],
    ]
  }).map((line) => JSON.stringify(line) + '\n').join('')
}
