/**
 * Messages that are not answered with what they ask for: from octets that this file makes by itself to the report or the
 * error-status, and to the counters, that RFC 3412 7, RFC 3413 3.2, RFC 3414 3.2, RFC 3415 3.2 and RFC 3416 4.2 prescribe.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SnmpCounter } from './counters.ts'
import { encrypt, messageMac } from './keys.ts'
import { COUNTER32, type Value, type Varbind } from './mib.ts'
import type { Oid } from './oid.ts'
import { GET, GET_BULK, GET_NEXT, INFORM, REPORT, RESPONSE, SET, TRAP } from './pdu.ts'
import { createTestMib, memoryStore, TEST_ROOT, TestEngine, testKeys, type Answer, type TestMib } from './testing.ts'
import { NO_MASK, View, type AccessEntry } from './vacm.ts'

/* BER (X.690), as long as it takes. */
function tlv(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts), { length } = content
  const head = length < 128 ? [tag, length] : [tag, 0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from(head), content])
}
function int(value: number): Buffer {
  const octets = Buffer.alloc(4)
  octets.writeInt32BE(value)
  let from = 0
  while (from < 3 && (octets[from] === 0 && octets[from + 1]! < 128 || octets[from] === 255 && octets[from + 1]! >= 128)) from++
  return tlv(2, octets.subarray(from))
}
const str = (octets: Buffer | string) => tlv(4, Buffer.from(octets))
/** Row `row` of the test's table, with NULL or an integer. */
function cell(row: number, value: Buffer = Buffer.of(5, 0)): Buffer {
  // 1.3.6.1.4.1.32473.1.1.1
  return tlv(0x30, tlv(6, Buffer.from('2b0601040181fd59010101', 'hex'), Buffer.of(row)), value)
}
const NAME = (row: number): Oid => [...TEST_ROOT, 1, 1, row]

const PLAIN = 0, SIGNED = 1, SECRET = 3, REPORTABLE = 4

interface Fields {
  maxBytes: number; flags: Buffer; model: number
  engineId: Buffer; boots: number; time: number; user: string; mac: Buffer | null; salt: Buffer
  contextEngineId: Buffer; context: Buffer | string; type: number; list: Buffer; first: number; second: number
  /** In place of the scoped PDU, encrypted if the flags say so. */
  scopedPdu: Buffer | null
}

const ENGINE_ID = Buffer.from('80007ed90500000001', 'hex'), ELSEWHERE = Buffer.from('80007ed90500000002', 'hex')
const MSG_ID = 0x1234, REQUEST_ID = -77, NOW_SEC = 1000
const flags = (level: number, isReportable = true) => Buffer.of(level | (isReportable ? REPORTABLE : 0))

function message(box: TestEngine, change: Partial<Fields>): Buffer {
  const f: Fields = {
    maxBytes: 1472, flags: flags(SECRET), model: 3, engineId: ENGINE_ID, boots: 1, time: NOW_SEC, user: 'lab', mac: null, salt: Buffer.from('saltsalt'),
    contextEngineId: ENGINE_ID, context: '', type: GET, list: cell(1), first: 0, second: 0, scopedPdu: null, ...change,
  }
  const keys = (box.users.get(f.user) ?? box.users.get('lab')!).keys, level = (f.flags[0] ?? 0) & SECRET
  const pdu = tlv(f.type, int(REQUEST_ID), int(f.first), int(f.second), tlv(0x30, f.list))
  const scoped = f.scopedPdu ?? tlv(0x30, str(f.contextEngineId), str(f.context), pdu)
  // Who has no key for it sends anything.
  const secret = () => keys.priv === null ? scoped : encrypt(keys, f.boots, f.time, Buffer.from('saltsalt'), scoped)
  const data = level === SECRET ? str(Buffer.from(secret())) : scoped
  const salt = level === SECRET ? f.salt : Buffer.alloc(0)
  const whole = (mac: Buffer) => tlv(
    0x30, int(3), tlv(0x30, int(MSG_ID), int(f.maxBytes), str(f.flags), int(f.model)),
    str(tlv(0x30, str(f.engineId), int(f.boots), int(f.time), str(f.user), str(mac), str(salt))), data,
  )
  if (f.mac !== null || (level & SIGNED) === 0) return whole(f.mac ?? Buffer.alloc(0))
  return whole(Buffer.from(messageMac(keys, whole(Buffer.alloc(keys.auth.macBytes)))))
}

