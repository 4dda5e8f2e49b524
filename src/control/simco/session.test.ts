import test from 'node:test'
import assert from 'node:assert/strict'
import { CLOSED, ENDED, FORGOTTEN_BYTES, NOAUTH, OPEN, UNREAD_BYTES, type SessionState } from './session.ts'
import { composeChallenge, composeToken, readCredential } from './authentication.ts'
import { CHALLENGE, FORMATS, HEADER_BYTES, PRL_REQUEST, PRS_REQUEST, TOKEN, type Message } from './codec.ts'
import { Rig, bytesOf, createFakePolicy, messagesIn, octets, type RigOptions } from './testing.ts'

const KEY = Buffer.alloc(32, 7), NONCE = Buffer.alloc(32, 9)
const SE = '0101000800000001 0001000403000000', ST = '01030000000000ff', PRL = '0122000000000002'
/** E4 without the group: PER of the specification's digest. */
const PER = '0112003000000011 000b000403010000 0009000c01201100138c0002c000020a 0009000c0100110300000002 00000000 000700040000012c'
const challenged: RigOptions = { peer: { agent: undefined, challenged: true }, agents: [{ name: 'b2bua-1', key: KEY }] }

function noauth(): Rig {
  const rig = new Rig(challenged)
  rig.say(SE)
  assert.equal(rig.session.state, NOAUTH)
  return rig
}

/** A request of any sub-type that is well formed where the sub-type is known. */
function request(subType: number): Buffer {
  const type = 0x0100 | subType
  return FORMATS.has(type) ? octets(type, 0x99, { present: 0, pid: 1, lifetimeSec: 60 }) : bytesOf(type.toString(16).padStart(4, '0') + '000000000099')
}

test('all states and sub-types: what is processed, refused, and closed (RFC 4540 6, 7.2 to 7.4)', () => {
  const SUBTYPES = [0x01, 0x02, 0x03, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x21, 0x22, 0x23, 0x24, 0x00, 0x99]
  for (const subType of SUBTYPES) {
    const isRule = [0x11, 0x12, 0x13, 0x14, 0x15, 0x21, 0x22].includes(subType)
    const check = (rig: Rig, answer: RegExp, state: SessionState) => {
      const [reply = 'nothing', ...more] = rig.say(request(subType)), where = `sub-type ${subType.toString(16)}: ${reply}`
      assert.match(reply, answer, where)
      assert.equal(more.length, 0, where)
      assert.equal(reply.slice(8, 16), '00000099', where)
      assert.equal(rig.session.state, state, where)
      assert.equal(rig.isEnded, state === ENDED, where)
    }
    check(new Rig(), subType === 1 ? /^0201/ : /^03110000/, subType === 1 ? OPEN : ENDED)
    check(noauth(), subType === 1 ? /^03200000/ : subType === 2 ? /^03230000/ : subType === 3 ? /^0203/ : /^03110000/, subType === 1 ? NOAUTH : ENDED)
    check(new Rig().open(), subType <= 2 && subType > 0 ? /^03200000/ : subType === 3 ? /^0203/ : isRule ? /^(02|034|035)/ : /^03110000/, subType === 3 ? ENDED : OPEN)
  }
})

test('replies and notifications from an agent are the wrong basic type; only an open session survives them (RFC 4540 6)', () => {
  for (const type of ['0201', '0222', '0343', '0401', '0403', '0001', '0500', 'ff01']) {
    const message = type + '000000000044'
    for (const rig of [new Rig(), noauth()]) {
      assert.deepEqual(rig.say(message), ['0310000000000044'])
      assert.equal(rig.session.state, ENDED)
    }
    const open = new Rig().open()
    assert.deepEqual(open.say(message), ['0310000000000044'])
    assert.equal(open.session.state, OPEN)
    assert.match(open.say(PRL)[0]!, /^0222/)
  }
})

/** The attributes of a payload, each with its header. */
function attributesOf(bytes: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 8; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt16BE(at + 2)
    found.push(bytes.subarray(at, end))
    at = end
  }
  return found
}
function withAttributes(bytes: Buffer, attributes: Buffer[]): Buffer {
  const whole = Buffer.concat([bytes.subarray(0, 8), ...attributes])
  whole.writeUInt16BE(whole.length - 8, 2)
  return whole
}
function withLength(attribute: Buffer, bytes: number): Buffer {
  const changed = Buffer.concat([attribute.subarray(0, 4), Buffer.alloc(bytes, 1)])
  changed.writeUInt16BE(bytes, 2)
  return changed
}

