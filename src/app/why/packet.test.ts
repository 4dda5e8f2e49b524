import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { verify } from '../../wire/build.ts'
import { printBytes } from '../../wire/print.ts'
import { PacketError, parsePacket } from './packet.ts'

const printed = (text: string) => printBytes(parsePacket(text).bytes)

test('why: a packet as written is the packet as bytes, with right lengths and checksums', () => {
  const cases: [string, string][] = [
    ['udp 10.0.0.5:5004 > 203.0.113.7:6000', 'IP 10.0.0.5.5004 > 203.0.113.7.6000: UDP, length 0'],
    ['udp 10.0.0.5:5004 > 203.0.113.7:6000 len 172 ttl 3', 'IP 10.0.0.5.5004 > 203.0.113.7.6000: UDP, length 172'],
    ['tcp 10.0.0.5:4000 > 203.0.113.7:80', 'IP 10.0.0.5.4000 > 203.0.113.7.80: Flags [S], seq 0, win 65535, length 0'],
    ['tcp 10.0.0.5:4000 > 203.0.113.7:80 flags SA seq 7 ack 9 win 100', 'IP 10.0.0.5.4000 > 203.0.113.7.80: Flags [S.], seq 7, ack 9, win 100, length 0'],
    ['tcp 10.0.0.5:4000 > 203.0.113.7:80 [R.]', 'IP 10.0.0.5.4000 > 203.0.113.7.80: Flags [R.], seq 0, ack 0, win 65535, length 0'],
    ['tcp [2001:db8::1]:443 > [fd00::5]:5000 flags fin,ack', 'IP6 2001:db8::1.443 > fd00::5.5000: Flags [F.], seq 0, ack 0, win 65535, length 0'],
    ['icmp 10.0.0.5 > 8.8.8.8', 'IP 10.0.0.5 > 8.8.8.8: ICMP echo request, id 0, seq 0, length 8'],
    ['icmp 8.8.8.8 > 10.0.0.5 echo-reply icmp-id 77 seq 2', 'IP 8.8.8.8 > 10.0.0.5: ICMP echo reply, id 77, seq 2, length 8'],
    ['icmp6 fd00::5 > 2001:db8::1 type 128 icmp-id 3', 'IP6 fd00::5 > 2001:db8::1: ICMP6 echo request, id 3, seq 0, length 8'],
    ['icmp 192.0.2.1 > 10.0.0.5 unreachable code 4 mtu 1400 about udp 10.0.0.5:1 > 8.8.8.8:2',
      'IP 192.0.2.1 > 10.0.0.5: ICMP unreachable code 4, mtu 1400 (IP 10.0.0.5.1 > 8.8.8.8.2: UDP, length 0), length 36'],
    ['icmp6 2001:db8::9 > fd00::5 packet-too-big mtu 1280 about udp [fd00::5]:1 > [2001:db8::1]:2',
      'IP6 2001:db8::9 > fd00::5: ICMP6 packet too big code 0, mtu 1280 (IP6 fd00::5.1 > 2001:db8::1.2: UDP, length 0), length 56'],
    ['gre 10.0.0.5 > 8.8.8.8 len 20', 'IP 10.0.0.5 > 8.8.8.8: GRE, length 20'],
    ['132 10.0.0.5 > 8.8.8.8 len 20', 'IP 10.0.0.5.0 > 8.8.8.8.0: SCTP, length 8'],
    ['udp 10.0.0.5:5004 > 8.8.8.8:53 id 9 fragment 0+', 'IP 10.0.0.5.5004 > 8.8.8.8.53: UDP, bad length 136 (frag 9:72@0+)'],
    ['udp 10.0.0.5 > 8.8.8.8 id 9 fragment 72', 'IP 10.0.0.5 > 8.8.8.8: UDP, length 64 (frag 9:64@72)'],
    ['udp [fd00::5]:1 > [2001:db8::1]:2 id 5 fragment 0+', 'IP6 fd00::5.1 > 2001:db8::1.2: UDP, bad length 136 (frag 5:72@0+)'],
  ]
  for (const [text, line] of cases) {
    assert.equal(printed(text), line)
    assert.deepEqual(verify(parsePacket(text).bytes).filter((fault) => !/beyond the frame|cut short/.test(fault)), [], text)
  }
  assert.notDeepEqual(verify(parsePacket('udp 10.0.0.5:1 > 8.8.8.8:2 checksum wrong').bytes), [])
  assert.notDeepEqual(verify(parsePacket('udp 10.0.0.5:1 > 8.8.8.8:2 header-checksum wrong').bytes), [])
})

