/**
 * What would change for a capture if one configuration took the place of another: both forward it, packet by packet, and the flows
 * are told whose packets the one lets pass and the other does not.
 */
import { addressText, protocolText } from './flow-text.ts'
import { DROP_REASONS } from '../../channel/reasons.ts'
import { DECIDED_RULE, DECISIONS } from '../../engine/firewall.ts'
import { PATH_DROP, PATH_LATER } from '../../engine/rows.ts'
import { CaptureError } from '../../phy/capture-error.ts'
import { openCapture, type CaptureFault, type CaptureReader } from '../../phy/capture-reader.ts'
import { sidesBySource } from '../../plane/sides.ts'
import type { Prefix } from '../../base/address.ts'
import { DROP, SIDE_INSIDE } from '../../wire/frames.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { compose, type Machine, type PoolShare } from '../compose.ts'
import type { Config } from '../config/config.ts'
import { findShadows, findingText } from './shadows.ts'
import { hitsOf, type RuleHits } from './report.ts'

export interface AgainstOptions {
  capture: string
  old: Config
  next: Config
  /** Instead of those of either configuration. */
  inside: readonly Prefix[] | null
}

export interface ChangedFlow {
  protocol: string
  /** Of the first packet that changes. */
  direction: 'outbound' | 'inbound'
  inside: string
  peer: string
  /** Packets that pass with the one and not with the other. */
  packets: number
  /** Number of the first of them in the capture, from 1. */
  first: number
  passesNow: boolean
  /** Why the one that drops drops the first of them. */
  reason: string
  /** The rule of the new configuration that decided about the first of them. */
  rule: { number: number; name: string | null; line: number } | null
}

export interface RuleFinding {
  number: number
  name: string | null
  line: number
  kind: 'shadowed' | 'never' | 'no-packet' | 'undecided'
  text: string
}

export interface Comparison {
  packets: number
  flows: ChangedFlow[]
  /** All of them, beside those in `flows`. */
  changed: { flows: number; passNow: number; noLongerPass: number; packets: number }
  rules: RuleHits[]
  findings: RuleFinding[]
  fault: CaptureFault | null
}

/** More are counted, not listed. */
const MOST_FLOWS = 10_000

interface Side { machine: Machine; reader: CaptureReader }

async function open(config: Config, inside: readonly Prefix[], capture: string): Promise<Side> {
  const input: { reader: CaptureReader | null } = { reader: null }
  const machine = await compose({
    config, inside, seed: 1, sides: sidesBySource, outInside: undefined, outOutside: undefined, clockNs: () => 0,
      isReplaceable: false,
    interfaceName: (id) => input.reader?.interfaces[id]?.name,
    async openInput(frames, share: PoolShare) {
      input.reader = await openCapture(capture, frames, share)
    },
  }).catch((error: unknown) => {
    throw error instanceof CaptureError ? new Failure(STATUS.usage, error.message, { cause: error }) : error
  })
  return { machine, reader: input.reader! }
}

