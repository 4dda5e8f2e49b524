/** RFC 6296 on the engine: prefixes of IPv6 that stand for others, with the firewall, ICMPv6 and fragments. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { print6, parsePrefix } from '../../src/base/address.ts'
import type { Npt6Pair } from '../../src/channel/npt6.ts'
import { parseRule } from '../../src/app/firewall/ipfilter.ts'
import { createRuleSet } from '../../src/engine/firewall-set.ts'
import type { EngineOptions } from '../../src/engine/options.ts'
import { encodePcap } from '../../src/phy/testing.ts'
import { buildPacket, fragment, icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import { ACK, SYN, box, sound, tcp, udp, word } from './box.ts'

/** The hosts of RFC 6296 3.6, and where they are seen outside. */
const A = 'fd01:203:405:1::1234', A_SEEN = '2001:db8:1:d550::1234', B = 'fd01:203:405:2::5678', B_SEEN = '2001:db8:1:d551::5678'
const X = '2001:db8:ffff::9', ROUTER = '2001:db8:fffe::1', INNER = 'fd01:203:405:3::1', INNER_SEEN = '2001:db8:1:d552::1'

function pair(inside: string, outside: string): Npt6Pair {
  const [a, b] = [inside, outside].map(text => {
    const parsed = parsePrefix(text)
    assert.ok(parsed.ok)
    return { words: [parsed.value.words[0]!, parsed.value.words[1]!] as const, bits: parsed.value.prefixBits }
  })
  return { inside: a!.words, insideBits: a!.bits, outside: b!.words, outsideBits: b!.bits }
}
const PAIR = pair('fd01:203:405::/48', '2001:db8:1::/48')
const npt = (changes: Partial<EngineOptions> = {}) => box({ npt6: [PAIR], ...changes })
const at6 = (bytes: Uint8Array, at: number) => print6(Int32Array.from([0, 4, 8, 12], from => new DataView(bytes.buffer, bytes.byteOffset).getInt32(at + from)))
const ends = (bytes: Uint8Array) => `${at6(bytes, 8)} > ${at6(bytes, 24)}`
/** Both ends of the packet that an ICMPv6 error quotes. */
const quoted = (bytes: Uint8Array) => ends(bytes.slice(48))
const echo6 = (src: string, dst: string, icmpType: number, icmpId: number): PacketSpec => ({ proto: 'icmp6', src, dst, icmpType, icmpId })

// @req RFC6296 3.2, 3.3, 6
test('a flow leaves with its outside source and comes back to its inside address; no port and no checksum changes (RFC 6296 3.2, 3.3, 6)', () => {
  for (const spec of [udp(A, 5000, X, 53), tcp(A, 5000, X, 80, SYN), echo6(A, X, 128, 7), { ...udp(A, 5000, X, 53), proto: 'udplite' as const }, { proto: 50, src: A, dst: X, payload: new Uint8Array(24) }]) {
    const b = npt(), sent = buildPacket(spec), out = b.in(spec)
    assert.equal(ends(sound(out)), `${A_SEEN} > ${X}`)
    assert.deepEqual(out.bytes!.slice(40), sent.slice(40), 'nothing behind the header')
    const back = { ...spec, src: X, dst: A_SEEN, srcPort: spec.dstPort!, dstPort: spec.srcPort!, ...spec.proto === 'icmp6' ? { icmpType: 129 } : {}, ...spec.proto === 'tcp' ? { tcpFlags: SYN | ACK } : {} }
    assert.equal(ends(sound(b.out(back))), `${X} > ${A}`)
  }
})

// @req RFC6296 7
test('what may open a flow from outside is the firewall\'s to say, about the inside address (RFC 6296 7)', () => {
  const rule = parseRule(`permit out 6 from any to ${B} 80`)
  assert.ok(rule.ok)
  const set = createRuleSet([rule.value], [], 1)
  const b = npt({ firewall: { set, interfaceName: () => undefined } })
  assert.equal(word(b.out(tcp(X, 1000, B_SEEN, 80, SYN))), 'inside')
  assert.equal(word(b.out(tcp(X, 1000, B_SEEN, 81, SYN))), 'denied')
  assert.equal(word(npt().out(udp(X, 1, A_SEEN, 5000))), 'denied')
  assert.equal(ends(sound(npt({ inboundPermit: true }).out(udp(X, 1, A_SEEN, 5000)))), `${X} > ${A}`)
})

test('nobody outside reaches a host by its inside address, nor sends from an outside one of ours', () => {
  const b = npt({ inboundPermit: true })
  assert.equal(word(b.out(udp(X, 1, A, 5000))), 'no-mapping')
  assert.equal(word(b.out(udp(B_SEEN, 1, A_SEEN, 5000))), 'martian-source')
  assert.equal(word(b.out(udp(X, 1, 'fd02::1', 5000))), 'inside', 'what is inside and not translated is as it was')
  assert.equal(ends(sound(b.in(udp('fd02::1', 1, X, 53)))), `fd02::1 > ${X}`)
})