/** lab may all in every context, but only in secret; reader may only read, at any level; blind has a group without views; stranger has none. */
function createBox(): { box: TestEngine; mib: TestMib } {
  const mib = createTestMib()
  const entry = (group: string, level: AccessEntry['level'], read: string, write: string): AccessEntry => ({ group, level, read, write, notify: '', contextPrefix: '', isExact: false, securityModel: 3 })
  const box = new TestEngine({
    modules: [mib], store: memoryStore(ENGINE_ID), limits: { varbinds: 3 },
    users: { lab: testKeys(), reader: testKeys(), blind: testKeys(), stranger: testKeys(), plain: testKeys('SHA-256', null) },
    access: {
      contexts: ['', 'Büro'], groups: new Map([['lab', 'all'], ['reader', 'some'], ['blind', 'none'], ['plain', 'all']]),
      access: [entry('all', 3, 'all', 'all'), entry('some', 1, 'all', 'gone'), entry('none', 1, '', '')],
      views: [new View('all', [{ subtree: [1, 3], mask: NO_MASK, included: true }])],
    },
  })
  box.timers.pass(NOW_SEC * 1000)
  return { box, mib }
}

/** Counters of the MIBs that are not 0. */
function counted({ counters }: TestEngine): [string, number][] {
  return Object.entries(counters).filter(([name, value]) => /^(?:usm|snmp)/.test(name) && value !== 0)
}

function answerTo({ box }: { box: TestEngine }, change: Partial<Fields>): Answer | null {
  const octets = box.ask(message(box, change))
  const user = box.users.has(change.user ?? 'lab') ? change.user ?? 'lab' : 'lab'
  return octets === null ? null : box.manager(user).open(octets)
}

const OIDS: Partial<Record<SnmpCounter, string>> = {
  usmStatsUnsupportedSecLevels: '1.3.6.1.6.3.15.1.1.1.0', usmStatsNotInTimeWindows: '1.3.6.1.6.3.15.1.1.2.0', usmStatsUnknownUserNames: '1.3.6.1.6.3.15.1.1.3.0',
  usmStatsUnknownEngineIDs: '1.3.6.1.6.3.15.1.1.4.0', usmStatsWrongDigests: '1.3.6.1.6.3.15.1.1.5.0', usmStatsDecryptionErrors: '1.3.6.1.6.3.15.1.1.6.0',
  snmpUnknownPDUHandlers: '1.3.6.1.6.3.11.2.1.3.0', snmpUnknownContexts: '1.3.6.1.6.3.12.1.5.0',
}

