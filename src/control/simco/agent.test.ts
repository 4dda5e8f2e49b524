/** Requests and replies of the agent library, against a scripted middlebox. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { EndpointError, connect, MidcomError, type Agent, type ConnectOptions, type LocalReason } from './agent.ts'
import { createFakeBox, type FakeSession } from './agent-testing.ts'
import {
  A2, ARE, createMessage, createTuple, GID, NEGATIVE_NAMES, PER_REPLY, PER_REQUEST, PLC_REPLY, PLC_REQUEST, PRD_REPLY,
  PRL_REPLY, PRL_REQUEST, PRR_REPLY, PRR_REQUEST, PRS_REPLY, PRS_REQUEST, SE_REQUEST, tupleBit, VERSION_3_0, type Message,
} from './messages.ts'

const toClose: (() => unknown)[] = []
afterEach(async () => { for (const close of toClose.splice(0).reverse()) await close() })

/** An agent with an open session, and the other end of it. */
async function opened(options: ConnectOptions = {}, fields: Partial<Message> = {}): Promise<{ agent: Agent; box: FakeSession }> {
  const fake = await createFakeBox()
  toClose.push(() => fake.close())
  const connecting = connect('127.0.0.1', fake.port, options)
  const box = await fake.next()
  await box.open(fields)
  const agent = await connecting
  toClose.push(() => agent.close())
  return { agent, box }
}

const hex = (text: string) => text.replace(/\s/g, '')
/** The error of a promise that must fail. */
async function failure(promise: Promise<unknown>): Promise<MidcomError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof MidcomError) return error
    throw error
  }
  throw new Error('it should have failed')
}
async function failsLocally(promise: Promise<unknown>, local: LocalReason, uncertain: boolean): Promise<void> {
  const error = await failure(promise)
  assert.deepEqual({ code: error.code, local: error.local, uncertain: error.uncertain }, { code: 0, local, uncertain })
}
/** Octets of a message with the TID left out. */
const withoutTid = (octets: string) => octets.slice(0, 8) + octets.slice(16)

const ENABLE = {
  protocol: 'udp', internal: '192.0.2.10:5004+2', external: '203.0.113.7:6000+2', direction: 'inbound', parity: 'same', lifetimeSec: 120,
} as const

test('a session opens with version 3.0, and capabilities are a value (RFC 4540 4.3.3)', async () => {
  const fake = await createFakeBox()
  toClose.push(() => fake.close())
  const connecting = connect('127.0.0.1', fake.port)
  const box = await fake.next()
  const request = await box.take()
  assert.deepEqual([request.type, request.version, request.present & 4], [SE_REQUEST, VERSION_3_0, 0])
  box.sendOctets(`02 01 00 0c ${request.tid.toString(16).padStart(8, '0')} 00 04 00 08 d1 7d 00 00 00 00 0e 10`)
  const agent = await connecting
  toClose.push(() => agent.close())
  assert.equal(agent.state, 'open')
  assert.deepEqual(agent.capabilities, {
    firewall: true, nat: true, disableRules: true, portTranslation: true, protocolTranslation: false, twiceNat: false,
    internalWildcards: false, externalWildcards: true, portWildcards: true, persistentRules: true,
    internalVersions: [4, 6], externalVersions: [4], maxLifetimeSec: 3600,
  })
})

test('a reservation is a PRR request, and its reply gives rule, group and A2 (RFC 4540 8.2)', async () => {
  const { agent, box } = await opened()
  const reserving = agent.reserve({ protocol: 'udp', ports: 2, parity: 'even', insideVersion: 4, outsideVersion: 4, lifetimeSec: 300 })
  const { tid } = await box.take()
  assert.equal(withoutTid(box.octets()), hex('01110010 000a0004 65110002 00070004 0000012c'))
  box.sendOctets(`02110028 ${tid.toString(16).padStart(8, '0')} 00050004 00000065 00060004 00000007 00070004 0000012c
    0009000c 01201102 9c400002 c6336409`)
  assert.deepEqual(await reserving, {
    rule: 0x65, group: 7, lifetimeSec: 300, protocol: 17, inside: null,
    outside: { version: 4, address: '198.51.100.9', prefixBits: 32, port: 40000, range: 2 },
  })
})

