/** Text forms of endpoints and protocols: read, printed, refused with a column. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { print4, print6 } from '../../base/address.ts'
import {
  endpointOf, EndpointError, fromTuple, parseEndpoint, parseProtocol, printEndpoint, printProtocol, protocolOf, toTuple, type Endpoint,
} from './agent-endpoint.ts'
import { PROTOCOLS_ONLY } from './messages.ts'

function endpoint(version: 0 | 4 | 6, address: string, prefixBits: number, port: number, range = 1): Endpoint {
  return { version, address, prefixBits, port, range }
}

const READ: [text: string, value: Endpoint, printed?: string][] = [
  ['10.0.0.5:5004', endpoint(4, '10.0.0.5', 32, 5004)],
  ['10.0.0.5:5004-5005', endpoint(4, '10.0.0.5', 32, 5004, 2)],
  ['10.0.0.5:5004+2', endpoint(4, '10.0.0.5', 32, 5004, 2), '10.0.0.5:5004-5005'],
  ['10.0.0.5:5004+1', endpoint(4, '10.0.0.5', 32, 5004), '10.0.0.5:5004'],
  ['10.0.0.5', endpoint(4, '10.0.0.5', 32, 0)],
  ['10.0.0.5:*', endpoint(4, '10.0.0.5', 32, 0), '10.0.0.5'],
  ['10.0.0.5/32', endpoint(4, '10.0.0.5', 32, 0), '10.0.0.5'],
  ['10.0.0.0/8', endpoint(4, '10.0.0.0', 8, 0)],
  ['10.0.0.0/8:53', endpoint(4, '10.0.0.0', 8, 53)],
  ['0.0.0.0/0', endpoint(4, '0.0.0.0', 0, 0)],
  ['*', endpoint(0, '*', 0, 0)],
  ['*:*', endpoint(0, '*', 0, 0), '*'],
  ['*:5060', endpoint(0, '*', 0, 5060)],
  ['[2001:db8::1]:5060', endpoint(6, '2001:db8::1', 128, 5060)],
  ['[2001:DB8::1]', endpoint(6, '2001:db8::1', 128, 0), '2001:db8::1'],
  ['2001:db8::1', endpoint(6, '2001:db8::1', 128, 0)],
  ['2001:db8::/32', endpoint(6, '2001:db8::', 32, 0)],
  ['[2001:db8::/32]:1-65535', endpoint(6, '2001:db8::', 32, 1, 65535)],
  ['::ffff:10.0.0.1', endpoint(6, '::ffff:10.0.0.1', 128, 0)],
]

test('endpoints are read and printed', () => {
  for (const [text, value, printed = text] of READ) {
    assert.deepEqual(parseEndpoint(text), { ok: true, value }, text)
    assert.equal(printEndpoint(value), printed)
  }
})

const REFUSED: [text: string, reason: string, column: number][] = [
  ['', 'not an address', 1],
  ['10.0.0:5', 'an octet is missing', 7],
  ['10.0.0.256:5', 'an octet is above 255', 8],
  ['10.0.0.5:', 'port expected', 10],
  ['10.0.0.5:0', 'port 0 is none: * is any', 10],
  ['10.0.0.5:65536', 'port is above 65535', 10],
  ['10.0.0.5:99999999999999999999', 'port is above 65535', 10],
  ['10.0.0.5:5004-', 'port expected', 15],
  ['10.0.0.5:5004-70000', 'port is above 65535', 15],
  ['10.0.0.5:5004-5003', 'range of ports runs backwards', 15],
  ['10.0.0.5:5004+', 'number of ports expected', 15],
  ['10.0.0.5:5004+0', 'number of ports expected', 15],
  ['10.0.0.5:65535+2', 'ports beyond 65535', 16],
  ['10.0.0.5:5004x', 'unexpected character', 14],
  ['10.0.0.5:5004+2x', 'unexpected character', 16],
  ['10.0.0.5/8', 'bits are set after the prefix', 1],
  ['10.0.0.0/33:1', 'prefix length is too large', 10],
  ['*5060', 'unexpected character', 2],
  ['[2001:db8::1:5060', 'a bracket is not closed', 1],
  ['[2001:db8::1]5060', 'unexpected character', 14],
  ['[2001:db8::g]:1', 'unexpected character', 12],
  ['[10.0.0.1]:5', 'unexpected character', 1],
  ['2001:db8::/32:5060', 'IPv6 with a port needs brackets', 14],
  ['[2001:db8::1/32]:1', 'bits are set after the prefix', 2],
  ['host.example:5', 'unexpected character', 1],
]

test('what is no endpoint is refused with its column', () => {
  for (const [text, reason, column] of REFUSED) assert.deepEqual(parseEndpoint(text), { ok: false, reason, column }, text)
  assert.throws(() => endpointOf('10.0.0.5:x'), (error: unknown) => error instanceof EndpointError && error.column === 10
    && error.reason === 'port expected' && error.message === "'10.0.0.5:x', column 10: port expected")
})

test('printed endpoints are read back, and so are their tuples', () => {
  const port = fc.integer({ min: 0, max: 65535 })
  const some = fc.record({ version: fc.constantFrom<4 | 6>(4, 6), words: fc.array(fc.integer(), { minLength: 4, maxLength: 4 }),
    whole: fc.boolean(), port, range: fc.integer({ min: 1, max: 65535 }) })
  fc.assert(fc.property(some, ({ version, words, whole, port, range }) => {
    const host = version === 4 ? print4(words[0]!) : print6(Int32Array.from(words))
    const value = whole ? endpoint(version, host, version === 4 ? 32 : 128, port, port === 0 ? 1 : Math.min(range, 65536 - port))
      : endpoint(version, version === 4 ? '0.0.0.0' : '::', 0, port, port === 0 ? 1 : Math.min(range, 65536 - port))
    assert.deepEqual(parseEndpoint(printEndpoint(value)), { ok: true, value })
    assert.deepEqual(fromTuple(toTuple(value, 0, 17, 4, 1)), value)
  }))
})

test('any text is either read or refused with a column inside it or just behind', () => {
  const characters = fc.string({ unit: fc.constantFrom(...'0123456789abf.:/[]*-+ x'), maxLength: 24 })
  fc.assert(fc.property(characters, (text) => {
    const parsed = parseEndpoint(text)
    if (parsed.ok) assert.deepEqual(parseEndpoint(printEndpoint(parsed.value)), parsed)
    else assert(parsed.column >= 1 && parsed.column <= text.length + 1, `${text}: ${parsed.column}`)
  }), { numRuns: 2000 })
})

test('a whole wildcard is sent in the short form, in the IP version of the other side (RFC 4540 4.3.8)', () => {
  const any = endpoint(0, '*', 0, 0)
  const { form, version, protocol, location } = toTuple(any, 3, 17, 6, 2)
  assert.deepEqual({ form, version, protocol, location }, { form: PROTOCOLS_ONLY, version: 2, protocol: 17, location: 3 })
  assert.deepEqual(fromTuple(toTuple(any, 3, 17, 4, 1)), endpoint(4, '*', 0, 0))
  assert.deepEqual(fromTuple(toTuple(endpoint(0, '*', 0, 5060), 3, 17, 4, 1)), endpoint(4, '0.0.0.0', 0, 5060))
  assert.equal(fromTuple({ ...toTuple(any, 3, 17, 4, 1), version: 9 }), null)
})

test('protocols have names, or numbers', () => {
  for (const [text, number] of [['udp', 17], ['TCP', 6], ['any', 0], ['132', 132], ['0', 0], ['255', 255], ['gre', 47], ['ICMP6', 58], ['ipv6-icmp', 58]] as const) {
    assert.deepEqual(parseProtocol(text), { ok: true, value: number })
  }
  assert.deepEqual([0, 6, 17, 132, 58, 253].map(printProtocol), ['any', 'tcp', 'udp', 'sctp', 'icmp6', '253'])
  for (const text of ['', '256', '-1', '1.5', 'udpx', 'constructor']) assert.equal(parseProtocol(text).ok, false, text)
  assert.throws(() => protocolOf('sctq'), EndpointError)
  assert.deepEqual([protocolOf(50), protocolOf('sctp')], [50, 132])
})
