import test from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { composeChallenge, composeToken } from './authentication.ts'
import { CHALLENGE, TOKEN } from './codec.ts'
import { SIMCO_COUNTERS, SimcoConfigError, createSimcoServer, type SimcoLogRecord, type SimcoServerOptions } from './server.ts'
import { Client, KEY, PLAIN, SE, box, dial, dialTls, pems, per, until } from './server-testing.ts'
import { bytesOf, createFakePolicy, createFakeTimers, messagesIn, octets } from './testing.ts'

test('a session over TCP: open, requests in one segment, answers in their order, end', async t => {
  const { server, port } = await box(t), client = await dial(port)
  assert.match((await client.send(SE).take())[0]!, /^0201/)
  const [info] = server.sessions()
  assert.deepEqual([info?.state, info?.agent, info?.tls, info?.id], ['open', 'tester', false, 1])
  client.send(...[10, 11, 12].map(per), '0122000000000020', '0103000000000021')
  assert.deepEqual((await client.rest()).map(reply => reply.slice(0, 4) + reply.slice(8, 16)),
    ['02120000000a', '02120000000b', '02120000000c', '022200000020', '020300000021'])
  assert.equal(server.sessions()[0]!.requests, 6)
  client.socket.end()
  await until(() => server.counters['connections-current'] === 0)
  assert.equal(server.counters['sessions-closed'], 1)
  assert.deepEqual(server.sessions(), [])
  const { 'in-connections': come, 'connections-peak': most, 'in-messages': messages, 'in-bytes': bytes } = server.counters
  assert.deepEqual([come, most, messages, bytes], [1, 1, 6, 16 + 3 * 56 + 8 + 8])
})

test('a client that closes its half is still owed its replies', async t => {
  const { port } = await box(t), client = await dial(port)
  client.socket.end(Buffer.concat([bytesOf(SE), per(5)]))
  assert.deepEqual((await client.rest()).map(reply => reply.slice(0, 4)), ['0201', '0212'])
})

test('notifications reach other sessions of the same box, behind the reply', async t => {
  const { port } = await box(t), one = await dial(port), other = await dial(port)
  await one.send(SE).take()
  await other.send(SE).take()
  one.send(per(7))
  assert.match((await one.take())[0]!, /^0212/)
  assert.match((await other.take())[0]!, /^0403/)
})

test('replies wait for a data plane elsewhere; it says when it is done', { timeout: 20_000 }, async t => {
  const { port, policy, server } = await box(t), client = await dial(port)
  policy.isRemote = true
  await client.send(SE).take()
  client.send(per(7))
  await until(() => policy.asked.length === 1)
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.ok(server.sessions()[0]!.queuedBytes > 0)
  policy.apply()
  assert.match((await client.take())[0]!, /^0212/)
  // And the next one.
  client.send(per(8))
  await until(() => policy.asked.length === 2)
  await new Promise(resolve => setTimeout(resolve, 20))
  policy.apply()
  assert.match((await client.take())[0]!, /^0212/)
})

test('garbage gets BFM or a refusal and the connection is closed; other sessions never notice', async t => {
  const { server, port } = await box(t), good = await dial(port)
  await good.send(SE).take()
  for (const garbage of ['474554202f20485454502f312e310d0a0d0a', '16030100c8010000c40303' + '00'.repeat(300), 'ffffffffffffffff', '0101ffff00000001', '0000000000000000']) {
    const bad = await dial(port), answers = await bad.send(garbage).rest()
    assert.match(answers.join(), /^(0401000000000001|03100000.{8}|03110000.{8})$/, garbage)
    bad.socket.end()
  }
  const open = await dial(port)
  await open.send(SE).take()
  assert.deepEqual((await open.send('0122fff900000002').rest()), ['0401000000000001', '0402000000000002'])
  assert.match((await good.send('0122000000000009').take())[0]!, /^0222/)
  assert.equal(server.sessions().filter(({ state }) => state === 'open').length, 1)
})

