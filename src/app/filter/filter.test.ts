import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { buildPacket, type PacketSpec } from '../../wire/build.ts'
import { LINK_RAW, NET_IPV4, NET_IPV6 } from '../../wire/frames.ts'
import { FilterError } from './lex.ts'
import { asksOutcome, compileFilter, type Outcome } from './match.ts'
import { explainFault, parseFilter } from './parse.ts'

const OUTCOME: Outcome = {
  verdict: 'drop', reason: 'filtered', side: 'outside', to: null, isNew: false, isAnswered: true, isHairpin: false, rules: ['3', 'voice-in'],
}

function matches(filter: string, spec: PacketSpec, outcome: Partial<Outcome> = {}, capBytes = Infinity): boolean {
  const bytes = buildPacket({ link: 'raw', ...spec })
  return compileFilter(parseFilter(filter))({
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), off: 0, capBytes: Math.min(capBytes, bytes.length), wireBytes: bytes.length,
    link: LINK_RAW, net: bytes[0] >>> 4 === 4 ? NET_IPV4 : NET_IPV6, l3: 0, outcome: { ...OUTCOME, ...outcome },
  })
}

const UDP: PacketSpec = { proto: 'udp', src: '10.0.0.5', dst: '203.0.113.7', srcPort: 5004, dstPort: 53 }
const TCP6: PacketSpec = { proto: 'tcp', src: '2001:db8::1', dst: '2001:db8:1::2', srcPort: 4000, dstPort: 443, tcpFlags: 2 }

test('filter: and and or bind alike, from left to right, and not binds tighter (pcap-filter)', () => {
  // (udp or tcp) and icmp, which is never.
  assert.equal(matches('udp or tcp and icmp', UDP), false)
  assert.equal(matches('udp or (tcp and icmp)', UDP), true)
  assert.equal(matches('not tcp and udp', UDP), true)
  assert.equal(matches('not (tcp or udp)', UDP), false)
  assert.equal(matches('!tcp && udp || icmp', UDP), true)
})

test('filter: qualifiers that are left out are those of the identifier before (pcap-filter)', () => {
  assert.equal(matches('udp dst port 80 or 53', UDP), true)
  assert.equal(matches('udp src port 80 or 53', UDP), false)
  assert.equal(matches('host 192.0.2.1 or 10.0.0.5', UDP), true)
  assert.equal(matches('src host 192.0.2.1 or 203.0.113.7', UDP), false)
  assert.equal(matches('port (http or domain)', UDP), true)
  assert.equal(matches('not host 192.0.2.1 and 10.0.0.5', UDP), true)
  assert.equal(matches('10.0.0.5', UDP), true)
  assert.equal(matches('10.0.0.0/8', UDP), true)
})

test('filter: the words of our own ask for what became of the packet', () => {
  const yes = ['drop', 'dropped', 'reason filtered', 'reason (denied or filtered)', 'side outside', 'answered', 'rule voice-in', 'rule 3', 'udp and drop']
  const no = ['sent', 'held', 'reason denied', 'side inside', 'to outside', 'new', 'hairpin', 'rule 4', 'not drop']
  for (const filter of yes) assert.equal(matches(filter, UDP), true, filter)
  for (const filter of no) assert.equal(matches(filter, UDP), false, filter)
  assert.equal(matches('to inside', UDP, { verdict: 'sent', to: 'inside' }), true)
  assert.equal(asksOutcome(parseFilter('udp and not (side inside and drop)')), true)
  assert.equal(asksOutcome(parseFilter('udp and side inside')), false)
})

test('filter: expressions read IPv6, too, and a header that is not there makes a comparison false', () => {
  assert.equal(matches('tcp[tcpflags] & tcp-syn != 0', TCP6), true)
  assert.equal(matches('tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn', TCP6), true)
  assert.equal(matches('tcp[tcpflags] & tcp-syn = 0', UDP), false)
  assert.equal(matches('not tcp[tcpflags] & tcp-syn != 0', UDP), true)
  assert.equal(matches('(ip[8] + 6) * 2 = 140', UDP), true)
  assert.equal(matches('1 + 2 * 3 = 7 and 7 >> 1 = 3 and 8 % 3 = 2 and -1 = 0xffffffff', UDP), true)
  assert.equal(matches('ip[2:2] = len', UDP), true)
})

test('filter: a read beyond the captured bytes matches nothing, not even under not (as BPF)', () => {
  assert.equal(matches('udp port 53', UDP, {}, 20), false)
  assert.equal(matches('not udp port 53', UDP, {}, 20), false)
  assert.equal(matches('ip', UDP, {}, 0), true)
  assert.equal(matches('len / 0 = 0', UDP), false)
})

