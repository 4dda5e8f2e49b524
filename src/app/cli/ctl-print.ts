/** What `pinhole ctl` prints: aligned columns for people. */
import {
  printEndpoint, printProtocol, type AgentEvent, type Capabilities, type EnabledRule, type Endpoint, type Reservation,
  type RuleStatus,
} from '../../control/simco/agent.ts'
import { counted } from '../figures.ts'

const NONE = '-'

/** Columns as wide as their longest cell. What is a number stands at the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = rows.map((row) => row.map(String))
  const widths = head.map((name, i) => Math.max(name.length, ...cells.map((row) => row[i]!.length)))
  const isNumber = (i: number) => (row: readonly (string | number)[]) => typeof row[i] === 'number'
  const right = head.map((_, i) => rows.some(isNumber(i)) && rows.every((row) => isNumber(i)(row) || row[i] === NONE))
  const line = (row: readonly string[]) =>
    row.map((cell, i) => right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join('  ').trimEnd()
  return [head.map((name) => name.toUpperCase()), ...cells].map(line).join('\n') + '\n'
}

/** A name and what it is, one to a line. */
export function sheet(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join('\n') + '\n'
}

const where = (endpoint: Endpoint | null) => endpoint === null ? NONE : printEndpoint(endpoint)

export function grantedText({ rule, group, lifetimeSec, protocol, outside, inside }: Reservation | EnabledRule): string {
  return table(['rule', 'group', 'seconds', 'protocol', 'outside', 'inside'],
    [[rule, group, lifetimeSec, printProtocol(protocol), where(outside), where(inside)]])
}

const STATUS_HEAD = [
  'rule', 'action', 'group', 'owner', 'seconds', 'protocol', 'direction', 'internal', 'inside', 'outside', 'external',
]

export function statusText(rules: readonly RuleStatus[]): string {
  return table(STATUS_HEAD, rules.map((one) => {
    const { rule, action, owner, lifetimeSec } = one
    const group = one.action === 'disable' ? NONE : one.group, protocol = printProtocol(one.protocol)
    const [direction, internal, external] = one.action === 'enable' ? [one.direction, one.internal, one.external]
      : one.action === 'disable' ? [NONE, one.internal, one.external] : [NONE, null, null]
    const [inside, outside] = one.action === 'disable' ? [null, null] : [one.inside, one.outside]
    const endpoints = [internal, inside, outside, external].map(where)
    return [rule, action, group, printable(owner), lifetimeSec, protocol, direction, ...endpoints]
  }))
}

/** An owner's name comes from the other side: no escape sequence of it reaches the terminal. */
function printable(text: string): string {
  return text.replace(/[\p{C}\p{Z}]/gu, '?')
}

export function capabilitiesText(server: string, found: Capabilities): string {
  const yes = (value: boolean) => value ? 'yes' : 'no'
  const listed = (names: Record<string, boolean>) => Object.keys(names).filter((name) => names[name]).join(', ') || 'none'
  const versions = (list: readonly number[]) => list.map((version) => `IPv${version}`).join(', ') || 'none'
  return sheet([
    ['server', server],
    ['firewall', yes(found.firewall)],
    ['NAT', listed({
      addresses: found.nat, ports: found.portTranslation, protocols: found.protocolTranslation, 'twice-NAT': found.twiceNat,
    })],
    ['wildcards', listed({
      'internal addresses': found.internalWildcards, 'external addresses': found.externalWildcards, ports: found.portWildcards,
    })],
    ['disable rules', yes(found.disableRules)],
    ['rules survive a restart', yes(found.persistentRules)],
    ['internal network', versions(found.internalVersions)],
    ['external network', versions(found.externalVersions)],
    ['longest lifetime', `${found.maxLifetimeSec} s`],
  ])
}

export function eventText(event: AgentEvent): string {
  switch (event.kind) {
    case 'rule': return `rule ${event.rule}: ${event.lifetimeSec === 0 ? 'gone' : `${event.lifetimeSec} s`}`
    case 'late': return `rule ${event.rule}: ${event.lifetimeSec} s, made by a request that was given up`
    case 'malformed': return 'the middlebox could not read a message'
    case 'terminated': return 'the middlebox has ended the session'
    case 'lost': return `no session: ${event.error.reason}${event.reconnecting ? '; connecting again' : ''}`
    case 'reconnected': return 'connected again; rules may have changed meanwhile'
    case 'overflow': return `${counted(event.lost, 'event was', 'events were')} lost here`
  }
}

/** The same for programs: errors as their parts. */
export function eventJson(event: AgentEvent): string {
  if (event.kind !== 'lost') return JSON.stringify(event)
  const { code, reason, local } = event.error
  return JSON.stringify({ ...event, error: { code, reason, local } })
}
