import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ipOptions, tcpAspect } from './firewall-asked.ts'
import { IP_OPTIONS, TCP_OPTIONS } from './firewall-rule.ts'

const AT = 3
/** What lies behind an option must not be taken for options. */
const BEHIND = [2, 2, 137, 3, 8, 2]
const { mss, window, sack, ts, cc } = TCP_OPTIONS

function ipOptionsOf(options: readonly number[], bytes = options.length): number {
  return ipOptions(new DataView(Uint8Array.from([...new Array<number>(AT + 20).fill(7), ...options, ...BEHIND]).buffer), AT, 20 + bytes)
}

/** `there`: bytes of the header that were captured. */
function tcpOptionsOf(options: readonly number[], there = 20 + options.length): number {
  const view = new DataView(Uint8Array.from([...new Array<number>(AT + 20).fill(2), ...options, ...BEHIND]).buffer)
  view.setUint8(AT + 12, 20 + options.length << 2 | 0xf)
  view.setUint8(AT + 13, 0xff)
  const aspect = tcpAspect(view, AT, AT + there)
  assert.equal(aspect & 63, 63)
  return aspect >>> 6
}

test('IP options are known by their numbers, wherever they stand', () => {
  const { ssrr, lsrr, rr, ts: time } = IP_OPTIONS
  assert.deepEqual([[137, 3, 4, 0], [131, 3, 4, 0], [7, 3, 4, 1], [68, 4, 5, 0], [148, 4, 0, 0], [136, 4, 0, 0]].map((one) => ipOptionsOf(one)),
    [ssrr, lsrr, rr, time, 0, 0])
  assert.equal(ipOptionsOf([1, 7, 3, 4, 1, 1, 68, 4, 5, 0, 131, 2]), rr | time | lsrr)
  assert.equal(ipOptionsOf([]), 0)
})

test('TCP options are known by their numbers, beside all six flags, wherever they stand', () => {
  assert.deepEqual([
    [2, 4, 5, 180], [3, 3, 7, 0], [4, 2, 1, 1], [5, 4, 0, 0], [8, 2, 1, 1], [11, 2, 1, 1], [12, 2, 1, 1], [13, 2, 1, 1], [6, 2, 1, 1], [14, 2, 1, 1],
  ].map((one) => tcpOptionsOf(one)), [mss, window, sack, sack, ts, cc, cc, cc, 0, 0])
  assert.equal(tcpOptionsOf([1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 7, 4, 2, 2, 4, 5, 180, 1, 1, 1]), ts | window | sack | mss)
  assert.equal(tcpOptionsOf([...new Array<number>(38).fill(1), 4, 2]), sack)
  assert.equal(tcpOptionsOf([]), 0)
})

test('a list of options ends at its end mark, and where it makes no sense', () => {
  for (const end of [[0, 1, 1, 1], [3, 1, 1, 1], [3, 0, 1, 1]]) {
    assert.equal(tcpOptionsOf([2, 4, 5, 180, ...end, 4, 2, 1, 1]), mss, end.join(' '))
    assert.equal(ipOptionsOf([68, 4, 5, 0, ...end, 7, 2, 1, 1]), IP_OPTIONS.ts, end.join(' '))
  }
  // An option is whole or not there: it would end behind the header, or has no length.
  assert.equal(tcpOptionsOf([2, 4, 5, 180, 1, 8, 4, 0]), mss)
  assert.equal(tcpOptionsOf([2, 4, 5, 180, 1, 1, 1, 8]), mss)
  assert.equal(tcpOptionsOf([2, 4, 5, 180, 1, 1, 8, 2]), mss | ts)
  assert.equal(ipOptionsOf([7, 3, 4, 68]), IP_OPTIONS.rr)
})

test('TCP options beyond what was captured are not there', () => {
  const options = [4, 2, 2, 4, 5, 180, 3, 3, 7, 1, 1, 1]
  assert.deepEqual([20, 21, 22, 25, 26, 28, 29, 32].map((there) => tcpOptionsOf(options, there)),
    [0, 0, sack, sack, sack | mss, sack | mss, sack | mss | window, sack | mss | window])
  assert.equal(tcpOptionsOf([3, 3, 7, 1], 30), window, 'data behind the header')
})