// @req RFC6296 3.2a, 3.2b, 4.2
test('subnet 0xffff is dropped both ways, and its sender inside is told: unreachable, code 5 (RFC 6296 3.2, 4.2)', () => {
  const b = npt({ inboundPermit: true }), out = b.in(udp('fd01:203:405:ffff::1', 1, X, 53))
  assert.equal(word(out), 'npt6-unmapped')
  const [told] = out.extras
  assert.deepEqual([told!.bytes[40], told!.bytes[41], verify(told!.bytes)], [1, 5, []])
  const back = b.out(udp(X, 1, '2001:db8:1:ffff::1', 53))
  assert.deepEqual([word(back), back.extras.length], ['npt6-unmapped', 0])
  assert.equal(word(b.in(udp('fd01:203:405:ffff::1', 1, 'fd01:203:405:2::1', 53))), 'inside-to-inside')
})

// @req RFC6296 3.7a, 3.7b
test('identifiers of zeros or ones do not go with a longer prefix, and parameter problem points at the address (RFC 6296 3.7)', () => {
  const b = npt({ npt6: [pair('fd01:203:405::/56', '2001:db8:1:200::/56')], inboundPermit: true })
  for (const host of ['fd01:203:405:1::', 'fd01:203:405:1:ffff:ffff:ffff:ffff']) {
    const out = b.in(udp(host, 1, X, 53))
    assert.deepEqual([word(out), out.extras[0]!.bytes[40], out.extras[0]!.bytes[47]], ['npt6-bad-identifier', 4, 8])
    assert.deepEqual(verify(out.extras[0]!.bytes), [])
  }
  const back = b.out(udp(X, 1, '2001:db8:1:201::', 53))
  assert.deepEqual([word(back), back.extras[0]!.bytes[40], back.extras[0]!.bytes[47]], ['npt6-bad-identifier', 4, 24])
})

// @req RFC6296 4.3
test('inside hosts reach each other by their outside addresses, though the outside may open nothing (RFC 6296 4.3)', () => {
  const b = npt()
  assert.equal(ends(sound(b.in(tcp(A, 5000, B_SEEN, 80, SYN)))), `${A_SEEN} > ${B}`)
  assert.equal(ends(sound(b.in(tcp(B, 80, A_SEEN, 5000, SYN | ACK)))), `${B_SEEN} > ${A}`)
  assert.equal(ends(sound(b.in(tcp(A, 5000, B_SEEN, 80, ACK)))), `${A_SEEN} > ${B}`)
  assert.equal(b.count('hairpin-packets'), 3)
  assert.equal(b.count('flows-current'), 2)
  assert.equal(word(npt({ hairpinning: false }).in(tcp(A, 5000, B_SEEN, 80, SYN))), 'denied')
  assert.equal(word(b.in(udp('fd02::1', 1, B_SEEN, 80))), 'inside-to-inside', 'who has no outside address')
  const gone = b.in(udp(A, 1, '2001:db8:1:ffff::1', 80))
  assert.deepEqual([word(gone), gone.extras[0]!.bytes[41]], ['npt6-unmapped', 0], 'no route to it')
})

test('ICMPv6 errors are translated with the packet they quote, both ways and by hairpin, their checksum is right', () => {
  const b = npt()
  const sent = sound(b.in(udp(A, 5000, X, 53)))
  const error = sound(b.out(icmpError({ src: ROUTER, original: sent, icmpType: 3 })))
  assert.deepEqual([ends(error), quoted(error)], [`${ROUTER} > ${A}`, `${A} > ${X}`])
  assert.equal(word(b.out(icmpError({ src: ROUTER, original: buildPacket(udp(A, 5000, X, 53)), icmpType: 3 }))), 'icmp-error-no-flow', 'quoting what nobody saw outside')
  const reply = sound(b.out(udp(X, 53, A_SEEN, 5000)))
  const inward = sound(b.in(icmpError({ src: INNER, original: reply, icmpType: 1, icmpCode: 4 })))
  assert.deepEqual([ends(inward), quoted(inward)], [`${INNER_SEEN} > ${X}`, `${X} > ${A_SEEN}`])
  assert.equal(word(b.in(icmpError({ src: 'fd01:203:405:ffff::1', original: reply, icmpType: 1, icmpCode: 4 }))), 'npt6-unmapped')
  const turned = sound(b.in(udp(A, 6000, B_SEEN, 7000)))
  const round = sound(b.in(icmpError({ src: B, original: turned, icmpType: 1, icmpCode: 4 })))
  assert.deepEqual([ends(round), quoted(round)], [`${B_SEEN} > ${A}`, `${A} > ${B_SEEN}`])
})