test('every attribute missing, twice, in another order, of another length, or unknown: 0x0312, and only an open session survives (RFC 4540 6)', () => {
  let cases = 0
  for (const [type, steps] of FORMATS) {
    if (type >> 8 !== 1 || type === 0x0103) continue
    const good = octets(type, 5, { present: 1 << 6 | 1 << CHALLENGE | 1 << TOKEN, pid: 1, lifetimeSec: 60 }), list = attributesOf(good)
    const broken: Buffer[][] = [[...list, bytesOf('000c0004 00000000')], [...list, bytesOf('000000')]]
    list.forEach((attribute, i) => {
      const others = list.filter((_, n) => n !== i), optional = steps[i]!.optional
      if (!optional) broken.push(others)
      broken.push([...list.slice(0, i + 1), attribute, ...list.slice(i + 1)])
      if (i > 0) broken.push([...list.slice(0, i - 1), attribute, list[i - 1]!, ...list.slice(i + 1)])
      // Tokens and challenges have any length up to 4,096.
      const variable = steps[i]!.attribute === CHALLENGE || steps[i]!.attribute === TOKEN
      for (const bytes of variable ? [4097] : [0, 3, 5]) broken.push([...list.slice(0, i), withLength(attribute, bytes), ...list.slice(i + 1)])
    })
    for (const attributes of broken) {
      const message = withAttributes(good, attributes)
      // Two tuples in exchanged order are well formed: where they stand is looked at later.
      if (message.equals(good)) continue
      cases++
      const state = type === 0x0101 ? CLOSED : type === 0x0102 ? NOAUTH : OPEN
      const rig = state === CLOSED ? new Rig() : state === NOAUTH ? noauth() : new Rig().open(), name = message.toString('hex')
      if (message.length > 8 + 4108 && state !== OPEN) continue
      const answers = rig.say(message)
      assert.deepEqual(answers, ['0312000000000005'], name)
      assert.equal(rig.session.state, state === OPEN ? OPEN : ENDED, name)
      assert.deepEqual(rig.policy.asked, [], name)
      if (state === OPEN) assert.match(rig.say(PRL)[0]!, /^0222/, name)
    }
  }
  assert.ok(cases > 100, `${cases} cases`)
})

test('a header that cannot be: BFM and close; of an open session BFM, AST, close, behind what is owed (RFC 4540 6)', () => {
  const early = new Rig()
  assert.deepEqual(early.say('0101100d00000001'), ['0401000000000001'])
  assert.ok(early.isEnded)
  const open = new Rig().open()
  assert.match(open.say(PRL + '0122fff900000003' + '0122000000000004').join(), /^02220000........,0401000000000001,0402000000000002$/)
  assert.ok(open.isEnded)
  assert.equal(open.counters['drop-bad-message-connections'], 1)
  assert.deepEqual(open.logged.filter(({ event }) => event === 'bad-message').map(({ remote }) => remote), ['127.0.0.1:1'])
})

test('a version we do not have: 0x0322 with ours, and close; reserved octets of the version say nothing (RFC 4540 7.2)', () => {
  const rig = new Rig()
  assert.deepEqual(rig.say('0101000800000007 0001000404000000'), ['0322000800000007' + '0001000403000000'])
  assert.ok(rig.isEnded)
  assert.match(new Rig().say('0101000800000007 000100040300ffff')[0]!, /^0201/)
})

test('SE without authentication tells the capabilities (RFC 4540 7.2, 4.3.3)', () => {
  const rig = new Rig()
  assert.deepEqual(rig.say(SE), ['0201000c00000001' + '00040008d17d000000000e10'])
  assert.equal(rig.session.agent, 'tester')
})

test('a client nobody vouches for: too weak below without TLS, no authorization with it (RFC 4540 7.2)', () => {
  assert.deepEqual(new Rig({ peer: { agent: undefined } }).say(SE), ['0326000000000001'])
  assert.deepEqual(new Rig({ peer: { agent: undefined, secure: true } }).say(SE), ['0324000000000001'])
})

