import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LOG_AT_MS, LOG_INSIDE, LOG_LAST_PORT, LOG_OP, LOG_OUTSIDE_PORT, MAPPING_OPENED, createMappingLog } from './mapping-log.ts'

test('mapping-log: records come out as they went in, around the end of the ring; what finds no room is counted and changes nothing', () => {
  const log = createMappingLog(4)
  let next = 0, read = 0
  for (let round = 0; round < 50; round++) {
    const writes = 1 + round % 6, room = 4 - (next - read)
    for (let n = 0; n < writes; n++) log.write(MAPPING_OPENED, next + n, 17, next + n, 1, 2, 3, 4)
    next += Math.min(writes, room)
    const lost = log.lost()
    for (let n = 0; n < 1 + round % 4 && read < next; n++, read++) {
      const at = log.peek()
      assert.deepEqual([LOG_OP, LOG_AT_MS, LOG_INSIDE, LOG_OUTSIDE_PORT, LOG_LAST_PORT].map((word) => log.words[at + word]), [MAPPING_OPENED, read, read, 3, 4])
      log.done()
    }
    assert.equal(log.peek() < 0, read === next)
    assert.equal(log.lost(), lost)
  }
  assert.ok(log.lost() > 0)
})
