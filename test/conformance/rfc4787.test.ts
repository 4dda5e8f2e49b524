/** RFC 4787 12, one requirement after the other, on the engine. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkConfig, defaultConfig } from '../../src/app/config/load.ts'
import {
  FILTER_ADDRESS_AND_PORT_DEPENDENT, FILTER_ADDRESS_DEPENDENT, FILTER_ENDPOINT_INDEPENDENT,
} from '../../src/engine/options.ts'
import { buildPacket, fragment, icmpError, verify } from '../../src/wire/build.ts'
import { A, B, C, NAT, ROUTER, X, Y, box, ends, sound, sourcePort, udp, word } from './box.ts'

const POOL = [1, 2, 3, 4, 5, 6, 7].map(last => 0xcb007100 | last)

// @req RFC4787 REQ-1
test('all destinations see one outside endpoint of an inside endpoint (RFC 4787 REQ-1)', () => {
  for (const portPreservation of [true, false]) {
    const b = box({ portPreservation, pool: POOL })
    const seen = new Set<string>()
    for (let n = 0; n < 200; n++) seen.add(ends(sound(b.in(udp(A, 5000, `198.51.100.${n}`, 1 + n * 7)))).split(' ')[0])
    assert.equal(seen.size, 1)
  }
})

// @req RFC4787 REQ-2
// @req RFC6888 REQ-2
test('all flows of a host, of every protocol, leave from one outside address (RFC 4787 REQ-2)', () => {
  const b = box({ pool: POOL })
  const used = new Set<string>()
  for (let host = 1; host <= 50; host++) {
    const from = new Set<string>(), src = `10.0.0.${host}`
    for (let n = 0; n < 20; n++) {
      for (const proto of ['udp', 'tcp', 'icmp', 'udplite', 47] as const) {
        const { bytes } = b.in({ proto, src, srcPort: 5000 + n, icmpId: n, dst: `198.51.${host}.${n}`, dstPort: 53, payload: new Uint8Array(8) })
        from.add(bytes!.slice(12, 16).join('.'))
      }
    }
    assert.equal(from.size, 1, src)
    used.add([...from][0])
  }
  assert.equal(used.size, POOL.length, 'hosts are spread over the pool')
})

// @req RFC4787 REQ-3
test('an outside port belongs to one inside endpoint at a time, whatever the destinations (RFC 4787 REQ-3)', () => {
  const b = box({ portLow: 1024, portHigh: 1123 })
  const owners = new Map<number, string>()
  for (let n = 0; n < 100; n++) {
    const src = `10.0.1.${n}`
    const port = sourcePort(b.in(udp(src, 5000, n % 2 === 0 ? X : Y, 53)))
    assert.equal(owners.get(port), undefined, `${port} belongs to ${owners.get(port)}`)
    owners.set(port, src)
  }
  assert.equal(word(b.in(udp('10.0.2.1', 5000, X, 53))), 'no-outside-port')
})

// @req RFC4787 REQ-3a
test('ports up to 1023 stay among themselves, and so do those above (RFC 4787 REQ-3a)', () => {
  for (const portPreservation of [true, false]) {
    const b = box({ portPreservation })
    for (const port of [0, 1, 80, 1022, 1023, 1024, 1025, 49152, 65535]) {
      for (let host = 1; host <= 20; host++) {
        const outside = sourcePort(b.in(udp(`10.0.0.${host}`, port, X, 53)))
        assert.equal(outside <= 1023, port <= 1023, `${port} became ${outside}`)
        assert.notEqual(outside, 0)
      }
    }
  }
})

// @req RFC4787 REQ-4
test('an even port stays even and an odd one odd, when it is kept and when it is not (RFC 4787 REQ-4)', () => {
  for (const portPreservation of [true, false]) {
    const b = box({ portPreservation })
    for (let host = 1; host <= 100; host++) {
      for (const port of [5004, 5005, 600, 601]) assert.equal(sourcePort(b.in(udp(`10.0.0.${host}`, port, X, 53))) % 2, port % 2)
    }
  }
})

// @req RFC4787 REQ-5b, REQ-5c
test('the UDP timer is 5 min unless configured, and not configured below 2 min (RFC 4787 REQ-5, REQ-5b, REQ-5c)', () => {
  assert.equal(defaultConfig().timers.udpMs, 300_000)
  assert.equal(checkConfig('timers:\n  udp: 2m\n').config?.timers.udpMs, 120_000)
  assert.equal(checkConfig('timers:\n  udp: 1h\n').config?.timers.udpMs, 3_600_000)
  assert.match(checkConfig('timers:\n  udp: 1m59s\n').problems[0].message, /RFC 4787 REQ-5/)
})

// @req RFC4787 REQ-5
test('a UDP mapping is there to the last millisecond of its timer, and no longer (RFC 4787 REQ-5)', () => {
  for (const udpMs of [120_000, 300_000]) {
    for (const [late, expected] of [[-1, 'inside'], [0, 'no-mapping'], [1, 'no-mapping']] as const) {
      const b = box({ udpMs })
      b.in(udp(A, 5000, X, 53))
      b.nowMs = udpMs + late
      assert.equal(word(b.out(udp(X, 53, NAT, 5000))), expected)
    }
  }
})

// @req RFC4787 REQ-6
test('a packet from inside, by any flow of the mapping, keeps it (RFC 4787 REQ-6)', () => {
  const b = box({ filtering: FILTER_ENDPOINT_INDEPENDENT })
  for (let n = 0; n < 10; n++) {
    assert.equal(sourcePort(b.in(udp(A, 5000, n % 2 === 0 ? X : Y, 53))), 5000)
    b.nowMs += 299_999
  }
  assert.equal(word(b.out(udp('192.0.2.77', 1, NAT, 5000))), 'inside')
})

// @req RFC4787 REQ-6a
test('a packet from outside that passes keeps the mapping too (RFC 4787 REQ-6a)', () => {
  const b = box()
  b.in(udp(A, 5000, X, 53))
  for (let n = 0; n < 10; n++) {
    b.nowMs += 299_999
    assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'inside')
  }
})

// @req RFC4787 REQ-7
test('an outside address is configured, and one that lies inside is refused with its line (RFC 4787 REQ-7)', () => {
  const { config, problems } = checkConfig('inside: [10.0.0.0/8]\nnat:\n  pool: [10.1.2.3]\n')
  assert.equal(config, null)
  assert.deepEqual([problems[0].line, problems[0].column], [3, 10])
  assert.match(problems[0].message, /both in the pool and inside/)
})

// @req RFC4787 REQ-8, REQ-8a
// @req RFC6888 REQ-7
test('the filter is address-dependent, or of the other two kinds by its setting (RFC 4787 REQ-8, REQ-8a)', () => {
  assert.equal(defaultConfig().nat.filtering, 'address-dependent')
  for (const [filtering, otherPort, otherHost] of [
    [FILTER_ENDPOINT_INDEPENDENT, 'inside', 'inside'], [FILTER_ADDRESS_DEPENDENT, 'inside', 'filtered'],
    [FILTER_ADDRESS_AND_PORT_DEPENDENT, 'filtered', 'filtered'],
  ] as const) {
    const b = box({ filtering })
    b.in(udp(A, 5000, X, 53))
    assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'inside')
    assert.equal(word(b.out(udp(X, 54, NAT, 5000))), otherPort)
    assert.equal(word(b.out(udp(Y, 53, NAT, 5000))), otherHost)
  }
})

// @req RFC4787 REQ-9, REQ-9a
test('inside hosts reach each other by outside endpoints, and are seen as those (RFC 4787 REQ-9, REQ-9a)', () => {
  const b = box({ filtering: FILTER_ENDPOINT_INDEPENDENT })
  b.in(udp(B, 2000, X, 53))
  const outcome = b.in(udp(A, 3000, NAT, 2000))
  assert.equal(word(outcome), 'inside')
  assert.equal(ends(sound(outcome)), `${NAT}:3000 > ${B}:2000`)
  const back = b.in(udp(B, 2000, NAT, 3000))
  assert.equal(ends(sound(back)), `${NAT}:2000 > ${A}:3000`)
  // A host reaches itself.
  assert.equal(ends(sound(b.in(udp(B, 2001, NAT, 2000)))), `${NAT}:2001 > ${B}:2000`)
})

// @req RFC4787 REQ-10, REQ-10a
test('a payload that names addresses leaves as it came: there is no application gateway (RFC 4787 REQ-10)', () => {
  const b = box()
  const payload = new TextEncoder().encode('INVITE sip:bob@198.51.100.1\r\nContact: <sip:alice@10.0.0.1:5060>\r\n\r\nc=IN IP4 10.0.0.1\r\n')
  for (const port of [53, 69, 137, 500, 1719, 5060]) {
    assert.deepEqual(sound(b.in(udp(A, port, X, port, { payload }))).slice(28), payload)
    assert.deepEqual(sound(b.out(udp(X, port, NAT, port, { payload }))).slice(28), payload)
  }
})

// @req RFC4787 REQ-11
test('when ports collide, mapping and filtering are what they are without (RFC 4787 REQ-11)', () => {
  const b = box({ portLow: 5000, portHigh: 5009 })
  const first = ends(sound(b.in(udp(A, 5000, X, 53)))).split(' ')[0]
  // B wants the same port; C sends from it again and again to others.
  for (const host of [B, C]) {
    const mapped = sourcePort(b.in(udp(host, 5000, X, 53)))
    assert.notEqual(mapped, 5000)
    for (let n = 1; n < 50; n++) assert.equal(sourcePort(b.in(udp(host, 5000, `192.0.2.${n}`, n))), mapped)
    assert.equal(word(b.out(udp(X, 99, NAT, mapped))), 'inside')
    assert.equal(word(b.out(udp(Y, 53, NAT, mapped))), 'filtered')
  }
  for (let n = 1; n < 50; n++) assert.equal(ends(sound(b.in(udp(A, 5000, `192.0.2.${n}`, n)))).split(' ')[0], first)
  assert.equal(word(b.out(udp(Y, 53, NAT, 5000))), 'filtered')
})

// @req RFC4787 REQ-12, REQ-12a, REQ-12b
test('no ICMP message ends a mapping, whatever type, code and sender (RFC 4787 REQ-12, REQ-12a, REQ-12b)', () => {
  const b = box()
  const sent = sound(b.in(udp(A, 5000, X, 53)))
  for (const src of [X, Y, ROUTER]) {
    for (let icmpType = 0; icmpType < 256; icmpType++) {
      for (let icmpCode = 0; icmpCode < 16; icmpCode++) {
        const outcome = b.out(icmpError({ src, original: sent, icmpType, icmpCode }))
        const isError = [3, 11, 12].includes(icmpType)
        assert.equal(word(outcome) === 'inside', isError, `type ${icmpType} from ${src}: ${word(outcome)}`)
        if (isError) assert.deepEqual(verify(outcome.bytes!), [])
      }
    }
  }
  assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'inside')
  b.nowMs = 299_999
  assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'inside')
})

/** All orders of three things. */
const ORDERS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]

