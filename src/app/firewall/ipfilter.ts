/**
 * Firewall rules as Diameter's IPFilterRule (RFC 6733 4.3.1; RFC 4097 appendix D):
 *
 *   action dir proto from src to dst [options]
 *   permit in 6 from 10.0.0.0/8 to any 80,443 setup
 *
 * `in` is from the terminal, an inside host, and so what is outbound elsewhere; `out` is to it. Beyond the RFC are read, and
 * printed
 * where a rule needs them: `both`; names and lists of protocols and lists of addresses, each with `!`; `type/code` in icmptypes;
 * `recv IFACE`; and `// name`. Ports of SCTP are refused: Pinhole tells SCTP by its addresses only.
 */
import { anyRule, INBOUND, OUTBOUND, type FirewallRule } from '../../engine/firewall-rule.ts'
import { nearest } from '../config/nearest.ts'
import { conflictIn, icmpVersion, type Part } from './conditions.ts'
import {
  printAddresses, printFlags, printIcmp, printInterfaces, printIpOptions, printPorts, printProtocols, printTcpOptions,
    readAddresses,
  readFlags, readIcmp, readInterfaces, readIpOptions, readPorts, readProtocols, readTcpOptions, textFault, type Read,
} from './words.ts'

const OPTIONS = ['frag', 'ipoptions', 'tcpoptions', 'established', 'setup', 'tcpflags', 'icmptypes', 'recv'] as const
type Option = (typeof OPTIONS)[number]
const SYN = 2, ACK = 16
/** Far above any rule: what is longer is no rule. */
export const RULE_MOST_CHARS = 4096
const MOST_NAME_BYTES = 255

interface Token { text: string; column: number }

export function parseRule(text: string): Read<FirewallRule> {
  if (text.length > RULE_MOST_CHARS) {
    return textFault(RULE_MOST_CHARS, `the rule has ${text.length} characters, and ${RULE_MOST_CHARS} are the most`)
  }
  const comment = /(?:^|\s)\/\/(.*)$/s.exec(text)
  const body = comment === null ? text : text.slice(0, comment.index)
  const tokens: Token[] = [...body.matchAll(/\S+/g)].map(({ 0: word, index }) => ({ text: word, column: index + 1 }))
  const end = body.trimEnd().length + 1
  let next = 0
  const parts = new Map<Part, number>()

  function expected(what: string, known: readonly string[]) {
    const token = tokens[next]
    if (token === undefined) return textFault(end, `the rule ends where ${what} is expected`, `write ${known.join(' or ')}`)
    const near = nearest(token.text.toLowerCase(), known)
    return textFault(token.column, `'${token.text}' stands where ${what} is expected`,
      near === null ? `write ${known.join(' or ')}` : `did you mean ${near}?`)
  }

  /** The next word, one of these. */
  function word<T extends string>(what: string, known: readonly T[]): Read<T> {
    const found = known.find((one) => one === tokens[next]?.text.toLowerCase())
    if (found === undefined) return expected(what, known)
    next++
    return { ok: true, value: found }
  }

  /** Reads the next token, at whose column an error is. */
  function part<T>(what: string, sample: string, read: (text: string) => Read<T>, name?: Part): Read<T> {
    const token = tokens[next]
    if (token === undefined) return textFault(end, `the rule ends where ${what} is expected`, `write one such as ${sample}`)
    next++
    if (name !== undefined) parts.set(name, token.column)
    const value = read(token.text)
    return value.ok ? value : { ...value, column: value.column + token.column - 1 }
  }

  /** Addresses, and ports if the next word is neither of `ends`. */
  function endpoint(rule: FirewallRule, side: 'source' | 'destination', ends: readonly string[]): Read<null> {
    // The modifier may stand apart, as in the RFC's example.
    const apart = tokens[next]?.text === '!' && tokens[next + 1] !== undefined
    if (apart) tokens.splice(next, 2, { text: `!${tokens[next + 1]!.text}`, column: tokens[next]!.column })
    const addresses = part(`the ${side}`, '10.0.0.0/8', readAddresses)
    if (!addresses.ok) return addresses
    rule[side] = addresses.value
    const token = tokens[next]
    if (token === undefined || !/^[!\d]/.test(token.text) || ends.includes(token.text.toLowerCase())) return { ok: true,
      value: null }
    const ports = part('a port', '80', readPorts, `${side}-ports`)
    if (!ports.ok) return ports
    if (side === 'source') rule.sourcePorts = ports.value
    else rule.destinationPorts = ports.value
    return { ok: true, value: null }
  }

  function option(rule: FirewallRule, which: Option, column: number): Read<null> {
    const done = { ok: true, value: null } as const
    switch (which) {
      case 'frag':
        parts.set('frag', column)
        rule.frag = true
        return done
      case 'established':
      case 'setup':
        parts.set('tcp-flags', column)
        if (which === 'established') rule.established = true
        else rule.tcpFlags = { set: rule.tcpFlags.set | SYN, clear: rule.tcpFlags.clear | ACK }
        return bothWays(rule, column)
      case 'tcpflags': {
        const bits = part('a list of TCP flags', 'syn,!ack', readFlags, 'tcp-flags')
        if (!bits.ok) return bits
        rule.tcpFlags = { set: rule.tcpFlags.set | bits.value.set, clear: rule.tcpFlags.clear | bits.value.clear }
        return bothWays(rule, column)
      }
      case 'tcpoptions': {
        const bits = part('a list of TCP options', 'mss,!ts', readTcpOptions, 'tcp-options')
        if (bits.ok) rule.tcpOptions = bits.value
        return bits.ok ? done : bits
      }
      case 'ipoptions': {
        const bits = part('a list of IP options', 'rr,!ts', readIpOptions)
        if (bits.ok) rule.ipOptions = bits.value
        return bits.ok ? done : bits
      }
      case 'recv': {
        const interfaces = part('an interface', 'eth0', readInterfaces)
        if (interfaces.ok) rule.interfaces = interfaces.value
        return interfaces.ok ? done : interfaces
      }
      case 'icmptypes': {
        // The names of the RFC have spaces in them.
        const words: Token[] = []
        while (next < tokens.length && !isOption(tokens[next]!.text)) words.push(tokens[next++]!)
        const first = words[0]
        if (first === undefined) {
          return textFault(end, 'the rule ends where a type of ICMP is expected', 'write one such as 8 or echo-request')
        }
        parts.set('icmp-types', first.column)
        const list = words.map((one) => one.text).join('-').replaceAll(',-', ',')
        const types = readIcmp(list, icmpVersion(rule.protocols))
        if (types.ok) rule.icmp = types.value
        return types.ok ? done : { ...types, column: first.column + types.column - 1 }
      }
    }
  }

  function bothWays({ tcpFlags }: FirewallRule, column: number): Read<null> {
    if ((tcpFlags.set & tcpFlags.clear) !== 0) return textFault(column, 'a TCP flag is both asked for and excluded')
    return { ok: true, value: null }
  }

  const action = word('an action', ['permit', 'deny'])
  if (!action.ok) return action
  const rule = anyRule(action.value === 'permit')
  const dir = word('a direction', ['in', 'out', 'both'])
  if (!dir.ok) return dir
  rule.directions = { in: OUTBOUND, out: INBOUND, both: OUTBOUND | INBOUND }[dir.value]
  const protocols = part('a protocol', 'ip, 6 or tcp', readProtocols, 'protocol')
  if (!protocols.ok) return protocols
  rule.protocols = protocols.value
  const from = word("'from'", ['from'])
  if (!from.ok) return from
  const source = endpoint(rule, 'source', ['to'])
  if (!source.ok) return source
  const to = word("'to'", ['to'])
  if (!to.ok) return to
  const destination = endpoint(rule, 'destination', OPTIONS)
  if (!destination.ok) return destination
  const seen = new Set<Option>()
  while (next < tokens.length) {
    const { column } = tokens[next]!
    const which = word('an option', OPTIONS)
    if (!which.ok) return which
    if (seen.has(which.value)) return textFault(column, `'${which.value}' stands there a second time`, 'remove one of the two')
    seen.add(which.value)
    const read = option(rule, which.value, column)
    if (!read.ok) return read
  }
  const conflict = conflictIn(rule)
  if (conflict !== null) return textFault(parts.get(conflict.part) ?? 1, conflict.message, conflict.suggestion)
  if (comment !== null) {
    const name = comment[1]!.trim(), column = comment.index + 1
    const bad = nameFault(name)
    if (bad !== null) return textFault(column, bad)
    rule.name = name
  }
  return { ok: true, value: rule }
}

