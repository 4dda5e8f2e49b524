import test from 'node:test'
import assert from 'node:assert/strict'
import { printBytes, printFrame } from './print.ts'
import { buildPacket, fragment, icmpError, type PacketSpec } from './build.ts'
import { createFrames } from './frames.ts'
import { createLink } from './link.ts'
import { SYN, ACK_FLAG, PSH } from './tcp.ts'

const four = { src: '10.0.0.1', dst: '1.2.3.4' }, six = { src: '2001:db8::1', dst: '2001:db8::2' }
const ports = { srcPort: 5000, dstPort: 53 }
const line = (spec: PacketSpec) => printBytes(buildPacket(spec))
const payload = new Uint8Array(30)

test('UDP and TCP print as tcpdump has them', () => {
  assert.equal(line({ ...four, proto: 'udp', ...ports, payload }), 'IP 10.0.0.1.5000 > 1.2.3.4.53: UDP, length 30')
  assert.equal(line({ ...six, proto: 'udp', ...ports, payload }), 'IP6 2001:db8::1.5000 > 2001:db8::2.53: UDP, length 30')
  assert.equal(line({ ...four, proto: 'tcp', ...ports, seq: 0xffffffff, tcpFlags: SYN, window: 512 }),
    'IP 10.0.0.1.5000 > 1.2.3.4.53: Flags [S], seq 4294967295, win 512, length 0')
  assert.equal(line({ ...four, proto: 'tcp', ...ports, seq: 0xffffffff, ack: 9, tcpFlags: PSH | ACK_FLAG, window: 512, payload }),
    'IP 10.0.0.1.5000 > 1.2.3.4.53: Flags [P.], seq 4294967295:29, ack 9, win 512, length 30')
  assert.equal(line({ ...four, proto: 'tcp', ...ports, tcpFlags: 0, window: 0 }),
    'IP 10.0.0.1.5000 > 1.2.3.4.53: Flags [none], win 0, length 0')
})

test('ICMP prints its query, or the packet it quotes', () => {
  assert.equal(line({ ...four, proto: 'icmp', icmpId: 7, icmpSeq: 1, payload }),
    'IP 10.0.0.1 > 1.2.3.4: ICMP echo request, id 7, seq 1, length 38')
  const original = buildPacket({ ...four, proto: 'udp', ...ports, payload })
  assert.equal(printBytes(icmpError({ src: '9.9.9.9', original, icmpType: 3, icmpCode: 4, word: 1400 })),
    'IP 9.9.9.9 > 10.0.0.1: ICMP unreachable code 4, mtu 1400 (IP 10.0.0.1.5000 > 1.2.3.4.53: UDP, length 30), length 66')
  const original6 = buildPacket({ ...six, proto: 'tcp', ...ports, tcpFlags: SYN, window: 1 })
  assert.equal(printBytes(icmpError({ src: '2001:db8::9', original: original6, icmpType: 2, word: 1280 })),
    'IP6 2001:db8::9 > 2001:db8::1: ICMP6 packet too big code 0, mtu 1280 ' +
    '(IP6 2001:db8::1.5000 > 2001:db8::2.53: Flags [S], seq 0, win 1, length 0), length 68')
})

test('an error inside an error is quoted no deeper', () => {
  const original = buildPacket({ ...four, proto: 'udp', ...ports, payload })
  const error = icmpError({ src: '9.9.9.9', original, icmpType: 11 })
  assert.equal(printBytes(icmpError({ src: '8.8.8.8', original: error, icmpType: 11 })),
    'IP 8.8.8.8 > 9.9.9.9: ICMP time exceeded code 0 (IP 9.9.9.9 > 10.0.0.1: ICMP time exceeded code 0, length 66), length 94')
})

test('fragments print identification, bytes and offset', () => {
  const [first, second] = fragment(buildPacket({ ...four, proto: 'udp', ...ports, payload, id: 77 }), [16])
  assert.equal(printBytes(first), 'IP 10.0.0.1.5000 > 1.2.3.4.53: UDP, bad length 38 (frag 77:16@0+)')
  assert.equal(printBytes(second), 'IP 10.0.0.1 > 1.2.3.4: UDP, length 22 (frag 77:22@16)')
  const pieces = fragment(buildPacket({ ...six, proto: 'udp', ...ports, payload }), [16], { id: 0xfffffff0 })
  assert.equal(printBytes(pieces[1]), 'IP6 2001:db8::1 > 2001:db8::2: UDP, length 22 (frag 4294967280:22@16)')
})

test('what is cut short or lies is named', () => {
  const bytes = buildPacket({ ...four, proto: 'udp', ...ports, payload })
  assert.equal(printBytes(bytes.slice(0, 27)), 'IP 10.0.0.1 > 1.2.3.4: [|udp]')
  assert.equal(printBytes(bytes.slice(0, 19)), 'IP [|ip]')
  assert.equal(printBytes(new Uint8Array(0)), 'IP [|ip]')
  assert.equal(printBytes(Uint8Array.of(0x50)), 'IP version 5')
  assert.equal(printBytes(buildPacket({ ...six, proto: 'udp' }).slice(0, 39)), 'IP6 [|ip6]')
  bytes[25] = 200
  assert.equal(printBytes(bytes), 'IP 10.0.0.1.5000 > 1.2.3.4.53: UDP, bad length 200')
  bytes[0] = 0x44
  assert.equal(printBytes(bytes), 'IP 10.0.0.1 > 1.2.3.4: bad header length 16')
  assert.equal(line({ ...four, proto: 132, payload }), 'IP 10.0.0.1.0 > 1.2.3.4.0: SCTP, length 18')
  assert.equal(line({ ...four, proto: 47, payload }), 'IP 10.0.0.1 > 1.2.3.4: GRE, length 30')
  assert.equal(line({ ...four, proto: 200, payload }), 'IP 10.0.0.1 > 1.2.3.4: proto 200, length 30')
})

test('a row of a batch prints with its tags, and what is not IP by its kind', () => {
  const cases: [number, Uint8Array, string][] = [
    [1, buildPacket({ ...four, proto: 'udp', ...ports, link: 'ethernet', vlan: [7, 8] }),
      'vlan 7, vlan 8, IP 10.0.0.1.5000 > 1.2.3.4.53: UDP, length 0'],
    [1, Uint8Array.from(Buffer.from('ffffffffffff020000000001' + '0806' + '0001080006040001' + '020000000001' + '0a000001' +
      '000000000000' + '0a000002', 'hex')), 'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28'],
    [1, Uint8Array.from(Buffer.from('ffffffffffff020000000001' + '0806' + '0001', 'hex')), 'ARP [|arp]'],
    [1, Uint8Array.from(Buffer.from('ffffffffffff020000000001' + '88cc' + '0001', 'hex')), 'ethertype 0x88cc, length 16'],
    [1, Uint8Array.from(Buffer.from('ffffffffffff020000000001' + '8847' + '0001', 'hex')), 'ethertype 0x8847, length 16'],
    [1, Uint8Array.from(Buffer.from('ffffffffffff', 'hex')), '[|link]'],
    [104, Uint8Array.of(1, 2), 'link type 104, length 2'],
    [0, Uint8Array.of(9, 0, 0, 0), 'ethertype unknown, length 4'],
  ]
  for (const [type, bytes, expected] of cases) {
    const frames = createFrames({ capacity: 1, poolBytes: bytes.length })
    frames.pool.set(bytes)
    frames.link[0] = type
    frames.capBytes[0] = frames.wireBytes[0] = bytes.length
    createLink(frames).locate(1)
    assert.equal(printFrame(frames, 0), expected)
  }
})
