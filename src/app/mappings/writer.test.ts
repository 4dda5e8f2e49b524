import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ADDRESS_OPENED, BLOCK_CLOSED, BLOCK_OPENED, MAPPING_CLOSED, MAPPING_OPENED, createMappingLog,
} from '../../channel/mapping-log.ts'
import { createMappingWriter } from './writer.ts'

const START = Date.UTC(2026, 0, 2, 3, 4, 5)
const A = 0x0a000001, NAT = 0xcb007101 | 0

function rig(capacity = 8) {
  const log = createMappingLog(capacity), state = { lines: '', full: false, virtualMs: 0 }
  const sink = { isFull: () => state.full, write(text: string) { state.lines += text } }
  const writer = createMappingWriter(log, sink, () => ({ virtualMs: state.virtualMs, wallMs: START + state.virtualMs }))
  return { log, state, writer, read: () => state.lines.split('\n').slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>) }
}

// @req RFC6888 REQ-12
test('mappings: a line says what was mapped and when, and no destination (RFC 6888 REQ-12)', () => {
  const { log, state, writer, read } = rig()
  log.write(MAPPING_OPENED, 0, 17, A, 5004, NAT, 40_000, 40_000)
  log.write(MAPPING_CLOSED, 1500, 1, A, 7, NAT, 8, 8)
  log.write(MAPPING_OPENED, 1500, 47, A, 0, NAT, 0, 0)
  log.write(BLOCK_OPENED, 1600, 0, A, 0, NAT, 1024, 1087)
  log.write(BLOCK_CLOSED, 1600, 0, A, 0, NAT, 1024, 1087)
  log.write(ADDRESS_OPENED, 1600, 0, A, 0, NAT, 0, 0)
  state.virtualMs = 2000
  assert.equal(writer.drain(4), true)
  assert.equal(writer.drain(4), false)
  assert.deepEqual(read(), [
    { time: '2026-01-02T03:04:05.000Z', event: 'mapping-opened', protocol: 'udp', inside: '10.0.0.1:5004', outside: '203.0.113.1:40000' },
    { time: '2026-01-02T03:04:06.500Z', event: 'mapping-closed', protocol: 'icmp', inside: '10.0.0.1:7', outside: '203.0.113.1:8' },
    { time: '2026-01-02T03:04:06.500Z', event: 'mapping-opened', protocol: '47', inside: '10.0.0.1', outside: '203.0.113.1' },
    { time: '2026-01-02T03:04:06.600Z', event: 'block-opened', inside: '10.0.0.1', outside: '203.0.113.1', ports: '1024-1087' },
    { time: '2026-01-02T03:04:06.600Z', event: 'block-closed', inside: '10.0.0.1', outside: '203.0.113.1', ports: '1024-1087' },
    { time: '2026-01-02T03:04:06.600Z', event: 'address-opened', inside: '10.0.0.1', outside: '203.0.113.1' },
  ])
  assert.deepEqual([writer.written(), writer.lost()], [6, 0])
})

test('mappings: when nobody takes lines, records wait, then are lost, and a line behind those that waited says how many', () => {
  const { log, state, writer, read } = rig(4)
  state.full = true
  for (let n = 0; n < 7; n++) log.write(MAPPING_OPENED, 0, 6, A, n, NAT, n, n)
  assert.equal(writer.drain(100), false)
  assert.equal(state.lines, '')
  state.full = false
  assert.equal(writer.drain(100), false)
  assert.deepEqual(read().map(({ event, count }) => count ?? event), ['mapping-opened', 'mapping-opened', 'mapping-opened', 'mapping-opened', 3])
  assert.deepEqual([writer.written(), writer.lost()], [4, 3])
  assert.equal(writer.drain(100), false)
  assert.equal(read().length, 5, 'it is told once')
})

test('mappings: times are right when virtual time has gone around int32', () => {
  const { log, state, writer, read } = rig()
  log.write(MAPPING_OPENED, 0x7fffffff, 6, A, 1, NAT, 1, 1)
  state.virtualMs = 2 ** 31 + 1000
  writer.drain(1)
  assert.equal(Date.parse(read()[0].time as string) - START, 0x7fffffff)
})