test('fragments in any order get the addresses of their first one, out, in and by hairpin', () => {
  const b = npt()
  for (const [side, spec, expected] of [
    ['in', udp(A, 5000, X, 53, { payload: new Uint8Array(64) }), `${A_SEEN} > ${X}`],
    ['out', udp(X, 53, A_SEEN, 5000, { payload: new Uint8Array(64) }), `${X} > ${A}`],
    ['in', udp(A, 5000, B_SEEN, 7000, { payload: new Uint8Array(64) }), `${A_SEEN} > ${B}`],
  ] as const) {
    const [first, second, third] = fragment(buildPacket(spec), [16, 24], { id: 9 })
    assert.equal(word(b[side](second!)), 'held')
    const out = b[side](first!)
    assert.equal(ends(out.bytes!), expected)
    assert.deepEqual(out.extras.map(({ bytes }) => ends(bytes)), [expected])
    assert.equal(ends(b[side](third!).bytes!), expected)
  }
})

test('an unsolicited SYN to an outside address is forgotten when the inside opens that connection, else answered from the outside address of the box', () => {
  const b = npt({ boxAddress6: [0xfd010203 | 0, 0x04050001, 0, 1] })
  assert.equal(word(b.out(tcp(X, 80, A_SEEN, 5000, SYN))), 'denied')
  assert.equal(word(b.out(tcp(X, 81, A_SEEN, 5000, SYN))), 'denied')
  assert.equal(word(b.in(tcp(A, 5000, X, 80, SYN))), 'outside')
  assert.equal(b.engine.heldSyns(), 1)
  assert.ok(b.engine.late(6000))
  const bytes = b.frames.pool.slice(b.engine.extras.l3[0]!, b.engine.extras.l3[0]! + b.engine.extras.capBytes[0]!)
  assert.deepEqual(verify(bytes), [])
  assert.equal(ends(bytes), `2001:db8:1:d550::1 > ${X}`)
  assert.equal(quoted(bytes), `${X} > ${A_SEEN}`)
})

test('too big a packet is refused by the MTU of the link as it came, and the hop that runs out is told of', () => {
  const b = npt({ mtuOutside: 1280 }), big = buildPacket(udp(A, 5000, X, 53, { payload: new Uint8Array(1300) }))
  const out = b.in(big)
  assert.equal(word(out), 'too-big')
  assert.equal(quoted(out.extras[0]!.bytes), `${A} > ${X}`)
  const gone = b.out({ ...udp(X, 1, A_SEEN, 5000), ttl: 1 })
  assert.deepEqual([word(gone), quoted(gone.extras[0]!.bytes)], ['ttl-exceeded', `${X} > ${A_SEEN}`])
  assert.equal(b.out({ ...udp(X, 1, A, 5000), ttl: 1 }).extras.length, 0, 'it would not cross')
})

const noTshark = spawnSync('tshark', ['-v']).status === 0 || process.env['CI'] === 'true' ? false : 'no tshark on PATH'
test('Wireshark finds every checksum of translated packets right, quoted ones too', { skip: noTshark }, (t) => {
  const b = npt(), packets: Uint8Array[] = []
  const add = (outcome: Parameters<typeof sound>[0]) => { packets.push(sound(outcome)); return outcome.bytes! }
  const [u, s] = [add(b.in(udp(A, 5000, X, 53))), add(b.in(tcp(A, 5001, X, 80, SYN)))]
  add(b.in(echo6(A, X, 128, 7)))
  add(b.out(echo6(X, A_SEEN, 129, 7)))
  for (const original of [u, s]) add(b.out(icmpError({ src: ROUTER, original, icmpType: 1, icmpCode: 4 })))
  add(b.in(icmpError({ src: B, original: add(b.in(udp(A, 6000, B_SEEN, 7000))), icmpType: 1, icmpCode: 4 })))
  const folder = mkdtempSync(join(tmpdir(), 'pinhole-npt6-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'out.pcap')
  writeFileSync(file, encodePcap(packets.map((data, n) => ({ data, sec: 1, nsec: n * 1000 })), { link: 101 }))
  const { stdout } = spawnSync('tshark', ['-n', '-r', file, '-o', 'udp.check_checksum:TRUE', '-o', 'tcp.check_checksum:TRUE', '-T', 'fields',
    '-e', 'frame.number', '-e', 'udp.checksum.status', '-e', 'tcp.checksum.status', '-e', 'icmpv6.checksum.status'], { encoding: 'utf8' })
  const rows = stdout.trimEnd().split('\n')
  assert.equal(rows.length, packets.length, stdout)
  // 1 is good, 2 is not verified (a quoted packet); 0 is bad.
  for (const row of rows) {
    assert.match(row, /1/, row)
    assert.ok(!row.split('\t').slice(1).join(',').split(',').includes('0'), row)
  }
})