test('challenge and response over the network; a connection from loopback is not excused unless it is granted', async t => {
  const { port, server } = await box(t, {
    agents: [{ name: 'b2bua-1', key: KEY }], listeners: [{ host: '127.0.0.1', port: 0, challenge: true }],
  })
  const own = composeChallenge('b2bua-1', Buffer.alloc(32, 3)), nonces = new Set<string>()
  for (const key of [KEY, Buffer.alloc(32, 1)]) {
    const client = await dial(port)
    const [reply] = await client.send(octets(0x0101, 1, { present: 1 << CHALLENGE, challenge: own })).take()
    const { challenge, token } = messagesIn(bytesOf(reply!))[0]!
    nonces.add(Buffer.from(challenge).toString('hex'))
    assert.deepEqual(Buffer.from(token), Buffer.from(composeToken('', KEY, 'mbox', challenge, own)))
    client.send(octets(0x0102, 2, { present: 1 << TOKEN, token: composeToken('b2bua-1', key, 'agent', own, challenge) }))
    assert.match((await client.take())[0]!, key === KEY ? /^0201/ : /^03230000/)
  }
  assert.equal(nonces.size, 2, 'a nonce serves once')
  assert.equal(server.counters['authentication-failures'], 1)
})

test('failed authentications throttle their address for a minute; others, and who needs none, go on', async t => {
  const timers = createFakeTimers()
  const { port, server } = await box(t, {
    timers, agents: [{ name: 'b2bua-1', key: KEY }], limits: { failuresPerMinute: 3 }, listeners: [{ host: '127.0.0.1', port: 0, challenge: true }],
  })
  const attempt = async () => {
    const client = await dial(port), [reply] = await client.send(SE).take()
    if (!reply!.startsWith('0202')) return reply!.slice(0, 4)
    return (await client.send('0102000000000002').take())[0]!.slice(0, 4)
  }
  const answers: string[] = []
  for (let n = 0; n < 5; n++) answers.push(await attempt())
  assert.deepEqual(answers, ['0323', '0323', '0323', '0321', '0321'])
  assert.equal(server.counters['drop-throttled-sessions'], 2)
  timers.advance(60_000)
  assert.equal(await attempt(), '0323')
  timers.advance(1000)
})

const BAD = '0101ffff00000001', BFM_REPLY = ['0401000000000001']

test('who has to be ended again and again is not read for a while, up to the end of that minute; others are', async t => {
  const timers = createFakeTimers(), logged: SimcoLogRecord[] = []
  const { port, server } = await box(t, { timers, limits: { faultsPerMinute: 3, faultWaitMs: 500 }, log: record => { logged.push(record) } })
  const attempt = async () => (await dial(port, '127.0.0.2')).send(BAD).rest()
  for (let n = 0; n < 3; n++) assert.deepEqual(await attempt(), BFM_REPLY)
  assert.equal(server.counters['in-delayed-connections'], 0)

  const delayed = await dial(port, '127.0.0.2')
  delayed.send(SE)
  await until(() => server.counters['in-delayed-connections'] === 1)
  const neighbour = await dial(port)
  assert.match((await neighbour.send(SE).take())[0]!, /^0201/)
  timers.advance(499)
  assert.match((await neighbour.send('0122000000000002').take())[0]!, /^0222/)
  assert.deepEqual([server.sessions().length, server.counters['connections-current']], [1, 2])
  timers.advance(1)
  assert.match((await delayed.take())[0]!, /^0201/, 'it is not refused')
  assert.deepEqual(logged.filter(({ event }) => event === 'connection-delayed').map(({ remote }) => remote.replace(/:.*/, '')), ['127.0.0.2'])

  timers.advance(60_000)
  assert.match((await (await dial(port, '127.0.0.2')).send(SE).take())[0]!, /^0201/)
  assert.equal(server.counters['in-delayed-connections'], 1)
})

