import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../base/prng.ts'
import { createCommandFan, createCommandReader } from './command-fan.ts'
import {
  COMMAND_WORDS, COUNT, FLAGS, INSIDE_ADDRESS, INSIDE_PORT, LOCAL, LOCAL_PORT, OP, OP_BIND_ADDRESS, OP_BIND_INSIDE, OP_BIND_PORTS,
  OP_RULE_ADD, OP_RULE_DELETE, OP_UNBIND_ADDRESS, OP_UNBIND_INSIDE, OP_UNBIND_PORTS, OUTSIDE_ADDRESS, OUTSIDE_PORT, PEER, PEER_PORT,
  PROTOCOL, RULE,
} from './commands.ts'

const READERS = 3, CAPACITY = 16

/** @param start number of the record before the first one */
function fan(start = 0) {
  const words = new Int32Array(1 + READERS).fill(start), commands = new Int32Array(CAPACITY * COMMAND_WORDS)
  const heads = { words, written: 0, appliedOf: (reader: number) => 1 + reader }
  const begun: number[] = []
  const writer = createCommandFan(CAPACITY, READERS, heads, commands, (rule) => begun.push(rule))
  const reader = (n: number) => createCommandReader(CAPACITY, n, heads, commands)
  const write = (op: number, fields: Record<number, number>) => {
    const at = writer.next()
    writer.words[at + OP] = op
    for (const [word, value] of Object.entries(fields)) writer.words[at + Number(word)] = value
    writer.publish()
  }
  return { writer, reader, write, begun, words }
}

test('commands for several readers: applied is what all have carried out, and who leaves keeps nobody waiting', () => {
  const { writer, reader, write } = fan()
  const [a, b] = [reader(0), reader(1)]
  writer.join(0)
  writer.join(1)
  write(OP_RULE_ADD, { [RULE]: 1 })
  write(OP_RULE_ADD, { [RULE]: 2 })
  assert.equal(writer.written(), 2)
  for (const wanted of [1, 2]) {
    const at = a.peek()
    assert.equal(a.words[at + RULE], wanted)
    assert.equal(a.peek(), at, 'until it is done it is the same')
    a.done()
  }
  assert.equal(a.peek(), -1)
  assert.equal(writer.applied(), 0)
  b.peek()
  b.done()
  assert.equal(writer.applied(), 1)
  assert.equal(writer.room(), CAPACITY - 1)
  writer.leave(1)
  assert.equal(writer.applied(), 2)
  assert.equal(writer.room(), CAPACITY)
})

test('commands without any reader are applied at once, and told to whoever joins later', () => {
  const { writer, reader, write, begun } = fan()
  for (let rule = 1; rule <= 40; rule++) write(OP_RULE_ADD, { [RULE]: rule })
  for (let rule = 1; rule <= 38; rule++) write(OP_RULE_DELETE, { [RULE]: rule })
  assert.equal(writer.room(), CAPACITY)
  assert.deepEqual(begun, Array.from({ length: 40 }, (_, n) => n + 1))
  const one = reader(2)
  one.restore(writer.join(2))
  write(OP_RULE_ADD, { [RULE]: 77 })
  const met: number[] = []
  for (let at = one.peek(); at >= 0; at = one.peek()) {
    met.push(one.words[at + RULE]!)
    one.done()
  }
  assert.deepEqual(met, [39, 40, 77])
  assert.equal(writer.applied(), writer.written())
})

test('commands: each kind of binding stands until its end, as often as it was told; the words of a record are its own', () => {
  const { writer, reader, write } = fan()
  const fields = { [PROTOCOL]: 17, [COUNT]: 2, [LOCAL]: 5, [LOCAL_PORT]: 6, [PEER]: 7, [PEER_PORT]: 8, [INSIDE_ADDRESS]: 9, [INSIDE_PORT]: 10, [OUTSIDE_ADDRESS]: 11, [OUTSIDE_PORT]: 12 }
  const kinds = [[OP_BIND_PORTS, OP_UNBIND_PORTS], [OP_BIND_ADDRESS, OP_UNBIND_ADDRESS], [OP_BIND_INSIDE, OP_UNBIND_INSIDE]] as const
  const standing = () => {
    const ring = reader(0), ops: number[] = []
    ring.restore(writer.join(0))
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      ops.push(ring.words[at + OP]!)
      for (const [word, value] of Object.entries(fields)) assert.equal(ring.words[at + Number(word)], value)
      ring.done()
    }
    return ops
  }
  for (const [bind] of kinds) for (let n = 0; n < 2; n++) write(bind, fields)
  assert.deepEqual(standing(), kinds.flatMap(([bind]) => [bind, bind]))
  // One of another port, or of another kind, ends none of these.
  for (const word of Object.keys(fields)) write(OP_UNBIND_PORTS, { ...fields, [word]: 1 })
  assert.equal(standing().length, 6)
  for (const [, unbind] of kinds) write(unbind, fields)
  assert.deepEqual(standing(), kinds.map(([bind]) => bind))
  for (const [, unbind] of kinds) write(unbind, fields)
  assert.deepEqual(standing(), [])
  // What stood in the ring before is in no record: it has gone round by now.
  for (let n = 0; n < CAPACITY; n++) write(OP_BIND_PORTS, { ...fields, [FLAGS]: 77 })
  const ring = reader(1)
  ring.restore(writer.join(1))
  while (ring.peek() >= 0) ring.done()
  write(OP_RULE_ADD, { [RULE]: 4 })
  const at = ring.peek()
  assert.deepEqual([...ring.words.subarray(at, at + COMMAND_WORDS)], Array.from({ length: COMMAND_WORDS }, (_, n) => n === OP ? OP_RULE_ADD : n === RULE ? 4 : 0))
})