test('policy refuses the session: 0x0324, or 0x0321 for lack of resources (RFC 4540 7.2)', () => {
  const policy = createFakePolicy()
  policy.refuse = what => what === 'session' ? 'not-authorized-for-transaction' : undefined
  const rig = new Rig({ policy })
  assert.deepEqual(rig.say(SE), ['0324000000000001'])
  assert.ok(rig.isEnded)
  policy.refuse = () => 'lack-of-resources'
  assert.deepEqual(new Rig({ policy }).say(SE), ['0321000000000001'])
})

/** The challenge and the token of an SA reply. */
function parts(reply: string | undefined): Message { return messagesIn(bytesOf(reply ?? ''))[0]! }

test('the four ways of SE: who challenges whom (RFC 4540 7.2)', () => {
  const agentChallenge = composeChallenge('b2bua-1', NONCE)
  const se = octets(0x0101, 1, { present: 1 << CHALLENGE, challenge: agentChallenge })
  // The agent alone: a token, then an SA request without a token opens the session.
  const agent = { name: 'b2bua-1', key: KEY }
  const one = new Rig({ peer: { agent: 'b2bua-1' }, agents: [agent] }), reply = parts(one.say(se)[0])
  assert.equal(reply.present, 1 << TOKEN)
  assert.deepEqual(Buffer.from(reply.token), Buffer.from(composeToken('', KEY, 'mbox', undefined, agentChallenge)))
  assert.match(one.say('0102000000000002')[0]!, /^0201/)
  assert.equal(one.session.state, OPEN)
  // The middlebox alone.
  const two = new Rig(challenged), challenge = parts(two.say(SE)[0])
  assert.equal(challenge.present, 1 << CHALLENGE)
  const token = composeToken('b2bua-1', KEY, 'agent', undefined, challenge.challenge)
  assert.match(two.say(octets(0x0102, 2, { present: 1 << TOKEN, token }))[0]!, /^0201/)
  assert.equal(two.session.agent, 'b2bua-1')
  // Both.
  const three = new Rig(challenged), both = parts(three.say(se)[0])
  assert.equal(both.present, 1 << TOKEN | 1 << CHALLENGE)
  assert.deepEqual(Buffer.from(both.token), Buffer.from(composeToken('', KEY, 'mbox', both.challenge, agentChallenge)))
  const answer = composeToken('b2bua-1', KEY, 'agent', agentChallenge, both.challenge)
  assert.match(three.say(octets(0x0102, 2, { present: 1 << TOKEN, token: answer }))[0]!, /^0201/)
})

test('both authenticate though SE and SA come in two pieces each, cut anywhere: the challenge is kept, not lent', () => {
  const agentChallenge = composeChallenge('b2bua-1', NONCE)
  const se = octets(0x0101, 1, { present: 1 << CHALLENGE, challenge: agentChallenge })
  for (let at = 1; at < se.length; at++) {
    const rig = new Rig(challenged), { challenge } = parts(rig.say(se.subarray(0, at), se.subarray(at))[0])
    const sa = octets(0x0102, 2, { present: 1 << TOKEN, token: composeToken('b2bua-1', KEY, 'agent', agentChallenge, challenge) })
    assert.match(rig.say(sa.subarray(0, at), sa.subarray(at))[0]!, /^0201/, `cut at ${at}`)
  }
})

test('a challenge that the middlebox cannot answer gets a token of no octets (RFC 4540 7.2)', () => {
  for (const challenge of [Buffer.alloc(0), bytesOf('0200'), composeChallenge('nobody', NONCE), bytesOf('0101ff' + '00'.repeat(32))]) {
    const reply = parts(new Rig(challenged).say(octets(0x0101, 1, { present: 1 << CHALLENGE, challenge }))[0])
    assert.equal(reply.present, 1 << TOKEN | 1 << CHALLENGE)
    assert.equal(reply.token.length, 0)
  }
})