test('a connection that waits may go, and does not keep the box from closing', async t => {
  const timers = createFakeTimers()
  const { port, server } = await box(t, { timers, limits: { faultsPerMinute: 1, faultWaitMs: 500 } })
  await (await dial(port)).send(BAD).rest()
  for (const n of [1, 2]) {
    const client = await dial(port)
    await until(() => server.counters['in-delayed-connections'] === n)
    if (n === 1) client.socket.destroy()
  }
  timers.advance(500)
  // What has gone is noticed when it is read.
  await until(() => server.counters['connections-current'] === 1)
  const last = await dial(port)
  await until(() => server.counters['in-delayed-connections'] === 3)
  await server.close()
  assert.deepEqual(await last.rest(), [])
})

test('faults are refusals, broken messages, broken TLS and exceeded limits; an orderly end and a lost connection are none', async t => {
  const timers = createFakeTimers()
  const limits = { faultsPerMinute: 1, faultWaitMs: 500, openMs: 1000, messageMs: 1000, stalledMs: 1000 }
  const { port, server } = await box(t, { timers, limits })
  const isDelayed = async () => {
    const { 'in-delayed-connections': before, 'in-connections': connections } = server.counters
    const client = await dial(port)
    await until(() => server.counters['in-connections'] > connections)
    client.socket.destroy()
    timers.advance(500)
    await until(() => server.counters['connections-current'] === 0)
    const delayed = server.counters['in-delayed-connections'] > before
    timers.advance(60_000)
    return delayed
  }
  const ends: [string, boolean, (client: Client) => void | Promise<void>][] = [
    ['ST', false, async client => { await client.send(SE, '0103000000000002').rest() }],
    ['the client goes', false, async client => { await client.send(SE).take() }],
    ['half a message and a reset', false, client => { client.send('0101') }],
    ['BFM', true, async client => { await client.send(BAD).rest() }],
    ['refused: no session yet', true, async client => { await client.send('0112000000000001').rest() }],
    ['refused: another version', true, async client => { await client.send('01010008000000010001000404000000').rest() }],
    ['half a message', true, async client => {
      client.send(SE, '0112')
      await client.take()
      await until(() => server.sessions()[0]?.state === 'open')
      await new Promise(resolve => setTimeout(resolve, 20))
      timers.advance(1500)
      await client.rest()
    }],
    ['nothing', true, async client => {
      await until(() => server.sessions().length > 0)
      timers.advance(1500)
      await client.rest()
    }],
  ]
  for (const [name, isFault, end] of ends) {
    const client = await dial(port)
    await end(client)
    client.socket.destroy()
    await until(() => server.counters['connections-current'] === 0)
    assert.equal(await isDelayed(), isFault, name)
  }
})

const TLS = { host: '127.0.0.1', port: 0, challenge: false, tls: { cert: pems['box']!.cert, key: pems['box']!.key, ca: pems['ca']!.cert } }
const AGENTS = [
  { name: 'by-uri', certificates: ['URI:urn:agent:uri'] }, { name: 'by-dns', certificates: ['DNS:agent.example'] },
  { name: 'by-cn', certificates: ['CN:agent-cn'], key: KEY },
]

test('where Node cannot read into a buffer of ours, connections are read as streams', async t => {
  const { port } = await box(t), client = await dial(port)
  const handles = Object.getPrototypeOf((client.socket as unknown as { _handle: object })._handle) as object
  Object.defineProperty(handles, 'useUserBuffer', { value: undefined, configurable: true })
  t.after(() => { delete (handles as { useUserBuffer?: unknown }).useUserBuffer })
  const other = await dial(port)
  other.socket.end(Buffer.concat([bytesOf(SE), per(5)]))
  assert.deepEqual((await other.rest()).map(reply => reply.slice(0, 4)), ['0201', '0212'])
  assert.match((await client.send(SE).take())[0]!, /^0201/)
})

test('TLS 1.3: a client certificate says which agent it is, by URI, DNS or common name', async t => {
  const { port, server } = await box(t, { agents: AGENTS, listeners: [TLS] })
  for (const [file, agent] of [['agent-uri', 'by-uri'], ['agent-dns', 'by-dns'], ['agent-cn', 'by-cn']] as const) {
    const client = await dialTls(port, pems[file]!)
    assert.match((await client.send(SE).take())[0]!, /^0201/)
    assert.equal((client.socket as TLSSocket).getProtocol(), 'TLSv1.3')
    assert.deepEqual(server.sessions().map(session => [session.agent, session.tls]), [[agent, true]])
    client.send('0103000000000002')
    await client.rest()
    client.socket.end()
    await until(() => server.counters['connections-current'] === 0)
  }
})

