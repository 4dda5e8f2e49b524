/** RFC 6092 and RFC 4890 on the engine: what an IPv6 firewall lets through and what it stops, by default and by setting. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig, defaultConfig } from '../../src/app/config/load.ts'
import { createPrefixSet } from '../../src/base/address.ts'
import { engineOptions } from '../../src/app/compose.ts'
import type { EngineOptions } from '../../src/engine/options.ts'
import { TEST_OPTIONS } from '../../src/engine/testing.ts'
import { buildPacket, icmpError, verify, type PacketSpec } from '../../src/wire/build.ts'
import { ACK, RST, SYN, box, tcp, udp, word, type Box } from './box.ts'

const A = 'fd00::1', B = 'fd00::2', X = '2001:db8::9', Y = '2001:db8::8', ROUTER = '2001:db8:1::1'
const TWO_MINUTES = 120_000, FIVE_MINUTES = 300_000, LONG = 7_440_000

/** A box with the defaults of the configuration, or those settings. */
function v6(settings = '', changes: Partial<EngineOptions> = {}): Box {
  const config = settings === '' ? defaultConfig() : checkConfig(settings).config!
  const { flows, pool, spoofing } = TEST_OPTIONS
  return box({ ...engineOptions(config, config.inside, 1, 0), inside: createPrefixSet(config.inside), flows, pool, nat: null, spoofing, ...changes })
}
const icmp6 = (src: string, dst: string, icmpType: number, more: Partial<PacketSpec> = {}): PacketSpec => ({ proto: 'icmp6', src, dst, icmpType, icmpId: 7, payload: new Uint8Array(16), ...more })
const other = (src: string, dst: string, proto: number, more: Partial<PacketSpec> = {}): PacketSpec => ({ proto, src, dst, payload: new Uint8Array(24), ...more })
const AH = { header: 51, body: new Uint8Array(10) }

/* RFC 6092, 3.1: without state */

// @req RFC6092 REC-1, REC-2, REC-3
test('multicast, and addresses that cannot be on the Internet, are not forwarded (RFC 6092 REC-1 to REC-3)', () => {
  const b = v6()
  assert.equal(word(b.out(udp('ff0e::1', 1, A, 2))), 'martian-source')
  for (const scope of [1, 2, 5, 8, 0xe]) assert.equal(word(b.in(udp(A, 1, `ff0${scope.toString(16)}::1`, 2))), 'multicast')
  for (const odd of ['::1', '::', '::9', '::ffff:10.0.0.1', 'fec0::1', 'feff::1']) {
    assert.equal(word(b.out(udp(odd, 1, A, 2))), 'martian-source', odd)
    assert.equal(word(b.in(udp(A, 1, odd, 2))), 'martian-destination', odd)
  }
  const strict = v6('checks: {reserved6: drop}')
  for (const odd of ['2001:db8::1', '2001:10::1', '2001:2f::1', '3ffe::1', '3fff:fff::1', '2002:a00:1::1', '2002:c0a8:101::1', '2002:7f00:1::']) {
    assert.equal(word(strict.out(udp(odd, 1, A, 2))), 'martian-source', odd)
    assert.equal(word(strict.in(udp(A, 1, odd, 2))), 'martian-destination', odd)
    assert.equal(word(b.in(udp(A, 1, odd, 2))), 'outside', odd)
  }
  for (const good of ['2001:db7::1', '2001:30::1', '2001:0:1::1', '2002:808:808::1', '2606:2800::1']) assert.equal(word(strict.in(udp(A, 1, good, 2))), 'outside', good)
})

// @req RFC6092 REC-4, REC-27
test('routing header 0 is dropped, and routing header 2 passes with the flow of its care-of address (RFC 6092 REC-4, REC-27)', () => {
  const b = v6(), routed = (type: number) => ({ extensions: [{ header: 43, body: Uint8Array.of(type, 1, ...new Uint8Array(20)) }] })
  assert.equal(word(b.in(udp(A, 1, X, 2, routed(0)))), 'ipv6-routing-header-0')
  b.in(udp(A, 1, X, 2, { extensions: [{ header: 60, body: new Uint8Array(22) }] }))
  assert.equal(word(b.out(udp(X, 2, A, 1, routed(2)))), 'inside')
})

