/** How the agent library opens sessions, loses them, gets them back and ends them, and what it tells meanwhile. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, test } from 'node:test'
import fc from 'fast-check'
import { createCertificates, NO_OPENSSL } from '../../../test/certificates.ts'
import { connect, MidcomError, type Agent, type AgentEvent, type ConnectOptions, type LocalReason } from './agent.ts'
import { createEventQueue } from './agent-events.ts'
import { createFakeBox, type FakeBox, type FakeSession } from './agent-testing.ts'
import { composeChallenge, composeToken, readCredential, verifyToken } from './authentication.ts'
import {
  ARE, AST, BFM, CHALLENGE, FORMATS, PLC_REPLY, PLC_REQUEST, PRL_REPLY, SA_REPLY, SA_REQUEST, SE_REPLY, ST_REPLY, ST_REQUEST, TOKEN,
  VERSION_MISMATCH,
} from './messages.ts'

const KEY = { name: 'b2bua-1', key: Buffer.from('0123456789abcdef') }
const NOTHING = new Uint8Array(0)
const toClose: (() => unknown)[] = []
afterEach(async () => { for (const close of toClose.splice(0).reverse()) await close() })

async function fakeBox(tls: Parameters<typeof createFakeBox>[0] = null): Promise<FakeBox> {
  const fake = await createFakeBox(tls)
  toClose.push(() => fake.close())
  return fake
}
async function begin(fake: FakeBox, options: ConnectOptions = {}): Promise<{ connecting: Promise<Agent>; box: FakeSession }> {
  const connecting = connect('127.0.0.1', fake.port, options)
  connecting.then((agent) => toClose.push(() => agent.close()), () => {})
  return { connecting, box: await fake.next() }
}
async function opened(fake: FakeBox, options: ConnectOptions = {}): Promise<{ agent: Agent; box: FakeSession }> {
  const { connecting, box } = await begin(fake, options)
  await box.open()
  return { agent: await connecting, box }
}
async function failure(promise: Promise<unknown>): Promise<MidcomError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof MidcomError) return error
    throw error
  }
  throw new Error('it should have failed')
}
async function failsLocally(promise: Promise<unknown>, local: LocalReason, uncertain = false): Promise<void> {
  const error = await failure(promise)
  assert.deepEqual({ code: error.code, local: error.local, uncertain: error.uncertain }, { code: 0, local, uncertain }, error.message)
}
async function take(events: AsyncIterator<AgentEvent, undefined>, count: number): Promise<AgentEvent[]> {
  const found: AgentEvent[] = []
  while (found.length < count) {
    const { value, done } = await events.next()
    if (done === true) break
    found.push(value)
  }
  return found
}

test('with a shared key both sides prove themselves (RFC 4540 7.2, 7.3)', async () => {
  const { connecting, box } = await begin(await fakeBox(), { sharedKey: KEY })
  const first = await box.take()
  const credential = readCredential(first.challenge)
  assert.equal(credential?.name, KEY.name)
  const challenge = composeChallenge('', randomBytes(32))
  const token = composeToken('', KEY.key, 'mbox', challenge, first.challenge)
  box.send(SA_REPLY, first.tid, { challenge, token, present: 1 << CHALLENGE | 1 << TOKEN })
  const second = await box.take()
  assert.deepEqual([second.type, readCredential(second.token)?.name], [SA_REQUEST, KEY.name])
  assert(second.tid !== first.tid)
  assert(verifyToken(second.token, KEY.key, 'agent', first.challenge, challenge))
  box.send(SE_REPLY, second.tid)
  assert.equal((await connecting).state, 'open')
})

test('each opening has a nonce of its own', async () => {
  const fake = await fakeBox()
  const challenges = []
  for (let n = 0; n < 2; n++) challenges.push((await (await begin(fake, { sharedKey: KEY })).box.take()).challenge)
  assert.notDeepEqual(challenges[0], challenges[1])
})

test('a middlebox that proves itself and asks for nothing gets an empty SA request (RFC 4540 7.2)', async () => {
  const { connecting, box } = await begin(await fakeBox(), { sharedKey: KEY })
  const first = await box.take()
  box.send(SA_REPLY, first.tid, { token: composeToken('', KEY.key, 'mbox', NOTHING, first.challenge), present: 1 << TOKEN })
  const second = await box.take()
  assert.deepEqual([second.type, second.present & 1 << TOKEN], [SA_REQUEST, 0])
  box.send(SE_REPLY, second.tid)
  await connecting
})

test('a middlebox that does not prove itself gets no session, and not our token either (RFC 4540 7.2)', async () => {
  const fake = await fakeBox()
  const challenge = composeChallenge('', randomBytes(32))
  const otherKey = randomBytes(16)
  const answers: ((box: FakeSession, tid: number, theirs: Uint8Array) => void)[] = [
    // No answer to the challenge at all, a token of zero length, one of another key, one of another role, our own challenge.
    (box, tid) => box.send(SE_REPLY, tid),
    (box, tid) => box.send(SA_REPLY, tid, { challenge, token: NOTHING, present: 1 << CHALLENGE | 1 << TOKEN }),
    (box, tid, theirs) => box.send(SA_REPLY, tid, {
      challenge, token: composeToken('', otherKey, 'mbox', challenge, theirs), present: 1 << CHALLENGE | 1 << TOKEN,
    }),
    (box, tid, theirs) => box.send(SA_REPLY, tid, {
      challenge, token: composeToken('', KEY.key, 'agent', challenge, theirs), present: 1 << CHALLENGE | 1 << TOKEN,
    }),
    (box, tid, theirs) => box.send(SA_REPLY, tid, { challenge: theirs, token: theirs, present: 1 << CHALLENGE | 1 << TOKEN }),
    (box, tid) => box.send(SA_REPLY, tid, { challenge, present: 1 << CHALLENGE }),
  ]
  for (const answer of answers) {
    const { connecting, box } = await begin(fake, { sharedKey: KEY })
    const first = await box.take()
    answer(box, first.tid, first.challenge)
    await failsLocally(connecting, 'not-authenticated')
    await box.closed
    assert.equal(box.untaken, 0)
  }
})

test('a middlebox that wants a key meets an agent without one', async () => {
  const { connecting, box } = await begin(await fakeBox())
  box.send(SA_REPLY, (await box.take()).tid, { challenge: randomBytes(8), present: 1 << CHALLENGE })
  await failsLocally(connecting, 'authentication-required')
})

test('refusals of a session keep their code (RFC 4540 7.2, 7.3)', async () => {
  const fake = await fakeBox()
  for (const code of [0x0321, 0x0323, 0x0324, 0x0325, 0x0326]) {
    const { connecting, box } = await begin(fake)
    box.send(code, (await box.take()).tid)
    const error = await failure(connecting)
    assert.deepEqual([error.code, error.transaction], [code, 'connect'])
  }
})

test('another minor version is tried once, another major version is not (RFC 4540 7.2)', async () => {
  const fake = await fakeBox()
  const { connecting, box } = await begin(fake)
  box.send(VERSION_MISMATCH, (await box.take()).tid, { version: 0x03010000 })
  const again = await fake.next()
  assert.equal((await again.open()).version, 0x03010000)
  assert.equal((await connecting).state, 'open')

  for (const offered of [0x03000000, 0x02000000, 0x04000000]) {
    const refused = await begin(fake)
    refused.box.send(VERSION_MISMATCH, (await refused.box.take()).tid, { version: offered })
    const error = await failure(refused.connecting)
    assert.deepEqual([error.code, error.detail], [0x0322, `it speaks ${offered >>> 24}.0`])
  }
  const twice = await begin(fake)
  twice.box.send(VERSION_MISMATCH, (await twice.box.take()).tid, { version: 0x03010000 })
  const second = await fake.next()
  second.send(VERSION_MISMATCH, (await second.take()).tid, { version: 0x03020000 })
  assert.equal((await failure(twice.connecting)).code, 0x0322)
})

test('names of a shared key have 1 to 255 octets, and ports 1 to 65535', async () => {
  const fake = await fakeBox()
  for (const name of ['a', 'é'.repeat(127) + 'x']) {
    const { box } = await begin(fake, { sharedKey: { name, key: KEY.key } })
    assert.equal(readCredential((await box.take()).challenge)?.name, name)
  }
  for (const name of ['', 'é'.repeat(128)]) await assert.rejects(connect('127.0.0.1', fake.port, { sharedKey: { name, key: KEY.key } }), RangeError)
  for (const port of [0, 65_536, 1.5]) await assert.rejects(connect('127.0.0.1', port), RangeError)
  const nobody = await failure(connect('127.0.0.1', 65_535))
  assert.match(nobody.detail, /^connect ECONNREFUSED 127\.0\.0\.1:65535$/)
  assert.equal((nobody.cause as NodeJS.ErrnoException).code, 'ECONNREFUSED')
})

test('neither a connection nor a request leaves a timer behind when it is over, so that a program can end', async (t) => {
  const fake = await fakeBox(), { setTimeout: set, clearTimeout: clear } = globalThis, left = new Set<NodeJS.Timeout>()
  t.mock.method(globalThis, 'setTimeout', (...args: Parameters<typeof set>) => {
    const timer = set(...args)
    left.add(timer)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', (timer: NodeJS.Timeout) => {
    left.delete(timer)
    clear(timer)
  })
  const refused = await begin(fake)
  assert.equal(left.size, 1)
  refused.box.send(0x0324, (await refused.box.take()).tid)
  await failure(refused.connecting)
  assert.equal(left.size, 0, 'an opening that was refused')
  const { agent, box } = await opened(fake)
  assert.equal(left.size, 0, 'an opening')
  const listing = agent.list()
  assert.equal(left.size, 1)
  box.send(PRL_REPLY, (await box.take()).tid)
  await listing
  assert.equal(left.size, 0, 'a request')
})

test('what is no SIMCO, nobody at all, silence and a change of mind end an opening', async () => {
  const fake = await fakeBox()
  const garbage = await begin(fake)
  garbage.box.sendOctets(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n').toString('hex'))
  await failsLocally(garbage.connecting, 'protocol-error')
  const stranger = await begin(fake)
  stranger.box.send(SE_REPLY, (await stranger.box.take()).tid + 1)
  await failsLocally(stranger.connecting, 'protocol-error')
  const other = await begin(fake)
  other.box.send(ST_REPLY, (await other.box.take()).tid)
  await failsLocally(other.connecting, 'protocol-error')
  const dropped = await begin(fake)
  dropped.box.destroy()
  await failsLocally(dropped.connecting, 'connection-lost')
  const told = await begin(fake)
  told.box.send(BFM, 9)
  await failsLocally(told.connecting, 'session-terminated')
  const silent = await begin(fake, { connectTimeoutMs: 40 })
  await failsLocally(silent.connecting, 'timed-out')
  const stop = new AbortController()
  const stopped = await begin(fake, { signal: stop.signal })
  stop.abort()
  await failsLocally(stopped.connecting, 'aborted')
  await failsLocally(connect('127.0.0.1', fake.port, { signal: stop.signal }), 'aborted')
  await fake.close()
  await failsLocally(connect('127.0.0.1', fake.port), 'unreachable')
  await assert.rejects(connect('127.0.0.1', 0), RangeError)
  await assert.rejects(connect('127.0.0.1', fake.port, { sharedKey: { name: '', key: KEY.key } }), RangeError)
  await assert.rejects(connect('127.0.0.1', fake.port, { sharedKey: { name: 'a', key: randomBytes(15) } }), RangeError)
})

test('TLS checks the middlebox and shows the certificate of the agent', { skip: NO_OPENSSL }, async () => {
  const { ca, of } = createCertificates('box', 'b2bua-1')
  const fake = await fakeBox({ ...of.box!, ca, requestCert: true, rejectUnauthorized: true })
  const { agent } = await opened(fake, { tls: { ca, ...of['b2bua-1']! } })
  assert.equal(agent.state, 'open')
  // Whom TLS has verified need not answer our challenge (RFC 5189 2.2.1).
  await opened(fake, { tls: { ca: Buffer.from(ca), ...of['b2bua-1']! }, sharedKey: KEY })
  await failsLocally(connect('127.0.0.1', fake.port, { tls: of['b2bua-1']! }), 'tls-failed')
  await failsLocally(connect('127.0.0.1', fake.port, { tls: { ca, serverName: 'other.example', ...of['b2bua-1']! } }), 'tls-failed')
  await failsLocally(connect('127.0.0.1', fake.port, { tls: { ca } }), 'tls-failed')
  await failsLocally(connect('127.0.0.1', fake.port, { tls: { cert: 'x', key: 'y' } }), 'tls-failed')
})

test('events that come with the reply to the opening are not lost', async () => {
  const { connecting, box } = await begin(await fakeBox())
  const { tid } = await box.take()
  box.sendOctets(`0201000c ${tid.toString(16).padStart(8, '0')} 00040008 d1750000 00000e10`
    + '04030010 00000001 00050004 00000065 00070004 00000000  04030010 00000002 00050004 00000066 00070004 0000003c')
  const agent = await connecting
  assert.deepEqual(await take(agent.events(), 2), [
    { kind: 'rule', rule: 0x65, lifetimeSec: 0 }, { kind: 'rule', rule: 0x66, lifetimeSec: 60 },
  ])
})

test('each reader has its events; a reader that leaves gets no more, and others do', async () => {
  const { agent, box } = await opened(await fakeBox())
  const one = agent.events(), two = agent.events()
  const tell = (rule: number) => box.send(ARE, rule, { pid: rule, lifetimeSec: 0 })
  tell(1)
  const seen: number[] = []
  for await (const event of one) {
    if (event.kind === 'rule') seen.push(event.rule)
    break
  }
  tell(2)
  assert.deepEqual(seen, [1])
  assert.deepEqual((await take(two, 2)).map((event) => event.kind === 'rule' ? event.rule : 0), [1, 2])
  assert.deepEqual(await one.next(), { done: true, value: undefined })
})

test('a slow reader sees how much it lost, and where', async () => {
  const { agent, box } = await opened(await fakeBox(), { maxEvents: 3 })
  const events = agent.events()
  const tell = async (...rules: number[]) => {
    for (const rule of rules) box.send(ARE, rule, { pid: rule, lifetimeSec: rule })
    // A reply comes behind the events: they are in the queue by then.
    const listing = agent.list()
    box.send(PRL_REPLY, (await box.take()).tid)
    await listing
  }
  await tell(1, 2, 3, 4, 5)
  const rule = (n: number): AgentEvent => ({ kind: 'rule', rule: n, lifetimeSec: n })
  assert.deepEqual(await take(events, 2), [rule(1), rule(2)])
  await tell(6, 7)
  assert.deepEqual(await take(events, 3), [rule(3), { kind: 'overflow', lost: 2 }, rule(6)])
  await tell(8, 9, 10)
  assert.deepEqual(await take(events, 4), [{ kind: 'overflow', lost: 1 }, rule(8), rule(9), { kind: 'overflow', lost: 1 }])
  await tell(11)
  assert.deepEqual(await take(events, 1), [rule(11)])
})

test('a queue of events loses nothing without saying so, and says where', async () => {
  const steps = fc.array(fc.boolean(), { maxLength: 60, size: 'max' })
  await fc.assert(fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), async (pushes, capacity) => {
    const queue = createEventQueue<{ kind: 'n'; n: number }>(capacity, () => {})
    const read: (number | { lost: number })[] = []
    let pushed = 0, held = 0
    const next = async () => {
      const { value } = await queue.next()
      if (value !== undefined) read.push(value.kind === 'n' ? value.n : { lost: value.lost })
      return value
    }
    for (const push of pushes) {
      if (push) { queue.push({ kind: 'n', n: pushed++ }); held++ }
      else if (held > 0) {
        const value = await next()
        held -= value?.kind === 'overflow' ? value.lost : 1
      }
    }
    queue.finish()
    while (await next() !== undefined);
    // Numbers follow each other but where a marker says how many are missing.
    let expected = 0
    for (const one of read) {
      if (typeof one === 'number') assert.equal(one, expected++)
      else expected += one.lost
    }
    assert.equal(expected, pushed)
  }))
})

test('no octets from a middlebox break the agent: each request settles', async () => {
  const fake = await fakeBox()
  const octets = fc.oneof(
    fc.uint8Array({ maxLength: 80, size: 'max' }),
    // A header that fits, of any type, with attributes that may or may not.
    fc.tuple(fc.constantFrom(...FORMATS.keys()), fc.integer({ min: 0, max: 4 }), fc.uint8Array({ maxLength: 60, size: 'max' })).map(([type, tid, rest]) =>
      Uint8Array.of(type >> 8, type & 255, 0, rest.length, 0, 0, 0, tid, ...rest)),
  )
  await fc.assert(fc.asyncProperty(fc.array(octets, { maxLength: 6 }), async (messages) => {
    const { agent, box } = await opened(fake)
    const asking = [agent.list(), agent.status(1), agent.reserve({ protocol: 'udp', lifetimeSec: 1 })]
    await box.take()
    for (const message of messages) box.sendOctets(Buffer.from(message).toString('hex'))
    box.end()
    for (const result of await Promise.allSettled(asking)) {
      if (result.status === 'rejected') assert(result.reason instanceof MidcomError, String(result.reason))
    }
    assert.equal((await agent.closed) instanceof MidcomError, true)
  }), { numRuns: 200 })
})

test('AST ends the session: what is not answered was not carried out (RFC 4540 7.5)', async () => {
  const { agent, box } = await opened(await fakeBox())
  const events = agent.events()
  const asking = agent.list()
  await box.take()
  box.send(BFM, 1)
  box.send(AST, 2)
  await failsLocally(asking, 'session-terminated', false)
  const told = await take(events, 9)
  assert.deepEqual(told.map(({ kind }) => kind), ['malformed', 'terminated', 'lost'])
  assert.equal((await agent.closed)?.local, 'session-terminated')
  await failsLocally(agent.list(), 'session-terminated', false)
  assert.equal(agent.state, 'closed')
  await box.closed
})

test('a lost connection fails what was sent, as uncertain (RFC 5189 2.2.4)', async () => {
  const { agent, box } = await opened(await fakeBox(), { maxOutstanding: 1 })
  const asking = [agent.list(), agent.status(1)]
  await box.take()
  box.destroy()
  await Promise.all([failsLocally(asking[0]!, 'connection-lost', true), failsLocally(asking[1]!, 'connection-lost', false)])
  assert.equal((await agent.closed)?.local, 'connection-lost')
})

test('a reply to nothing and a header that cannot be end the session; unknown notifications do not', async () => {
  const fake = await fakeBox()
  for (const octets of ['02220000 00000099', '0201ffff 00000000', '09010000 00000000']) {
    const { agent, box } = await opened(fake)
    box.sendOctets('04550000 00000001')
    box.sendOctets(octets)
    assert.equal((await agent.closed)?.local, 'protocol-error', octets)
    await box.closed
  }
})

test('with reconnecting, what was not sent waits for the next session, and readers are told', async () => {
  const fake = await fakeBox()
  const { agent, box } = await opened(fake, { maxOutstanding: 1, reconnect: { baseMs: 1 } })
  const events = agent.events()
  const sent = agent.changeLifetime(1, 1), waits = agent.changeLifetime(2, 2)
  await box.take()
  box.destroy()
  await failsLocally(sent, 'connection-lost', true)
  assert.equal(agent.state, 'reconnecting')
  const meanwhile = agent.changeLifetime(3, 3)
  const next = await fake.next()
  await next.open({ maxLifetimeSec: 7 })
  for (const rule of [2, 3]) {
    const { type, tid, pid } = await next.take()
    assert.deepEqual([type, pid], [PLC_REQUEST, rule])
    next.send(PLC_REPLY, tid, { lifetimeSec: rule })
  }
  assert.deepEqual(await Promise.all([waits, meanwhile]), [2, 3])
  const [lost, back] = await take(events, 2)
  assert(lost?.kind === 'lost' && lost.reconnecting && lost.error.local === 'connection-lost')
  assert(back?.kind === 'reconnected' && back.attempts === 0 && back.capabilities.maxLifetimeSec === 7)
  assert.deepEqual([agent.state, agent.capabilities.maxLifetimeSec], ['open', 7])
})

test('attempts to reconnect are spread at random, further and further apart, until there are enough', async () => {
  const fake = await fakeBox()
  let draws = 0
  const { agent, box } = await opened(fake, { reconnect: { baseMs: 1, maxMs: 4, attempts: 5, random: () => { draws++; return 1 } } })
  const waits = agent.list()
  const events = agent.events()
  await fake.close()
  await box.closed
  await failsLocally(waits, 'connection-lost', true)
  const error = await agent.closed
  assert.equal(error?.local, 'unreachable')
  assert.equal(draws, 5)
  assert.deepEqual((await take(events, 9)).map((event) => event.kind === 'lost' && event.reconnecting), [true, false])
})

test('attempts are counted from the last session on, each once, however they fail', async () => {
  const fake = await fakeBox()
  let draws = 0
  const { agent, box } = await opened(fake, { reconnect: { baseMs: 1, maxMs: 4, attempts: 3, random: () => { draws++; return 1 } } })
  const events = agent.events()
  let last = box
  for (let round = 0; round < 3; round++) {
    last.destroy()
    for (let n = 0; n < 2; n++) {
      const refusing = await fake.next()
      refusing.send(0x0321, (await refusing.take()).tid)
      await refusing.closed
    }
    last = await fake.next()
    await last.open()
    const [lost, back] = await take(events, 2)
    assert.deepEqual([lost?.kind, back?.kind === 'reconnected' && back.attempts, draws], ['lost', 2, 3 * (round + 1)])
  }
})

test('closing ends an attempt to reconnect, and there is no other one', async () => {
  const fake = await fakeBox(), { agent, box } = await opened(fake, { reconnect: { baseMs: 1 } })
  box.destroy()
  const next = await fake.next()
  await next.take()
  agent.close()
  await next.closed
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.deepEqual([fake.connections, agent.state, await agent.closed], [2, 'closed', null])
})

test('a request that waits for a session that does not come back fails with its end', async () => {
  const fake = await fakeBox()
  const { agent, box } = await opened(fake, { reconnect: { baseMs: 1 } })
  box.send(AST, 1)
  const events = agent.events()
  await take(events, 2)
  const waits = agent.list()
  const next = await fake.next()
  next.send(0x0324, (await next.take()).tid)
  const error = await failure(waits)
  assert.deepEqual([error.code, error.transaction, error.uncertain], [0x0324, 'list', false])
  assert.equal((await agent.closed)?.code, 0x0324)
})

test('ST comes after what was sent, and its reply is the end (RFC 5189 2.2.2)', async () => {
  const { agent, box } = await opened(await fakeBox(), { maxOutstanding: 1 })
  const sent = agent.list(), waits = agent.status(1)
  const ending = agent.end()
  assert.equal(agent.end(), ending)
  await failsLocally(waits, 'session-ended')
  await failsLocally(agent.list(), 'session-ended')
  const list = await box.take(), st = await box.take()
  assert.equal(st.type, ST_REQUEST)
  box.send(PRL_REPLY, list.tid, { pids: [4] })
  box.send(ST_REPLY, st.tid)
  await ending
  assert.deepEqual(await sent, [4])
  assert.deepEqual([agent.state, await agent.closed], ['closed', null])
  for (let readers = 0; readers < 2; readers++) assert.deepEqual(await take(agent.events(), 1), [])
  await box.closed
  assert.equal(box.untaken, 0, 'what has failed as not sent is not sent')
})

test('ending does not fail: not without a reply, not without a connection, not twice', async () => {
  const fake = await fakeBox()
  const silent = await opened(fake)
  await silent.agent.end({ timeoutMs: 20 })
  await silent.box.closed
  const dropped = await opened(fake)
  const ending = dropped.agent.end()
  dropped.box.destroy()
  await ending
  assert.equal(await dropped.agent.closed, null)
  await dropped.agent.end()
  const away = await opened(fake, { reconnect: { baseMs: 60_000, random: () => 1 } })
  away.box.destroy()
  await take(away.agent.events(), 1)
  const waits = away.agent.list()
  await Promise.all([away.agent.end(), failsLocally(waits, 'session-ended')])
  assert.equal(await away.agent.closed, null)
})

test('closing drops the connection and all requests', async () => {
  const { agent, box } = await opened(await fakeBox())
  const asking = agent.list()
  await box.take()
  agent.close()
  await failsLocally(asking, 'session-ended', true)
  await box.closed
  assert.equal(await agent.closed, null)
})
