import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AUTH_FLAG, PRIV_FLAG, REPORTABLE_FLAG } from './message.ts'
import {
  AUTHORIZATION_ERROR, COMMIT_FAILED, END_OF_MIB_VIEW, GEN_ERR, INCONSISTENT_NAME, INCONSISTENT_VALUE, integer, NO_ACCESS, NO_ERROR, NO_SUCH_INSTANCE, NotUndone,
  NO_SUCH_OBJECT, NOT_WRITABLE, NULL_VALUE, octets, RESOURCE_UNAVAILABLE, text, TOO_BIG, UNDO_FAILED, WRONG_TYPE, type Varbind,
} from './mib.ts'
import type { Oid } from './oid.ts'
import { createSetSerial } from './own-modules.ts'
import { GET, GET_BULK, GET_NEXT, INFORM, REPORT, RESPONSE, SET, TRAP } from './pdu.ts'
import { createTestMib, Manager, memoryStore, openAccess, SECURE, TEST_ROOT, TestEngine, testKeys, TestTimers, type Answer } from './testing.ts'
import { usmCounterName, type UsmCounter } from './usm.ts'
import { NO_MASK, View } from './vacm.ts'

const cell = (row: number): Oid => [...TEST_ROOT, 1, 1, row]
const ask = (...names: Oid[]): Varbind[] => names.map((name) => ({ name, value: NULL_VALUE }))
const set = (row: number, value: number): Varbind => ({ name: cell(row), value: integer(value) })
const SERIAL: Oid = [1, 3, 6, 1, 6, 3, 1, 1, 6, 1, 0]
const status = ({ type, first, second }: Answer) => [type, first, second]

/** The report about a counter, whose new value it holds. */
function isReport(answer: Answer, counter: UsmCounter, value: number): void {
  assert.deepEqual([answer.type, answer.varbinds.length, answer.varbinds[0]!.name, answer.varbinds[0]!.value.value], [REPORT, 1, usmCounterName(counter), value])
}

test('USM: an engine is discovered by a message to nobody (RFC 3414 4), with the request-id if it can be read', () => {
  const box = new TestEngine(), manager = box.manager()
  const answer = box.request(manager, { type: GET, varbinds: [], flags: REPORTABLE_FLAG, engineId: Buffer.alloc(0), userName: '', boots: 0, time: 0, requestId: 77, msgId: 88 })
  isReport(answer, 'usmStatsUnknownEngineIDs', 1)
  assert.deepEqual([answer.requestId, answer.message.msgId, answer.message.boots, answer.message.flags], [77, 88, 1, 0])
  assert.deepEqual(Buffer.from(answer.message.engineId), Buffer.from(box.local.id))
})

test('USM: the checks of RFC 3414 3.2, in their order, each with its counter and its report', () => {
  const box = new TestEngine({ users: { lab: testKeys(), plain: testKeys('SHA-256', null) } }), manager = box.manager()
  const sent = { type: GET, varbinds: ask(cell(1)) }
  const elsewhere = Buffer.from('8000000001', 'hex')
  isReport(box.request(manager, { ...sent, engineId: elsewhere, userName: 'nobody' }), 'usmStatsUnknownEngineIDs', 1)
  isReport(box.request(manager, { ...sent, userName: 'nobody' }), 'usmStatsUnknownUserNames', 1)
  isReport(box.request(manager, { ...sent, userName: '' }), 'usmStatsUnknownUserNames', 2)
  isReport(box.request(box.manager('plain', testKeys()), sent), 'usmStatsUnsupportedSecLevels', 1)
  const wrong = new Manager('lab', testKeys('SHA-256', 'AES', 'another one'), box.local.id)
  isReport(box.request(wrong, sent), 'usmStatsWrongDigests', 1)
  const other = new Manager('lab', testKeys('SHA-384'), box.local.id)
  isReport(box.request(other, sent), 'usmStatsWrongDigests', 2)
  isReport(box.request(manager, { ...sent, boots: 2 }), 'usmStatsNotInTimeWindows', 1)
  isReport(box.request(manager, { ...sent, boots: 0 }), 'usmStatsNotInTimeWindows', 2)
  isReport(box.request(manager, { ...sent, time: 151 }), 'usmStatsNotInTimeWindows', 3)
  assert.deepEqual(status(box.request(manager, { ...sent, time: 150 })), [RESPONSE, NO_ERROR, 0])
  assert.deepEqual([box.counters['out-reports'], box.log.filter(({ event }) => event === 'authentication-failed').length], [9, 4])
})