test('a reservation on a pure firewall has no outside address (RFC 4540 8.2.2)', async () => {
  const { agent, box } = await opened()
  const reserving = agent.reserve({ protocol: 17, lifetimeSec: 300 })
  const { tid, prrSet } = await box.take()
  assert.equal(prrSet, 0x40110001)
  box.sendOctets(`02110020 ${tid.toString(16).padStart(8, '0')} 00050004 00000065 00060004 00000007 00070004 0000012c 00090004 11001102`)
  const { outside, inside } = await reserving
  assert.deepEqual({ outside, inside }, { outside: { version: 4, address: '*', prefixBits: 0, port: 0, range: 1 }, inside: null })
})

test('what PRR can say is said: twice-NAT, versions, whole addresses, groups', async () => {
  const { agent, box } = await opened()
  const asked = [
    agent.reserve({ protocol: 'any', service: 'twice', ports: 'all', insideVersion: 6, outsideVersion: 4, group: 9, lifetimeSec: 1 }),
    agent.reserve({ protocol: 'tcp', parity: 'odd', outsideVersion: 6, lifetimeSec: 0xffffffff }),
  ]
  asked.forEach((one) => one.catch(() => {}))
  const first = await box.take(), second = await box.take()
  assert.deepEqual([first.type, first.prrSet, first.gid, first.present & 1 << GID], [PRR_REQUEST, 0x8900ffff, 9, 1 << GID])
  assert.deepEqual([second.prrSet, second.lifetimeSec, second.present & 1 << GID], [0x52060001, 0xffffffff, 0])
})

test('an enable rule with a reservation is a PEA request, answered as PER (RFC 4540 8.4)', async () => {
  const { agent, box } = await opened()
  const enabling = agent.enable({ ...ENABLE, reservation: 0x65 })
  const { tid } = await box.take()
  assert.equal(withoutTid(box.octets()), hex(`01130038 000b0004 03010000 0009000c 01201100 138c0002 c000020a
    0009000c 01201103 17700002 cb007107 00070004 00000078 00050004 00000065`))
  box.sendOctets(`02120038 ${tid.toString(16).padStart(8, '0')} 00050004 00000065 00060004 00000007 00070004 00000078
    0009000c 01201102 9c400002 c6336409 0009000c 01201101 17700002 cb007107`)
  assert.deepEqual(await enabling, {
    rule: 0x65, group: 7, lifetimeSec: 120, protocol: 17,
    outside: { version: 4, address: '198.51.100.9', prefixBits: 32, port: 40000, range: 2 },
    inside: { version: 4, address: '203.0.113.7', prefixBits: 32, port: 6000, range: 2 },
  })
})

test('an enable rule with a wildcard repeats the port range of the other side (RFC 4540 8.3.1)', async () => {
  const { agent, box } = await opened()
  const enabling = agent.enable({ ...ENABLE, external: '0.0.0.0/0', lifetimeSec: 300, group: 7 })
  const { tid } = await box.take()
  assert.equal(withoutTid(box.octets()), hex(`01120038 000b0004 03010000 0009000c 01201100 138c0002 c000020a
    0009000c 01001103 00000002 00000000 00070004 0000012c 00060004 00000007`))
  // Without twice-NAT RFC 4540 8.3.3 leaves A1 out.
  box.sendOctets(`02120028 ${tid.toString(16).padStart(8, '0')} 00050004 00000065 00060004 00000007 00070004 00000078
    0009000c 01201102 9c400002 c6336409`)
  assert.equal((await enabling).inside, null)
})