/** `id`: the request-id can be read before the message is refused. */
const REPORTS: [what: string, counter: SnmpCounter, level: number, id: boolean, change: Partial<Fields>][] = [
  ['an engine ID of no octets, to nobody (RFC 3414 4)', 'usmStatsUnknownEngineIDs', PLAIN, true, { flags: flags(PLAIN), engineId: Buffer.alloc(0), user: '', boots: 0, time: 0, list: Buffer.alloc(0) }],
  ['the engine ID of another', 'usmStatsUnknownEngineIDs', PLAIN, false, { engineId: ELSEWHERE }],
  ['an engine ID that ours begins with', 'usmStatsUnknownEngineIDs', PLAIN, true, { engineId: ENGINE_ID.subarray(0, 8), flags: flags(SIGNED) }],
  ['an engine ID of 33 octets (RFC 3414 3.2 3)', 'usmStatsUnknownEngineIDs', PLAIN, false, { engineId: Buffer.alloc(33, 0x80) }],
  ['another engine, whose user is unknown here', 'usmStatsUnknownEngineIDs', PLAIN, false, { engineId: ELSEWHERE, user: 'nobody' }],
  ['a plain GET that says it is not reportable (RFC 3412 6.4)', 'usmStatsUnknownEngineIDs', PLAIN, true, { engineId: ELSEWHERE, flags: flags(PLAIN, false) }],
  ['a user who is unknown', 'usmStatsUnknownUserNames', PLAIN, false, { user: 'nobody' }],
  ['a user without a name', 'usmStatsUnknownUserNames', PLAIN, true, { user: '', flags: flags(PLAIN) }],
  ['a name in other letters', 'usmStatsUnknownUserNames', PLAIN, true, { user: 'Lab', flags: flags(SIGNED) }],
  ['privacy of a user who has none', 'usmStatsUnsupportedSecLevels', PLAIN, false, { user: 'plain' }],
  ['privacy of a user who has none, with a wrong MAC', 'usmStatsUnsupportedSecLevels', PLAIN, false, { user: 'plain', mac: Buffer.alloc(24) }],
  ['a wrong MAC', 'usmStatsWrongDigests', PLAIN, false, { mac: Buffer.alloc(24) }],
  ['a wrong MAC of a plain PDU that is not reportable', 'usmStatsWrongDigests', PLAIN, true, { mac: Buffer.alloc(24), flags: flags(SIGNED, false) }],
  ['a MAC of no octets', 'usmStatsWrongDigests', PLAIN, false, { mac: Buffer.alloc(0) }],
  ['a MAC of as many octets as SHA-1 has', 'usmStatsWrongDigests', PLAIN, false, { mac: Buffer.alloc(12) }],
  ['a MAC longer than any (RFC 7860 4.2.2)', 'usmStatsWrongDigests', PLAIN, false, { mac: Buffer.alloc(65) }],
  ['a wrong MAC, out of time', 'usmStatsWrongDigests', PLAIN, false, { mac: Buffer.alloc(24), boots: 0 }],
  ['the boot before', 'usmStatsNotInTimeWindows', SIGNED, false, { boots: 0 }],
  ['the boot to come', 'usmStatsNotInTimeWindows', SIGNED, false, { boots: 2 }],
  ['151 s ago', 'usmStatsNotInTimeWindows', SIGNED, false, { time: NOW_SEC - 151 }],
  ['151 s ahead', 'usmStatsNotInTimeWindows', SIGNED, true, { time: NOW_SEC + 151, flags: flags(SIGNED) }],
  ['151 s ahead, and a salt that is none', 'usmStatsNotInTimeWindows', SIGNED, false, { time: NOW_SEC + 151, salt: Buffer.alloc(7) }],
  ...[0, 7, 9].map((many): typeof REPORTS[number] => [`a salt of ${many} octets (RFC 3826 3.1.4)`, 'usmStatsDecryptionErrors', PLAIN, false, { salt: Buffer.from('saltsalts').subarray(0, many) }]),
  ['what decrypts to nothing that can be read', 'usmStatsDecryptionErrors', PLAIN, false, { scopedPdu: Buffer.alloc(40, 0x55) }],
  ...[PLAIN, SIGNED, SECRET].flatMap((level): typeof REPORTS => [
    ['a context that is not there', 'snmpUnknownContexts', level, true, { context: 'nowhere', flags: flags(level) }],
    ['a context that is not there, not reportable', 'snmpUnknownContexts', level, true, { context: 'nowhere', flags: flags(level, false) }],
    ['a context of another engine', 'snmpUnknownPDUHandlers', level, true, { contextEngineId: ELSEWHERE, flags: flags(level) }],
  ]),
  ['a context that ours begins with', 'snmpUnknownContexts', SECRET, true, { context: 'Bü' }],
  ['a context in another character set', 'snmpUnknownContexts', SECRET, true, { context: Buffer.from('Büro', 'latin1') }],
  ['a context of 300 octets', 'snmpUnknownContexts', SECRET, true, { context: 'c'.repeat(300) }],
  ['a context that is not there, of a user who may nothing', 'snmpUnknownContexts', SECRET, true, { context: 'nowhere', user: 'stranger' }],
  ['a context of no engine', 'snmpUnknownPDUHandlers', SECRET, true, { contextEngineId: Buffer.alloc(0) }],
  ['a context of an engine ID of 300 octets', 'snmpUnknownPDUHandlers', SECRET, true, { contextEngineId: Buffer.alloc(300, 0x80) }],
  ['a context that is not there of another engine', 'snmpUnknownPDUHandlers', SECRET, true, { contextEngineId: ELSEWHERE, context: 'nowhere' }],
  ['an INFORM, which nobody receives here', 'snmpUnknownPDUHandlers', SECRET, true, { type: INFORM }],
]
const LEVELS = ['noAuthNoPriv', 'authNoPriv', '', 'authPriv']
for (const [what, counter, level, hasId, change] of REPORTS) {
  test(`${what} is answered with a report of ${counter} at ${LEVELS[level]}, for a message of ${LEVELS[change.flags === undefined ? SECRET : change.flags[0]! & SECRET]}`, () => {
    const it = createBox(), { box } = it
    const answer = answerTo(it, change)
    assert.ok(answer !== null, 'no answer')
    const { message: { flags: itsFlags, msgId, engineId, boots, time, userName }, ...pdu } = answer
    assert.deepEqual([itsFlags, msgId, Buffer.from(engineId), boots, time], [level, MSG_ID, ENGINE_ID, 1, NOW_SEC])
    // The name is that of the message, also where nobody here has it (RFC 3414 3.1 1, 3.2 2), but none if that was for another engine.
    assert.equal(Buffer.from(userName).toString(), counter === 'usmStatsUnknownEngineIDs' ? '' : change.user ?? 'lab')
    assert.deepEqual([pdu.type, pdu.requestId, pdu.first, pdu.second], [REPORT, hasId ? REQUEST_ID : 0, 0, 0])
    assert.deepEqual([Buffer.from(pdu.contextEngineId), pdu.contextName.length], [ENGINE_ID, 0])
    assert.deepEqual(pdu.varbinds.map(({ name, value }) => [name.join('.'), value]), [[OIDS[counter], { tag: COUNTER32, value: 1 }]])
    assert.deepEqual(counted(box), [[counter, 1]])
    assert.deepEqual([box.counters['out-reports'], box.counters['out-messages']], [1, 1])
  })
}