function isOption(text: string): boolean {
  return (OPTIONS as readonly string[]).includes(text.toLowerCase())
}

/** What is wrong with the name of a rule, or null. */
export function nameFault(name: string): string | null {
  if (name === '') return 'the name is empty'
  const bytes = Buffer.byteLength(name)
  if (bytes > MOST_NAME_BYTES) return `the name has ${bytes} bytes, and ${MOST_NAME_BYTES} are the most`
  if (/[\p{Cc}\u2028\u2029]/u.test(name)) return 'the name holds a control character'
  return name === name.trim() ? null : 'the name begins or ends with a space'
}

/** The rule in one line, which reads as the same rule. */
export function printRule(rule: FirewallRule): string {
  const { permit, directions, protocols, source, sourcePorts, destination, destinationPorts, name } = rule
  const ports = (of: FirewallRule['sourcePorts']) => of === null ? '' : ` ${printPorts(of)}`
  const dir = directions === OUTBOUND ? 'in' : directions === INBOUND ? 'out' : 'both'
  return [
    permit ? 'permit' : 'deny', dir, printProtocols(protocols), 'from', printAddresses(source) + ports(sourcePorts),
    'to', printAddresses(destination) + ports(destinationPorts), ...optionsOf(rule), ...name === null ? [] : [`// ${name}`],
  ].join(' ')
}

function optionsOf({ frag, ipOptions, tcpOptions, established, tcpFlags, icmp, interfaces }: FirewallRule): string[] {
  const options: string[] = []
  if (frag) options.push('frag')
  if ((ipOptions.set | ipOptions.clear) !== 0) options.push('ipoptions', printIpOptions(ipOptions))
  if ((tcpOptions.set | tcpOptions.clear) !== 0) options.push('tcpoptions', printTcpOptions(tcpOptions))
  if (established) options.push('established')
  if (tcpFlags.set === SYN && tcpFlags.clear === ACK) options.push('setup')
  else if ((tcpFlags.set | tcpFlags.clear) !== 0) options.push('tcpflags', printFlags(tcpFlags))
  if (icmp !== null) options.push('icmptypes', printIcmp(icmp))
  if (interfaces !== null) options.push('recv', printInterfaces(interfaces))
  return options
}