test('a disable rule is a PDR request; a wildcard takes the IP version of the other side (RFC 4540 8.8)', async () => {
  const { agent, box } = await opened()
  const disabling = agent.disable({ protocol: 'udp', internal: '*', external: '2001:db8::bad', lifetimeSec: 600 })
  const { tid } = await box.take()
  assert.equal(withoutTid(box.octets()), hex(`0114002c 00090004 12001100 00090018 02801103 00000001 20010db8 00000000 00000000
    00000bad 00070004 00000258`))
  box.sendOctets(`02140010 ${tid.toString(16).padStart(8, '0')} 00050004 00000070 00070004 00000258`)
  assert.deepEqual(await disabling, { rule: 0x70, lifetimeSec: 600 })
})

test('a middlebox that did not announce disable rules is not asked for one (RFC 5189 2.1.8)', async () => {
  const { agent, box } = await opened({}, { capabilities: 0xc1000000 })
  const error = await failure(agent.disable({ protocol: 'udp', internal: '*', external: '192.0.2.1', lifetimeSec: 1 }))
  assert.equal(error.code, 0x0340)
  agent.list().catch(() => {})
  assert.equal((await box.take()).type, PRL_REQUEST)
})

test('lifetimes change, and what is granted may be nothing (RFC 4540 8.5)', async () => {
  const { agent, box } = await opened()
  const longer = agent.changeLifetime(0x65, 500)
  const first = await box.take()
  assert.deepEqual([first.type, first.pid, first.lifetimeSec], [PLC_REQUEST, 0x65, 500])
  box.send(PLC_REPLY, first.tid, { lifetimeSec: 400 })
  assert.equal(await longer, 400)
  const none = agent.changeLifetime(0x65, 500)
  box.send(PRD_REPLY, (await box.take()).tid)
  assert.equal(await none, 0)
})

test('a rule is deleted by a lifetime of 0 (RFC 4540 8.5)', async () => {
  const { agent, box } = await opened()
  const deleting = agent.delete(0x65)
  const { tid } = await box.take()
  assert.equal(withoutTid(box.octets()), hex('01150010 00050004 00000065 00070004 00000000'))
  box.send(PRD_REPLY, tid)
  await deleting
  const zero = agent.delete(0x66)
  box.send(PLC_REPLY, (await box.take()).tid, { lifetimeSec: 0 })
  await zero
  const refused = agent.delete(0x67)
  box.send(PLC_REPLY, (await box.take()).tid, { lifetimeSec: 5 })
  await failsLocally(refused, 'protocol-error', true)
})

test('the list is the numbers of all rules, none and many (RFC 4540 8.7)', async () => {
  const { agent, box } = await opened()
  for (const pids of [[], [7], Array.from({ length: 8191 }, (_, i) => i + 1)]) {
    const listing = agent.list()
    box.send(PRL_REPLY, (await box.take()).tid, { pids })
    assert.deepEqual(await listing, pids)
  }
})