test('USM: what is not in the time window is told authenticated and not encrypted, with the time there is (RFC 3414 3.2 7)', () => {
  const box = new TestEngine({ store: memoryStore(undefined, 6) }), manager = box.manager()
  box.timers.pass(200_000)
  const answer = box.request(manager, { type: GET, varbinds: ask(cell(1)) })
  isReport(answer, 'usmStatsNotInTimeWindows', 1)
  assert.deepEqual([answer.message.flags, answer.message.boots, answer.message.time], [AUTH_FLAG, 7, 200])
})

test('USM: at the last boot there can be, nothing is timely (RFC 3414 2.2.3)', () => {
  const box = new TestEngine({ store: memoryStore(undefined, 0x7ffffffe) })
  isReport(box.request(box.manager(), { type: GET, varbinds: ask(cell(1)) }), 'usmStatsNotInTimeWindows', 1)
})

test('USM: the time runs full, and the engine counts it as a start (RFC 3414 2.2.2)', () => {
  const store = memoryStore(), box = new TestEngine({ store })
  box.timers.pass(0x7fffffff * 1000 + 5000)
  assert.deepEqual([box.local.time, box.local.boots, store.boots], [5, 2, 2])
})

test('USM: reports go only to who wants them, and never answer what is no request (RFC 3412 7.1)', () => {
  const box = new TestEngine(), manager = box.manager()
  assert.equal(box.ask(manager.seal({ type: GET, varbinds: [], userName: 'nobody', flags: AUTH_FLAG | PRIV_FLAG })), null)
  for (const type of [RESPONSE, TRAP, REPORT]) {
    assert.equal(box.ask(manager.seal({ type, varbinds: [], userName: 'nobody', flags: REPORTABLE_FLAG })), null)
  }
  assert.equal(box.counters.usmStatsUnknownUserNames, 4)
  assert.equal(box.counters['out-reports'], 0)
})

test('USM: what decrypts to no scoped PDU is a decryption error; a salt of the wrong length too', () => {
  const box = new TestEngine(), manager = box.manager()
  // Encrypted with the key of somebody else, authenticated with the right one.
  const mixed = new Manager('lab', { ...testKeys(), privKu: testKeys('SHA-256', 'AES', 'another one').privKu }, box.local.id)
  isReport(box.request(mixed, { type: GET, varbinds: ask(cell(1)) }), 'usmStatsDecryptionErrors', 1)
  assert.equal(box.request(manager, { type: GET, varbinds: ask(cell(1)) }).first, NO_ERROR)
})

test('message processing: old versions, other security models, impossible flags and what is no message are counted and dropped (RFC 3412 7.2)', () => {
  const box = new TestEngine(), { counters } = box
  assert.equal(box.ask(Buffer.from('302902010104067075626c6963a01c02040b0b0b0b020100020100300e300c06082b060102010101000500', 'hex')), null)
  assert.deepEqual([counters.snmpInBadVersions, counters['drop-old-version-messages']], [1, 1])
  const good = box.manager().seal({ type: GET, varbinds: [] })
  const model = Buffer.from(good)
  model[good.indexOf(Buffer.from('040107020103', 'hex')) + 5] = 4
  assert.equal(box.ask(model), null)
  const flags = Buffer.from(good)
  flags[good.indexOf(Buffer.from('040107020103', 'hex')) + 2] = PRIV_FLAG
  assert.equal(box.ask(flags), null)
  assert.equal(box.ask(good.subarray(0, 40)), null)
  assert.equal(box.ask(Buffer.concat([good, Buffer.of(0)])), null)
  assert.equal(box.ask(Buffer.alloc(0)), null)
  assert.deepEqual([counters.snmpUnknownSecurityModels, counters.snmpInvalidMsgs, counters.snmpInASNParseErrs], [1, 1, 3])
})

