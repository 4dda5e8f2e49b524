/** SIMCO in front of the policy core itself: what the fake of `testing.ts` cannot promise. */
import test from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../base/prng.ts'
import { createRig, type RigOptions } from '../../policy/testing.ts'
import { TUPLE, createTuple, type Message, type WireTuple } from './codec.ts'
import { Rig, bytesOf, messagesIn, octets, type FakePolicy } from './testing.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? 4540)
let tid = 100

/** An open session in front of a policy core; inside is 10.0.0.0/8 and fd00::/8. */
function box(options: RigOptions = {}) {
  const core = createRig({ limits: { rules: 1000, portsPerRule: 64 }, ...options })
  const door = new Rig({ policy: core.policy as FakePolicy }).open()
  return { core, door }
}
function address(text: string): Pick<WireTuple, 'word0'> { return { word0: text.split('.').reduce((sum, octet) => sum << 8 | Number(octet), 0) } }
const A0 = (port: number, range: number, fields: Partial<WireTuple> = {}): WireTuple =>
  ({ ...createTuple(), ...address('10.0.0.1'), prefixBits: 32, protocol: 17, location: 0, port, range, ...fields })
const A3 = (port: number, range: number, fields: Partial<WireTuple> = {}): WireTuple =>
  ({ ...createTuple(), ...address('203.0.113.7'), prefixBits: 32, protocol: 17, location: 3, port, range, ...fields })
const open = (location: number, fields: Partial<WireTuple> = {}): WireTuple =>
  ({ ...createTuple(), form: 1, addressBytes: 0, protocol: 17, location, ...fields })

function per(a0: WireTuple, a3: WireTuple, perSet = 0x00010000, pid?: number): Buffer {
  const tuples = [a0, createTuple(), createTuple(), a3] as const
  return octets(pid === undefined ? 0x0112 : 0x0113, tid++, { tuples, perSet, lifetimeSec: 60, pid: pid ?? 0 })
}
function say(door: Rig, request: Buffer): Message { return messagesIn(bytesOf(door.say(request)[0]!))[0]! }

test('an RTP pair: reserved, enabled, asked for, deleted (RFC 4540 8.2 to 8.6)', () => {
  const { door } = box(), prr = say(door, octets(0x0111, tid++, { prrSet: 0x65110002, lifetimeSec: 300 }))
  assert.equal(prr.type, 0x0211)
  const a2 = prr.tuples[2]
  assert.deepEqual([a2.form, a2.version, a2.prefixBits, a2.range, a2.port % 2], [0, 1, 32, 2, 0])
  const enabled = say(door, per(A0(5004, 2), A3(6000, 2), 0x03010000, prr.pid))
  assert.deepEqual([enabled.type, enabled.pid, enabled.gid], [0x0212, prr.pid, prr.gid])
  assert.deepEqual(enabled.tuples[2], a2)
  const pes = say(door, octets(0x0121, tid++, { pid: prr.pid }))
  assert.deepEqual([pes.type, pes.perSet, pes.lifetimeSec, Buffer.from(pes.owner).toString()], [0x0223, 0x03010000, 60, 'tester'])
  assert.deepEqual([pes.tuples[0], pes.tuples[2], pes.tuples[3]], [A0(5004, 2), a2, A3(6000, 2)])
  assert.deepEqual(say(door, octets(0x0122, tid++)).pids, [prr.pid])
  assert.equal(say(door, octets(0x0115, tid++, { pid: prr.pid, lifetimeSec: 0 })).type, 0x0216)
  assert.equal(say(door, octets(0x0121, tid++, { pid: prr.pid })).type, 0x0343)
})

test('requests that the door finds inconsistent are refused behind the checks that come first, and make no rule', () => {
  const codes = (options: RigOptions) => {
    const { core, door } = box(options)
    const cases = [
      per(A0(5004, 2, { location: 2 }), A3(6000, 2)), per(A0(5004, 2), A3(6000, 2, { location: 0 })), per(A0(5004, 2, { version: 7 }), A3(6000, 2)),
      per(A0(5004, 0), A3(6000, 0)), per(A0(0, 0), A3(0, 0)), per(A0(0, 1), A3(6000, 2)), per(A0(65535, 2), A3(0, 2)),
      per(A0(5004, 2), A3(6000, 2, { prefixBits: 24 }), 0x00030000), per(A0(5004, 2, { location: 2 }), A3(6000, 2), 0x00010000, 77),
      octets(0x0111, tid++, { prrSet: 0x25110002, lifetimeSec: 60 }), octets(0x0111, tid++, { prrSet: 0x6d110002, lifetimeSec: 60 }),
      octets(0x0112, tid++, { present: 1 << 6, gid: 0, perSet: 0x00010000, lifetimeSec: 60 }),
      octets(0x0114, tid++, { lifetimeSec: 60 }),
    ]
    const found = cases.map(request => say(door, request).type.toString(16))
    assert.equal(core.policy.statistics().rules, 0)
    return found.join(' ')
  }
  assert.equal(codes({}), '34b 34b 34f 356 356 34b 355 34b 343 34b 34f 344 34b')
  const refuse = { decide: (question: { kind: string }) => ({ permit: question.kind === 'session' }), mayAccess: () => false }
  assert.equal(codes({ authorizer: refuse }), Array.from({ length: 13 }, () => '341').join(' '))
})

