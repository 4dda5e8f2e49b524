/** Flows as people write them. */
import { print4, print6 } from '../../base/address.ts'

const NAMES: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' }

export function protocolText(protocol: number): string {
  return NAMES[protocol] ?? `protocol ${protocol}`
}

/** `word4` for IPv4, else four words. `port` null: there is none. */
export function addressText(version: number, word4: number, words6: Int32Array, port: number | null): string {
  const address = version === 4 ? print4(word4) : print6(words6)
  if (port === null) return address
  return version === 4 ? `${address}:${port}` : `[${address}]:${port}`
}