test('a SET that was recorded is carried out once: not at once again, not after 151 s, not after a restart', () => {
  const mib = createTestMib(), timers = new TestTimers(), store = memoryStore()
  const box = new TestEngine({ modules: [mib], timers, store }), manager = box.manager()
  const recorded = manager.seal({ type: SET, varbinds: [set(1, 5)] })
  assert.equal(manager.open(box.ask(recorded)!).first, NO_ERROR)
  assert.equal(box.ask(recorded), null)
  assert.deepEqual([mib.commits, box.counters['drop-replayed-messages']], [1, 1])
  timers.pass(149_000)
  assert.equal(box.ask(recorded), null)
  timers.pass(2000)
  isReport(manager.open(box.ask(recorded)!), 'usmStatsNotInTimeWindows', 1)
  const again = new TestEngine({ modules: [mib], timers, store })
  isReport(manager.open(again.ask(recorded)!), 'usmStatsNotInTimeWindows', 1)
  assert.equal(mib.commits, 1)
})

test('a level below that of the access entry is an authorizationError with the varbinds of the request (RFC 3416 4.2)', () => {
  const mib = createTestMib(), box = new TestEngine({ modules: [mib] }), manager = box.manager()
  for (const flags of [REPORTABLE_FLAG, REPORTABLE_FLAG | AUTH_FLAG]) {
    const answer = box.request(manager, { type: SET, varbinds: [set(1, 5)], flags })
    assert.deepEqual([...status(answer), answer.varbinds], [RESPONSE, AUTHORIZATION_ERROR, 0, [set(1, 5)]])
  }
  assert.equal(mib.commits, 0)
})

test('another context is answered in its own name, an unknown one by a report, and so is what nobody handles (RFC 3413 3.2, RFC 3412 7.2)', () => {
  const box = new TestEngine(), manager = box.manager(), varbinds = ask(cell(1))
  assert.equal(Buffer.from(box.request(manager, { type: GET, varbinds, contextName: 'other' }).contextName).toString(), 'other')
  const unknown = box.request(manager, { type: GET, varbinds, contextName: 'nowhere' })
  assert.deepEqual([unknown.type, unknown.varbinds[0]!.name.join('.'), unknown.message.flags], [REPORT, '1.3.6.1.6.3.12.1.5.0', AUTH_FLAG | PRIV_FLAG])
  for (const sent of [{ type: INFORM, varbinds }, { type: GET, varbinds, contextEngineId: Buffer.from('8000000001', 'hex') }]) {
    assert.equal(box.request(manager, sent).varbinds[0]!.name.join('.'), '1.3.6.1.6.3.11.2.1.3.0')
  }
  assert.equal(box.ask(manager.seal({ type: TRAP, varbinds, flags: AUTH_FLAG | PRIV_FLAG })), null)
  assert.deepEqual([box.counters.snmpUnknownContexts, box.counters.snmpUnknownPDUHandlers], [1, 3])
})

test('GET: values, and in place of them what is not there (RFC 3416 4.2.1)', () => {
  const box = new TestEngine(), answer = box.request(box.manager(), { type: GET, varbinds: ask(cell(3), cell(99), [1, 3, 9], [...TEST_ROOT, 5]) })
  assert.deepEqual(answer.varbinds.map(({ value }) => value), [integer(2), NO_SUCH_INSTANCE, NO_SUCH_OBJECT, NO_SUCH_OBJECT])
})

test('GETNEXT: the next instance, or the name that was sent and endOfMibView; sub-identifiers count unsigned (RFC 3416 4.2.2)', () => {
  const box = new TestEngine(), names: Oid[] = [cell(9), cell(10), [1, 3], [...cell(3), 4_294_967_295], [...TEST_ROOT, 4_294_967_295]]
  const { varbinds } = box.request(box.manager(), { type: GET_NEXT, varbinds: ask(...names) })
  assert.deepEqual(varbinds.map(({ name }) => name), [cell(10), cell(10), cell(1), cell(4), names[4]])
  assert.deepEqual([varbinds[1]!.value, varbinds[4]!.value], [END_OF_MIB_VIEW, END_OF_MIB_VIEW])
})