test('what a NAT has allocated is a full tuple, whatever A0 was (RFC 4540 8.3.3)', () => {
  const { door } = box(), outbound = 0x00020000
  const cases: [WireTuple, WireTuple, number][] = [
    [A0(5004, 2), A3(6000, 2), outbound], [A0(0, 1), A3(443, 1), outbound], [open(0), A3(443, 1), outbound],
    [A0(0, 1, { prefixBits: 8, ...address('10.0.0.0') }), A3(443, 1), outbound],
    // A whole address: of another host, as this one has ports bound by now.
    [A0(0, 1, { protocol: 47, ...address('10.0.0.2') }), A3(0, 1, { protocol: 47 }), 0x00010000],
  ]
  for (const [a0, a3, perSet] of cases) {
    const reply = say(door, per(a0, a3, perSet))
    assert.equal(reply.type, 0x0212)
    assert.equal(reply.tuples[2].form, 0)
    assert.ok(reply.tuples[2].range >= 1)
    assert.deepEqual(reply.tuples[1], { ...a3, location: 1 })
  }
})

test('a pure firewall: A2 is A0, A1 is A3, and status repeats every tuple octet by octet (RFC 4540 8.3.2, 8.6)', () => {
  const prng = createPrng(SEED), { door } = box({ nat44: false })
  const values = (bytes: Buffer) => {
    const found: string[] = []
    for (let at = 8; at < bytes.length; at += 4 + bytes.readUInt16BE(at + 2)) {
      if (bytes.readUInt16BE(at) === TUPLE) found.push(bytes.toString('hex', at + 4, at + 4 + bytes.readUInt16BE(at + 2)))
    }
    return found
  }
  const relocated = (value: string, location: number) => value.slice(0, 6) + '0' + location + value.slice(8)
  let granted = 0
  for (let round = 0; round < 400; round++) {
    const v6 = prng.below(2) === 1, protocol = [0, 6, 17, 47][prng.below(4)]!, range = 1 + prng.below(40), version = v6 ? 2 : 1
    const one = (location: number, high: number): WireTuple => {
      if (prng.below(3) === 0) return open(location, { version, protocol, prefixBits: prng.below(256) })
      const bits = v6 ? 128 : 32, prefixBits = location === 0 ? bits - prng.below(2) * prng.below(20) : [0, bits, 8 + prng.below(16)][prng.below(3)]!
      return {
        form: 0, version, prefixBits, protocol, location, port: prng.below(3) === 0 ? 0 : 1 + prng.below(60_000), range, addressBytes: v6 ? 16 : 4,
        word0: v6 ? high << 24 | prng.below(65_536) : high << 24 | 1 + prng.below(65_535),
        word1: v6 ? prng.next() : 0, word2: v6 ? prng.next() : 0, word3: v6 ? prng.next() : 0,
      }
    }
    const a0 = one(0, v6 ? 0xfd : 10), a3 = one(3, v6 ? 0x20 : 203), where = `seed ${SEED}, round ${round}`
    const disables = prng.below(4) === 0
    const request = disables ? octets(0x0114, tid++, { tuples: [a0, createTuple(), createTuple(), a3], lifetimeSec: 1 }) : per(a0, a3, (1 + prng.below(2)) << 16)
    const [s0, s3] = values(request) as [string, string], reply = bytesOf(door.say(request)[0]!), { type, pid } = messagesIn(reply)[0]!
    if (type >> 8 === 3) {
      assert.ok([0x034b, 0x034c].includes(type), `${where}: ${type.toString(16)}`)
      continue
    }
    granted++
    const status = values(bytesOf(door.say(octets(0x0121, tid++, { pid }))[0]!))
    if (disables) assert.deepEqual(status, [s0, s3], where)
    else {
      assert.deepEqual(values(reply), [relocated(s0, 2), relocated(s3, 1)], where)
      assert.deepEqual(status, [s0, relocated(s3, 1), relocated(s0, 2), s3], where)
    }
    say(door, octets(0x0115, tid++, { pid, lifetimeSec: 0 }))
  }
  assert.ok(granted > 100, `${granted} granted`)
})