test('the status of each kind of rule has a reply of its own (RFC 4540 8.6)', async () => {
  const { agent, box } = await opened()
  const asking = [agent.status(0x65), agent.status(0x66), agent.status(0x70)]
  const tids: string[] = []
  for (let n = 0; n < 3; n++) {
    const { type, tid } = await box.take()
    assert.equal(type, PRS_REQUEST)
    tids.push(tid.toString(16).padStart(8, '0'))
  }
  box.sendOctets(`0223006b ${tids[0]} 00050004 00000065 00060004 00000007 000b0004 03010000 0009000c 01201100 138c0002 c000020a
    0009000c 01201101 17700002 cb007107 0009000c 01201102 9c400002 c6336409 0009000c 01201103 17700002 cb007107
    00070004 00000076 00080007 6232627561 2d31`)
  box.sendOctets(`0221002f ${tids[1]} 00050004 00000066 00060004 00000007 00070004 00000009 0009000c 01201102 9c400002 c6336409
    00080003 c3a9 78`)
  box.sendOctets(`02240038 ${tids[2]} 00050004 00000070 00090004 12001100 00090018 02801103 00000001 20010db8 00000000 00000000 00000bad`)
  assert.deepEqual(await asking[0], {
    action: 'enable', rule: 0x65, group: 7, owner: 'b2bua-1', lifetimeSec: 118, protocol: 17, direction: 'inbound', parity: 'same',
    internal: { version: 4, address: '192.0.2.10', prefixBits: 32, port: 5004, range: 2 },
    inside: { version: 4, address: '203.0.113.7', prefixBits: 32, port: 6000, range: 2 },
    outside: { version: 4, address: '198.51.100.9', prefixBits: 32, port: 40000, range: 2 },
    external: { version: 4, address: '203.0.113.7', prefixBits: 32, port: 6000, range: 2 },
  })
  assert.deepEqual(await asking[1], {
    action: 'reserve', rule: 0x66, group: 7, owner: 'éx', lifetimeSec: 9, protocol: 17, inside: null,
    outside: { version: 4, address: '198.51.100.9', prefixBits: 32, port: 40000, range: 2 },
  })
  box.sendOctets('00070004 00000258 00080000')
  assert.deepEqual(await asking[2], {
    action: 'disable', rule: 0x70, owner: '', lifetimeSec: 600, protocol: 17,
    internal: { version: 6, address: '*', prefixBits: 0, port: 0, range: 1 },
    external: { version: 6, address: '2001:db8::bad', prefixBits: 128, port: 0, range: 1 },
  })
})

test('every negative reply is an error with its code and words, 0x0357 too (RFC 4540 4.2.3)', async () => {
  const { agent, box } = await opened()
  for (const code of Object.keys(NEGATIVE_NAMES).map(Number)) {
    if (code === 0x0322) continue      // of the opening alone
    const asking = failure(agent.enable(ENABLE))
    box.send(code, (await box.take()).tid)
    const { code: told, reason, transaction, local, uncertain } = await asking
    assert.deepEqual({ told, reason, transaction, local, uncertain }, {
      told: code, reason: NEGATIVE_NAMES[code], transaction: 'enable', local: null, uncertain: false,
    })
  }
  const unassigned = failure(agent.list())
  box.send(0x0337, (await box.take()).tid)
  assert.equal((await unassigned).reason, 'unassigned code 0x0337')
  assert.equal(agent.state, 'open')
})

test('requests do not wait for replies, which may come in any order; no TID comes twice (RFC 4540 4.2.5)', async () => {
  const { agent, box } = await opened()
  const rules = Array.from({ length: 200 }, (_, i) => i + 1)
  const asking = rules.map((rule) => agent.changeLifetime(rule, rule))
  const requests: Message[] = []
  for (const rule of rules) {
    const request = await box.take()
    assert.equal(request.pid, rule)
    requests.push(request)
  }
  assert.equal(new Set(requests.map(({ tid }) => tid)).size, rules.length)
  for (const { tid, pid } of requests.reverse()) box.send(PLC_REPLY, tid, { lifetimeSec: pid * 2 })
  assert.deepEqual(await Promise.all(asking), rules.map((rule) => rule * 2))
})

test('more requests than may be outstanding wait for their turn, and more than may wait fail', async () => {
  const { agent, box } = await opened({ maxOutstanding: 2, maxWaiting: 2 })
  const asking = [1, 2, 3, 4].map((rule) => agent.changeLifetime(rule, 9))
  await failsLocally(agent.list(), 'too-many-requests', false)
  const first = await box.take(), second = await box.take()
  assert.deepEqual([first.pid, second.pid, box.untaken], [1, 2, 0])
  box.send(PLC_REPLY, second.tid, { lifetimeSec: 2 })
  const third = await box.take()
  assert.deepEqual([third.pid, box.untaken], [3, 0])
  for (const { tid, pid } of [first, third]) box.send(PLC_REPLY, tid, { lifetimeSec: pid })
  box.send(PLC_REPLY, (await box.take()).tid, { lifetimeSec: 4 })
  assert.deepEqual(await Promise.all(asking), [1, 2, 3, 4])
})

