import test from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../base/prng.ts'
import { ensure } from './codec.ts'
import { Outbox, OutputPool, type Link } from './outbox.ts'

/** A link that takes what it is given, or does not while `isStuck`; and a data plane that has come as far as `applied`. */
class Box implements Link {
  readonly pool = new OutputPool()
  applied = 0
  isStuck = false
  queuedBytes = 0
  writes = 0
  readonly outbox = new Outbox(this, { appliedTicket: () => this.applied }, this.pool)
  private sent: Buffer[] = []

  write(buffer: Uint8Array, bytes: number): void {
    this.writes++
    this.sent.push(Buffer.from(buffer.subarray(0, bytes)))
    if (this.isStuck) this.queuedBytes += bytes
  }

  /** So many octets of that value, which leave when the ticket has been applied; without one at once. */
  put(value: number, bytes: number, ticket?: number): void {
    const { output } = this.outbox, start = output.end
    ensure(output, bytes)
    output.bytes.fill(value, start, start + bytes)
    output.end += bytes
    if (ticket !== undefined) this.outbox.holdFrom(start, ticket)
  }

  /** What has been written since the last call, in runs of one value: value and length. */
  runs(): [number, number][] {
    const bytes = Buffer.concat(this.sent), runs: [number, number][] = []
    this.sent = []
    for (const value of bytes) {
      if (runs.at(-1)?.[0] === value) runs.at(-1)![1]++
      else runs.push([value, 1])
    }
    return runs
  }
}

test('what stands behind a ticket waits whole and in order, also when it is longer than a fresh buffer', () => {
  for (const bytes of [10, 4096, 4097, 5000, 100_000]) {
    const box = new Box()
    box.put(1, 20)
    box.put(2, bytes, 7)
    box.put(3, bytes)
    box.put(4, 30, 8)
    assert.equal(box.outbox.flush(), 20)
    assert.deepEqual(box.runs(), [[1, 20]])
    assert.deepEqual([box.outbox.queuedBytes, box.outbox.isHeld, box.outbox.isEmpty], [2 * bytes + 30, true, false])
    box.put(5, bytes)
    box.applied = 7
    assert.equal(box.outbox.flush(), 2 * bytes)
    box.applied = 8
    assert.equal(box.outbox.flush(), 30 + bytes)
    assert.deepEqual(box.runs(), [[2, bytes], [3, bytes], [4, 30], [5, bytes]])
    assert.deepEqual([box.writes, box.outbox.queuedBytes, box.outbox.isHeld, box.outbox.isEmpty], [3, 0, false, true])
  }
})

test('while the other side takes nothing all gathers, and leaves in one write when it has', () => {
  const box = new Box()
  box.isStuck = true
  box.put(1, 10)
  assert.equal(box.outbox.flush(), 10)
  for (const value of [2, 3]) {
    box.put(value, 10)
    assert.equal(box.outbox.flush(), 0)
  }
  assert.deepEqual([box.writes, box.outbox.queuedBytes, box.outbox.isHeld, box.outbox.isEmpty], [1, 30, false, false])
  box.queuedBytes = 0
  box.outbox.written()
  assert.equal(box.outbox.flush(), 20)
  assert.deepEqual([box.writes, box.runs()], [2, [[1, 10], [2, 10], [3, 10]]])
})

test('tickets count on past 2^31: what waits for those behind it waits', () => {
  const box = new Box()
  box.applied = 0x7ffffffe
  for (const [value, ticket] of [[1, 0x7fffffff], [2, -0x80000000], [3, -0x7fffffff]] as const) box.put(value, 10, ticket)
  const seen = [0x7ffffffe, 0x7fffffff, -0x80000000, -0x7fffffff].map((applied) => {
    box.applied = applied
    return box.outbox.flush()
  })
  assert.deepEqual(seen, [0, 10, 10, 10])
})

test('a connection at rest holds no buffer; of those that come back few are kept, and none that has grown long', () => {
  const box = new Box(), first = box.outbox.output
  box.put(1, 10)
  box.outbox.flush()
  assert.equal(box.pool.take(), first)
  assert.equal(first.end, 0)
  const long = new Box()
  long.put(1, 200_000)
  const grown = long.outbox.output.bytes
  long.outbox.flush()
  assert.notEqual(long.pool.take().bytes, grown)
  // Lost with its connection: what was not sent serves others.
  const lost = new Box(), its = lost.outbox.output
  lost.put(1, 10, 5)
  lost.outbox.clear()
  assert.deepEqual([lost.outbox.queuedBytes, lost.outbox.isEmpty, lost.pool.take()], [0, true, its])
  assert.equal(its.end, 0)
  const pool = new OutputPool(), all = Array.from({ length: 1000 }, () => pool.take())
  for (const one of all) pool.give(one)
  const kept = new Set(all)
  let again = 0
  while (kept.has(pool.take())) again++
  assert.ok(again >= 64 && again <= 256, `${again} of 1000 buffers of 4 KiB are kept`)
})

const seed = 4540
test(`octets leave once, in order, and never before their tickets (against a plain list, seed ${seed})`, () => {
  const prng = createPrng(seed), below = (n: number) => (prng.next() >>> 0) % n
  for (let round = 0; round < 50; round++) {
    const box = new Box(), list: { value: number; bytes: number; ticket: number }[] = []
    let ticket = 0, last = 0, put = 0, got = 0
    for (let step = 0; step < 200; step++) {
      switch (below(5)) {
        case 0: case 1: {
          if (below(2) === 0) ticket += below(3)
          const isHeld = below(2) === 0, bytes = 1 + below(below(10) === 0 ? 9000 : 60)
          if (isHeld) last = ticket
          const value = ++put & 255
          box.put(value, bytes, isHeld ? ticket : undefined)
          list.push({ value, bytes, ticket: last })
          break
        }
        case 2: box.applied = Math.min(ticket, box.applied + below(4)); break
        case 3: box.isStuck = !box.isStuck; break
        default:
          box.queuedBytes = 0
          box.outbox.written()
      }
      box.outbox.flush()
      for (const [value, bytes] of box.runs()) {
        for (let left = bytes; left > 0; got++) {
          const one = list[got]!
          assert.ok(one.ticket <= box.applied, `${one.ticket} of ${box.applied}`)
          assert.equal(one.value, value)
          left -= one.bytes
          assert.ok(left >= 0, 'whole replies')
        }
      }
      if (box.queuedBytes === 0) assert.ok(got === list.length || list[got]!.ticket > box.applied, 'what may leave has left')
    }
  }
})