test('TLS: a certificate of nobody is 0x0324; none, a foreign one, or TLS 1.2 does not get so far (RFC 8996, RFC 4540 7.2)', async t => {
  const { port, server } = await box(t, { agents: AGENTS, listeners: [TLS] })
  const stranger = await dialTls(port, pems['stranger']!)
  assert.deepEqual(await stranger.send(SE).rest(), ['0324000000000001'])
  for (const options of [{}, pems['rogue']!, { ...pems['agent-cn']!, maxVersion: 'TLSv1.2' as const }]) {
    assert.deepEqual(await (await dialTls(port, options)).send(SE).rest(), [])
  }
  const plain = await dial(port)
  assert.ok(!(await plain.send(SE).rest()).some(reply => reply.startsWith('02')))
  await until(() => server.counters['drop-tls-connections'] === 4)
  assert.equal(server.counters['sessions-opened'], 0)
})

test('TLS with a challenge: no certificate is needed, but one that comes must be good and must not be another agent', async t => {
  const { port } = await box(t, { agents: AGENTS, listeners: [{ ...TLS, challenge: true }] })
  const answer = async (options: ConnectionOptions) => {
    const client = await dialTls(port, options), [reply] = await client.send(SE).take()
    if (reply === undefined) return 'nothing'
    const { challenge } = messagesIn(bytesOf(reply))[0]!
    client.send(octets(0x0102, 2, { present: 1 << TOKEN, token: composeToken('by-cn', KEY, 'agent', undefined, challenge) }))
    return (await client.take())[0]!.slice(0, 4)
  }
  assert.equal(await answer({}), '0201')
  assert.equal(await answer(pems['agent-cn']!), '0201')
  assert.equal(await answer(pems['agent-dns']!), '0323')
  assert.equal(await answer(pems['rogue']!), 'nothing')
})

test('TLS: faults count there too, and a handshake whose connection had to wait comes about (what came meanwhile is not lost)', async t => {
  const timers = createFakeTimers()
  const { port, server } = await box(t, { timers, agents: AGENTS, listeners: [TLS], limits: { faultsPerMinute: 2, faultWaitMs: 500 } })
  for (let n = 0; n < 2; n++) await (await dial(port)).send('00'.repeat(100)).rest()
  const dialling = dialTls(port, pems['agent-cn']!)
  await until(() => server.counters['in-delayed-connections'] === 1)
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal(server.sessions().length, 0)
  timers.advance(500)
  assert.match((await (await dialling).send(SE).take())[0]!, /^0201/)
})

test('TLS: who goes in the middle of the handshake is gone at once; who closes its half after it is still owed its replies', async t => {
  const { port, server } = await box(t, { agents: AGENTS, listeners: [TLS], limits: { faultsPerMinute: 1 } })
  for (const first of ['', '160301020001', '0000']) {
    const client = await dial(port)
    client.socket.end(bytesOf(first))
    await until(() => client.closed && server.counters['connections-current'] === 0)
  }
  assert.deepEqual([server.counters['drop-tls-connections'], server.counters['in-delayed-connections']], [3, 0], 'and is no fault')
  const client = await dialTls(port, pems['agent-cn']!)
  client.socket.end(Buffer.concat([bytesOf(SE), per(5), per(6)]))
  assert.deepEqual((await client.rest()).map(reply => reply.slice(0, 4)), ['0201', '0212', '0212'])
  await until(() => server.counters['connections-current'] === 0)
})

test('many requests over TLS are all answered in order', async t => {
  const { port } = await box(t, { agents: AGENTS, listeners: [TLS] }), client = await dialTls(port, pems['agent-cn']!)
  await client.send(SE).take()
  for (let n = 0; n < 20; n++) client.send(...Array.from({ length: 50 }, (_, i) => per(100 + 50 * n + i)))
  const replies = await client.take(1000)
  assert.deepEqual(replies.map(reply => parseInt(reply.slice(8, 16), 16)), Array.from({ length: 1000 }, (_, i) => 100 + i))
})