// @req RFC6092 REC-5, REC-6
test('sources are held against the side they come from (RFC 6092 REC-5, REC-6)', () => {
  const options = engineOptions(checkConfig('checks: {spoofing: both}').config!, [], 1, 0)
  const b = v6('', { spoofing: options.spoofing })
  assert.equal(word(b.out(udp(B, 1, A, 2))), 'spoofed-source')
  assert.equal(word(b.in(udp(Y, 1, X, 2))), 'spoofed-source')
})

// @req RFC6092 REC-7
test('unique local addresses stay inside if the setting says so, but for those that a prefix stands for (RFC 6092 REC-7)', () => {
  const b = v6('checks: {unique-local: drop}')
  assert.equal(word(b.in(udp(A, 1, X, 2))), 'unique-local')
  assert.equal(word(b.out(udp(X, 1, A, 2))), 'unique-local')
  assert.equal(word(b.in(udp(A, 1, B, 2))), 'inside-to-inside')
  const npt = v6('inside: ["fd00::/16", "2001:db8:5::/48"]\nnat: {npt6: [{inside: "fd00::/48", outside: "2001:db8:1::/48"}]}\nchecks: {unique-local: drop}')
  assert.equal(word(npt.in(udp(A, 1, X, 2))), 'outside')
  assert.equal(word(npt.in(udp('fd00:1::1', 1, X, 2))), 'unique-local')
  assert.equal(word(npt.in(udp('2001:db8:5::1', 1, X, 2))), 'outside')
  assert.equal(word(npt.in(udp(A, 1, 'fc00::9', 2))), 'unique-local')
  assert.equal(word(v6().in(udp(A, 1, X, 2))), 'outside')
})

/* 3.2: without connections */

const FLOWS: [string, PacketSpec, PacketSpec][] = [
  ['UDP', udp(A, 5000, X, 6000), udp(X, 6000, A, 5000)], ['TCP', tcp(A, 5000, X, 80, SYN), tcp(X, 80, A, 5000, SYN | ACK)],
  ['UDP-Lite', { ...udp(A, 5000, X, 6000), proto: 'udplite' }, { ...udp(X, 6000, A, 5000), proto: 'udplite' }],
  ['ESP', other(A, X, 50), other(X, A, 50)], ['mobility', other(A, X, 135, { payload: Uint8Array.of(59, 2, ...new Uint8Array(22)) }), other(X, A, 135, { payload: Uint8Array.of(59, 2, ...new Uint8Array(22)) })],
  ['SCTP', other(A, X, 132), other(X, A, 132)], ['DCCP', { ...udp(A, 5000, X, 6000), proto: 'dccp' }, { ...udp(X, 6000, A, 5000), proto: 'dccp' }],
  ['Shim6', other(A, X, 140, { payload: Uint8Array.of(59, 2, ...new Uint8Array(22)) }), other(X, A, 140, { payload: Uint8Array.of(59, 2, ...new Uint8Array(22)) })],
]

// @req RFC6092 REC-10, REC-18, REC-19, REC-23, REC-30, REC-36, REC-37, REC-41, REC-42, REC-45, REC-46
// @req RFC4890 4.3.1a, 4.3.2a
test('errors about a flow pass both ways and end nothing, whatever it carries; about no flow they are dropped (RFC 6092 REC-10, RFC 4890 4.3.1)', () => {
  for (const [what, out, back] of FLOWS) {
    const b = v6(), original = b.in(out).bytes!
    for (const [icmpType, icmpCode] of [[1, 0], [1, 4], [2, 0], [3, 0], [3, 1], [4, 0], [4, 1], [4, 2]]) {
      assert.equal(word(b.out(icmpError({ src: ROUTER, original, icmpType: icmpType!, icmpCode: icmpCode! }))), 'inside', `${what} ${icmpType}/${icmpCode}`)
    }
    const returned = b.out(back)
    assert.equal(word(returned), 'inside', what)
    assert.equal(word(b.in(icmpError({ src: A, original: returned.bytes!, icmpType: 1, icmpCode: 4 }))), 'outside', what)
    assert.equal(word(b.in(out)), 'outside', what)
    const stranger = buildPacket({ ...out, src: B })
    assert.equal(word(b.out(icmpError({ src: ROUTER, original: stranger, icmpType: 1 }))), 'icmp-error-no-flow', what)
  }
})