test('a request without a reply times out, certain only if it was not sent', async () => {
  const { agent, box } = await opened({ maxOutstanding: 1, requestTimeoutMs: 40 })
  const asking = [agent.list(), agent.status(1)]
  await Promise.all([failsLocally(asking[0]!, 'timed-out', true), failsLocally(asking[1]!, 'timed-out', false)])
  assert.equal((await box.take()).type, PRL_REQUEST)
  assert.equal(box.untaken, 0)
})

test('a request is given up by its signal, before it is sent and after', async () => {
  const { agent, box } = await opened({ maxOutstanding: 1 })
  const sent = new AbortController(), waits = new AbortController()
  const asking = [agent.status(1, { signal: sent.signal }), agent.status(2, { signal: waits.signal })]
  const { tid } = await box.take()
  waits.abort()
  await failsLocally(asking[1]!, 'aborted', false)
  sent.abort()
  await failsLocally(asking[0]!, 'aborted', true)
  await failsLocally(agent.status(3, { signal: sent.signal }), 'aborted', false)
  // The late reply is nobody's, and what follows is not disturbed by it.
  box.send(0x0343, tid)
  const listing = agent.list()
  box.send(PRL_REPLY, (await box.take()).tid, { pids: [5] })
  assert.deepEqual(await listing, [5])
})

test('a rule that a given-up request has made after all is told as an event', async () => {
  const { agent, box } = await opened()
  const giveUp = new AbortController()
  const enabling = agent.enable(ENABLE, { signal: giveUp.signal })
  const { tid } = await box.take()
  giveUp.abort()
  await failsLocally(enabling, 'aborted', true)
  box.send(PER_REPLY, tid, { pid: 77, gid: 1, lifetimeSec: 60, present: tupleBit(A2) })
  assert.deepEqual((await agent.events().next()).value, { kind: 'late', transaction: 'enable', rule: 77, lifetimeSec: 60 })
})

test('of a given-up request nothing is told when it was refused, or makes no rule', async () => {
  const { agent, box } = await opened(), giveUp = new AbortController(), { signal } = giveUp
  const asking = [agent.enable(ENABLE, { signal }), agent.list({ signal }), agent.changeLifetime(7, 9, { signal })]
  const [enable, list, lifetime] = [await box.take(), await box.take(), await box.take()]
  giveUp.abort()
  for (const asked of asking) await failsLocally(asked, 'aborted', true)
  box.send(0x0348, enable.tid)
  box.send(PRL_REPLY, list.tid, { pids: [5] })
  box.send(PLC_REPLY, lifetime.tid, { lifetimeSec: 9 })
  box.send(ARE, 1, { pid: 8, lifetimeSec: 0 })
  assert.deepEqual((await agent.events().next()).value, { kind: 'rule', rule: 8, lifetimeSec: 0 })
})

test('an endpoint may be a value, such as that of a reply', async () => {
  const { agent, box } = await opened()
  agent.enable({ ...ENABLE, internal: { version: 4, address: '192.0.2.10', prefixBits: 32, port: 5004, range: 2 } }).catch(() => {})
  await box.take()
  const said = withoutTid(box.octets())
  agent.enable(ENABLE).catch(() => {})
  await box.take()
  assert.equal(withoutTid(box.octets()), said)
  await assert.rejects(agent.enable({ ...ENABLE, internal: { version: 4, address: '192.0.2', prefixBits: 32, port: 1, range: 1 } }), EndpointError)
})