test('a wrong, foreign, reflected or missing token: 0x0323, close, and it counts (RFC 4540 7.3)', () => {
  const others = [...challenged.agents!, { name: 'other', key: Buffer.alloc(32, 8) }]
  const wrong: [string, (challenge: Uint8Array) => Uint8Array | undefined][] = [
    ['none', () => undefined],
    ['empty', () => new Uint8Array(0)],
    ['another key', c => composeToken('b2bua-1', Buffer.alloc(32, 1), 'agent', undefined, c)],
    ['an unknown name', c => composeToken('nobody', KEY, 'agent', undefined, c)],
    ['the name of another agent', c => composeToken('other', KEY, 'agent', undefined, c)],
    ['the role of the middlebox', c => composeToken('b2bua-1', KEY, 'mbox', undefined, c)],
    ['another challenge', () => composeToken('b2bua-1', KEY, 'agent', undefined, composeChallenge('', NONCE))],
    ['one octet more', c => Buffer.concat([composeToken('b2bua-1', KEY, 'agent', undefined, c), Buffer.of(0)])],
    ['the key of nobody', c => composeToken('nobody', Buffer.alloc(32), 'agent', undefined, c)],
  ]
  for (const [what, make] of wrong) {
    const rig = new Rig({ ...challenged, agents: others }), { challenge } = parts(rig.say(SE)[0]), token = make(challenge)
    const sa = octets(0x0102, 2, token === undefined ? {} : { present: 1 << TOKEN, token })
    assert.deepEqual(rig.say(sa), ['0323000000000002'], what)
    assert.ok(rig.isEnded && rig.failures === 1 && rig.counters['authentication-failures'] === 1, what)
    const { agent, remote } = rig.logged.find(({ event }) => event === 'authentication-failed')!
    assert.deepEqual([agent, remote], [readCredential(token ?? Buffer.of())?.name ?? '', '127.0.0.1:1'], what)
  }
})

test('an agent may not be another than the one it named, or than its certificate says', () => {
  const agents = [{ name: 'b2bua-1', key: KEY }, { name: 'other', key: KEY }], named = composeChallenge('other', NONCE)
  const rig = new Rig({ ...challenged, agents })
  const { challenge } = parts(rig.say(octets(0x0101, 1, { present: 1 << CHALLENGE, challenge: named }))[0])
  const token = composeToken('b2bua-1', KEY, 'agent', named, challenge)
  assert.deepEqual(rig.say(octets(0x0102, 2, { present: 1 << TOKEN, token })), ['0323000000000002'])
  const certified = new Rig({ agents, peer: { agent: 'other', secure: true, challenged: true } })
  const theirs = composeToken('b2bua-1', KEY, 'agent', undefined, parts(certified.say(SE)[0]).challenge)
  assert.deepEqual(certified.say(octets(0x0102, 2, { present: 1 << TOKEN, token: theirs })), ['0323000000000002'])
})

test('whose certificate says one agent gets no proof by the key of another', () => {
  const agents = [{ name: 'b2bua-1', key: KEY }, { name: 'other', key: KEY }]
  for (const [name, tokenBytes] of [['other', 33], ['', 33], ['b2bua-1', 0]] as const) {
    const rig = new Rig({ agents, peer: { agent: 'other', secure: true } })
    const reply = parts(rig.say(octets(0x0101, 1, { present: 1 << CHALLENGE, challenge: composeChallenge(name, NONCE) }))[0])
    assert.equal(Math.min(reply.token.length, 33), tokenBytes, name)
  }
})

test('after too many failures SE is refused with 0x0321, unless nothing has to be proved (RFC 4540 7.2)', () => {
  const rig = new Rig(challenged)
  rig.isThrottled = true
  assert.deepEqual(rig.say(SE), ['0321000000000001'])
  const granted = new Rig()
  granted.isThrottled = true
  assert.match(granted.say(SE)[0]!, /^0201/)
})

test('sessions that are in NOAUTH when the failures become too many are not heard either', () => {
  const rig = noauth()
  rig.isThrottled = true
  assert.deepEqual(rig.say('0102000000000002'), ['0321000000000002'])
  assert.deepEqual([rig.failures, rig.session.state, rig.isEnded], [0, ENDED, true])
})

test('before its session is open a client that leaves more than 4 KiB of replies waiting is cut off: it has proved nothing', () => {
  const rig = noauth(), se = bytesOf(SE)
  rig.isStuck = true
  for (let n = 0; n < 10; n++) rig.say(Buffer.concat(Array.from({ length: 200 }, () => se)))
  assert.equal(rig.session.state, ENDED)
  assert.ok(rig.session.outbox.queuedBytes <= 4096 + 16, `${rig.session.outbox.queuedBytes} octets`)
  assert.deepEqual([rig.counters['drop-not-reading-connections'], rig.isPaused], [1, false])
})

