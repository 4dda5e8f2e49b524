import test from 'node:test'
import assert from 'node:assert/strict'
import { POOL_SLACK_BYTES, createFrames } from './frames.ts'

test('a batch has one pool with one view over it, and columns of its capacity', () => {
  const frames = createFrames({ capacity: 5, poolBytes: 100 })
  assert.equal(frames.pool.buffer, frames.view.buffer)
  assert.deepEqual([frames.pool.length, frames.view.byteLength], [100, 100 + POOL_SLACK_BYTES])
  const columns = Object.entries(frames).filter(([name]) => !['pool', 'view', 'capacity'].includes(name))
  assert.ok(columns.length > 0)
  for (const [name, column] of columns) assert.equal(column.length, frames.capacity, name)
})

test('the time stamp column holds seconds beyond 2038', () => {
  const frames = createFrames({ capacity: 1, poolBytes: 1 })
  frames.sec[0] = 2 ** 40
  assert.equal(frames.sec[0], 2 ** 40)
})