test('requests that SIMCO cannot say fail before they are sent', async () => {
  const { agent, box } = await opened()
  const endpoint = (error: unknown) => error instanceof EndpointError && error.column === 15
  await assert.rejects(agent.enable({ ...ENABLE, internal: '10.0.0.5:5004-x' }), endpoint)
  await assert.rejects(agent.enable({ ...ENABLE, protocol: 'quic' }), EndpointError)
  const ranges = [
    () => agent.enable({ ...ENABLE, direction: 'sideways' as 'inbound' }), () => agent.enable({ ...ENABLE, group: 1, reservation: 2 }),
    () => agent.enable({ ...ENABLE, lifetimeSec: -1 }), () => agent.reserve({ protocol: 'udp', ports: 65535, lifetimeSec: 1 }),
    () => agent.reserve({ protocol: 'udp', ports: 0, lifetimeSec: 1 }), () => agent.changeLifetime(1, 2 ** 32), () => agent.status(1.5),
    () => agent.list({ timeoutMs: 0 }),
  ]
  for (const request of ranges) await assert.rejects(request(), RangeError)
  agent.list().catch(() => {})
  assert.equal((await box.take()).type, PRL_REQUEST)
})

test('a reply of the wrong kind fails its request and no other', async () => {
  const { agent, box } = await opened()
  const asking = [agent.enable(ENABLE), agent.status(1), agent.status(2), agent.list()]
  const requests = [await box.take(), await box.take(), await box.take(), await box.take()]
  assert.equal(requests[0]!.type, PER_REQUEST)
  box.send(PRL_REPLY, requests[0]!.tid)
  // A status whose IP version is undefined, and one whose attributes are not those of a status.
  const strange = { ...createTuple(), version: 9, addressBytes: 4 }
  const tuples = createMessage().tuples.map(() => strange) as unknown as Message['tuples']
  box.send(PRS_REPLY, requests[1]!.tid, { tuples, present: tupleBit(A2) })
  box.sendOctets(`02210000 ${requests[2]!.tid.toString(16).padStart(8, '0')}`)
  box.send(PRL_REPLY, requests[3]!.tid, { pids: [1] })
  for (const asked of asking.slice(0, 3)) await failsLocally(asked, 'protocol-error', true)
  assert.deepEqual(await asking[3], [1])
  assert.equal(agent.state, 'open')
})

test('resynchronising gives the status of all rules, less those that end meanwhile (RFC 5189 2.1.5)', async () => {
  const { agent, box } = await opened()
  const resynchronising = agent.resynchronise()
  box.send(PRL_REPLY, (await box.take()).tid, { pids: [1, 2, 3] })
  for (let n = 0; n < 3; n++) {
    const { tid, pid } = await box.take()
    if (pid === 2) box.send(0x0343, tid)
    else box.send(PRS_REPLY, tid, { pid, gid: 1, lifetimeSec: 10 * pid, present: tupleBit(A2), owner: Buffer.from('a') })
  }
  assert.deepEqual((await resynchronising).map(({ rule, lifetimeSec }) => [rule, lifetimeSec]), [[1, 10], [3, 30]])
  const refused = agent.resynchronise()
  box.send(0x0313, (await box.take()).tid)
  assert.equal((await failure(refused)).reason, 'reply message too big')
})

test('agents of several middleboxes share nothing (RFC 3304 2.1.2)', async () => {
  const [one, two] = [await opened(), await opened()]
  const asking = [one.agent.list(), two.agent.list()]
  const [first, second] = [await one.box.take(), await two.box.take()]
  assert.equal(first.tid, second.tid)
  one.box.send(PRL_REPLY, first.tid, { pids: [1] })
  two.box.send(PRL_REPLY, second.tid, { pids: [2] })
  assert.deepEqual(await Promise.all(asking), [[1], [2]])
  one.agent.close()
  const still = two.agent.list()
  two.box.send(PRR_REPLY, (await two.box.take()).tid, { present: tupleBit(A2) })
  await failsLocally(still, 'protocol-error', true)
  assert.deepEqual([one.agent.state, two.agent.state], ['closed', 'open'])
})
