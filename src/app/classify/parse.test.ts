import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RULE_KEY_WORDS } from '../../storage/classifier.ts'
import { MOST_RULES, parseFilters } from './filters.ts'
import { parseHeaders } from './headers.ts'

const filters = (text: string) => parseFilters(Buffer.from(text))
const headers = (text: string) => parseHeaders(Buffer.from(text))
const RULE = '@192.0.2.0/24\t198.51.100.7/32\t0 : 65535\t53 : 54\t0x11/0xFF\t0x1000/0x0200\t\n'

test('rules: each field of a filter becomes a part of the condition, flags do not', () => {
  const { count, keys, faults } = filters(RULE)
  assert.deepEqual([count, faults], [1, []])
  const [source, destination] = [0xc0000200 | 0, 0xc6336407 | 0]
  assert.deepEqual([...keys.subarray(0, RULE_KEY_WORDS)],
    [4, 1, 17, 24, 32, 0xffff, 53 << 16 | 54, 0, source, 0, 0, 0, destination, 0, 0, 0])
})

test('rules: blanks of any kind, missing flags, lower case, CR and empty lines are no matter', () => {
  const { keys } = filters(RULE)
  for (const text of [
    '@192.0.2.0/24 198.51.100.7/32 0:65535 53:54 0x11/0xff', '  @192.0.2.0/24  198.51.100.7/32  0 :65535  53: 54  0X11/0xFF \r\n',
    `\n \r\n\n${RULE.trimEnd()}\r\n\n`,
  ]) {
    const { count, keys: read, faults } = filters(text)
    assert.deepEqual([count, faults], [1, []], text)
    assert.deepEqual(read.subarray(0, RULE_KEY_WORDS), keys.subarray(0, RULE_KEY_WORDS))
  }
})

test('rules: a protocol mask of 0x00 is any protocol', () => {
  assert.equal(filters('@0.0.0.0/0 0.0.0.0/0 0 : 0 0 : 0 0x06/0x00 0x0000/0x0000').keys[2], -1)
})

test('rules: what is wrong is named with its line and column', () => {
  const cases: [text: string, line: number, column: number, message: RegExp][] = [
    ['192.0.2.0/24', 1, 1, /^@ is needed here, not "192\.0\.2\.0\/24"/],
    [`${RULE}@192.0.256.0/24`, 2, 8, /^a byte of an IPv4 address is at most 255/],
    [`${RULE}\n  @192.0.2/24`, 3, 11, /^\. is needed here, not "\/24"/],
    ['@192.0.2.0/33', 1, 12, /^a prefix length is at most 32/],
    ['@192.0.2.0/24', 1, 14, /^a byte of an IPv4 address is needed here, not the end of the line/],
    ['@192.0.2.0/24x 1.2.3.4/5', 1, 14, /^a blank is needed here, not "x"/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 65536 ', 1, 26, /^a port is at most 65535/],
    ['@1.2.3.4/8 1.2.3.4/8 80 : 53 ', 1, 22, /^the range 80 : 53 ends before it begins/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 1 7 - 8', 1, 30, /^: is needed here, not "-"/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 1 7 : 8 6/0xFF', 1, 34, /^a protocol such as 0xff is needed here, not "6\/0xFF"/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 1 7 : 8 0x/0xFF', 1, 34, /^a protocol such as 0xff is needed/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 1 7 : 8 0x06/0xF0', 1, 39, /^a protocol mask is 0xFF .* or 0x00 .*; no other is supported/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 1 7 : 8 0x06/0xFF 0x1/10000', 1, 48, /^a mask of TCP flags such as 0xffff is needed/],
    ['@1.2.3.4/8 1.2.3.4/8 0 : 1 7 : 8 0x06/0xFF 0x1/0x1 drop', 1, 52, /^a rule ends with its TCP flags/],
    ['@2001:db8::1/64 ::/0', 1, 2, /^a byte of an IPv4 address is at most 255/],
  ]
  for (const [text, line, column, message] of cases) {
    const [fault, ...more] = filters(text).faults
    assert.deepEqual([fault?.line, fault?.column, more], [line, column, []], `${text}: ${fault?.message}`)
    assert.match(fault.message, message)
  }
})

test('rules: several faults are named, ten at the most', () => {
  assert.deepEqual(filters(`x\n${RULE}y\n`).faults.map(({ line }) => line), [1, 3])
  assert.equal(filters('x\n'.repeat(100)).faults.length, 10)
})

test('rules: there are at most as many as a classifier takes', () => {
  const rule = '@1.2.3.4/8 1.2.3.4/8 0:0 0:0 0x06/0xFF\n', bytes = Buffer.alloc(rule.length * (MOST_RULES + 2), rule)
  const { count, faults } = parseFilters(bytes)
  assert.equal(count, MOST_RULES)
  assert.deepEqual(faults.map(({ line, message }) => [line, message]), [[MOST_RULES + 1, `there are more than ${MOST_RULES} rules`]])
})

test('headers: five decimal numbers, and whatever follows', () => {
  const { count, sources, destinations, ports, protocols, fault } = headers('4294967295\t1\t65535\t53\t17\t0x55 what\n\n0 0 0 0 0')
  assert.deepEqual([count, fault], [2, null])
  assert.deepEqual([sources[0], destinations[0], ports[0], protocols[0]], [-1, 1, 65535 << 16 | 53, 17])
  assert.deepEqual([sources[1], destinations[1], ports[1], protocols[1]], [0, 0, 0, 0])
})

test('headers: they end at the first fault, which is named with its line and column', () => {
  const cases: [text: string, line: number, column: number, message: RegExp][] = [
    ['1 2 3 4 5\n1 2 3 4', 2, 8, /^a protocol is needed here, not the end of the line/],
    ['1 2 3 4 5\n\n1 2 3 4 256\n1 2 3 4 5', 3, 9, /^a protocol is at most 255/],
    ['1 2 3 4 5\n4294967296 2 3 4 5', 2, 1, /^an address is at most 4294967295/],
    ['1 2 3 4 5\n1.2.3.4 2 3 4 5', 2, 2, /^a blank is needed here, not "\.2\.3\.4"/],
    ['1 2 3 4 5\n-1 2 3 4 5', 2, 1, /^an address is needed here, not "-1"/],
  ]
  for (const [text, line, column, message] of cases) {
    const { count, fault } = headers(text)
    assert.deepEqual([count, fault?.line, fault?.column], [1, line, column], `${text}: ${fault?.message}`)
    assert.match(fault!.message, message)
  }
})

test('rules and headers: any bytes at all are read or refused, and a fault lies within the text', () => {
  const pieces = fc.array(fc.constantFrom('@', '1', '255', '.', '/', ' ', '\t', ':', '0x', 'ff', '\n', '\r', '\0', 'é', '99999999999'))
  fc.assert(fc.property(pieces, (parts) => {
    const bytes = Buffer.from(parts.join('')), lines = bytes.toString('latin1').split('\n')
    const { fault } = parseHeaders(bytes)
    for (const one of [...parseFilters(bytes).faults, ...fault === null ? [] : [fault]]) {
      assert.ok(one.line >= 1 && one.line <= lines.length && one.column >= 1 && one.column <= lines[one.line - 1].length + 1)
    }
  }), { numRuns: 2000 })
})
