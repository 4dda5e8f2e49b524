/** An explanation as text, and as a comment on the packet. */
import type { Change, Explanation, FlowInfo, LateAnswer, MappingInfo, RuleInfo } from './explanation.ts'

const LABEL = 10

function row(label: string, text: string): string {
  return `  ${label.padEnd(LABEL)}${text}`
}

/** Times as people say them. */
export function duration(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  const seconds = ms / 1000
  if (seconds < 120) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`
  const whole = Math.round(seconds), h = Math.floor(whole / 3600), m = Math.floor(whole % 3600 / 60), s = whole % 60
  return [h > 0 ? `${h} h` : '', m > 0 ? `${m} min` : '', s > 0 ? `${s} s` : ''].filter((part) => part !== '').join(' ')
}

function parseText({ parse }: Explanation): string {
  if (parse === null) return 'no IP header to read'
  const { ip, name, headerBytes, packetBytes, onWireBytes, capturedBytes, ttl, checksum, fragment, dontFragment, path } = parse
  const parts = [`IPv${ip} ${name}`, `header ${headerBytes}, packet ${packetBytes} bytes`]
  if (packetBytes !== onWireBytes) parts.push(`${onWireBytes} on the wire`)
  if (capturedBytes < Math.min(packetBytes, onWireBytes)) parts.push(`${capturedBytes} captured`)
  parts.push(`${ip === 4 ? 'TTL' : 'hop limit'} ${ttl}`)
  if (checksum === 'wrong') parts.push('header checksum wrong')
  if (checksum === 'zero') parts.push('header checksum left 0, filled in')
  if (ip === 4 && dontFragment) parts.push('DF')
  if (fragment !== null) parts.push(`fragment ${fragment.id} at ${fragment.offset}, ${fragment.more ? 'more follow' : 'the last'}`)
  return `${parts.join(', ')}; way: ${path}`
}

export function flowLine(flow: FlowInfo): string {
  const { how, protocol, inside, outside, peer, state, stateBefore, endsInMs, endsInMsBefore, blocked } = flow
  const states = stateBefore === null || stateBefore === state ? state : `${stateBefore} -> ${state}`
  const before = endsInMsBefore === null || endsInMsBefore === endsInMs ? '' : ` (before: ${duration(endsInMsBefore)})`
  const closed = blocked.length === 0 ? '' : `; ${blocked.join(' and ')} blocked (RFC 5189 2.3.5)`
  const ends = `${inside}${outside === null ? '' : ` = ${outside}`} with ${peer}`
  return `${how}: ${protocol} ${ends}; ${states}; ends in ${duration(endsInMs)} if idle${before}${closed}`
}

function mappingLine({ inside, outside, bound, peers, morePeers }: MappingInfo): string {
  const known = peers.length === 0 ? 'no flows' : `flows with ${peers.join(', ')}${morePeers ? ' and more' : ''}`
  return `${inside} = ${outside}, ${bound ? 'bound by rule' : 'dynamic'}, ${known}`
}

function ruleLine({ kind, rule, owner, what }: RuleInfo): string {
  return kind === 'midcom' ? `MIDCOM rule ${rule}${owner === null ? '' : ` of ${owner}`} ${what}`
    : `firewall rule ${rule}${owner === null ? '' : ` (${owner})`} ${what}`
}

function changeText({ field, before, after }: Change): string {
  return `${field} ${before} -> ${after}`
}

/** What was decided, in rows. `LABEL` columns apart. */
export function decisionRows(e: Explanation): string[] {
  const rows = [row('parse', parseText(e))]
  if (e.flow !== null) {
    rows.push(row('flow', flowLine(e.flow)))
    if (e.flow.mapping !== null) rows.push(row('mapping', `${e.flow.mapping}: ${e.flow.inside} = ${e.flow.outside}`))
  } else if (e.verdict === 'dropped' && e.parse !== null) rows.push(row('flow', 'none'))
  if (e.mapping !== null) rows.push(row('meets', mappingLine(e.mapping)))
  if (e.hairpin !== null) rows.push(row('hairpin', flowLine(e.hairpin)))
  if (e.evicted) rows.push(row('evicted', 'the flow, of eight, with the least time left: the table was full (limits.flows)'))
  for (const rule of e.rules) rows.push(row('rule', ruleLine(rule)))
  if (e.rewrite.length > 0) rows.push(row('rewrite', e.rewrite.map(changeText).join('; ')))
  if (e.verdict === 'sent') rows.push(row('sent', `to ${e.to}: ${e.left}`))
  if (e.verdict === 'held') {
    rows.push(row('held', 'until the first fragment of its datagram comes (timers.fragment, limits.fragment-hold)'))
  }
  if (e.reason !== null) {
    rows.push(row('dropped', `${e.reason.name}: ${e.reason.why}`), row('because', e.reason.clause), row('change', e.reason.hint))
  }
  for (const { kind, to, packet } of e.also) {
    rows.push(row(kind === 'answer' ? 'answered' : kind, `to ${to}: ${packet}`))
  }
  if (e.answerSuppressed) rows.push(row('answered', 'not: limits.icmp-errors-per-second is spent'))
  return rows
}

export function explanationText(e: Explanation): string {
  const lines = [`#${e.packet}  ${e.time}  from ${e.side}  ${e.came}`]
  if (e.entered !== null) lines.push(row('entered', `re-addressed by the replay's outside world: ${e.entered}`))
  return [...lines, ...decisionRows(e)].join('\n') + '\n'
}

export function explanationJson(e: Explanation): string {
  return JSON.stringify({ schema: 'pinhole-explain/1', kind: 'packet', ...e }) + '\n'
}

/** An answer that comes by itself, some seconds after its cause. */
export function answerText({ packet, came, time, to, answer }: LateAnswer): string {
  const what = answer === null ? 'not: limits.icmp-errors-per-second is spent' : `to ${to}: ${answer}`
  const head = `#${packet}  ${time}  its silence is over (timers.unsolicited-syn, RFC 5382 REQ-4)  ${came}`
  return `${head}\n${row('answered', what)}\n`
}

export function answerJson(answer: LateAnswer): string {
  return JSON.stringify({ schema: 'pinhole-explain/1', kind: 'answer', ...answer }) + '\n'
}

/** `also`: -1 for the packet itself, else the place among what left because of it. */
export function commentText(e: Explanation, also: number): string {
  const { [also]: other } = e.also
  if (also < 0 || other === undefined) {
    const came = e.entered === null ? [] : [row('entered', e.entered)]
    return [`pinhole: packet ${e.packet} from ${e.side}: ${e.came}`, ...came, ...decisionRows(e)].join('\n')
  }
  const what = other.kind === 'answer' ? 'answer to' : other.kind === 'released' ? 'fragment held until' : 'fragment of'
  return `pinhole: ${what} packet ${e.packet}: ${e.came}`
}