// @req RFC4787 REQ-14
test('a datagram in fragments arrives whole, in every order and both directions (RFC 4787 REQ-14)', () => {
  for (const order of ORDERS) {
    const b = box()
    b.in(udp(A, 5000, X, 53))
    for (const [send, spec, expected] of [
      [b.in, udp(A, 5000, X, 53), `${NAT} > ${X}`], [b.out, udp(X, 53, NAT, 5000), `${X} > ${A}`],
    ] as const) {
      const pieces = fragment(buildPacket({ ...spec, id: 7, payload: new Uint8Array(100).fill(9) }), [40, 40])
      const left = order.flatMap((at) => {
        const { bytes, extras } = send(pieces[at])
        return [...bytes === null ? [] : [bytes], ...extras.map(extra => extra.bytes)]
      })
      assert.equal(left.length, 3, `order ${order.join()}`)
      for (const bytes of left) {
        assert.deepEqual(verify(bytes), [])
        assert.equal(`${bytes.slice(12, 16).join('.')} > ${bytes.slice(16, 20).join('.')}`, expected)
      }
      const offsets = left.map(bytes => (bytes[6] & 31) << 8 | bytes[7]).sort((p, q) => p - q)
      assert.deepEqual(offsets, [0, 5, 10])
    }
  }
})

