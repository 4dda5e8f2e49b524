import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Writer } from './ber.ts'
import { createSnmpCounters } from './counters.ts'
import { localize } from './keys.ts'
import { LocalEngine, type EngineStore } from './local-engine.ts'
import { AUTH_FLAG, PRIV_FLAG, readMessage, sealMessage } from './message.ts'
import { counter32, integer, octets, type Notification, type Varbind } from './mib.ts'
import { Notifier, type NotifyUser } from './notifier.ts'
import type { Oid } from './oid.ts'
import type { SnmpLogRecord, SnmpTarget } from './options.ts'
import { INFORM, REPORT, RESPONSE, TRAP, wrapScopedPdu } from './pdu.ts'
import { createTarget, MIDCOM_EVENTS, SNMP_TRAPS } from './targets.ts'
import { Manager, memoryStore, testKeys, TestTimers } from './testing.ts'
import { Usm, usmCounterName, type UsmResult } from './usm.ts'
import { NO_MASK, View } from './vacm.ts'

const ROW: Oid = [1, 3, 6, 1, 2, 1, 171, 1, 1, 3, 1, 5, 1, 97, 7, 1]
const event: Notification = { name: [...MIDCOM_EVENTS, 2], varbinds: [{ name: ROW, value: integer(8) }] }
const target = (name: string, more: Partial<SnmpTarget> = {}): SnmpTarget => ({
  name, host: '192.0.2.9', port: 162, user: 'a', type: 'inform', timeoutMs: 1000, retries: 2, isOn: true, ...more,
})
const everything = new View('all', [{ subtree: [1, 3], mask: NO_MASK, included: true }])

/** An originator, whose datagrams a test takes by hand. */
function originator(targets: SnmpTarget[], { view = everything as View | null, queued = 100 } = {}) {
  const timers = new TestTimers(), counters = createSnmpCounters(), log: SnmpLogRecord[] = [], sent: { to: string; bytes: Buffer }[] = []
  const engine = new LocalEngine(memoryStore(Buffer.from('8000000001', 'hex')), () => timers.nowMs())
  const user: NotifyUser = { name: 'a', nameOctets: Buffer.from('a'), agent: 'a', master: testKeys(), keys: localize(testKeys(), engine.id) }
  let salt = 0
  const rows = targets.map(createTarget)
  const notifier = new Notifier({
    engine, counters, targets: rows, users: new Map([['a', user]]), writer: new Writer(65_507), maxBytes: 65_507, queuedNotifications: queued,
    timers, randomBytes: (bytes) => Buffer.alloc(bytes, 3), upTimeTicks: () => 1234, notifyView: () => view, log: (record) => { log.push(record) },
    nextSalt: () => Buffer.from([0, 0, 0, 0, 0, 0, 0, ++salt]), send: ({ options }, message) => { sent.push({ to: options.name, bytes: Buffer.from(message) }) },
  })
  const turn = () => new Promise<void>((resolve) => { setImmediate(() => setImmediate(resolve)) })
  return { timers, counters, log, sent, engine, notifier, rows, turn }
}

/** The receiver of informs: authoritative, as RFC 3414 wants it. */
class Receiver {
  readonly timers = new TestTimers()
  readonly counters = createSnmpCounters()
  readonly local: LocalEngine
  readonly received: (readonly Varbind[])[] = []
  private readonly usm: Usm
  private readonly writer = new Writer(65_507)
  private readonly keys
  constructor(store: EngineStore = memoryStore(Buffer.from('8000000002', 'hex'), 4)) {
    this.local = new LocalEngine(store, () => this.timers.nowMs())
    this.keys = localize(testKeys(), this.local.id)
    const user = { name: 'a', nameOctets: Buffer.from('a'), agent: null, keys: this.keys }
    this.usm = new Usm({ engine: this.local, counters: this.counters, users: new Map([['a', user]]), mostVarbinds: 99, rememberedSets: 16 })
  }

  /** What it answers to a datagram. */
  answer(bytes: Buffer): Buffer {
    const message = readMessage(bytes)
    assert.ok(typeof message !== 'string', String(message))
    const result: UsmResult = this.usm.receive(bytes, message)
    assert.ok(typeof result !== 'string')
    this.writer.reset()
    let flags = AUTH_FLAG | PRIV_FLAG
    if ('counter' in result) {
      flags = result.user === null ? 0 : AUTH_FLAG
      this.writer.varbind(usmCounterName(result.counter), counter32(this.counters[result.counter]))
      wrapScopedPdu(this.writer, REPORT, result.requestId, 0, 0, this.local.id, Buffer.alloc(0))
    } else {
      assert.equal(result.pdu.type, INFORM)
      this.received.push(result.pdu.varbinds)
      wrapScopedPdu(this.writer, RESPONSE, result.pdu.requestId, 0, 0, this.local.id, Buffer.alloc(0))
    }
    return sealMessage(this.writer, {
      msgId: message.msgId, maxBytes: 65_507, flags, engineId: this.local.id, boots: this.local.boots, time: this.local.time,
      userName: flags === 0 ? Buffer.alloc(0) : Buffer.from('a'), keys: this.keys, salt: Buffer.alloc(8, 5),
    })
  }
}