test('GETBULK: N + M x R varbinds, R at a time, no more rounds once all have ended (RFC 3416 4.2.3)', () => {
  const box = new TestEngine(), manager = box.manager()
  const bulk = (first: number, second: number, ...names: Oid[]) => box.request(manager, { type: GET_BULK, first, second, varbinds: ask(...names) }).varbinds
  assert.deepEqual(bulk(1, 3, cell(1), cell(4), cell(8)).map(({ name }) => name), [cell(2), cell(5), cell(9), cell(6), cell(10), cell(7), cell(10)])
  assert.deepEqual(bulk(0, 100, cell(9)).map(({ value }) => value), [integer(9), END_OF_MIB_VIEW])
  assert.equal(bulk(-5, 2, cell(1)).length, 2)
  assert.equal(bulk(9, 2, cell(1), cell(2)).length, 2)
  assert.equal(bulk(0, -1, cell(1)).length, 0)
  assert.equal(bulk(0, 0).length, 0)
})

test('GETBULK: an answer is cut to what the other side takes, and to the limit of varbinds', () => {
  const box = new TestEngine({ modules: [createTestMib(5000)], limits: { varbinds: 1000 } }), manager = box.manager()
  const sealed = (maxBytes: number) => box.ask(manager.seal({ type: GET_BULK, second: 0x7fffffff, varbinds: ask([1, 3]), maxBytes }))!
  const small = sealed(484)
  assert.ok(small.length <= 484 && small.length > 440, `${small.length}`)
  assert.equal(manager.open(sealed(65_507)).varbinds.length, 1000)
  const large = new TestEngine({ modules: [createTestMib(5000)], limits: { varbinds: 65_536 } }), its = large.manager()
  const most = large.ask(its.seal({ type: GET_BULK, second: 5000, varbinds: ask([1, 3]) }))!
  assert.ok(most.length <= 65_507 && most.length > 65_440, `${most.length}`)
})

test('an answer that is too long is tooBig without varbinds, and a SET whose answer would be is not carried out (RFC 3416 4.2)', () => {
  const mib = createTestMib(1000), box = new TestEngine({ modules: [mib] }), manager = box.manager()
  const names = Array.from({ length: 40 }, (_, i) => cell(i + 1))
  for (const sent of [{ type: GET, varbinds: ask(...names) }, { type: GET_NEXT, varbinds: ask(...names) }, { type: SET, varbinds: names.map((_, i) => set(i + 1, 70_000)) }]) {
    const answer = box.request(manager, { ...sent, maxBytes: 484 })
    assert.deepEqual([...status(answer), answer.varbinds.length], [RESPONSE, TOO_BIG, 0, 0])
  }
  assert.equal(mib.commits, 0)
  const many = new TestEngine({ limits: { varbinds: 3 } })
  assert.deepEqual(status(many.request(many.manager(), { type: GET, varbinds: ask(cell(1), cell(2), cell(3), cell(4)) })), [RESPONSE, TOO_BIG, 0])
})

test('an answer that does not even fit without varbinds is dropped and counted (snmpSilentDrops)', () => {
  const long = 'c'.repeat(255), user = 'u'.repeat(32)
  const access = { ...openAccess([user]), contexts: [long] }
  const box = new TestEngine({ access, users: { [user]: testKeys('SHA-512') }, store: memoryStore(Buffer.alloc(32, 0x81), 0x7ffffff0) })
  const large = 0x7fffffff
  assert.equal(box.ask(box.manager(user).seal({ type: GET, varbinds: ask(cell(1)), contextName: long, maxBytes: 484, requestId: large, msgId: large })), null)
  assert.equal(box.counters.snmpSilentDrops, 1)
})

