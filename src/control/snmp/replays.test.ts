import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SeenSets } from './replays.ts'

const mac = (n: number) => {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt32BE(n, 2)
  return bytes
}

test('replays: a message passes once', () => {
  const seen = new SeenSets(8, 150)
  assert.equal(seen.add('u', mac(1), 10, 10), true)
  assert.equal(seen.add('u', mac(2), 10, 10), true)
  assert.equal(seen.add('u', mac(1), 10, 160), false)
})

test('replays: what is forgotten for want of room is refused by its time, for that user only, and never passes again', () => {
  const seen = new SeenSets(4, 150)
  for (let n = 0; n < 4; n++) assert.equal(seen.add('u', mac(n), 10 + n, 14), true)
  assert.equal(seen.isForgotten('u', 10), false)
  assert.equal(seen.add('v', mac(100), 14, 14), true)
  // The oldest, of second 10, is gone: so is every message of second 10.
  assert.deepEqual([seen.isForgotten('u', 10), seen.isForgotten('u', 11), seen.isForgotten('v', 10)], [true, false, false])
  for (let n = 0; n < 1000; n++) {
    const time = 20 + n
    assert.equal(seen.add('u', mac(200 + n), time, time), true)
    for (let back = 0; back <= n; back += 97) {
      assert.ok(seen.isForgotten('u', time - back) || !seen.add('u', mac(200 + n - back), time - back, time), `${n} ${back}`)
    }
  }
})

test('replays: what the window refuses by itself is forgotten without a trace', () => {
  const seen = new SeenSets(2, 150)
  seen.add('u', mac(1), 10, 10)
  seen.add('u', mac(2), 10, 10)
  seen.add('u', mac(3), 500, 500)
  assert.equal(seen.isForgotten('u', 10), false)
})