test('ST is granted in NOAUTH and OPEN, what comes behind it is ignored, and rules stay (RFC 4540 7.4)', () => {
  assert.deepEqual(noauth().say(ST), ['02030000000000ff'])
  const rig = new Rig().open()
  rig.say(PER)
  assert.deepEqual(rig.say(ST + PRL, PRL), ['02030000000000ff'])
  assert.ok(rig.isEnded)
  assert.deepEqual(rig.policy.asked, ['enable'])
  assert.equal(rig.policy.statistics().rules, 1)
  assert.equal(rig.policy.statistics().sessions, 0)
})

test('a session that has ended is not ended again: nothing comes behind its last word', () => {
  for (const [last, answers] of [[ST, 1], ['0122fff900000003', 2]] as const) {
    const rig = new Rig().open()
    assert.equal(rig.say(last).length, answers)
    rig.session.terminate('shutdown')
    rig.send()
    assert.deepEqual(rig.heard(), [])
  }
})

test('a lost connection ends the session and leaves the rules (RFC 4540 7.1)', () => {
  const rig = new Rig().open()
  rig.say(PER)
  rig.session.disconnected()
  assert.equal(rig.policy.statistics().sessions, 0)
  assert.equal(rig.policy.statistics().rules, 1)
})

test('a TID used before is refused with 0x034B and changes nothing (RFC 4540 4.2.5)', () => {
  const rig = new Rig().open()
  assert.match(rig.say(PER)[0]!, /^0212/)
  assert.deepEqual(rig.say(PER), ['034b000000000011'])
  assert.deepEqual(rig.say('0122000000000001'), ['034b000000000001'], 'the TID of the SE request')
  assert.deepEqual(rig.policy.asked, ['enable'])
  assert.match(rig.say('0122000000000012')[0]!, /^0222/)
})

test('replies come in the order of requests, one write for a chunk, and the data plane is pumped once', () => {
  const rig = new Rig().open(), before = rig.policy.pumps
  const chunk = Buffer.concat(Array.from({ length: 16 }, (_, i) => {
    const per = bytesOf(PER)
    per.writeUInt32BE(100 + i, 4)
    return per
  }))
  const replies = rig.say(chunk)
  assert.deepEqual(replies.map(reply => parseInt(reply.slice(8, 16), 16)), Array.from({ length: 16 }, (_, i) => 100 + i))
  assert.ok(rig.policy.pumps - before <= 2, `${rig.policy.pumps - before}`)
})

test('a success is told when the data plane has done it, and holds back what stands behind it', () => {
  const rig = new Rig().open()
  rig.policy.isRemote = true
  assert.deepEqual(rig.say(PRL, PER, '0121000800000003 0005000400000099').map(reply => reply.slice(0, 4)), ['0222'])
  rig.policy.apply()
  rig.send()
  assert.deepEqual(rig.heard().map(reply => reply.slice(0, 4)), ['0212', '0343'])
})

test('what one ticket allows leaves, and the rest waits for the next', () => {
  const rig = new Rig().open()
  rig.policy.isRemote = true
  rig.say(PER)
  const applied = rig.policy.ticket()
  rig.say(PER.replace('00000011', '00000012'), '0121000800000003 0005000400000099')
  rig.policy.appliedTicket = () => applied
  rig.send()
  assert.deepEqual(rig.heard().map(reply => reply.slice(0, 4) + reply.slice(8, 16)), ['021200000011'])
  rig.policy.appliedTicket = () => rig.policy.ticket()
  rig.send()
  assert.deepEqual(rig.heard().map(reply => reply.slice(0, 4) + reply.slice(8, 16)), ['021200000012', '034300000003'])
})

test('while policy thinks, the session reads nothing and the next request waits; the order stays', () => {
  const rig = new Rig().open()
  rig.policy.isSlow = true
  assert.deepEqual(rig.say(PER + PRL), [])
  assert.ok(rig.isPaused)
  assert.deepEqual(rig.policy.asked, ['enable'])
  rig.policy.isSlow = false
  rig.policy.settle()
  return new Promise<void>(resolve => setImmediate(resolve)).then(() => {
    assert.deepEqual(rig.heard().map(reply => reply.slice(0, 4)), ['0212', '0222'])
    assert.ok(!rig.isPaused)
  })
})