// @req RFC6092 REC-14, REC-15, REC-16
test('UDP lives for five minutes of silence by default, two at least, and either end may prolong it (RFC 6092 REC-14 to REC-16)', () => {
  const timers = defaultConfig().timers
  assert.deepEqual([timers.udpMs, timers.otherMs, timers.udpPorts], [FIVE_MINUTES, FIVE_MINUTES, []])
  assert.match(checkConfig('timers: {udp: 119s}').problems[0]!.message, /2m/)
  for (const [prolong, expected] of [['in', 'inside'], ['out', 'inside'], [null, 'denied']] as const) {
    const b = v6()
    b.in(udp(A, 5000, X, 6000))
    b.nowMs = TWO_MINUTES
    if (prolong !== null) b[prolong](prolong === 'in' ? udp(A, 5000, X, 6000) : udp(X, 6000, A, 5000))
    b.nowMs = FIVE_MINUTES
    assert.equal(word(b.out(udp(X, 6000, A, 5000))), expected)
  }
})

// @req RFC6092 REC-21, REC-22, REC-24, REC-25, REC-26
test('IPsec, key exchange and HIP come in by default, by a setting not; SPIs are not looked at (RFC 6092 REC-21 to REC-26)', () => {
  const secured: [string, PacketSpec][] = [
    ['AH before TCP', tcp(X, 1, A, 22, SYN, { extensions: [AH] })], ['AH behind options', udp(X, 1, A, 2, { extensions: [{ header: 60, body: new Uint8Array(6) }, AH] })],
    ['ESP', other(X, A, 50)], ['IKE', udp(X, 500, A, 500)], ['IKE past a translator', udp(X, 1, A, 4500)],
    ['HIP alone', other(X, A, 139, { payload: Uint8Array.of(59, 4, ...new Uint8Array(38)) })],
  ]
  for (const [what, spec] of secured) {
    assert.equal(word(v6().out(spec)), 'inside', what)
    assert.equal(word(v6('firewall: {ipsec6: deny}').out(spec)), 'denied', what)
  }
  const b = v6()
  for (let spi = 0; spi < 9; spi++) b.in(other(A, X, 50, { payload: Uint8Array.of(spi, ...new Uint8Array(23)) }))
  assert.equal(b.count('flows-current'), 1)
  assert.deepEqual([word(b.out(udp(X, 1, A, 501))), word(b.out(udp(X, 500, A, 9)))], ['denied', 'denied'])
})

// @req RFC6092 REC-28, REC-29, REC-47
test('mobility headers and Shim6 of outbound flows pass, and tunnels between their ends come in (RFC 6092 REC-28, REC-29, REC-47)', () => {
  for (const [what, out, back] of FLOWS.filter(([name]) => name === 'mobility' || name === 'Shim6')) {
    const b = v6()
    assert.equal(word(b.out(back)), 'denied', what)
    assert.deepEqual([word(b.in(out)), word(b.out(back))], ['outside', 'inside'], what)
    for (const tunnel of [4, 41]) {
      assert.equal(word(b.out(other(X, A, tunnel))), what === 'mobility' ? 'inside' : 'denied', what)
      assert.equal(word(b.out(other(Y, A, tunnel))), 'denied')
    }
  }
})

/* 3.3: with connections */

// @req RFC6092 REC-31, REC-32
test('TCP opens by three segments, by both ends at once, and is taken up in the middle whatever its window (RFC 6092 REC-31, REC-32)', () => {
  for (const window of ['off', 'loose', 'strict']) {
    const b = v6(`checks: {tcp-window: ${window}}`)
    const told = [b.in(tcp(A, 1, X, 80, SYN, { seq: 9 })), b.out(tcp(X, 80, A, 1, SYN, { seq: 99 })), b.in(tcp(A, 1, X, 80, SYN | ACK, { seq: 9, ack: 100 })),
      b.out(tcp(X, 80, A, 1, SYN | ACK, { seq: 99, ack: 10 })), b.in(tcp(A, 1, X, 80, ACK, { seq: 10, ack: 100 }))]
    assert.deepEqual(told.map(word), ['outside', 'inside', 'outside', 'inside', 'outside'], window)
    const middle = v6(`checks: {tcp-window: ${window}}`)
    middle.in(tcp(A, 1, X, 80, ACK, { seq: 1000, ack: 5000, window: 10 }))
    // Far beyond ten bytes, and within ten times the largest scale.
    assert.equal(word(middle.out(tcp(X, 80, A, 1, ACK, { seq: 5000 + 100_000, ack: 1000 }))), 'inside', window)
  }
})