const DROPS: [what: string, counter: SnmpCounter | null, change: Partial<Fields>][] = [
  ['another engine, in secret, not reportable (RFC 3412 7.1 3b)', 'usmStatsUnknownEngineIDs', { engineId: ELSEWHERE, flags: flags(SECRET, false) }],
  ['a user who is unknown, in secret, not reportable', 'usmStatsUnknownUserNames', { user: 'nobody', flags: flags(SECRET, false) }],
  ['a wrong MAC, in secret, not reportable', 'usmStatsWrongDigests', { mac: Buffer.alloc(24), flags: flags(SECRET, false) }],
  ['out of time, in secret, not reportable', 'usmStatsNotInTimeWindows', { boots: 0, flags: flags(SECRET, false) }],
  ['a salt of 7 octets, not reportable', 'usmStatsDecryptionErrors', { salt: Buffer.alloc(7), flags: flags(SECRET, false) }],
  ['a PDU that cannot be read, not reportable, of another engine', 'usmStatsUnknownEngineIDs', { engineId: ELSEWHERE, flags: flags(PLAIN, false), scopedPdu: tlv(0x30, str(''), str(''), Buffer.of(0xa0, 0)) }],
  ...[RESPONSE, TRAP, REPORT].flatMap((type): typeof DROPS => [
    [`a plain PDU ${type.toString(16)} of another engine, which is no request`, 'usmStatsUnknownEngineIDs', { type, engineId: ELSEWHERE, flags: flags(PLAIN) }],
    [`a PDU ${type.toString(16)} out of time, which is no request`, 'usmStatsNotInTimeWindows', { type, boots: 0, flags: flags(SIGNED) }],
  ]),
  ['a notification, which nobody receives here', 'snmpUnknownPDUHandlers', { type: TRAP }],
  ['an answer to nothing (RFC 3412 7.2 10)', null, { type: RESPONSE }],
  ['a report about nothing', null, { type: REPORT }],
  ['a PDU that cannot be read (RFC 3412 7.2 7)', 'snmpInASNParseErrs', { flags: flags(SIGNED), list: Buffer.of(0x30) }],
  ['a PDU of no known type', 'snmpInASNParseErrs', { flags: flags(SIGNED), type: 0xa9 }],
  ['a sender that takes 483 octets', 'snmpInASNParseErrs', { maxBytes: 483 }],
  ['a user name of 33 octets', 'snmpInASNParseErrs', { user: 'u'.repeat(33) }],
  ['flags of no octets', 'snmpInASNParseErrs', { flags: Buffer.alloc(0) }],
  ['flags of two octets', 'snmpInASNParseErrs', { flags: Buffer.of(7, 0) }],
  ['negative boots', 'snmpInASNParseErrs', { boots: -1, flags: flags(SIGNED) }],
  ['a negative time', 'snmpInASNParseErrs', { time: -1, flags: flags(SIGNED) }],
  ['security model 0', 'snmpInASNParseErrs', { model: 0 }],
  ['privacy without authentication (RFC 3412 7.2 5d)', 'snmpInvalidMsgs', { flags: Buffer.of(6) }],
  ...[1, 2, 4, 0x7fffffff].map((model): typeof DROPS[number] => [`security model ${model}`, 'snmpUnknownSecurityModels', { model }]),
  ['another security model with flags that cannot be', 'snmpUnknownSecurityModels', { model: 4, flags: Buffer.of(2) }],
]
for (const [what, counter, change] of DROPS) {
  test(`${what} is counted as ${counter ?? 'nothing'} and not answered`, () => {
    const it = createBox()
    assert.equal(answerTo(it, change), null)
    assert.deepEqual(counted(it.box), counter === null ? [] : [[counter, 1]])
    assert.deepEqual([it.box.counters['out-reports'], it.box.counters['in-messages']], [0, 1])
  })
}

