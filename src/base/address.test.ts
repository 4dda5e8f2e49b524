import test from 'node:test'
import assert from 'node:assert/strict'
import net from 'node:net'
import fc from 'fast-check'
import {
  compareWords, parse4, parse6, parseAddress, parsePrefix, parseRange, print4, print6, printAddress, printPrefix, createPrefixSet,
  type Prefix,
} from './address.ts'
import { createModelPrefixSet } from './address.model.ts'

const words6 = (text: string) => {
  const words = new Int32Array(4)
  assert.equal(parse6(text, words, 0).ok, true, text)
  return words
}
const prefix = (text: string) => {
  const parsed = parsePrefix(text)
  assert.ok(parsed.ok, text)
  return parsed.value
}
const fault = (parsed: { ok: boolean }) => {
  assert.ok(!parsed.ok && 'reason' in parsed && 'column' in parsed)
  return [parsed.reason, parsed.column]
}
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })

test('an IPv4 address is one signed word in host order', () => {
  assert.deepEqual(parse4('10.0.0.1'), { ok: true, value: 0x0a000001 })
  assert.deepEqual(parse4('255.255.255.255'), { ok: true, value: -1 })
  assert.equal(print4(-1), '255.255.255.255')
})

test('IPv4 text is read strictly, and the fault has a column', () => {
  assert.deepEqual(fault(parse4('')), ['an octet is missing', 1])
  assert.deepEqual(fault(parse4('1.2.3')), ['an octet is missing', 6])
  assert.deepEqual(fault(parse4('1..3.4')), ['an octet is missing', 3])
  assert.deepEqual(fault(parse4('1.256.3.4')), ['an octet is above 255', 3])
  assert.deepEqual(fault(parse4('1.2.010.4')), ['an octet has a leading zero', 5])
  assert.deepEqual(fault(parse4('1.2.3.4.5')), ['unexpected character', 8])
  assert.deepEqual(fault(parse4('1.2.3.0x4')), ['unexpected character', 8])
  assert.deepEqual(fault(parse4(' 1.2.3.4')), ['unexpected character', 1])
})

test('IPv6 is read in the forms of RFC 4291 2.2', () => {
  assert.deepEqual([...words6('ABCD:EF01:2345:6789:ABCD:EF01:2345:6789')],
    [0xabcdef01 | 0, 0x23456789, 0xabcdef01 | 0, 0x23456789])
  assert.deepEqual([...words6('2001:db8::8:800:200c:417a')], [0x20010db8, 0, 0x00080800, 0x200c417a])
  assert.deepEqual([...words6('::')], [0, 0, 0, 0])
  assert.deepEqual([...words6('::1')], [0, 0, 0, 1])
  assert.deepEqual([...words6('1::')], [0x10000, 0, 0, 0])
  assert.deepEqual([...words6('1:2:3:4:5:6:7::')], [0x10002, 0x30004, 0x50006, 0x70000])
  assert.deepEqual([...words6('::FFFF:129.144.52.38')], [0, 0, 0xffff, 0x81903426 | 0])
  assert.deepEqual([...words6('1:2:3:4:5:6:1.2.3.4')], [0x10002, 0x30004, 0x50006, 0x01020304])
})

test('IPv6 text that is none of those forms has a reason and a column', () => {
  const into = new Int32Array(4).fill(7)
  const faults: [string, string, number][] = [
    ['', 'not an address', 1], ['1:2:3', 'too few groups', 6], ['1:2:3:4:5:6:7:8:9', 'too many groups', 17],
    ['1::2::3', 'a second ::', 5], [':1::', 'a lone colon', 1], ['1:', 'a lone colon', 2], [':::', 'a lone colon', 3],
    ['12345::', 'a group has more than four digits', 1], ['fe80::1%eth0', 'a zone is not allowed here', 8],
    ['1:2:3:4::5:6:7:8', 'too many groups', 16], ['::1.2.3', 'an octet is missing', 8],
    ['::g', 'unexpected character', 3],
    ['1:2:3:4:5:6:7:1.2.3.4', 'too many groups', 15], ['::01.2.3.4', 'an octet has a leading zero', 3],
  ]
  for (const [text, reason, column] of faults) assert.deepEqual(fault(parse6(text, into, 0)), [reason, column], text)
  assert.deepEqual([...into], [7, 7, 7, 7])
  const wide = new Int32Array(8).fill(7)
  assert.ok(parse6('1::2', wide, 3).ok)
  assert.deepEqual([...wide], [7, 7, 7, 0x10000, 0, 0, 2, 7], 'four words and no more')
  assert.deepEqual(fault(parseAddress('')), ['not an address', 1])
})

