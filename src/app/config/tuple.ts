/**
 * Address tuples (RFC 5189 2.3.5) in a script: an endpoint as `pinhole` takes it everywhere, then the protocol, as in
 * `10.0.0.5:5004+2 udp`, `198.51.100.0/24 tcp`, `"[fd00::5]:5004 udp"`. `any` is every address; `any:5004` is one port of each.
 */
import { parseAddress, print4, print6 } from '../../base/address.ts'
import { parseEndpoint, parseProtocol, printEndpoint, printProtocol, type Endpoint } from '../../control/simco/agent-endpoint.ts'
import type { Tuple } from '../../policy/api.ts'
import { fault, type Parsed } from './address.ts'

/** A tuple as it was written. */
export interface WrittenTuple {
  /** Version 0: that of the other side. */
  endpoint: Endpoint
  /** null: that of the other side. */
  protocol: number | null
}

const SAMPLE = 'write one such as 10.0.0.5:5004+2 udp, 198.51.100.0/24 or any'

export function parseTuple(text: string): Parsed<WrittenTuple> {
  const [where = '', word, more] = text.trim().split(/\s+/)
  const endpoint = parseEndpoint(where.replace(/^any(?=$|:)/, '*'))
  if (!endpoint.ok) return fault(`'${where}' is not an endpoint: ${endpoint.reason}`, SAMPLE)
  if (more !== undefined) return fault(`'${text}' is not an address tuple: '${more}' is too much`, SAMPLE)
  const protocol = word === undefined ? null : parseProtocol(word)
  if (protocol !== null && !protocol.ok) return fault(`'${word}' is not a protocol: ${protocol.reason}`)
  return { ok: true, value: { endpoint: endpoint.value, protocol: protocol?.value ?? null } }
}

/** The tuple as policy takes it. Version, protocol and, beside any port, the number of ports come from `other` if it has none. */
export function completeTuple({ endpoint, protocol }: WrittenTuple, other: WrittenTuple | null): Tuple {
  const version = endpoint.version || other?.endpoint.version || 4
  const address = endpoint.address === '*' ? null : parseAddress(endpoint.address)
  const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = address?.ok === true ? address.value.words : []
  return {
    version, word0, word1, word2, word3, prefixBits: endpoint.prefixBits, protocol: protocol ?? other?.protocol ?? 0,
    port: endpoint.port, range: endpoint.port === 0 ? other?.endpoint.range ?? 1 : endpoint.range,
  }
}

/** `10.0.0.5:5004-5005 udp`, `any`. */
export function tupleText({ version, word0, word1, word2, word3, prefixBits, protocol, port, range }: Tuple): string {
  const words = version === 4 ? print4(word0) : print6(Int32Array.of(word0, word1, word2, word3))
  const text = printEndpoint({ version, address: prefixBits === 0 ? '*' : words, prefixBits, port, range }).replace(/^\*/, 'any')
  return protocol === 0 ? text : `${text} ${printProtocol(protocol)}`
}