const NO_ERROR = 0, TOO_BIG = 1, NO_ACCESS = 6, AUTHORIZATION_ERROR = 16
const five = tlv(2, Buffer.of(5))
const ANSWERS: [what: string, status: number, index: number, change: Partial<Fields>][] = [
  ['150 s ago', NO_ERROR, 0, { time: NOW_SEC - 150 }], ['150 s ahead', NO_ERROR, 0, { time: NOW_SEC + 150 }],
  ['flags with bits that mean nothing yet', NO_ERROR, 0, { flags: Buffer.of(0xff) }], ['a request that is not reportable', NO_ERROR, 0, { flags: flags(SECRET, false) }],
  ['a context whose name is not ASCII', NO_ERROR, 0, { context: 'Büro' }],
  ['a message at noAuthNoPriv where access takes authPriv', AUTHORIZATION_ERROR, 0, { flags: flags(PLAIN) }],
  ['a message at authNoPriv where access takes authPriv', AUTHORIZATION_ERROR, 0, { flags: flags(SIGNED) }],
  ['a user without privacy where access takes it', AUTHORIZATION_ERROR, 0, { user: 'plain', flags: flags(SIGNED) }],
  ['a SET at authNoPriv where access takes authPriv', AUTHORIZATION_ERROR, 0, { flags: flags(SIGNED), type: SET, list: cell(1, five) }],
  ['a user in no group', AUTHORIZATION_ERROR, 0, { user: 'stranger' }],
  ['a user whose group has no read view', AUTHORIZATION_ERROR, 0, { user: 'blind' }],
  ['a GETNEXT of that user', AUTHORIZATION_ERROR, 0, { user: 'blind', type: GET_NEXT }],
  ['a GETBULK of that user', AUTHORIZATION_ERROR, 0, { user: 'blind', type: GET_BULK, second: 1 }],
  ['a SET of a user whose write view does not exist', AUTHORIZATION_ERROR, 0, { user: 'reader', type: SET, list: cell(1, five) }],
  ...[PLAIN, SIGNED, SECRET].map((level): typeof ANSWERS[number] => [`a GET at ${LEVELS[level]} where access takes nothing more`, NO_ERROR, 0, { user: 'reader', flags: flags(level) }]),
  ['a SET of a name outside of the write view', NO_ACCESS, 1, { type: SET, list: tlv(0x30, tlv(6, Buffer.of(0x2a, 1)), five) }],
]
for (const [what, status, index, change] of ANSWERS) {
  test(`${what} is answered with error-status ${status} at the level it came with`, () => {
    const it = createBox(), { box, mib } = it
    const answer = answerTo(it, change)
    assert.ok(answer !== null, 'no answer')
    assert.deepEqual([answer.type, answer.requestId, answer.first, answer.second], [RESPONSE, REQUEST_ID, status, index])
    assert.deepEqual([answer.message.flags, Buffer.from(answer.message.userName).toString()], [(change.flags ?? flags(SECRET))[0]! & SECRET, change.user ?? 'lab'])
    assert.equal(Buffer.from(answer.contextName).toString(), change.context ?? '')
    // With an error the varbinds are those of the request (RFC 3416 4.2).
    const isSame = status !== NO_ERROR
    if (isSame) assert.deepEqual(answer.varbinds.map(({ value }) => value.value), [change.type === SET ? 5 : null])
    else assert.deepEqual(answer.varbinds.map(({ name, value }) => [name, value.value]), [[NAME(1), 0]])
    assert.deepEqual([counted(box), mib.commits, box.counters['out-error-responses']], [[], 0, isSame ? 1 : 0])
  })
}

