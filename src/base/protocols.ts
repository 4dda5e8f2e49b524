/** Protocols of IP that have names here, by their numbers (IANA). */
const NUMBERS: readonly (readonly [name: string, number: number])[] = [
  ['icmp', 1], ['igmp', 2], ['ipencap', 4], ['tcp', 6], ['udp', 17], ['dccp', 33], ['ipv6', 41], ['gre', 47], ['esp', 50],
  ['ah', 51], ['icmp6', 58], ['ipv6-icmp', 58], ['ospf', 89], ['sctp', 132], ['udplite', 136],
]
const BY_NAME = new Map(NUMBERS)
// Of two names for one number the first is written.
const BY_NUMBER = new Map(NUMBERS.toReversed().map(([name, number]) => [number, name]))

export const PROTOCOL_NAMES: readonly string[] = [...BY_NAME.keys()]

/** In lower case only. */
export function protocolNumber(name: string): number | undefined {
  return BY_NAME.get(name)
}

/** undefined: it has none here. */
export function protocolName(number: number): string | undefined {
  return BY_NUMBER.get(number)
}