test('a session that is opened after its connection was lost is ended at once', async () => {
  const policy = createFakePolicy()
  policy.isSlow = true
  const rig = new Rig({ policy })
  rig.say(SE)
  rig.session.disconnected()
  policy.settle()
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(policy.statistics().sessions, 0)
  assert.deepEqual(rig.heard(), [])
})

test('AST comes behind the answer that policy still owes, and ends the session (RFC 4540 7.5)', async () => {
  const rig = new Rig().open()
  rig.policy.isSlow = true
  rig.say(PRL + PER)
  rig.session.terminate('shutdown')
  assert.deepEqual(rig.heard(), [])
  rig.policy.isSlow = false
  rig.policy.settle()
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(rig.heard().map(reply => reply.slice(0, 4)), ['0222', '0402'])
  assert.ok(rig.isEnded)
})

test('a session that policy ends from within its own request answers first, then AST', () => {
  const rig = new Rig().open()
  rig.policy.refuse = () => {
    rig.policy.refuse = () => undefined
    rig.policy.terminateSessions(undefined, 'authorization')
    return undefined
  }
  assert.deepEqual(rig.say(PRL).map(reply => reply.slice(0, 4)), ['0341', '0402'])
  assert.ok(rig.isEnded)
})

test('AREs go to other open sessions, not to the requester, the same agent included; TIDs are the middlebox\'s own (RFC 4540 8.9)', () => {
  const policy = createFakePolicy(), requester = new Rig({ policy }).open(), standby = new Rig({ policy }).open()
  const closed = new Rig({ policy })
  assert.equal(requester.say(PER).length, 1)
  standby.send()
  assert.deepEqual(standby.heard(), ['0403001000000001' + '0005000400000001' + '000700040000012c'])
  assert.match(requester.say('0115001000000020 0005000400000001 0007000400000000')[0]!, /^0216/)
  standby.send()
  assert.deepEqual(standby.heard(), ['0403001000000002' + '0005000400000001' + '0007000400000000'])
  requester.say(PER.replace('00000011', '00000021'))
  policy.expire(2)
  for (const rig of [requester, standby]) {
    rig.send()
    assert.match(rig.heard().at(-1)!, /^04030010000000..00050004000000020007000400000000$/)
  }
  assert.deepEqual(closed.heard(), [])
})

test('what many requests cause is told in one write, behind the answers that were given meanwhile (RFC 4540 8.9)', () => {
  const policy = createFakePolicy(), requester = new Rig({ policy }).open(), standby = new Rig({ policy }).open()
  for (let tid = 100; tid < 150; tid++) requester.say(PER.replace('00000011', tid.toString(16).padStart(8, '0')))
  assert.deepEqual(standby.heard(), [])
  const { writes } = standby, [answer, ...events] = standby.say(PER)
  assert.match(answer!, /^0212/)
  assert.deepEqual(events.map(event => event.slice(0, 16)), Array.from({ length: 50 }, (_, n) => '04030010' + (n + 1).toString(16).padStart(8, '0')))
  assert.equal(standby.writes - writes, 2, 'answers, notifications')
})

test('an ARE waits for the same ticket as the reply that caused it', () => {
  const policy = createFakePolicy(), requester = new Rig({ policy }).open(), other = new Rig({ policy }).open()
  policy.isRemote = true
  assert.deepEqual(requester.say(PER), [])
  other.send()
  assert.deepEqual(other.heard(), [])
  policy.apply()
  requester.send()
  other.send()
  assert.equal(requester.heard().length + other.heard().length, 2)
})