test('limits of connections, in all and from one address', async t => {
  for (const [limits, counter] of [[{ connections: 2 }, 'drop-limit-connections'], [{ connectionsPerRemote: 2 }, 'drop-remote-limit-connections']] as const) {
    const { port, server } = await box(t, { limits }), first = await dial(port)
    await first.send(SE).take()
    await (await dial(port)).send(SE).take()
    assert.deepEqual(await (await dial(port)).rest(), [])
    assert.equal(server.counters[counter], 1)
    first.socket.destroy()
    await until(() => server.counters['connections-current'] === 1)
    assert.match((await (await dial(port)).send(SE).take())[0]!, /^0201/)
  }
})

test('time: the rest of a message, opening, idling; each ends its connection and no other (RFC 4540 6)', async t => {
  const timers = createFakeTimers()
  const { port, server } = await box(t, { timers, limits: { openMs: 90_000, idleMs: 200_000 } })
  const closed = await dial(port), silent = await dial(port), open = await dial(port), header = await dial(port), idle = await dial(port)
  for (const client of [open, header, idle]) await client.send(SE).take()
  closed.send(SE.slice(0, 20))
  open.send('01150010000000')
  header.send('01150010000000aa0005')
  await until(() => server.counters['in-bytes'] === 3 * 16 + 10 + 7 + 10)
  timers.advance(59_000)
  header.send('00')
  await until(() => server.counters['in-bytes'] === 3 * 16 + 10 + 7 + 11)
  timers.advance(1_500)
  assert.deepEqual(await closed.rest(), ['0401000000000001'])
  assert.deepEqual(await open.rest(), ['0401000000000001', '0402000000000002'])
  assert.equal(server.counters['drop-message-timeout-connections'], 2)
  for (const client of [closed, open]) client.socket.destroy()
  await until(() => server.counters['connections-current'] === 3)
  timers.advance(30_000)
  assert.deepEqual(await silent.rest(), [])
  assert.equal(server.counters['drop-open-timeout-connections'], 1)
  timers.advance(30_000)
  assert.deepEqual(await header.rest(), ['0401000000000001', '0402000000000002'])
  assert.ok(!idle.closed)
  timers.advance(100_000)
  assert.deepEqual(await idle.rest(), ['0402000000000001'])
  assert.equal(server.counters['drop-idle-connections'], 1)
  // A client that does not close is closed.
  timers.advance(1_000)
  await until(() => server.counters['connections-current'] === 0)
})

test('who waits for policy is not idle, and is not late with the rest of a message', async t => {
  const timers = createFakeTimers()
  const { port, policy, server } = await box(t, { timers, limits: { idleMs: 1000, messageMs: 1000 } }), client = await dial(port)
  await client.send(SE).take()
  policy.isSlow = true
  client.send(per(5), '01220000')
  await until(() => policy.asked.length === 1)
  timers.advance(5000)
  policy.isSlow = false
  policy.settle()
  assert.match((await client.take())[0]!, /^0212/)
  // Time counts from here on.
  timers.advance(500)
  client.send('00000006')
  assert.match((await client.take())[0]!, /^0222/)
  assert.deepEqual([server.counters['drop-idle-connections'], server.counters['drop-message-timeout-connections']], [0, 0])
  timers.advance(1500)
  assert.deepEqual(await client.rest(), ['0402000000000001'])
  timers.advance(1000)
})

test('a session that is not opened is told AST in NOAUTH (RFC 4540 7.1)', async t => {
  const timers = createFakeTimers()
  const { port } = await box(t, { timers, agents: [{ name: 'a', key: KEY }], listeners: [{ host: '127.0.0.1', port: 0, challenge: true }] })
  const client = await dial(port)
  await client.send(SE).take()
  timers.advance(100_000)
  assert.deepEqual(await client.rest(), ['0402000000000001'])
  timers.advance(1_000)
})