test('commands: what is restored a second time is restored from its beginning, and numbers that go round are as good as others', () => {
  const { writer, reader, write, words } = fan()
  for (let rule = 1; rule <= 3; rule++) write(OP_RULE_ADD, { [RULE]: rule })
  const one = reader(0), met: number[] = []
  one.restore(writer.join(0))
  one.peek()
  one.done()
  one.restore(writer.join(0))
  for (let at = one.peek(); at >= 0; at = one.peek()) {
    met.push(one.words[at + RULE]!)
    one.done()
  }
  assert.deepEqual(met, [1, 2, 3])
  assert.equal(one.room(), 0)
  assert.throws(() => one.next(), /writes no commands/)
  assert.equal(words[0], 3)

  const late = fan(0x7fffffff)
  const [a, b] = [late.reader(0), late.reader(1)]
  for (const [n, ring] of [a, b].entries()) ring.restore(late.writer.join(n))
  for (let n = 0; n < 4; n++) late.write(OP_RULE_ADD, { [RULE]: 50 + n })
  a.peek()
  a.done()
  assert.deepEqual([late.writer.room(), late.writer.applied()], [CAPACITY - 4, 0x7fffffff])
  for (let n = 0; n < 2; n++) {
    b.peek()
    b.done()
  }
  assert.deepEqual([late.writer.room(), late.writer.applied()], [CAPACITY - 3, 0x80000000 | 0])
})

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)

test(`readers that come and go know what one knows that was there all the time (seed ${seed})`, () => {
  const { below } = createPrng(seed), { writer, reader, write } = fan()
  // A reader as its rules and bindings, with how often each stands.
  type Known = Map<string, number>
  const apply = (known: Known, words: Int32Array, at: number) => {
    const op = words[at + OP]!
    const name = op === OP_RULE_ADD || op === OP_RULE_DELETE ? `rule ${words[at + RULE]}`
      : `ports ${[PROTOCOL, COUNT, LOCAL, LOCAL_PORT, OUTSIDE_ADDRESS, OUTSIDE_PORT].map((word) => words[at + word]).join(' ')}`
    const count = (known.get(name) ?? 0) + (op === OP_RULE_ADD || op === OP_BIND_PORTS ? 1 : -1)
    if (count === 0) known.delete(name)
    else known.set(name, count)
  }
  const steady = { ring: reader(0), known: new Map() as Known }
  steady.ring.restore(writer.join(0))
  let others = [1, 2].map((n) => ({ n, ring: reader(n), known: new Map() as Known, isThere: false }))
  const standing = new Set<number>(), bound: Record<number, number>[] = []
  const drain = (one: { ring: ReturnType<typeof reader>; known: Known }, most: number) => {
    for (let n = 0, at = one.ring.peek(); at >= 0 && n < most; n++, at = one.ring.peek()) {
      apply(one.known, one.ring.words, at)
      one.ring.done()
    }
  }
  for (let step = 0; step < 4000; step++) {
    const what = below(10)
    // What stands is carried out before anything of the ring, so that this may take several turns.
    while (writer.room() === 0) for (const one of [steady, ...others.filter(({ isThere }) => isThere)]) drain(one, 100)
    const rule = 1 + below(20)
    if (what < 3) {
      write(standing.has(rule) ? OP_RULE_DELETE : OP_RULE_ADD, { [RULE]: rule })
      if (!standing.delete(rule)) standing.add(rule)
    } else if (what < 5) {
      const binding = { [PROTOCOL]: 17, [COUNT]: 1 + below(2), [LOCAL]: below(3), [LOCAL_PORT]: below(3), [OUTSIDE_ADDRESS]: 9, [OUTSIDE_PORT]: below(4) }
      bound.push(binding)
      write(OP_BIND_PORTS, binding)
    } else if (what < 7 && bound.length > 0) write(OP_UNBIND_PORTS, bound.splice(below(bound.length), 1)[0]!)
    else if (what === 7) drain(steady, below(5))
    else {
      const n = below(2), one = others[n]!
      if (!one.isThere) {
        const fresh = { ...one, ring: reader(one.n), known: new Map() as Known, isThere: true }
        fresh.ring.restore(writer.join(one.n))
        others = others.with(n, fresh)
      } else if (below(4) === 0) {
        writer.leave(one.n)
        one.isThere = false
      } else drain(one, below(8))
    }
  }
  drain(steady, Infinity)
  assert.equal(steady.known.size, standing.size + new Set(bound.map((one) => JSON.stringify(one))).size)
  for (const one of others.filter(({ isThere }) => isThere)) {
    drain(one, Infinity)
    assert.deepEqual([...one.known].sort(), [...steady.known].sort())
  }
  assert.equal(writer.applied(), writer.written())
})