test('a client that does not read: nothing more is read from it, then notifications cut it off, and memory stays bounded', () => {
  const policy = createFakePolicy()
  const rig = new Rig({ policy, limits: { queuedBytes: 65_536 } }).open(), list = (tid: number) => '01220000' + tid.toString(16).padStart(8, '0')
  for (let tid = 100; tid < 200; tid++) rig.say(PER.replace('00000011', tid.toString(16).padStart(8, '0')))
  rig.isStuck = true
  let tid = 1000
  while (!rig.isPaused && tid < 3000) rig.say(list(tid++))
  assert.ok(rig.isPaused, 'reading stops')
  assert.ok(rig.session.outbox.queuedBytes <= 32_768 + 1000, `${rig.session.outbox.queuedBytes}`)
  assert.equal(rig.session.state, OPEN)
  for (let i = 0; i < 3000; i++) policy.listeners.forEach(listener => listener.ruleEvent(1, 60, 'agent'))
  rig.send()
  assert.equal(rig.session.state, ENDED)
  assert.deepEqual([rig.counters['drop-not-reading-connections'], rig.faults], [1, 1])
  const most = rig.session.outbox.queuedBytes
  policy.listeners.forEach(listener => listener.ruleEvent(1, 60, 'agent'))
  assert.equal(rig.session.outbox.queuedBytes, most)
})

test('a client that takes nothing of what it is told is cut off, too, when that comes bit by bit', () => {
  const policy = createFakePolicy(), rig = new Rig({ policy, limits: { queuedBytes: 65_536 } }).open()
  rig.isStuck = true
  let events = 0
  for (; rig.session.state === OPEN && events < 10_000; events++) {
    policy.listeners.forEach(listener => listener.ruleEvent(1, 60, 'agent'))
    rig.send()
  }
  assert.equal(rig.session.state, ENDED)
  assert.ok(rig.session.outbox.queuedBytes < 66_000, `${rig.session.outbox.queuedBytes} octets of ${events} events`)
  assert.deepEqual([rig.counters['drop-not-reading-connections'], rig.faults], [1, 1])
})

test('a client that reads again is served on from where it stood', () => {
  const rig = new Rig({ limits: { queuedBytes: 65_536 } }).open(), chunk = Buffer.concat(Array.from({ length: 9000 }, (_, i) => octets(0x0122, 10 + i)))
  rig.isStuck = true
  let answers = 0
  answers += rig.say(chunk).length
  for (let round = 0; round < 100; round++) {
    rig.stuckBytes = 0
    rig.session.written()
    rig.timers.advance(1)
    answers += rig.heard().length
  }
  assert.equal(answers, 9000)
  assert.ok(!rig.isPaused)
})

test('a client that closes its half while policy thinks has its answer all the same', async () => {
  const rig = new Rig().open()
  rig.policy.isSlow = true
  rig.say(PER)
  rig.session.halfClosed()
  rig.policy.isSlow = false
  rig.policy.settle()
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(rig.heard().map(reply => reply.slice(0, 4)), ['0212', '0402'])
  assert.ok(rig.isEnded)
})

function tidsOf(messages: string[]): number[] { return messages.map(hex => parseInt(hex.slice(8, 16), 16)) }
/** PRLs with these TIDs. */
function lists(from: number, count: number): { tids: number[]; chunk: Buffer } {
  const tids = Array.from({ length: count }, (_, n) => from + n)
  return { tids, chunk: Buffer.concat(tids.map(tid => octets(PRL_REQUEST, tid))) }
}

test('a chunk is worked on up to what is left of the turn; what comes meanwhile stands behind it, and is read up to 64 KiB', () => {
  const rig = new Rig().open(), first = lists(10, 40), second = lists(50, 5), third = lists(100, UNREAD_BYTES / HEADER_BYTES)
  rig.shared.messagesLeft = 30
  assert.deepEqual(tidsOf(rig.say(first.chunk)), first.tids.slice(0, 30))
  assert.deepEqual(rig.say(second.chunk), [])
  assert.ok(!rig.isPaused)
  assert.deepEqual(rig.say(third.chunk), [])
  assert.ok(rig.isPaused)
  rig.timers.advance(0)
  assert.deepEqual(tidsOf(rig.heard()), [...first.tids.slice(30), ...second.tids, ...third.tids])
  assert.ok(!rig.isPaused)
})

test('a session does a slice and comes again, until nothing is left; four of a slice go to a PRL, which may take long', () => {
  const status = (from: number, count: number) => {
    const tids = Array.from({ length: count }, (_, n) => from + n)
    return { tids, chunk: Buffer.concat(tids.map(tid => octets(PRS_REQUEST, tid, { pid: 9 }))) }
  }
  for (const [{ tids, chunk }, each] of [[status(10, 40), 16], [lists(10, 10), 4]] as const) {
    const rig = new Rig({ slice: 16 }).open()
    assert.deepEqual(tidsOf(rig.say(chunk)), tids.slice(0, each))
    rig.timers.advance(0)
    assert.deepEqual(tidsOf(rig.heard()), tids.slice(each))
    assert.deepEqual(rig.came, ['again', 'again'])
  }
})