test('a client that has stopped reading is cut off after a time', async t => {
  const timers = createFakeTimers()
  const { port, server } = await box(t, { timers, limits: { stalledMs: 30_000, faultsPerMinute: 1 } })
  const good = await dial(port), deaf = await dial(port)
  await good.send(SE).take()
  await deaf.send(SE).take()
  deaf.socket.pause()
  good.send(...Array.from({ length: 2000 }, (_, i) => per(10 + i)))
  await good.take(2000)
  deaf.send(...Array.from({ length: 3000 }, (_, i) => octets(0x0122, 10 + i)))
  let passedMs = 0, requests = 0
  while (server.counters['drop-stalled-connections'] === 0) {
    timers.advance(500)
    passedMs += 500
    requests = Math.max(requests, ...server.sessions().filter(({ id }) => id === 2).map(session => session.requests))
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  assert.ok(passedMs >= 30_000, `${passedMs} ms`)
  await dial(port)
  await until(() => server.counters['in-delayed-connections'] === 1)
  assert.ok(requests < 2000, `${requests} of its requests were carried out`)
  assert.match((await good.send('0122000000ffff00').take())[0]!, /^0222/)
  timers.advance(1_000)
  await until(() => server.counters['connections-current'] === 2)
})

test('close: answers first, then AST to all, and the ports are free', async t => {
  const { server, port, policy } = await box(t), one = await dial(port), two = await dial(port), silent = await dial(port)
  await one.send(SE).take()
  await two.send(SE).take()
  policy.isRemote = true
  one.send(per(9))
  await until(() => policy.asked.length === 1)
  const closed = server.close()
  policy.apply()
  assert.deepEqual((await one.rest()).map(reply => reply.slice(0, 4)), ['0212', '0402'])
  assert.deepEqual((await two.rest()).map(reply => reply.slice(0, 4)), ['0403', '0402'])
  assert.deepEqual(await silent.rest(), [])
  await closed
  assert.equal(policy.statistics().sessions, 0)
  await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'))
})

test('close waits for nobody longer than it must: policy that never answers, and clients that never close', async t => {
  const { server, port, policy } = await box(t), client = await dial(port)
  await client.send(SE).take()
  policy.isSlow = true
  client.send(per(9))
  await until(() => policy.asked.length === 1)
  await server.close()
  assert.equal(server.counters['connections-current'], 0)
})

test('policy ends the sessions of an agent: AST', async t => {
  const { port, policy } = await box(t), client = await dial(port)
  await client.send(SE).take()
  policy.terminateSessions('tester', 'administrator')
  assert.deepEqual(await client.rest(), ['0402000000000001'])
})

test('several listeners; when one cannot listen, none does', async t => {
  const policy = createFakePolicy()
  const server = createSimcoServer({ policy, agents: [], listeners: [PLAIN, PLAIN, { ...PLAIN, host: '::1' }] })
  const addresses = await server.listen()
  t.after(() => server.close())
  assert.equal(new Set(addresses.map(({ port }) => port)).size, 3)
  const again = createSimcoServer({ policy, agents: [], listeners: [PLAIN, { ...PLAIN, port: addresses[0]!.port }] })
  await assert.rejects(again.listen(), { code: 'EADDRINUSE' })
})

test('what cannot be configured: plain TCP beyond loopback, nobody to tell apart, doubtful agents and limits', () => {
  const policy = createFakePolicy(), key = KEY
  const refuse = (options: Partial<SimcoServerOptions>, code: string, path: string) => {
    assert.throws(() => createSimcoServer({ policy, agents: [], listeners: [PLAIN], ...options }),
      (error: unknown) => error instanceof SimcoConfigError && error.code === code && error.path === path, path)
  }
  refuse({ listeners: [] }, 'simco-bad-listener', 'listeners')
  refuse({ listeners: [{ ...PLAIN, port: 65_536 }] }, 'simco-bad-listener', 'listeners[0].port')
  refuse({ listeners: [PLAIN, { ...PLAIN, host: '0.0.0.0' }] }, 'simco-plain-refused', 'listeners[1]')
  refuse({ listeners: [{ ...PLAIN, host: '::' }] }, 'simco-plain-refused', 'listeners[0]')
  refuse({ listeners: [{ host: '127.0.0.1', port: 0, challenge: true }] }, 'simco-no-identity', 'listeners[0].challenge')
  refuse({ listeners: [{ host: '127.0.0.1', port: 0, challenge: false }] }, 'simco-no-identity', 'listeners[0]')
  refuse({ listeners: [{ ...TLS, tls: { cert: '', key: '' } }], agents: AGENTS }, 'simco-no-identity', 'listeners[0]')
  refuse({ listeners: [{ ...PLAIN, loopbackAgent: '' }] }, 'simco-bad-listener', 'listeners[0].loopbackAgent')
  refuse({ agents: [{ name: '' }] }, 'simco-bad-agent', 'agents[0].name')
  refuse({ agents: [{ name: 'a', key }, { name: 'a', key }] }, 'simco-bad-agent', 'agents[1].name')
  refuse({ agents: [{ name: 'a', key: Buffer.alloc(15) }] }, 'simco-bad-agent', 'agents[0].key')
  refuse({ agents: [{ name: 'a', certificates: ['agent.example'] }] }, 'simco-bad-agent', 'agents[0].certificates')
  refuse({ agents: [{ name: 'a', certificates: ['CN:x'] }, { name: 'b', certificates: ['CN:x'] }] }, 'simco-bad-agent', 'agents[1].certificates')
  refuse({ limits: { queuedBytes: 262_143 } }, 'simco-bad-limit', 'limits.queuedBytes')
  refuse({ limits: { payloadBytes: 65_529 } }, 'simco-bad-limit', 'limits.payloadBytes')
  refuse({ limits: { idleMs: -1 } }, 'simco-bad-limit', 'limits.idleMs')
  createSimcoServer({ policy, agents: [], listeners: [{ ...PLAIN, host: '0.0.0.0', allowPlain: true }] })
})

test('counters are named direction or event, what, unit', () => {
  for (const name of SIMCO_COUNTERS) assert.match(name, /^[a-z]+(-[a-z]+)*-(bytes|messages|connections|current|peak|opened|closed|failures|sessions)$/)
})

test('a thousand connections, one sends garbage, one does not read: all others are answered, and memory is bounded', async t => {
  const { port, server, policy } = await box(t, { limits: { queuedBytes: 262_144 } })
  const clients: Client[] = []
  for (let n = 0; n < 1000; n += 100) {
    const more = await Promise.all(Array.from({ length: 100 }, () => dial(port)))
    for (const client of more) client.send(SE)
    for (const client of more) assert.match((await client.take())[0]!, /^0201/)
    clients.push(...more)
  }
  assert.equal(server.counters['connections-current'], 1000)
  const [garbage, deaf, ...others] = clients as [Client, Client, ...Client[]]
  deaf.socket.pause()
  garbage.send('0101fffe00000000', Buffer.alloc(200_000, 0xee))
  // Status requests of one rule: 0x0343, eight octets. The deaf one asks for far more than it is given room for.
  const status = (tid: number) => octets(0x0121, tid, { pid: 9 })
  for (let n = 0; n < 40; n++) deaf.send(Buffer.concat(Array.from({ length: 1000 }, (_, i) => status(10 + 1000 * n + i))))
  for (let tid = 50_000; tid < 50_004; tid++) {
    for (const client of others) client.send(status(tid))
    for (const client of others) assert.deepEqual(await client.take(), [`03430000${tid.toString(16).padStart(8, '0')}`])
  }
  assert.deepEqual(await garbage.rest(), ['0401000000000001', '0402000000000002'])
  for (const listener of policy.listeners.values()) for (let i = 0; i < 10; i++) listener.ruleEvent(1, 60, 'agent')
  for (const client of others) assert.equal((await client.take(10)).length, 10)
  for (const { queuedBytes } of server.sessions()) assert.ok(queuedBytes <= 262_144 + 65_536, `${queuedBytes}`)
  assert.equal(server.sessions().filter(({ state }) => state === 'open').length, 999)
  for (const client of clients) client.socket.destroy()
  await until(() => server.counters['connections-current'] === 0)
})