test('filter: what is wrong is told with its column, the word, and the word that was meant', () => {
  const faults: [string, number, RegExp][] = [
    ['', 1, /empty/],
    ['tcp and prot 5', 9, /'prot' is not a word of a filter; did you mean 'proto'\?/],
    ['reason filterd', 8, /'filterd' is no drop reason; did you mean 'filtered'\?/],
    ['host example.com', 6, /'example.com' is no address; names of hosts are not looked up/],
    ['example.com', 1, /looks like the name of a host/],
    ['host 10.0.0.256', 13, /an octet is above 255/],
    ['net 10.0.0.1/8', 5, /bits below its prefix/],
    ['net 10.0.0.1 mask 255.0.0.0', 5, /bits below the mask/],
    ['host 10.0.0.0/8', 14, /'host' takes an address/],
    ['net 10.0.0.0/33', 14, /'33' is no prefix length of IPv4/],
    ['port 65536', 6, /last one is 65535/],
    ['port domian', 6, /'domian' is no port; did you mean 'domain'\?/],
    ['portrange 20-10', 14, /runs backwards/],
    ['icmp port 5', 1, /'icmp' has no port/],
    ['tcp host 10.0.0.1', 1, /'tcp' has no host/],
    ['(tcp or udp', 12, /'\)' is missing/],
    ['tcp udp', 5, /'and' or 'or' is expected before 'udp'/],
    ['tcp)', 4, /'\)' has no '\(' before it/],
    ['tcp and', 8, /before the end/],
    ['tcp[tcpflag] & 2 != 0', 5, /'tcpflag' is no number; did you mean 'tcpflags'\?/],
    ['tcp[0:3] = 1', 7, /'3' bytes cannot be read/],
    ['tcp[13] & 2', 12, /one of = != < > <= >= is expected before the end/],
    ['(tcp[13] & 2) and udp', 13, /one of = != < > <= >= is expected before '\)'/],
    ['5', 1, /'5' is no address; 'port' or 'net' may be missing/],
    ['side left', 6, /'side' takes inside or outside, not 'left'/],
    ['proto 256', 7, /last one is 255/],
    ['ip6 host 10.0.0.1', 10, /is an IPv4 address/],
    ['ether host 10.0.0.1', 12, /no link address/],
    ['ip broadcast', 4, /netmask/],
    ['protochain 6', 1, /not read/],
    ['tcp # udp', 5, /'#' is no word/],
    ['len > 4294967296', 7, /not a number from 0/],
    [`${'('.repeat(200)}tcp`, 102, /more than 100 levels/],
  ]
  for (const [filter, column, message] of faults) {
    assert.throws(() => parseFilter(filter), (error) => {
      assert.ok(error instanceof FilterError, `${filter}: ${String(error)}`)
      assert.match(error.message, message, filter)
      assert.equal(error.column, column, `${filter}: ${error.message}`)
      return true
    }, filter)
  }
  assert.equal(explainFault('tcp and prot 5', new FilterError(9, 'x')), 'column 9: x\n  tcp and prot 5\n          ^')
})

test('filter: any text is read or refused by a FilterError within its length, and any filter takes any bytes', () => {
  const words = ['tcp', 'udp', 'host', 'net', 'port', '10.0.0.1', '10.0.0.0/8', '::1', 'and', 'or', 'not', '(', ')', '[', ']', ':', '&', '=', '!=', '53',
    'tcp[13]', 'ip6', 'src', 'dst', 'drop', 'reason', 'filtered', 'len', '<', '-', 'proto', '/', 'mask', 'ether', 'vlan', 'ip[2:2]', 'multicast', 'arp']
  const terms = ['tcp', 'not udp', 'host 10.0.0.1', 'net 10', '(src port 53 or 80)', 'ip[2:2] > 20', 'tcp[13] & 2 != 0', 'ip6[6] = 44', 'drop', 'side inside',
    'ether multicast', 'arp host 10.0.0.1', 'proto 47', 'vlan', 'len / ip[0] > 2', 'ip[ip[0]] = 1', 'portrange 1-9', 'ether proto 0x86dd', 'fragment']
  const joined = fc.array(fc.tuple(fc.constantFrom('and', 'or', '||', '&&'), fc.constantFrom(...terms)), { minLength: 1, maxLength: 8 })
    .map((list) => list.flat().slice(1).join(' '))
  const text = fc.oneof(joined, fc.string({ maxLength: 40, size: 'max' }), fc.array(fc.constantFrom(...words), { maxLength: 14, size: 'max' }).map((list) => list.join(' ')))
  let read = 0
  fc.assert(fc.property(text, fc.uint8Array({ maxLength: 80, size: 'max' }), fc.constantFrom(NET_IPV4, NET_IPV6, 0, 1, 2, 3), (filter, bytes, net) => {
    try {
      const match = compileFilter(parseFilter(filter))
      read++
      const buffer = new Uint8Array(160)
      buffer.set(bytes)
      assert.equal(typeof match({
        view: new DataView(buffer.buffer), off: 0, capBytes: bytes.length, wireBytes: bytes.length, link: 1, net, l3: Math.min(14, bytes.length), outcome: OUTCOME,
      }), 'boolean')
    } catch (error) {
      assert.ok(error instanceof FilterError, `${JSON.stringify(filter)}: ${String(error)}`)
      assert.ok(error.column >= 1 && error.column <= filter.length + 1, JSON.stringify(filter))
    }
  }), { numRuns: 5000 })
  assert.ok(read > 1000, `${read} were filters`)
})