test('a trap is of our own engine and time, encrypted, with sysUpTime and snmpTrapOID in front (RFC 3416 4.2.6)', async () => {
  const { notifier, sent, engine, turn, counters } = originator([target('t', { type: 'trap' })])
  notifier.notify(event)
  await turn()
  const manager = new Manager('a', testKeys(), engine.id), trap = manager.open(sent[0]!.bytes)
  assert.deepEqual([trap.type, trap.message.flags, trap.message.boots], [TRAP, AUTH_FLAG | PRIV_FLAG, 1])
  assert.deepEqual(trap.varbinds.map(({ name, value }) => [name.join('.'), value.value]), [
    ['1.3.6.1.2.1.1.3.0', 1234], ['1.3.6.1.6.3.1.1.4.1.0', event.name], [ROW.join('.'), 8],
  ])
  assert.deepEqual([sent.length, counters['out-traps']], [1, 1])
})

test('an inform asks who its receiver is, learns its time, arrives once, and is confirmed (RFC 3414 4)', async () => {
  const { notifier, sent, counters, turn } = originator([target('t')]), receiver = new Receiver()
  receiver.timers.pass(300_000)
  notifier.notify(event)
  await turn()
  for (let n = 0; n < 3; n++) notifier.receive(receiver.answer(sent[n]!.bytes), '192.0.2.9', 162)
  assert.equal(sent.length, 3)
  assert.deepEqual(receiver.received.map((varbinds) => varbinds.length), [3])
  assert.deepEqual([receiver.counters.usmStatsUnknownEngineIDs, receiver.counters.usmStatsNotInTimeWindows, counters['informs-confirmed']], [1, 1, 1])
  // The next one goes straight there.
  notifier.notify(event)
  await turn()
  notifier.receive(receiver.answer(sent[3]!.bytes), '192.0.2.9', 162)
  assert.deepEqual([sent.length, receiver.received.length, counters['informs-confirmed']], [4, 2, 2])
})

test('many informs at once to a receiver nobody knows yet all arrive', async () => {
  const { notifier, sent, counters, turn } = originator([target('t')]), receiver = new Receiver()
  for (let n = 0; n < 40; n++) notifier.notify({ ...event, varbinds: [{ name: ROW, value: integer(n) }] })
  for (let done = 0; done < 300; done++) {
    await turn()
    if (done < sent.length) notifier.receive(receiver.answer(sent[done]!.bytes), '192.0.2.9', 162)
  }
  assert.equal(counters['informs-confirmed'], 40)
  assert.deepEqual(new Set(receiver.received.map((varbinds) => varbinds[2]!.value.value)).size, 40)
})

test('a receiver that starts again, or is another one now, is learned anew', async () => {
  const { notifier, sent, counters, turn, timers } = originator([target('t')])
  const inform = async (receiver: Receiver) => {
    notifier.notify(event)
    await turn()
    for (let n = sent.length - 1; n < sent.length && n < 20; n++) notifier.receive(receiver.answer(sent[n]!.bytes), '192.0.2.9', 162)
  }
  const store = memoryStore(Buffer.from('8000000002', 'hex'))
  await inform(new Receiver(store))
  timers.pass(50_000)
  await inform(new Receiver(store))
  await inform(new Receiver(memoryStore(Buffer.from('8000000003', 'hex'))))
  assert.equal(counters['informs-confirmed'], 3)
})

test('an inform that nobody confirms is sent again as often as the target says, then given up, and the next ones go on', async () => {
  const { notifier, sent, counters, log, timers, turn } = originator([target('t'), target('other', { host: '2001:db8::9' })])
  notifier.notify(event)
  await turn()
  timers.pass(2999)
  assert.equal(sent.filter(({ to }) => to === 't').length, 3)
  assert.equal(counters['drop-inform-timeout-notifications'], 0)
  timers.pass(1)
  assert.equal(counters['drop-inform-timeout-notifications'], 2)
  assert.deepEqual(log, ['192.0.2.9:162', '[2001:db8::9]:162'].map((remote, i) => ({ event: 'target-silent', remote, user: 'a', detail: ['t', 'other'][i] })))
  const receiver = new Receiver(), from = sent.length
  notifier.notify(event)
  await turn()
  for (let n = from; n < sent.length && n < 50; n++) {
    const host = sent[n]!.to === 't' ? '192.0.2.9' : '2001:db8:0:0::9'
    notifier.receive(receiver.answer(sent[n]!.bytes), host, 162)
  }
  assert.equal(counters['informs-confirmed'], 2)
})