test('SET: all of it or nothing; the first fault is told with its position (RFC 3416 4.2.5)', () => {
  const mib = createTestMib(), box = new TestEngine({ modules: [mib, createSetSerial()] }), manager = box.manager()
  const cases: [Varbind[], number, number][] = [
    [[set(1, 5), set(2, -1)], INCONSISTENT_VALUE, 2], [[set(1, 5), set(99, 1), set(2, -1)], INCONSISTENT_NAME, 2],
    [[set(1, 5), { name: cell(2), value: text('x') }], WRONG_TYPE, 2], [[set(1, 5), { name: [1, 3, 9], value: integer(1) }], NOT_WRITABLE, 2],
    // Faults of two modules: the first position, whichever module it belongs to.
    [[set(1, 5), { name: SERIAL, value: integer(9) }, set(2, -1)], INCONSISTENT_VALUE, 2], [[set(2, -1), { name: SERIAL, value: integer(9) }], INCONSISTENT_VALUE, 1],
    [[set(1, 5), { name: [1, 2, 1], value: integer(1) }], NO_ACCESS, 2],
  ]
  const before = [...mib.cells]
  for (const [varbinds, itsStatus, index] of cases) {
    const answer = box.request(manager, { type: SET, varbinds })
    assert.deepEqual([...status(answer), answer.varbinds], [RESPONSE, itsStatus, index, varbinds])
  }
  assert.deepEqual([...mib.cells], before)
  assert.equal(box.request(manager, { type: GET, varbinds: ask(SERIAL) }).varbinds[0]!.value.value, 0)
  const answer = box.request(manager, { type: SET, varbinds: [set(1, 5), { name: SERIAL, value: integer(0) }, set(2, 6)] })
  assert.deepEqual([answer.first, mib.cells.get(cell(1).join('.')), mib.cells.get(cell(2).join('.'))], [NO_ERROR, 5, 6])
  assert.equal(box.request(manager, { type: SET, varbinds: [set(1, 7), { name: SERIAL, value: integer(0) }] }).first, INCONSISTENT_VALUE)
  assert.equal(mib.cells.get(cell(1).join('.')), 5)
})

test('SET: what fails when it is carried out is undone everywhere, or says that it could not be (RFC 3416 4.2.5)', () => {
  const first = createTestMib(2, [1, 3, 5]), second = createTestMib(2, [1, 3, 6]), box = new TestEngine({ modules: [first, second] }), manager = box.manager()
  const varbinds = [{ name: [1, 3, 5, 1, 1, 1], value: integer(7) }, { name: [1, 3, 6, 1, 1, 1], value: integer(7) }]
  second.failCommit = true
  assert.deepEqual(status(box.request(manager, { type: SET, varbinds })), [RESPONSE, COMMIT_FAILED, 2])
  assert.deepEqual([first.commits, first.cells.get('1.3.5.1.1.1')], [0, 0])
  first.failUndo = true
  assert.deepEqual(status(box.request(manager, { type: SET, varbinds })), [RESPONSE, UNDO_FAILED, 0])
  assert.equal(box.log.filter(({ event }) => event === 'module-failed').length, 3)
})

test('SET: the answer waits until it is true, others are served meanwhile, and what it causes comes behind it', async () => {
  const mib = createTestMib(), box = new TestEngine({ modules: [mib], limits: { pendingSets: 1 } }), manager = box.manager()
  let done = () => { /* set below */ }
  mib.wait = new Promise<void>((resolve) => { done = resolve })
  mib.onCommit = () => box.engine.notify({ name: [1, 3, 9], varbinds: [] })
  assert.equal(box.ask(manager.seal({ type: SET, varbinds: [set(1, 5)] })), null)
  assert.deepEqual([box.engine.pendingSets, box.notifications.length], [1, 0])
  assert.equal(box.request(manager, { type: GET, varbinds: ask(cell(1)) }).varbinds[0]!.value.value, 5)
  assert.deepEqual(status(box.request(manager, { type: SET, varbinds: [set(2, 5)] })), [RESPONSE, RESOURCE_UNAVAILABLE, 1])
  box.sent.length = 0
  done()
  await new Promise(setImmediate)
  assert.deepEqual(manager.open(box.sent[0]!).varbinds, [set(1, 5)])
  assert.deepEqual([box.engine.pendingSets, box.notifications.length, box.sent.length], [0, 1, 1])
})

