import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCounters, counterIndex } from '../../channel/counters.ts'
import { createMappingLog, LOG_AT_MS, LOG_INSIDE_PORT, LOG_OP, MAPPING_OPENED } from '../../channel/mapping-log.ts'
import type { FirewallReport } from '../firewall/report.ts'
import { joinedFirewall, joinedLog } from './joined.ts'

test('records of all workers come out of one log: each worker\'s in order, one after the other in turn, and losses in sum', () => {
  const logs = Array.from({ length: 3 }, () => createMappingLog(4)), joined = joinedLog(logs)
  assert.equal(joined.peek(), -1)
  const write = (worker: number, n: number) => logs[worker]!.write(MAPPING_OPENED, n, 17, 1, 100 * worker + n, 2, 3, 4)
  for (let n = 0; n < 3; n++) write(0, n)
  for (let n = 0; n < 6; n++) write(2, n)
  const read: number[] = []
  for (let at = joined.peek(); at >= 0; at = joined.peek()) {
    assert.equal(joined.peek(), at, 'until it is done it is the same')
    assert.deepEqual([joined.words[at + LOG_OP], joined.words[at + LOG_AT_MS]], [MAPPING_OPENED, joined.words[at + LOG_INSIDE_PORT]! % 100])
    read.push(joined.words[at + LOG_INSIDE_PORT]!)
    joined.done()
  }
  assert.deepEqual(read, [0, 200, 1, 201, 2, 202, 203])
  assert.equal(joined.lost(), 2)
  write(1, 9)
  assert.equal(joined.words[joined.peek() + LOG_INSIDE_PORT], 109)
  joined.done()
  assert.equal(joined.peek(), -1)
})

test('hits of firewall rules are those of all workers, by rule; replacements are of the box', () => {
  const report = (base: number): FirewallReport => ({
    rules: [1, 2].map((number) => ({ number, name: null, line: number, rule: `rule ${number}`, packets: base + number, bytes: 100 * base + number })),
    unmatched: { packets: base, bytes: 10 * base }, replacements: base, flowsEnded: 77,
  })
  const counters = createCounters()
  counters[counterIndex('firewall-flows-ended')] = 9
  assert.equal(joinedFirewall([], counters), null)
  assert.deepEqual(joinedFirewall([report(1), report(5), { ...report(3), rules: [] }], counters), {
    rules: [1, 2].map((number) => ({ number, name: null, line: number, rule: `rule ${number}`, packets: 6 + 2 * number, bytes: 600 + 2 * number })),
    unmatched: { packets: 9, bytes: 90 }, replacements: 5, flowsEnded: 9,
  })
})