// @req RFC4787 REQ-14a
test('a flood of fragments leaves whole packets and datagrams in order alone (RFC 4787 REQ-14a)', () => {
  const b = box({ fragmentDatagrams: 16, fragmentHold: 8 })
  b.in(udp(A, 5000, X, 53))
  const inOrder = fragment(buildPacket(udp(A, 5000, X, 53, { id: 7, payload: new Uint8Array(100) })), [40, 40])
  assert.equal(word(b.in(inOrder[0])), 'outside')
  for (let id = 100; id < 10_100; id++) {
    b.out({ proto: 17, src: Y, dst: NAT, id, fragOffset: 80, moreFragments: id % 2 === 0, payload: new Uint8Array(8) })
  }
  assert.equal(word(b.in(inOrder[1])), 'outside', 'a datagram that was known before')
  assert.equal(word(b.in(udp(A, 5000, X, 53))), 'outside')
  assert.equal(word(b.out(udp(X, 53, NAT, 5000))), 'inside')
  assert.ok(b.count('drop-fragment-table-full-packets') > 9000)
  // Two seconds after the flood a datagram that begins then finds room, too.
  b.nowMs = 2000
  const later = fragment(buildPacket(udp(A, 5000, X, 53, { id: 8, payload: new Uint8Array(100) })), [40, 40])
  assert.deepEqual(later.map(piece => word(b.in(piece))), ['outside', 'outside', 'outside'])
})