// @req RFC6092 REC-34
test('an unsolicited SYN is answered after six seconds of silence: prohibited (RFC 6092 REC-34)', () => {
  const b = v6()
  assert.deepEqual([word(b.out(tcp(X, 1, A, 22, SYN))), b.engine.late(5999)], ['denied', false])
  assert.ok(b.engine.late(6000))
  const bytes = b.frames.pool.slice(b.engine.extras.l3[0]!, b.engine.extras.l3[0]! + b.engine.extras.capBytes[0]!)
  assert.deepEqual([bytes[40], bytes[41], verify(bytes)], [1, 1, []])
})

// @req RFC6092 REC-35
test('TCP lives for 2 h 4 min of silence when it is open, for 4 min when it is not (RFC 6092 REC-35)', () => {
  for (const [open, lives] of [[false, 240_000], [true, LONG]] as const) {
    for (const late of [-1, 0]) {
      const b = v6()
      b.in(tcp(A, 1, X, 80, SYN))
      if (open) b.out(tcp(X, 80, A, 1, SYN | ACK))
      b.nowMs = lives + late
      assert.equal(word(b.out(tcp(X, 80, A, 1, RST))), late < 0 ? 'inside' : 'denied')
    }
  }
})

// @req RFC6092 REC-38, REC-40, REC-44
test('SCTP and DCCP open from either end, live for 2 h 4 min once both were heard, and for 8 min before (RFC 6092 REC-38, REC-40, REC-44)', () => {
  for (const [what, out, back] of FLOWS.filter(([name]) => name === 'SCTP' || name === 'DCCP')) {
    for (const [answered, lives] of [[false, 480_000], [true, LONG]] as const) {
      for (const late of [-1, 0]) {
        const b = v6()
        b.in(out)
        if (answered) b.out(back)
        b.nowMs = lives + late
        assert.equal(word(b.out(back)), late < 0 ? 'inside' : 'denied', `${what} ${answered} ${late}`)
      }
    }
    const b = v6('firewall: {inbound6: permit}')
    b.out(back)
    b.nowMs = 479_999
    assert.equal(word(b.in(out)), 'outside')
    b.nowMs += LONG - 1
    assert.equal(b.count('flows-current'), 1)
  }
  assert.match(checkConfig('timers: {association: 2h}').problems[0]!.message, /2h4m/)
  assert.match(checkConfig('timers: {association-opening: 7m}').problems[0]!.message, /8m/)
})

/* 3.4, 3.5 */

// @req RFC6092 REC-48, REC-49, REC-50
test('one setting lets all in, agents ask for what they need, and their doors are on loopback (RFC 6092 REC-48 to REC-50)', () => {
  for (const [, , back] of FLOWS) assert.equal(word(v6('firewall: {inbound6: permit}').out(back)), 'inside')
  const { midcom } = defaultConfig()
  assert.ok(midcom.simco.listen.length > 0 && midcom.snmp !== undefined)
  assert.match(JSON.stringify(midcom.simco.listen), /127\.0\.0\.1/)
})

/* RFC 4890 */

// @req RFC4890 4.3.1b, 4.3.2b
test('echo and mobile IPv6 pass both ways, by a setting only as answers (RFC 4890 4.3.1, 4.3.2)', () => {
  for (const type of [128, 144, 145, 146, 147]) {
    const b = v6()
    assert.equal(word(b.out(icmp6(X, A, type))), 'inside', String(type))
    if (type === 128) assert.equal(word(b.in(icmp6(A, X, 129))), 'outside')
    assert.equal(word(v6().in(icmp6(A, X, type))), 'outside', String(type))
    assert.equal(word(v6('firewall: {echo6: deny}').out(icmp6(X, A, type))), 'denied', String(type))
  }
  const b = v6('firewall: {echo6: deny}')
  assert.equal(word(b.out(icmp6(X, A, 129))), 'no-state')
  assert.deepEqual([word(b.in(icmp6(A, X, 128))), word(b.out(icmp6(X, A, 129)))], ['outside', 'inside'])
})

// @req RFC4890 4.3.3, 4.3.4a, 4.3.4b, 4.3.4c, 4.3.5a, 4.3.5b, 4.3.5c
test('of all other ICMPv6 types none crosses, in either direction (RFC 4890 4.3.3 to 4.3.5)', () => {
  const b = v6('firewall: {inbound6: permit}'), known = [1, 2, 3, 4, 128, 129, 144, 145, 146, 147]
  for (let type = 0; type < 256; type++) {
    if (known.includes(type)) continue
    assert.equal(word(b.in(icmp6(A, X, type))), 'icmp-not-forwarded', String(type))
    assert.equal(word(b.out(icmp6(X, A, type))), 'icmp-not-forwarded', String(type))
  }
})
