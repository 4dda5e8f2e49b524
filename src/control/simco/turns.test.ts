/** How sessions share the one thread of a server: turns, slices, and what leaves when. */
import test, { type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../base/prng.ts'
import { SE, box, dial, per, until } from './server-testing.ts'
import type { SimcoTimers } from './options.ts'
import { createFakeTimers, octets } from './testing.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? 4540)

/** Counts what has been done whenever the sockets are about to be looked at, up to the end of the test. */
function countLooks(t: TestContext, count: () => number): { most: number; looks: number } {
  const seen = { most: 0, looks: 0 }
  let before = count(), isOver = false
  const onLook = () => {
    seen.looks++
    seen.most = Math.max(seen.most, count() - before)
    before = count()
    if (!isOver) setImmediate(onLook)
  }
  onLook()
  t.after(() => { isOver = true })
  return seen
}
/** The next look has been counted. */
async function look(): Promise<void> {
  for (let n = 0; n < 2; n++) await new Promise(resolve => setImmediate(resolve))
}

/** A clock that stands still, but for what the test does. */
function clock() {
  const time = { ms: 1000, timers: { nowMs: () => time.ms, after: () => ({ cancel: () => { /* nothing is due */ } }) } }
  return time
}

/** A clock that stands still, while those who rest between two notifications have rested enough after a millisecond of the system's. */
function restless(): SimcoTimers {
  return {
    nowMs: () => 1000,
    after(ms, callback) {
      const timer = ms > 1 ? undefined : setTimeout(callback, ms)
      return { cancel: () => clearTimeout(timer) }
    },
  }
}

const status = (tid: number) => octets(0x0121, tid, { pid: 1 })

test('requests that take long do not hold up other sessions: the time of all is parted in turns', async t => {
  const time = clock(), { port, policy } = await box(t, { timers: time.timers })
  const busy = await dial(port), other = await dial(port)
  for (const client of [busy, other]) await client.send(SE).take()
  const lists = Array.from({ length: 200 }, (_, n) => '01220000' + (100 + n).toString(16).padStart(8, '0'))
  // Each list takes as long as a turn.
  policy.refuse = what => {
    if (what === 'list') time.ms += 4
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
  const { port } = await box(t, { timers: restless() })
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
  const time = clock(), { port, policy } = await box(t, { timers: time.timers })
  const busy = await dial(port), modest = await dial(port)
  for (const client of [busy, modest]) await client.send(SE).take()
  policy.refuse = what => {
    if (what === 'list') time.ms += 0.1
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
  // No limit is looked at, as time stands nearly still.
  const timers = createFakeTimers()
  const { port, policy } = await box(t, { timers }), one = await dial(port), other = await dial(port)
  for (const client of [one, other]) await client.send(SE).take()
  await one.send(per(5)).take()
  await other.take()
  timers.advance(1)
  policy.expire(1)
  for (const client of [one, other]) assert.match((await client.take())[0]!, /^0403.*0005000400000001.*0007000400000000$/)
  policy.terminateSessions('tester', 'administrator')
  for (const client of [one, other]) assert.match((await client.rest())[0]!, /^0402/)
})

test('who has just been told something hears what follows a millisecond later, in one piece, or when it is much; answers wait for none of it', { timeout: 20_000 }, async t => {
  const timers = createFakeTimers()
  const { port, server, policy } = await box(t, { timers }), one = await dial(port), other = await dial(port)
  for (const client of [one, other]) await client.send(SE).take()
  await one.send(per(5)).take()
  assert.match((await other.take())[0]!, /^0403.*000700040000012c$/)
  policy.expire(1)
  await one.send(per(6)).take()
  assert.match((await other.send(status(7)).take())[0]!, /^0343.{4}00000007/)
  assert.equal(server.counters['out-event-messages'], 2, 'the first, and the end of the rule to the one that had heard nothing yet')
  timers.advance(1)
  const [end, next] = await other.take(2)
  assert.match(end!, /^0403.*0005000400000001.*0007000400000000$/)
  assert.match(next!, /^0403.*0005000400000002/)
  one.send(...Array.from({ length: 130 }, (_, n) => per(100 + n)))
  await one.take(130)
  await other.take(128)
  timers.advance(1)
  await other.take(2)
  // A client that goes in the middle of its rest takes nobody with it.
  await one.send(per(300)).take()
  other.socket.destroy()
  await until(() => server.sessions().length === 1)
  timers.advance(1)
  assert.match((await one.send(per(301)).take())[0]!, /^0212/)
})

test('however many ask at once, the data plane is pumped every few dozen messages, and the sockets are looked at every few hundred', async t => {
  const CLIENTS = 40, EACH = 100
  const { port, policy } = await box(t, { timers: restless() })
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => dial(port)))
  for (const client of clients) await client.send(SE).take()
  let mostPumped = 0, pumpedAt = 0
  const { pump } = policy
  policy.pump = () => {
    mostPumped = Math.max(mostPumped, policy.asked.length - pumpedAt)
    pumpedAt = policy.asked.length
    pump()
  }
  const seen = countLooks(t, () => policy.asked.length)
  for (const client of clients) client.send(...Array.from({ length: EACH }, (_, n) => per(100 + n)))
  for (const client of clients) {
    const replies = (await client.take(CLIENTS * EACH)).filter(reply => reply.startsWith('0212'))
    assert.deepEqual(replies.map(reply => parseInt(reply.slice(8, 16), 16)), Array.from({ length: EACH }, (_, n) => 100 + n))
  }
  await look()
  assert.equal(policy.asked.length, CLIENTS * EACH)
  assert.ok(mostPumped <= 128, `${mostPumped} messages before the data plane was pumped`)
  assert.ok(seen.most <= 1024, `${seen.most} messages between two looks`)
})

test('agents that are by themselves have whole turns, however few their last requests are; a turn has a few milliseconds', async t => {
  const few = (tid: number) => octets(0x0122, tid)
  for (const [agents, request, least, costMs, mostLooks] of [[1, few, 290, 0.1, 40], [3, status, 100, 0.02, 10]] as const) {
    const time = clock(), { port, policy } = await box(t, { timers: time.timers })
    const clients = await Promise.all(Array.from({ length: agents }, () => dial(port)))
    for (const client of clients) await client.send(SE).take()
    // There was somebody who asked for little, but that is long ago.
    time.ms += 200
    policy.refuse = () => {
      time.ms += costMs
      return undefined
    }
    const seen = countLooks(t, () => time.ms)
    let tid = 100
    for (let requests = least; requests < least + 20; requests++) {
      const { looks } = seen
      for (const client of clients) client.send(...Array.from({ length: requests }, () => request(tid++)))
      for (const client of clients) await client.take(requests)
      assert.ok(seen.looks - looks < mostLooks, `${seen.looks - looks} turns for ${agents * requests} requests of ${costMs} ms each`)
    }
    await look()
    assert.ok(seen.most <= 12.5, `${seen.most} ms between two looks at the sockets`)
  }
})

test('while somebody asks for little now and then, those that ask for much do little at a time', async t => {
  const time = clock(), { port, policy } = await box(t, { timers: time.timers }), busy = await dial(port), modest = await dial(port)
  for (const client of [busy, modest]) await client.send(SE).take()
  // It asks every 50 ms, for which 500 lists have time, and so anywhere in a turn.
  const LISTS = 6000, waits: number[] = []
  let lists = 0, askedAt = 0
  policy.refuse = what => {
    time.ms += 0.1
    if (what === 'status') waits.push(lists - askedAt)
    else if (++lists % 501 === 0) {
      askedAt = lists
      modest.send(status(lists))
    }
    return undefined
  }
  busy.send(...Array.from({ length: LISTS }, (_, n) => octets(0x0122, 100 + n)))
  await busy.take(LISTS)
  assert.equal((await modest.take(11)).length, 11)
  assert.ok(waits.every(lists => lists <= 20), `it waited for ${waits.join(' ')} lists`)
})

test('those that ask for much come again in turn: neither has to wait for the other', async t => {
  const { port, policy } = await box(t, { timers: createFakeTimers() }), one = await dial(port), other = await dial(port)
  for (const client of [one, other]) await client.send(SE).take()
  const EACH = 3000
  one.send(...Array.from({ length: EACH }, (_, n) => status(100 + n)))
  other.send(...Array.from({ length: EACH }, (_, n) => octets(0x0115, 100 + n, { pid: 9, lifetimeSec: 60 })))
  await one.take(EACH)
  await other.take(EACH)
  const half = policy.asked.slice(0, EACH), share = half.filter(what => what === 'status').length / EACH
  assert.ok(share > 0.4 && share < 0.6, `${share} of the first half was the first one's`)
})

test('what one has done is told to hundreds in parts: in between the sockets are looked at', async t => {
  const time = clock(), { port, policy, server } = await box(t, { timers: time.timers }), one = await dial(port)
  const others = await Promise.all(Array.from({ length: 200 }, () => dial(port)))
  for (const client of [one, ...others]) await client.send(SE).take()
  const { ticket } = policy
  policy.ticket = () => {
    time.ms++
    return ticket()
  }
  const seen = countLooks(t, () => server.counters['out-event-messages'])
  one.send(per(5))
  for (const client of [one, ...others]) assert.equal((await client.take()).length, 1)
  await look()
  assert.ok(seen.most <= 64, `${seen.most} were told between two looks`)
})

test('whatever comes about meanwhile, all hear of what has been before: those who have waited longest first', async t => {
  const time = clock(), { port, policy } = await box(t, { timers: time.timers }), busy = await dial(port)
  const others = await Promise.all(Array.from({ length: 100 }, () => dial(port)))
  for (const client of [busy, ...others]) await client.send(SE).take()
  const before = others.map(({ socket }) => socket.bytesRead), { ticket } = policy
  policy.ticket = () => {
    time.ms++
    return ticket()
  }
  // A few of them take longer than a turn, and each is something to tell.
  const COUNT = 160
  let asked = 0, told = 0
  policy.refuse = () => {
    time.ms++
    if (++asked === COUNT) told = others.filter(({ socket }, n) => socket.bytesRead > before[n]!).length
    return undefined
  }
  busy.send(...Array.from({ length: COUNT }, (_, n) => per(100 + n)))
  await busy.take(COUNT)
  assert.equal(told, others.length, 'have heard something before the last request')
  for (const client of others) assert.equal((await client.take(COUNT)).length, COUNT)
})

/** Agents that ask for a little again and again, so that always some wait for their turn. */
async function keepAsking(port: number, agents: number, rounds: number): Promise<void> {
  await Promise.all(Array.from({ length: agents }, async () => {
    const client = await dial(port)
    await client.send(SE).take()
    for (let round = 0; round < rounds; round++) {
      await client.send(...Array.from({ length: 16 }, (_, n) => status(100 + 16 * round + n))).take(16)
    }
  }))
}

test('however much others ask for, and however long that takes, there is time for those that ask for more, and for telling', async t => {
  // With requests that take their time, and with more of them than a turn has.
  for (const costMs of [5, 0]) {
    const time = clock(), { port, policy } = await box(t, { timers: time.timers }), busy = await dial(port)
    const others = await Promise.all(Array.from({ length: 100 }, () => dial(port)))
    for (const client of [busy, ...others]) await client.send(SE).take()
    policy.refuse = () => {
      time.ms += costMs
      return undefined
    }
    const AGENTS = 60, ROUNDS = 10, LISTS = 60, asking = keepAsking(port, AGENTS, ROUNDS)
    await until(() => policy.asked.length > 16 * AGENTS)
    busy.send(per(5), ...Array.from({ length: LISTS }, (_, n) => octets(0x0122, 10 + n)))
    for (const client of others) assert.match((await client.take())[0]!, /^0403/)
    const untold = 16 * AGENTS * ROUNDS - policy.asked.length
    await busy.take(1 + LISTS)
    const left = 16 * AGENTS * ROUNDS - policy.asked.length
    await asking
    assert.ok(untold > 1000 && left > 1000, `${untold} requests of others were to come when all were told, ${left} when all was answered`)
  }
})

test('on a machine that is busy with other things, time passes at any moment; all are answered all the same', async t => {
  const prng = createPrng(SEED), time = clock()
  const { port } = await box(t, {
    timers: { ...time.timers, nowMs: () => time.ms += prng.below(3) === 0 ? 5 : 0 },
  })
  const clients = await Promise.all(Array.from({ length: 5 }, () => dial(port)))
  for (const client of clients) await client.send(SE).take()
  for (const client of clients) client.send(...Array.from({ length: 500 }, (_, n) => status(100 + n)))
  for (const client of clients) {
    const replies = await client.take(500)
    assert.deepEqual(replies.map(reply => parseInt(reply.slice(8, 16), 16)), Array.from({ length: 500 }, (_, n) => 100 + n), `seed ${SEED}`)
  }
})

test('replies that wait for the data plane leave too when it gets so far in the middle of somebody\'s request', async t => {
  const { port, policy } = await box(t, { timers: createFakeTimers() }), one = await dial(port), other = await dial(port)
  for (const client of [one, other]) await client.send(SE).take()
  policy.isRemote = true
  one.send(per(5))
  await until(() => policy.asked.length === 1)
  // As when a request needs room in the ring of commands; and then it is refused.
  policy.refuse = () => {
    policy.apply()
    return 'lack-of-resources'
  }
  assert.deepEqual((await other.send(per(6)).take(2)).map(reply => reply.slice(0, 4)), ['0403', '0342'])
  assert.match((await one.take())[0]!, /^0212/)
})
