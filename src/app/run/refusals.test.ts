import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DROP_FIRST, createCounters } from '../../channel/counters.ts'
import { reasonIndex } from '../../channel/reasons.ts'
import { createRefusals } from './refusals.ts'

test('refusals: a line says how many flows were refused and why, and nothing is said of other drops (RFC 6888 REQ-11c)', () => {
  const counters = createCounters(), lines: string[] = []
  counters[DROP_FIRST + reasonIndex('host-ports')] = 5
  const { tell } = createRefusals(counters, (line) => lines.push(line))
  tell()
  counters[DROP_FIRST + reasonIndex('filtered')] += 9
  tell()
  assert.deepEqual(lines, [])
  counters[DROP_FIRST + reasonIndex('host-ports')] += 3
  counters[DROP_FIRST + reasonIndex('no-outside-port')] += 1
  tell()
  tell()
  assert.deepEqual(lines, ['limits: 4 packets were refused a flow: host-ports 3, no-outside-port 1'])
})