test('SET: what could not be kept after all is commitFailed, or undoFailed if it stands nevertheless, and causes nothing', async () => {
  const mib = createTestMib(), box = new TestEngine({ modules: [mib] }), manager = box.manager()
  mib.wait = Promise.reject(new Error('the disk is full'))
  mib.onCommit = () => box.engine.notify({ name: [1, 3, 9], varbinds: [] })
  assert.equal(box.ask(manager.seal({ type: SET, varbinds: [set(1, 5)] })), null)
  await new Promise(setImmediate)
  assert.deepEqual(status(manager.open(box.sent[0]!)), [RESPONSE, COMMIT_FAILED, 1])
  assert.equal(box.notifications.length, 0)
  mib.wait = Promise.reject(new NotUndone('it stands', new Error('the disk is full')))
  assert.equal(box.ask(manager.seal({ type: SET, varbinds: [set(1, 6)] })), null)
  await new Promise(setImmediate)
  assert.deepEqual(status(manager.open(box.sent.at(-1)!)), [RESPONSE, UNDO_FAILED, 0])
  assert.equal(box.notifications.length, 0)
})

test('a module that throws answers genErr and is logged', () => {
  const broken = { ...createTestMib(), get() { throw new Error('broken') } }
  const box = new TestEngine({ modules: [broken] })
  assert.deepEqual(status(box.request(box.manager(), { type: GET, varbinds: ask(cell(1)) })), [RESPONSE, GEN_ERR, 0])
  assert.match(box.log[0]!.detail!, /broken/)
})

test('views: what is outside of them is not there to be read, is passed by in walks, and may not be written (RFC 3413 3.2)', () => {
  const mib = createTestMib(), view = (name: string, ...rows: number[]) => new View(name, rows.map((row) => ({ subtree: cell(row), mask: NO_MASK, included: true })))
  const box = new TestEngine({
    modules: [mib],
    access: {
      contexts: [''], groups: new Map([['lab', 'g']]), views: [view('r', 2, 3, 7), view('w', 3, 4)],
      access: [{ group: 'g', contextPrefix: '', isExact: true, securityModel: 3, level: 3, read: 'r', write: 'w', notify: '' }],
    },
  }), manager = box.manager()
  assert.deepEqual(box.request(manager, { type: GET, varbinds: ask(cell(1), cell(2)) }).varbinds.map(({ value }) => value), [NO_SUCH_OBJECT, integer(1)])
  assert.deepEqual(box.request(manager, { type: GET_BULK, second: 9, varbinds: ask([1, 3]) }).varbinds.map(({ name }) => name.at(-1)), [2, 3, 7, 7])
  assert.deepEqual(status(box.request(manager, { type: SET, varbinds: [set(3, 1), set(2, 1)] })), [RESPONSE, NO_ACCESS, 2])
  assert.deepEqual(status(box.request(manager, { type: SET, varbinds: [set(3, 1), set(4, 1)] })), [RESPONSE, NO_ERROR, 0])
  box.vacm = new TestEngine({ access: { contexts: [''], groups: new Map(), access: [], views: [] } }).vacm
  assert.deepEqual(status(box.request(manager, { type: GET, varbinds: ask(cell(2)) })), [RESPONSE, AUTHORIZATION_ERROR, 0])
})

test('salts are never used twice, also past the end of their first octets', () => {
  const box = new TestEngine(), seen = new Set<string>()
  for (let i = 0; i < 1000; i++) seen.add(Buffer.from(box.engine.nextSalt()).toString('hex'))
  assert.equal(seen.size, 1000)
  assert.ok(seen.has('0000000000000000'), 'it began at the last one')
})

test('a request of many octets in one value comes back as it was', () => {
  const box = new TestEngine(), value = octets(Buffer.alloc(60_000, 7))
  const answer = box.request(box.manager(), { type: SET, varbinds: [{ name: cell(1), value }], flags: SECURE })
  assert.deepEqual([...status(answer), answer.varbinds.length], [RESPONSE, WRONG_TYPE, 1, 1])
})
