/** How sessions share the one thread of a server: turns, slices, and what leaves when. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { SE, box, dial, per, until } from './server-testing.ts'
import { createFakeTimers, octets } from './testing.ts'

test('requests that take long do not hold up other sessions: the time of all is parted in turns', async t => {
  let nowMs = 0
  const { port, policy } = await box(t, { timers: { nowMs: () => nowMs, after: () => ({ cancel: () => { /* nothing is due */ } }) } })
  const busy = await dial(port), other = await dial(port)
  for (const client of [busy, other]) await client.send(SE).take()
  const lists = Array.from({ length: 200 }, (_, n) => '01220000' + (100 + n).toString(16).padStart(8, '0'))
  // Each list takes as long as a turn.
  policy.refuse = what => {
    if (what === 'list') nowMs += 4
    return undefined
  }
  busy.send(...lists)
  other.send('0121000800000500 0005000400000001')
  assert.match((await other.take())[0]!, /^0343/)
  assert.equal((await busy.take(200)).length, 200)
  assert.ok(policy.asked.indexOf('status') < policy.asked.lastIndexOf('list') - 10, 'the other was heard in between')
})

test('sessions are served in the order in which their requests came, over many turns; who comes later waits for them', { timeout: 20_000 }, async t => {
  const CLIENTS = 60, EACH = 16
  const { port } = await box(t, { timers: createFakeTimers() })
  const clients = await Promise.all(Array.from({ length: CLIENTS + 1 }, () => dial(port)))
  for (const client of clients) await client.send(SE).take()
  const batch = Array.from({ length: EACH }, (_, n) => per(100 + n))
  // Another order than that in which they have connected.
  const order = Array.from({ length: CLIENTS }, (_, n) => clients[n * 7 % CLIENTS]!), latecomer = clients[CLIENTS]!
  for (const client of order) client.send(...batch)
  setImmediate(() => setImmediate(() => { latecomer.send(...batch) }))
  const firstRules: number[] = []
  for (const client of [...order, latecomer]) {
    const own = (await client.take(CLIENTS * EACH + EACH)).filter(reply => reply.startsWith('0212'))
    assert.equal(own.length, EACH)
    firstRules.push(parseInt(/00050004(.{8})/.exec(own[0]!)![1]!, 16))
  }
  assert.deepEqual(firstRules, Array.from({ length: CLIENTS + 1 }, (_, n) => 1 + EACH * n))
})

test('many requests of one session do not hold up those of others that come later', async t => {
  const { port, policy } = await box(t)
  const busy = await dial(port), other = await dial(port)
  for (const client of [busy, other]) await client.send(SE).take()
  const lists = Array.from({ length: 8000 }, (_, n) => '01220000' + (100 + n).toString(16).padStart(8, '0'))
  busy.send(...lists)
  await until(() => policy.asked.length > 0)
  other.send('0121000800000500 0005000400000001')
  assert.match((await other.take())[0]!, /^0343/)
  assert.ok(policy.asked.lastIndexOf('list') < 8000 / 2, `the other was heard after ${policy.asked.length} lists`)
  assert.equal((await busy.take(8000)).length, 8000)
})

test('an agent with thousands of requests under way is not in the way of those that ask for one', async t => {
  let nowMs = 0
  const { port, policy } = await box(t, { timers: { nowMs: () => nowMs, after: () => ({ cancel: () => { /* nothing is due */ } }) } })
  const busy = await dial(port), modest = await dial(port)
  for (const client of [busy, modest]) await client.send(SE).take()
  policy.refuse = what => {
    if (what === 'list') nowMs += 0.1
    return undefined
  }
  const lists = Array.from({ length: 4000 }, (_, n) => '01220000' + (100 + n).toString(16).padStart(8, '0'))
  const status = (tid: number) => octets(0x0121, tid, { pid: 1 })
  await modest.send(status(10)).take()
  busy.send(...lists)
  await until(() => policy.asked.includes('list'))
  for (let tid = 11; tid < 16; tid++) await modest.send(status(tid)).take()
  // A quarter of a millisecond of lists at each look, and few looks between two answers; a turn of 4 ms would be 40 of them each.
  const at = policy.asked.flatMap((what, i) => what === 'status' ? i : []), between = at.slice(2).map((i, n) => i - at[n + 1]! - 1)
  assert.equal(between.length, 4)
  assert.ok(Math.min(...between) <= 20, `${between.join(' ')} lists between the answers of the other`)
  assert.equal((await busy.take(4000)).length, 4000)
})

test('what happens outside of requests is told at once, not when time limits are looked at next', { timeout: 20_000 }, async t => {
  // No limit is looked at, as time stands still.
  const { port, policy } = await box(t, { timers: createFakeTimers() }), one = await dial(port), other = await dial(port)
  for (const client of [one, other]) await client.send(SE).take()
  await one.send(per(5)).take()
  await other.take()
  policy.expire(1)
  for (const client of [one, other]) assert.match((await client.take())[0]!, /^0403.*0005000400000001.*0007000400000000$/)
  policy.terminateSessions('tester', 'administrator')
  for (const client of [one, other]) assert.match((await client.rest())[0]!, /^0402/)
})

test('however many ask at once, the data plane is pumped every few dozen messages, and the sockets are looked at every few hundred', async t => {
  const CLIENTS = 40, EACH = 100
  const { port, policy } = await box(t, { timers: createFakeTimers() })
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => dial(port)))
  for (const client of clients) await client.send(SE).take()
  let isOver = false, mostPumped = 0, mostLooked = 0, pumpedAt = 0, lookedAt = 0
  const { pump } = policy
  policy.pump = () => {
    mostPumped = Math.max(mostPumped, policy.asked.length - pumpedAt)
    pumpedAt = policy.asked.length
    pump()
  }
  const look = () => {
    mostLooked = Math.max(mostLooked, policy.asked.length - lookedAt)
    lookedAt = policy.asked.length
    if (!isOver) setImmediate(look)
  }
  look()
  for (const client of clients) client.send(...Array.from({ length: EACH }, (_, n) => per(100 + n)))
  for (const client of clients) {
    const replies = (await client.take(CLIENTS * EACH)).filter(reply => reply.startsWith('0212'))
    assert.deepEqual(replies.map(reply => parseInt(reply.slice(8, 16), 16)), Array.from({ length: EACH }, (_, n) => 100 + n))
  }
  // The last look is over, too.
  for (let n = 0; n < 2; n++) await new Promise(resolve => setImmediate(resolve))
  isOver = true
  assert.equal(policy.asked.length, CLIENTS * EACH)
  assert.ok(mostPumped <= 128, `${mostPumped} messages before the data plane was pumped`)
  assert.ok(mostLooked <= 1024, `${mostLooked} messages between two looks`)
})