test('a request without varbinds is answered without any, and one with more than the limit is tooBig and not carried out (RFC 3416 4.2)', () => {
  const list = (many: number, value?: Buffer) => Buffer.concat(Array.from({ length: many }, (_, i) => cell(i + 1, value)))
  const values = (varbinds: readonly Varbind[]): Value['value'][] => varbinds.map(({ value }) => value.value)
  const cases: [change: Partial<Fields>, many: number, status: number, answered: Value['value'][], commits: number][] = [
    [{ type: GET }, 0, NO_ERROR, [], 0], [{ type: GET_NEXT }, 0, NO_ERROR, [], 0], [{ type: GET_BULK, second: 10 }, 0, NO_ERROR, [], 0],
    [{ type: SET }, 0, NO_ERROR, [], 0],
    [{ type: GET }, 3, NO_ERROR, [0, 1, 2], 0], [{ type: GET_NEXT }, 3, NO_ERROR, [1, 2, 3], 0],
    [{ type: GET_BULK, second: 1 }, 3, NO_ERROR, [1, 2, 3], 0], [{ type: SET }, 3, NO_ERROR, [5, 5, 5], 1],
    ...[GET, GET_NEXT, GET_BULK, SET].map((type): typeof cases[number] => [{ type, second: type === GET_BULK ? 1 : 0 }, 4, TOO_BIG, [], 0]),
  ]
  for (const [change, many, status, answered, commits] of cases) {
    const it = createBox(), answer = answerTo(it, { ...change, list: list(many, change.type === SET ? five : undefined) })!
    const what = `PDU ${change.type!.toString(16)} of ${many}`
    assert.deepEqual([answer.type, answer.requestId, answer.first, answer.second], [RESPONSE, REQUEST_ID, status, 0], what)
    assert.deepEqual([values(answer.varbinds), it.mib.commits, counted(it.box)], [answered, commits, []], what)
  }
})
