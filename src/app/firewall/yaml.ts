/** Firewall rules as entries of `firewall.rules` in a configuration. */
import { INBOUND, OUTBOUND, type FirewallRule } from '../../engine/firewall-rule.ts'
import {
  printAddresses, printFlags, printIcmp, printInterfaces, printIpOptions, printPorts, printProtocols, printTcpOptions,
} from './words.ts'

const SYN = 2, ACK = 16

/** An entry, indented as it stands below `firewall:` and `rules:`, with a line feed after each line. */
export function ruleInYaml(rule: FirewallRule): string {
  const { name, permit, directions, protocols, source, sourcePorts, destination, destinationPorts } = rule
  const { icmp, tcpFlags, established, tcpOptions, ipOptions, interfaces, frag } = rule
  const flags = tcpFlags.set | tcpFlags.clear
  const isSetup = tcpFlags.set === SYN && tcpFlags.clear === ACK
  const lines: [string, string][] = [
    ...name === null ? [] : [['name', JSON.stringify(name)] as [string, string]],
    ['action', permit ? 'permit' : 'deny'],
    ...directions === OUTBOUND ? [['direction', 'outbound'] as [string, string]] : [],
    ...directions === INBOUND ? [['direction', 'inbound'] as [string, string]] : [],
  ]
  const put = (key: string, text: string) => lines.push([key, listed(text)])
  if (interfaces !== null) put('interface', printInterfaces(interfaces))
  if (protocols !== null) put('protocol', printProtocols(protocols))
  if (source.length > 0) put('source', printAddresses(source))
  if (sourcePorts !== null) put('source-ports', printPorts(sourcePorts))
  if (destination.length > 0) put('destination', printAddresses(destination))
  if (destinationPorts !== null) put('destination-ports', printPorts(destinationPorts))
  if (icmp !== null) put('icmp-types', printIcmp(icmp))
  if (established) put('tcp-flags', ['established', ...flags !== 0 ? [printFlags(tcpFlags)] : []].join(','))
  else if (flags !== 0) put('tcp-flags', isSetup ? 'setup' : printFlags(tcpFlags))
  if ((tcpOptions.set | tcpOptions.clear) !== 0) put('tcp-options', printTcpOptions(tcpOptions))
  if ((ipOptions.set | ipOptions.clear) !== 0) put('ip-options', printIpOptions(ipOptions))
  if (frag) lines.push(['frag', 'true'])
  return lines.map(([key, text], i) => `${i === 0 ? '    - ' : '      '}${key}: ${text}\n`).join('')
}

const PLAIN = /^[\w./-]+$/, OTHER = /^(?:true|false|null|[\d.]+e\d+|0x[\da-f]+|-.*)$/i

/** One word, or a list of them; quoted where YAML would read something else. */
function listed(text: string): string {
  const words = text.split(',').map((word) => PLAIN.test(word) && !OTHER.test(word) ? word : JSON.stringify(word))
  return words.length === 1 ? words[0]! : `[${words.join(', ')}]`
}