test('IPv6 is printed in the canonical form of RFC 5952', () => {
  for (const [text, canonical] of [
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'], ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'], ['1:0:0:0:0:0:0:0', '1::'], ['0:1:0:0:0:0:0:0', '0:1::'],
    ['0:0:1:0:0:1:0:0', '::1:0:0:1:0:0'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'], ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ] as const) assert.equal(print6(words6(text)), canonical, text)
})

test('what is printed reads back, and agrees with the C library', () => {
  const word = fc.oneof(fc.constantFrom(0, 0, 1, 0x10000), int32)
  fc.assert(fc.property(fc.array(word, { minLength: 4, maxLength: 4 }), raw => {
    const words = Int32Array.from(raw), text = print6(words)
    assert.deepEqual(words6(text), words)
    // inet_ntop prints IPv4-compatible addresses (::/96) as quads, which RFC 4291 2.5.5.1 has retired.
    if (raw[0] !== 0 || raw[1] !== 0 || raw[2] !== 0) {
      assert.equal(new net.SocketAddress({ address: text, family: 'ipv6' }).address, text)
    }
  }))
  fc.assert(fc.property(int32, addr => assert.deepEqual(parse4(print4(addr)), { ok: true, value: addr })))
})

test('parsers accept what the C library accepts, zones aside, and never throw', () => {
  const piece = fc.constantFrom(':', '::', '.', '0', '00', '1', '12', '255', '256', 'f', 'abcd', '12345', '1.2.3.4',
    '/', '-', '%', ' ')
  fc.assert(fc.property(fc.array(piece, { maxLength: 18, size: 'max' }).map(all => all.join('')), text => {
    assert.equal(parse4(text).ok, net.isIPv4(text), text)
    if (!text.includes('%')) assert.equal(parse6(text, new Int32Array(4), 0).ok, net.isIPv6(text), text)
    for (const parsed of [parseAddress(text), parsePrefix(text), parseRange(text)]) {
      if (!parsed.ok) assert.ok(parsed.column >= 1 && parsed.column <= text.length + 1, text)
    }
  }), { numRuns: 20_000 })
  fc.assert(fc.property(fc.string(), text => { parseAddress(text); parsePrefix(text); parseRange(text) }))
})

test('a prefix tells of bits below its length and keeps them', () => {
  assert.equal(prefix('10.0.0.0/8').hostBits, false)
  assert.equal(prefix('10.1.0.0/8').hostBits, true)
  assert.equal(prefix('10.1.0.0/8').words[0], 0x0a010000)
  assert.equal(prefix('0.0.0.0/0').hostBits, false)
  assert.equal(prefix('192.0.2.8/29').prefixBits, 29)
  assert.equal(prefix('192.0.2.1/32').prefixBits, 32)
  assert.equal(prefix('::1/128').prefixBits, 128)
  assert.deepEqual(fault(parsePrefix('/8')), ['not an address', 1])
  assert.equal(prefix('2001:db8::1/64').hostBits, true)
  assert.equal(printPrefix(prefix('2001:DB8::/32')), '2001:db8::/32')
  assert.equal(printPrefix(prefix('192.0.2.1')), '192.0.2.1/32')
  assert.deepEqual(fault(parsePrefix('10.0.0.0/')), ['prefix length expected', 10])
  assert.deepEqual(fault(parsePrefix('10.0.0.0/33')), ['prefix length is too large', 10])
  assert.deepEqual(fault(parsePrefix('10.0.0.0/08')), ['prefix length has a leading zero', 10])
  assert.deepEqual(fault(parsePrefix('10.0.0.0/8x')), ['unexpected character', 11])
  assert.deepEqual(fault(parsePrefix('10.0.0/8')), ['an octet is missing', 7])
})

test('a range has both ends in order and of one version', () => {
  const parsed = parseRange('10.0.0.1-192.0.2.9')
  assert.ok(parsed.ok)
  assert.deepEqual([parsed.value.first[0], parsed.value.last[0]], [0x0a000001, 0xc0000209 | 0])
  assert.ok(parseRange('::1-::2').ok)
  assert.ok(parseRange('::1').ok)
  assert.ok(parseRange('10.0.0.1-10.0.0.1').ok)
  assert.deepEqual(fault(parseRange('-10.0.0.1')), ['not an address', 1])
  assert.deepEqual(fault(parseRange('192.0.2.9-10.0.0.1')), ['range runs backwards', 11])
  assert.deepEqual(fault(parseRange('10.0.0.1-::1')), ['range of two IP versions', 10])
  assert.deepEqual(fault(parseRange('10.0.0.1-10.0.0.300')), ['an octet is above 255', 17])
})

test('words are ordered as unsigned numbers', () => {
  const word = fc.oneof(fc.constantFrom(0, -1, 1, 2 ** 31 - 1, -(2 ** 31)), int32)
  fc.assert(fc.property(word, word, word, (a, b, c) => {
    assert.equal(Math.sign(compareWords(Int32Array.of(a, b), Int32Array.of(a, c))), Math.sign((b >>> 0) - (c >>> 0)))
    if (a !== c) {
      assert.equal(Math.sign(compareWords(Int32Array.of(a, b), Int32Array.of(c, b))), Math.sign((a >>> 0) - (c >>> 0)))
    }
  }))
})

test('an address of either version prints as it was read', () => {
  for (const text of ['192.0.2.1', '2001:db8::1']) {
    const parsed = parseAddress(text)
    assert.ok(parsed.ok)
    assert.equal(printAddress(parsed.value), text)
  }
})

test('the prefix set agrees with its model', () => {
  // Few values for the upper bits, so that prefixes meet the addresses asked for.
  const word = fc.oneof(fc.constantFrom(0, -1, 0x0a000000, 0x0a0000ff, 0x0a00ffff), int32)
  const prefixOf = (version: 4 | 6, words: number): fc.Arbitrary<Prefix> => fc.record({
    version: fc.constant(version), hostBits: fc.constant(true), prefixBits: fc.integer({ min: 0, max: 32 * words }),
    words: fc.array(word, { minLength: words, maxLength: words }).map(w => Int32Array.from(w)),
  })
  const lists = fc.array(fc.oneof(prefixOf(4, 1), prefixOf(6, 4)), { maxLength: 6 })
  const questions = fc.array(fc.tuple(word, fc.integer({ min: 0, max: 127 })), { maxLength: 20, size: 'max' })
  fc.assert(fc.property(lists, questions, (list, asked) => {
    const set = createPrefixSet(list), model = createModelPrefixSet(list)
    const addresses = [...asked.map(([w]) => w), ...list.map(p => p.words[0])]
    for (const addr of addresses) assert.equal(set.has4(addr), model.has4(addr), print4(addr))
    for (const p of list.filter(q => q.version === 6)) {
      for (const [, flip] of asked) {
        const near = Int32Array.from(p.words)
        near[flip >> 5] ^= 1 << (31 - (flip & 31))
        const [w0, w1, w2, w3] = near
        assert.equal(set.has6(w0, w1, w2, w3), model.has6(w0, w1, w2, w3))
      }
    }
  }), { numRuns: 1000 })
})

test('two neighbours of one prefix length are told apart', () => {
  const set = createPrefixSet([prefix('192.0.2.0/25'), prefix('172.16.0.0/12'), prefix('2001:db8::/33')])
  const at = (text: string) => { const p = parse4(text); return p.ok && set.has4(p.value) }
  assert.deepEqual(['192.0.2.127', '192.0.2.128', '172.31.255.255', '172.32.0.0', '172.15.255.255'].map(at),
    [true, false, true, false, false])
  assert.equal(set.has6(0x20010db8, 0x7fffffff, 0, 0), true)
  assert.equal(set.has6(0x20010db8, -1, 0, 0), false)
})