export async function compareAgainst({ capture, old, next, inside }: AgainstOptions): Promise<Comparison> {
  const before = await open(old, inside ?? old.inside, capture)
  let after: Side
  try {
    after = await open(next, inside ?? next.inside, capture)
  } catch (error) {
    await before.reader.close()
    throw error
  }
  const flows = new Map<string, ChangedFlow>()
  const changed = { flows: 0, passNow: 0, noLongerPass: 0, packets: 0 }
  const others = new Set<string>()
  const { frames, engine } = after.machine
  const { rows, firewall } = engine
  const columns = [rows.local, rows.peer, rows.ports, rows.kind].map((column) => column.slice())
  const sides = frames.side.slice(), paths = rows.path.slice(), addresses = new Int32Array(frames.capacity * 8)
  const rules = next.firewall.rules
  let packets = 0

  /** What a flow is known by, before anything is rewritten. */
  function keep(count: number): void {
    ;[rows.local, rows.peer, rows.ports, rows.kind].forEach((column, n) => { columns[n]!.set(column) })
    sides.set(frames.side)
    paths.set(rows.path)
    for (let i = 0; i < count; i++) {
      if (rows.kind[i] >>> 8 !== 6 || rows.path[i] === PATH_DROP) continue
      const p = frames.l3[i], isOut = frames.side[i] === SIDE_INSIDE
      for (let word = 0; word < 4; word++) {
        addresses[8 * i + word] = isOut ? ipv6.srcWord(frames.view, p, word) : ipv6.dstWord(frames.view, p, word)
        addresses[8 * i + 4 + word] = isOut ? ipv6.dstWord(frames.view, p, word) : ipv6.srcWord(frames.view, p, word)
      }
    }
  }

  function note(i: number, wasDropped: boolean, rule: number): void {
    const [local, peer, ports, kind] = columns.map((column) => column[i]!) as [number, number, number, number]
    const isKnown = paths[i] !== PATH_DROP, version = kind >>> 8, protocol = kind & 255
    const hasPorts = isKnown && paths[i] !== PATH_LATER && (protocol === 6 || protocol === 17)
    const end = (at: number, word: number, port: number) => !isKnown ? '?'
      : addressText(version, word, addresses.subarray(8 * i + at, 8 * i + at + 4), hasPorts ? port : null)
    const inside = end(0, local, ports >>> 16), outside = end(4, peer, ports & 0xffff)
    const name = isKnown ? protocolText(protocol) : '?'
    const key = `${name} ${inside} ${outside} ${wasDropped ? 1 : 0}`
    changed.packets++
    const known = flows.get(key)
    if (known !== undefined) known.packets++
    if (known !== undefined || others.has(key)) return
    changed.flows++
    if (wasDropped) changed.passNow++
    else changed.noLongerPass++
    if (flows.size === MOST_FLOWS) {
      // Past ten times as many, one that comes back is counted again.
      if (others.size < 10 * MOST_FLOWS) others.add(key)
      return
    }
    const dropping = wasDropped ? before.machine : after.machine
    flows.set(key, {
      protocol: name, direction: sides[i] === SIDE_INSIDE ? 'outbound' : 'inbound', inside, peer: outside, packets: 1,
        first: packets + i + 1,
      passesNow: wasDropped, reason: DROP_REASONS[dropping.frames.reason[i]]![0],
      rule: rule === 0 ? null : { number: rule, name: rules[rule - 1]!.name, line: rules[rule - 1]!.line },
    })
  }

  function forward(count: number): void {
    before.machine.plane.begin(count)
    after.machine.plane.begin(count)
    keep(count)
    for (let i = 0; i < count; i++) {
      const decisions = firewall.decided[DECISIONS]
      before.machine.plane.run(i, i + 1)
      after.machine.plane.run(i, i + 1)
      const wasDropped = before.machine.frames.verdict[i] === DROP, isDropped = frames.verdict[i] === DROP
      if (wasDropped !== isDropped) note(i, wasDropped, firewall.decided[DECISIONS] === decisions ? 0
        : firewall.decided[DECIDED_RULE])
    }
    packets += count
  }

  try {
    let more = true
    while (more) {
      for (let count = before.reader.fill(); count > 0; count = before.reader.fill()) {
        if (after.reader.fill() !== count) throw new Error('the capture reads differently a second time')
        forward(count)
      }
      // The last call says that there is nothing, to the other reader too.
      after.reader.fill()
      const [one, other] = [await before.reader.more(), await after.reader.more()]
      more = one && other
    }
    const hits = hitsOf(rules, firewall)
    return {
      packets, flows: [...flows.values()].sort((a, b) => a.first - b.first), changed, rules: hits, fault: before.reader.fault,
      findings: findingsIn(next, inside ?? next.inside, hits),
    }
  } finally {
    await before.reader.close()
    await after.reader.close()
  }
}

/** Of rules that cannot decide, and of those that had nothing to decide about in this capture. */
function findingsIn({ firewall: { rules } }: Config, inside: readonly Prefix[], hits: readonly RuleHits[]): RuleFinding[] {
  const { findings, undecided } = findShadows(rules, inside)
  return rules.flatMap(({ name, line }, i): RuleFinding[] => {
    const number = i + 1, one = { number, name, line }
    const finding = findings.find((other) => other.number === number)
    if (finding !== undefined) return [{ ...one, kind: finding.kind, text: findingText(finding) }]
    if (undecided.includes(number)) return [{ ...one, kind: 'undecided',
      text: 'whether rules before it leave anything of it is too much to tell' }]
    return hits[i]!.packets === 0 ? [{ ...one, kind: 'no-packet', text: 'decides about no packet of this capture' }] : []
  })
}