test('a rule that expires is told to its owner too, with lifetime 0 (RFC 4540 8.9)', () => {
  const { core, door } = box(), { pid } = say(door, per(A0(5004, 2), A3(6000, 2)))
  core.pass(59_999)
  door.send()
  assert.deepEqual(door.heard(), [])
  core.pass(1)
  door.send()
  assert.deepEqual(door.heard(), [], 'not before packets are stopped')
  core.policy.pump()
  door.send()
  assert.deepEqual(door.heard(), [octets(0x0403, 1, { pid, lifetimeSec: 0 }).toString('hex')])
})

test('PDR ends what it overlaps, whoever owns it, and blocks its like (RFC 4540 8.8)', () => {
  const { core, door } = box(), other = new Rig({ policy: core.policy as FakePolicy, peer: { agent: 'guard' } }).open()
  const { pid } = say(door, per(A0(5004, 2), A3(6000, 2)))
  assert.equal(say(other, octets(0x0114, tid++, { tuples: [open(0), createTuple(), createTuple(), A3(0, 1)], lifetimeSec: 60 })).type, 0x0214)
  door.send()
  assert.deepEqual(door.heard(), [octets(0x0403, 1, { pid, lifetimeSec: 0 }).toString('hex')])
  assert.equal(say(door, per(A0(5004, 2), A3(6000, 2))).type, 0x0350)
})

test('an agent that ends its own rule by a PDR hears the answer first, then of the rule (RFC 4540 8.9)', async () => {
  for (const later of [false, true]) {
    const permit = { permit: true } as const, decide = () => later ? Promise.resolve(permit) : permit
    const { door } = box({ authorizer: { decide: question => question.kind === 'disable' ? decide() : permit, mayAccess: () => true } })
    say(door, per(A0(5004, 2), A3(6000, 2)))
    const replies = door.say(octets(0x0114, tid++, { tuples: [open(0), createTuple(), createTuple(), A3(0, 1)], lifetimeSec: 60 }))
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual([...replies, ...door.heard()].map(reply => reply.slice(0, 4)), ['0214', '0403'])
  }
})

test('any octets in an open session: nothing throws, every request has one answer, and the next one is served', () => {
  const prng = createPrng(SEED), { core, door } = box(), guard = new Rig({ policy: core.policy as FakePolicy, peer: { agent: 'guard' } }).open()
  const word = (values: number[]) => values[prng.below(values.length)]!
  /** Sound now and then: what one tuple has, the other mostly has too. */
  const wild = (location: number, version: number, protocol: number, range: number): WireTuple => {
    const form = word([0, 0, 0, 1]), full = version === 2 ? 128 : 32, inside = location === 0
    return {
      form, version: word([version, version, version, version, 3]), prefixBits: word([full, full, full, 0, 24, 255]),
      protocol: word([protocol, protocol, protocol, 255]), location: word([location, location, location, location, 9]),
      port: form === 1 ? 0 : word([0, 1, 5004, 65_535]), range: form === 1 ? 0 : word([range, range, range, 0]), addressBytes: form === 1 ? 0 : full / 8,
      word0: version === 2 ? inside ? 0xfd000000 | 0 : 0x20010db8 : inside ? 0x0a000001 : 0xcb007107 | 0, word1: 0, word2: 0,
      word3: form === 0 && version === 2 ? word([1, 2]) : 0,
    }
  }
  let granted = 0
  for (let round = 0; round < 3000; round++) {
    const type = word([0x0111, 0x0112, 0x0112, 0x0113, 0x0114, 0x0115, 0x0121, 0x0122]), id = word([0, 1, 2, 3, 5, 40, 0xffffffff])
    const shape = [word([1, 2]), word([0, 6, 17, 17, 47]), word([1, 2, 64, 0xffff])] as const
    const request = octets(type, tid++, {
      present: prng.below(2) << 6, pid: id, gid: id, lifetimeSec: word([0, 1, 60, 0xffffffff]),
      tuples: [wild(0, ...shape), createTuple(), createTuple(), wild(3, ...shape)], prrSet: word([prng.next() >>> 0, 0x65110001, 0x55060002]), perSet: prng.next() & 0x03030000 ^ word([0, 0, 0, 1 << 20]),
    })
    if (prng.below(4) === 0 && request.length > 8) request[8 + prng.below(request.length - 8)]! ^= 1 << prng.below(8)
    const replies = door.say(request).filter(reply => !reply.startsWith('0403')), where = `seed ${SEED}, round ${round}: ${request.toString('hex')}`
    assert.equal(replies.length, 1, where)
    assert.match(replies[0]!, new RegExp(`^0[23]......${(tid - 1).toString(16).padStart(8, '0')}`), where)
    if (replies[0]!.startsWith('02')) granted++
    if (prng.below(50) === 0) core.pass(1000)
  }
  assert.ok(granted > 200, `${granted} granted, ${JSON.stringify(core.policy.statistics().failures)}`)
  assert.equal(say(guard, octets(0x0122, tid++)).type, 0x0222)
})
