/** The agent library and the SIMCO server, with policy behind it, over loopback. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, test } from 'node:test'
import { createPrng } from '../src/base/prng.ts'
import { connect, MidcomError, type Agent, type AgentEvent, type ConnectOptions, type RuleStatus } from '../src/control/simco/agent.ts'
import { combine } from '../src/control/pdp/combine.ts'
import { createPdp, PDP_DEFAULTS } from '../src/control/pdp/pdp.ts'
import { createCertificates, NO_OPENSSL } from './certificates.ts'
import { createMiddlebox, type Middlebox, type MiddleboxOptions } from './middlebox.ts'

const toClose: (() => unknown)[] = []
afterEach(async () => { for (const close of toClose.splice(0).reverse()) await close() })

async function middlebox(options: MiddleboxOptions = {}): Promise<Middlebox> {
  const box = await createMiddlebox(options)
  toClose.push(() => box.close())
  return box
}
async function agentOf(box: Middlebox, options: ConnectOptions = {}): Promise<Agent> {
  const agent = await connect('127.0.0.1', box.port, options)
  toClose.push(() => agent.close())
  return agent
}
/** Code of the refusal, or the reason of ours. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof MidcomError) return error.local ?? `0x${error.code.toString(16).padStart(4, '0')}`
    throw error
  }
  return 'ok'
}
async function next(events: AsyncIterator<AgentEvent, undefined>): Promise<AgentEvent | undefined> { return (await events.next()).value }

const RTP = {
  protocol: 'udp', internal: '10.0.0.5:5004+2', external: '198.51.100.7:6000+2', direction: 'inbound', parity: 'same', lifetimeSec: 120,
} as const
const KEYS = [{ name: 'b2bua-1', key: Buffer.from('0123456789abcdef') }, { name: 'admin', key: Buffer.from('fedcba9876543210') }]
const keyed = (): Promise<Middlebox> => middlebox({ agents: KEYS, listener: { challenge: true } })

test('a call: reserve, enable, see, extend, let go (RFC 5189 4)', async () => {
  const box = await middlebox()
  const agent = await agentOf(box)
  assert.deepEqual(agent.capabilities, {
    firewall: true, nat: true, portTranslation: true, protocolTranslation: false, twiceNat: false, disableRules: true,
    internalWildcards: false, externalWildcards: true, portWildcards: true, persistentRules: false,
    internalVersions: [4, 6], externalVersions: [4, 6], maxLifetimeSec: 3600,
  })
  const reserved = await agent.reserve({ protocol: 'udp', ports: 2, parity: 'even', lifetimeSec: 9999 })
  assert.equal(reserved.lifetimeSec, 3600)
  assert.deepEqual([reserved.outside.port % 2, reserved.outside.range, reserved.inside], [0, 2, null])
  const enabled = await agent.enable({ ...RTP, reservation: reserved.rule })
  assert.deepEqual([enabled.rule, enabled.group, enabled.outside], [reserved.rule, reserved.group, reserved.outside])
  assert.deepEqual(await agent.list(), [enabled.rule])
  box.pass(20)
  const status = await agent.status(enabled.rule) as Extract<RuleStatus, { action: 'enable' }>
  assert.deepEqual({ ...status, outside: status.outside.port }, {
    action: 'enable', rule: enabled.rule, group: enabled.group, owner: 'tester', lifetimeSec: 100, protocol: 17,
    direction: 'inbound', parity: 'same', outside: enabled.outside.port,
    internal: { version: 4, address: '10.0.0.5', prefixBits: 32, port: 5004, range: 2 },
    inside: { version: 4, address: '198.51.100.7', prefixBits: 32, port: 6000, range: 2 },
    external: { version: 4, address: '198.51.100.7', prefixBits: 32, port: 6000, range: 2 },
  })
  assert.equal(await agent.changeLifetime(enabled.rule, 500), 500)
  await agent.delete(enabled.rule)
  assert.equal(await refusal(agent.status(enabled.rule)), '0x0343')
  await agent.end()
  assert.equal(box.policy.statistics().sessions, 0)
})

test('refusals arrive with the code of RFC 4540 4.2.3', async () => {
  const agent = await agentOf(await middlebox())
  const refusals: [Promise<unknown>, string][] = [
    [agent.status(99), '0x0343'],
    [agent.enable({ ...RTP, reservation: 99 }), '0x0343'],
    [agent.enable({ ...RTP, group: 99 }), '0x0344'],
    [agent.enable({ ...RTP, lifetimeSec: 0 }), '0x034a'],
    [agent.enable({ ...RTP, external: '198.51.100.7:6000+3' }), '0x034b'],
    [agent.enable({ ...RTP, internal: '10.0.0.0/8:5004+2' }), '0x034c'],
    [agent.enable({ ...RTP, external: '*', direction: 'bidirectional' }), '0x034b'],
    [agent.enable({ ...RTP, internal: '192.0.2.1:5004+2' }), '0x0353'],
    [agent.enable({ ...RTP, internal: '10.0.0.5:5000+17', external: '198.51.100.7:6000+17' }), '0x0356'],
  ]
  for (const [promise, code] of refusals) assert.equal(await refusal(promise), code)
  const strict = await agentOf(await middlebox({ policy: { strictNatMode: true } }))
  assert.equal(await refusal(strict.reserve({ protocol: 'udp', service: 'twice', lifetimeSec: 9 })), '0x034e')
})

test('wildcards and IPv6 pass through in their short and long forms', async () => {
  const agent = await agentOf(await middlebox())
  const any = await agent.enable({ ...RTP, external: '*' })
  const six = await agent.enable({ ...RTP, internal: '[2001:db8:1::5]:5004', external: '[2001:db8:ffff::/48]:*', parity: 'any' })
  assert.deepEqual(six.outside, { version: 6, address: '2001:db8:1::5', prefixBits: 128, port: 5004, range: 1 })
  const [first, second] = await agent.resynchronise()
  assert(first?.action === 'enable' && second?.action === 'enable')
  assert.deepEqual([first.rule, first.external.address, second.rule], [any.rule, '*', six.rule])
  assert.deepEqual(second.external, { version: 6, address: '2001:db8:ffff::', prefixBits: 48, port: 0, range: 1 })
})

test('many requests at once are answered each by its own', async () => {
  const agent = await agentOf(await middlebox(), { maxOutstanding: 64 })
  const made = await Promise.all(Array.from({ length: 90 }, (_, i) => agent.enable({
    protocol: 'udp', internal: `10.0.1.${i}:${4000 + i}`, external: '198.51.100.7:6000', direction: 'inbound', lifetimeSec: 100 + i,
  })))
  assert.equal(new Set(made.map(({ rule }) => rule)).size, 90)
  assert.deepEqual(made.map(({ lifetimeSec }) => lifetimeSec), Array.from({ length: 90 }, (_, i) => 100 + i))
  const found = new Map((await agent.resynchronise()).map((one) => [one.rule, one]))
  made.forEach(({ rule }, i) => {
    const one = found.get(rule)
    assert(one?.action === 'enable')
    assert.deepEqual([one.internal.address, one.internal.port], [`10.0.1.${i}`, 4000 + i])
  })
})

test('other sessions hear of rules; the one that made them hears of their end (RFC 5189 2.3.14)', async () => {
  const box = await keyed()
  const [mine, admin] = [await agentOf(box, { sharedKey: KEYS[0]! }), await agentOf(box, { sharedKey: KEYS[1]! })]
  const heard = mine.events(), told = admin.events()
  const { rule } = await mine.enable(RTP)
  assert.deepEqual(await next(told), { kind: 'rule', rule, lifetimeSec: 120 })
  assert.equal(await admin.changeLifetime(rule, 60), 60)
  assert.deepEqual(await next(heard), { kind: 'rule', rule, lifetimeSec: 60 })
  const denied = await admin.disable({ protocol: 'any', internal: '*', external: '198.51.100.7', lifetimeSec: 30 })
  assert.deepEqual(await next(heard), { kind: 'rule', rule, lifetimeSec: 0 })
  assert.equal(await refusal(mine.enable(RTP)), '0x0350')
  assert.equal(await refusal(mine.delete(denied.rule)), '0x0345')
  assert.deepEqual(await mine.list(), [])
  box.pass(30)
  for (let event = await next(told); event?.kind === 'rule'; event = await next(told)) if (event.rule === denied.rule) break
  assert.equal(await refusal(mine.enable(RTP)), 'ok')
})

test('a shared key that is not the same on both sides opens nothing (RFC 4540 7.3)', async () => {
  const box = await keyed()
  assert.equal((await agentOf(box, { sharedKey: KEYS[0]! })).state, 'open')
  assert.equal(await refusal(agentOf(box, { sharedKey: { name: 'b2bua-1', key: KEYS[1]!.key } })), 'not-authenticated')
  assert.equal(await refusal(agentOf(box, { sharedKey: { name: 'nobody', key: KEYS[0]!.key } })), 'not-authenticated')
  assert.equal(await refusal(agentOf(box)), 'authentication-required')
})

test('a certificate says who the agent is', { skip: NO_OPENSSL }, async () => {
  const { ca, of } = createCertificates('box', 'b2bua-1', 'stranger')
  const box = await middlebox({
    agents: [{ name: 'the agent', certificates: ['CN:b2bua-1'] }],
    listener: { tls: { ...of.box!, ca }, challenge: false },
  })
  const agent = await agentOf(box, { tls: { ca, ...of['b2bua-1']! } })
  const { rule } = await agent.enable(RTP)
  assert.equal((await agent.status(rule)).owner, 'the agent')
  assert.notEqual(await refusal(agentOf(box, { tls: { ca, ...of.stranger! } })), 'ok')
  assert.notEqual(await refusal(agentOf(box, { tls: { ca } })), 'ok')
})

test('after the middlebox comes back, the agent sees which rules it still has (RFC 5189 2.1.5)', async () => {
  const before = await createMiddlebox()
  const agent = await agentOf(before, { reconnect: { baseMs: 5, maxMs: 20 } })
  const events = agent.events()
  await agent.enable(RTP)
  assert.equal((await agent.list()).length, 1)
  await before.close()
  assert.equal((await next(events))?.kind, 'terminated')
  assert.equal((await next(events))?.kind, 'lost')
  const waits = agent.list()
  const after = await middlebox({ port: before.port })
  assert.equal((await next(events))?.kind, 'reconnected')
  assert.deepEqual(await waits, [])
  assert.deepEqual(await agent.resynchronise(), [])
  assert.equal(after.policy.statistics().sessions, 1)
})

test('a session ended by the administrator is over; its rules live on (RFC 5189 2.2.3)', async () => {
  const box = await middlebox()
  const agent = await agentOf(box)
  const { rule } = await agent.enable(RTP)
  const events = agent.events()
  assert.equal(box.policy.terminateSessions('tester', 'administrator'), 1)
  assert.deepEqual([(await next(events))?.kind, (await next(events))?.kind], ['terminated', 'lost'])
  assert.equal((await agent.closed)?.local, 'session-terminated')
  assert.deepEqual(await (await agentOf(box)).list(), [rule])
})

test('what the external decision point refuses is refused to the agent, and a permit may be shorter', async () => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (piece: string) => { text += piece }).on('end', () => {
      const { kind, request: wanted } = JSON.parse(text) as { kind: string; request?: { internal: { port: number } } }
      asked.push(kind)
      const verdict = kind !== 'enable' ? { permit: true } : wanted!.internal.port < 1024 ? { permit: false, reason: 'illegal-port' }
        : { permit: true, maxLifetimeSec: 30 }
      response.end(JSON.stringify(verdict))
    })
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  toClose.push(() => { server.closeAllConnections(); server.close() })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const pdp = createPdp({ ...PDP_DEFAULTS, timeoutMs: 20_000, url })
  toClose.push(() => pdp.close())
  const profiles = { decide: () => ({ permit: true as const }), mayAccess: () => true }
  const agent = await agentOf(await middlebox({ authorizer: combine(profiles, pdp, (name) => name === 'tester') }))
  assert.equal((await agent.enable(RTP)).lifetimeSec, 30)
  assert.equal(await refusal(agent.enable({ ...RTP, internal: '10.0.0.5:1000+2' })), '0x0355')
  pdp.close()
  assert.equal(await refusal(agent.list()), '0x0341')
  assert.deepEqual(asked, ['session', 'enable', 'enable'])
})

test('what a reader of events has heard is what there is, whatever several agents do at once (RFC 5189 2.3.14)', async () => {
  const seed = 5189, prng = createPrng(seed)
  const box = await keyed()
  const [one, two, admin] = await Promise.all([KEYS[0]!, KEYS[0]!, KEYS[1]!].map((sharedKey) => agentOf(box, { sharedKey })))
  const heard = new Map<number, number>()
  const listening = (async () => {
    for await (const event of admin!.events()) {
      if (event.kind === 'overflow') assert.fail(`seed ${seed}: ${event.lost} events lost`)
      if (event.kind !== 'rule') continue
      if (event.lifetimeSec === 0) heard.delete(event.rule)
      else heard.set(event.rule, event.lifetimeSec)
    }
  })()
  const outcomes = new Map<string, number>()
  async function play(agent: Agent, host: number): Promise<void> {
    const own: number[] = []
    const any = () => own[prng.below(own.length)] ?? 1
    for (let n = 0; n < 120; n++) {
      const port = 5000 + prng.below(40), step = prng.below(6)
      const udp = { protocol: 'udp', internal: `10.0.0.${host}:${port}`, external: '*', direction: 'inbound', lifetimeSec: 60 + n } as const
      const made = step === 0 ? agent.reserve({ protocol: 'udp', lifetimeSec: 100 }) : step === 1 ? agent.enable(udp)
        : step === 2 ? agent.enable({ ...udp, reservation: any() }) : step === 3 ? agent.changeLifetime(any(), 50 + n)
        : step === 4 ? agent.delete(any()) : agent.disable({ protocol: 'udp', internal: udp.internal, external: '*', lifetimeSec: 5 })
      const code = await refusal(made.then((value) => { if (typeof value === 'object') own.push(value.rule) }))
      outcomes.set(code, (outcomes.get(code) ?? 0) + 1)
      if (prng.below(10) === 0) box.pass(1)
    }
  }
  await Promise.all([play(one!, 1), play(two!, 2)])
  const listed = await admin!.list()
  const there = await admin!.resynchronise()
  assert.deepEqual([...heard.keys()].sort((a, b) => a - b), listed.toSorted((a, b) => a - b), `seed ${seed}`)
  for (const { rule, lifetimeSec } of there) assert(lifetimeSec <= heard.get(rule)!, `seed ${seed}: rule ${rule}`)
  assert(listed.length > 10 && outcomes.get('ok')! > 80 && outcomes.size > 3, `seed ${seed}: ${[...outcomes].join(' ')}`)
  await admin!.end()
  await listening
})