test('a session that has done just a slice has nothing to come again for; the rest of a message that begins behind it counts', () => {
  const rig = new Rig({ slice: 4 }).open(), { tids, chunk } = lists(10, 3)
  assert.deepEqual(tidsOf(rig.say(chunk.subarray(0, HEADER_BYTES))), tids.slice(0, 1))
  assert.deepEqual(rig.came, [])
  assert.deepEqual(tidsOf(rig.say(chunk.subarray(HEADER_BYTES, 2 * HEADER_BYTES + 5))), tids.slice(1, 2))
  rig.timers.advance(0)
  assert.deepEqual(tidsOf(rig.say(chunk.subarray(2 * HEADER_BYTES + 5))), tids.slice(2))
})

test('a session that has ended forgets what still comes, up to 256 KiB; then nothing more is read', () => {
  const rig = new Rig().open(), chunk = Buffer.alloc(UNREAD_BYTES, 0xee)
  rig.session.terminate('test')
  const before = rig.counters['in-messages']
  for (let read = chunk.length; read <= FORGOTTEN_BYTES; read += chunk.length) {
    assert.ok(!rig.isPaused)
    rig.session.receive(chunk)
  }
  assert.ok(rig.isPaused)
  assert.equal(rig.counters['in-messages'], before)
})

test('a session that is ended while it does not read reads on, so that the end of its client is seen', () => {
  const rig = new Rig().open()
  rig.isBusy = true
  rig.session.receive(lists(10, UNREAD_BYTES / HEADER_BYTES).chunk)
  assert.ok(rig.isPaused)
  rig.session.terminate('test')
  assert.ok(!rig.isPaused)
  rig.timers.advance(0)
  assert.deepEqual(rig.policy.asked, [])
})

test('octets that are lent to a session that waits for its turn may change, and are read once', () => {
  const rig = new Rig().open(), { chunk } = lists(10, 3), more = lists(13, 1).chunk, other = lists(90, 1).chunk
  rig.shared.messagesLeft = 1
  for (const lent of [chunk, more]) {
    const room = Buffer.concat([other, lent, other])
    rig.session.receiveLent(room, other.length, room.length - other.length)
    room.fill(0xff)
  }
  rig.timers.advance(0)
  assert.deepEqual(tidsOf(rig.heard()), [10, 11, 12, 13])
})

test('while a session waits for its turn, those that come later do too', () => {
  const rig = new Rig().open()
  rig.isBusy = true
  assert.deepEqual(rig.say(PRL), [])
  assert.ok(!rig.isPaused)
  rig.timers.advance(0)
  assert.equal(rig.heard().length, 1)
})

test('when the time of all sessions is up the rest waits: after 16 messages, after each PRL, and before the first of a new chunk', () => {
  const clock = (looks: number) => () => looks-- <= 0
  for (const [message, looks, answered] of [[PRL, 3, 3], [PRL, 1, 1], ['011500100000001300050004000000010007000400000e10', 3, 48], [PRL, 0, 0]] as const) {
    const rig = new Rig().open(), chunk = Array.from({ length: 100 }, (_, n) => {
      const bytes = bytesOf(message)
      bytes.writeUInt32BE(100 + n, 4)
      return bytes
    })
    rig.isTimeUp = clock(looks)
    assert.equal(rig.say(Buffer.concat(chunk)).length, answered)
    rig.isTimeUp = () => false
    rig.timers.advance(0)
    assert.equal(rig.heard().length, 100 - answered)
  }
})

test('every vector of a request, cut in two anywhere, is answered as in one piece', () => {
  const requests = [PER, PRL, '0115001000000013 0005000400000001 0007000400000000', ST].map(hex => bytesOf(hex))
  const stream = Buffer.concat(requests), whole = new Rig().open().say(stream)
  assert.equal(whole.length, 4)
  for (let at = 0; at <= stream.length; at++) {
    assert.deepEqual(new Rig().open().say(stream.subarray(0, at), stream.subarray(at)), whole, `cut at ${at}`)
  }
})