test('why: what cannot be read as a packet is told with its column, and with what was meant', () => {
  const faults: [string, number, RegExp][] = [
    ['', 1, /begins with its protocol, and the end is none/],
    ['uddp 10.0.0.5:1 > 8.8.8.8:2', 1, /did you mean 'udp'\?/],
    ['udp 10.0.0.5:1 8.8.8.8:2', 16, /'>' is expected before '8.8.8.8:2'/],
    ['udp 10.0.0.5 > 8.8.8.8:2', 5, /udp needs a port/],
    ['icmp 10.0.0.5:1 > 8.8.8.8', 6, /icmp has no ports/],
    ['udp 10.0.0.5:1 > 8.8.8.8:70000', 18, /70000 is no port/],
    ['udp 10.0.0.5:1 > [::1]:2', 18, /IPv6, and the source is IPv4/],
    ['udp 2001:db8::1:5 > [::2]:2', 5, /needs a port: \[2001:db8::1:5\]:53/],
    ['udp example.com:1 > 8.8.8.8:2', 5, /is no source/],
    ['icmp fd00::1 > fd00::2', 1, /over IPv6 it is 'icmp6'/],
    ['udp 10.0.0.5:1 > 8.8.8.8:2 tttl 3', 28, /did you mean 'ttl'\?/],
    ['udp 10.0.0.5:1 > 8.8.8.8:2 ttl 300', 32, /from 0 to 255/],
    ['udp 10.0.0.5:1 > 8.8.8.8:2 flags S', 28, /'flags' is not for udp/],
    ['tcp 10.0.0.5:1 > 8.8.8.8:2 flags SX', 34, /'sx' is no TCP flag/],
    ['udp 10.0.0.5:1 > 8.8.8.8:2 fragment 5', 37, /multiple of 8/],
    ['icmp 10.0.0.5 > 8.8.8.8 unreachable', 36, /add 'about'/],
    ['icmp 10.0.0.5 > 8.8.8.8 about udp 8.8.8.8:1 > 10.0.0.5:2', 57, /'about' is for ICMP errors/],
    ['icmp 10.0.0.5 > 8.8.8.8 type 3 about icmp 8.8.8.8 > 10.0.0.5 type 3 about udp 1.2.3.4:1 > 1.2.3.4:1', 69, /quotes no ICMP error/],
    ['udp [fd00::5]:1 > [fd00::6]:2 df', 31, /IPv6 has no 'df'/],
  ]
  for (const [text, column, message] of faults) {
    assert.throws(() => parsePacket(text), (error) => {
      assert.ok(error instanceof PacketError, `${text}: ${String(error)}`)
      assert.match(error.message, message, text)
      assert.equal(error.column, column, `${text}: ${error.message}`)
      return true
    }, text)
  }
})

test('why: any text is a packet or a PacketError', () => {
  const words = ['udp', 'tcp', 'icmp', 'icmp6', 'gre', '10.0.0.5:1', '8.8.8.8:53', '8.8.8.8', '[fd00::1]:2', 'fd00::1', '>', 'ttl', '1', 'len', '9', 'fragment', '0+', '8',
    'flags', 'SA', 'type', '3', 'about', 'checksum', 'wrong', 'df', 'id', 'unreachable', 'code', 'mtu', 'seq', '[S.]']
  const start = fc.constantFrom('udp 10.0.0.5:1 > 8.8.8.8:53 ', 'tcp [fd00::1]:2 > [2001:db8::1]:3 ', 'icmp 10.0.0.5 > 8.8.8.8 ', '')
  let read = 0
  fc.assert(fc.property(start, fc.oneof(fc.array(fc.constantFrom(...words), { maxLength: 8 }).map((list) => list.join(' ')), fc.string({ maxLength: 30, size: 'max' })), (head, rest) => {
    try {
      assert.ok(parsePacket(head + rest).bytes.length >= 20)
      read++
    } catch (error) {
      assert.ok(error instanceof PacketError, `${head}${rest}: ${String(error)}`)
    }
  }), { numRuns: 3000 })
  assert.ok(read > 100, String(read))
})