test('answers from elsewhere, answers to nothing, and forged ones confirm nothing', async () => {
  const { notifier, sent, counters, turn } = originator([target('t')]), receiver = new Receiver()
  notifier.notify(event)
  await turn()
  for (let n = 0; n < 2; n++) notifier.receive(receiver.answer(sent[n]!.bytes), '192.0.2.9', 162)
  const confirmation = receiver.answer(sent[2]!.bytes)
  notifier.receive(Buffer.from(confirmation), '192.0.2.8', 162)
  notifier.receive(Buffer.from(confirmation), '192.0.2.9', 163)
  for (let at = 0; at < confirmation.length; at++) {
    const forged = Buffer.from(confirmation)
    forged[at]! ^= 1
    notifier.receive(forged, '192.0.2.9', 162)
  }
  assert.equal(counters['informs-confirmed'], 0)
  notifier.receive(Buffer.from(confirmation), '192.0.2.9', 162)
  notifier.receive(confirmation, '192.0.2.9', 162)
  assert.equal(counters['informs-confirmed'], 1)
})

test('a receiver that refuses is followed no further than its reports teach, and complained about once', async () => {
  const { notifier, sent, log, turn } = originator([target('t')])
  const stranger = new Receiver()
  notifier.notify(event)
  await turn()
  notifier.receive(stranger.answer(sent[0]!.bytes), '192.0.2.9', 162)
  // It changes its identity with every answer.
  for (let n = 1; n < sent.length && n < 100; n++) {
    const other = new Receiver(memoryStore(Buffer.from(`80000001${(n + 10).toString(16).padStart(2, '0')}`, 'hex')))
    notifier.receive(other.answer(sent[n]!.bytes), '192.0.2.9', 162)
  }
  assert.ok(sent.length <= 6, `${sent.length} sent`)
  assert.deepEqual(log.map(({ event: what }) => what), ['target-refuses'])
})

test('queues have a bound, and what finds no room is counted', async () => {
  const { notifier, counters, sent, turn } = originator([target('t', { type: 'trap' })], { queued: 10 })
  for (let n = 0; n < 15; n++) notifier.notify(event)
  assert.equal(counters['drop-queue-full-notifications'], 5)
  for (let n = 0; n < 5; n++) await turn()
  assert.equal(sent.length, 10)
  assert.equal(notifier.pendingTraps, 0)
})

test('filters: events are off for who does not want them, coldStart is not (RFC 3413 6)', async () => {
  const { notifier, counters, sent, rows, turn } = originator([target('t', { type: 'trap', isOn: false })])
  notifier.notify(event)
  notifier.notify({ name: [...SNMP_TRAPS, 1], varbinds: [] })
  notifier.notify({ name: [1, 3, 6, 1, 4, 1, 1], varbinds: [] })
  await turn()
  assert.deepEqual([sent.length, counters['skip-filter-notifications']], [1, 2])
  rows[0]!.filters[0]!.isIncluded = true
  notifier.notify(event)
  await turn()
  assert.equal(sent.length, 2)
})

test('notify views: one object outside, or the event itself, and nothing is sent (RFC 3413 3.3)', async () => {
  const view = (...subtrees: Oid[]) => new View('v', subtrees.map((subtree) => ({ subtree, mask: NO_MASK, included: true })))
  const needed: Oid[] = [MIDCOM_EVENTS, [1, 3, 6, 1, 2, 1, 1, 3], [1, 3, 6, 1, 6, 3, 1, 1, 4], ROW]
  for (let missing = -1; missing < needed.length; missing++) {
    const { notifier, counters, sent, turn } = originator([target('t', { type: 'trap' })], { view: view(...needed.filter((_, i) => i !== missing)) })
    notifier.notify(event)
    await turn()
    assert.deepEqual([sent.length, counters['skip-view-notifications']], missing < 0 ? [1, 0] : [0, 1])
  }
  const { notifier, counters } = originator([target('t')], { view: null })
  notifier.notify(event)
  assert.equal(counters['skip-view-notifications'], 1)
})

test('a notification longer than a message is dropped and counted', async () => {
  const { notifier, counters, sent, turn } = originator([target('t', { type: 'trap' })])
  notifier.notify({ ...event, varbinds: [{ name: ROW, value: octets(Buffer.alloc(65_500)) }] })
  await turn()
  assert.deepEqual([sent.length, counters['drop-too-big-notifications']], [0, 1])
})
