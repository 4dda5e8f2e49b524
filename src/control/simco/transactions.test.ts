import test from 'node:test'
import assert from 'node:assert/strict'
import { createPrng } from '../../base/prng.ts'
import { NEGATIVE_NAMES, TUPLE, createTuple, tupleBit, type WireTuple } from './codec.ts'
import { REPLY_CODES, capabilityWord } from './transactions.ts'
import { CAPABILITIES, Rig, createFakePolicy, messagesIn, octets, type FakePolicy } from './testing.ts'
import type { Capabilities, Reason } from '../../policy/api.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? 4540)
const ALL: Capabilities = { ...CAPABILITIES, internalWildcards: true, externalWildcards: true, portWildcards: true }
let tid = 1000

function full(location: number, port: number, range: number, fields: Partial<WireTuple> = {}): WireTuple {
  return { ...createTuple(), location, protocol: 17, prefixBits: 32, port, range, word0: location === 0 ? 0x0a000001 : 0xcb007107 | 0, ...fields }
}
function protocolsOnly(location: number, fields: Partial<WireTuple> = {}): WireTuple {
  return { ...createTuple(), form: 1, addressBytes: 0, location, protocol: 17, ...fields }
}
function rig(capabilities: Capabilities = ALL, policy: FakePolicy = createFakePolicy()): Rig {
  policy.capabilities = capabilities
  return new Rig({ policy }).open()
}
interface Enable { a0?: WireTuple; a3?: WireTuple; perSet?: number; lifetimeSec?: number; gid?: number; pid?: number }
/** PER, or PEA with a PID. */
function enable(e: Enable): Buffer {
  const { a0 = full(0, 5004, 2), a3 = full(3, 6000, 2), perSet = 0x00010000, lifetimeSec = 60, gid, pid } = e
  const nobody = createTuple()
  return octets(pid === undefined ? 0x0112 : 0x0113, tid++, {
    tuples: [a0, nobody, nobody, a3], perSet, lifetimeSec, gid: gid ?? 0, pid: pid ?? 0, present: gid === undefined ? 0 : 1 << 6,
  })
}
function disable(a0: WireTuple, a3: WireTuple, lifetimeSec = 60): Buffer {
  return octets(0x0114, tid++, { tuples: [a0, createTuple(), createTuple(), a3], lifetimeSec })
}
function reserve(prrSet: number, lifetimeSec = 60, gid?: number): Buffer {
  return octets(0x0111, tid++, { prrSet, lifetimeSec, gid: gid ?? 0, present: gid === undefined ? 0 : 1 << 6 })
}
function code(box: Rig, request: Buffer): string { return box.say(request)[0]!.slice(0, 4) }

test('every reason of policy has a code that RFC 4540 4.2.3 knows', () => {
  for (const [reason, number] of Object.entries(REPLY_CODES)) {
    assert.ok(NEGATIVE_NAMES[number] !== undefined, reason)
    const policy = createFakePolicy(), box = rig(ALL, policy)
    policy.refuse = () => reason as Reason
    assert.deepEqual(box.say(octets(0x0121, 77, { pid: 1 })), [number.toString(16).padStart(4, '0') + '000000000077'.replace('77', '4d')])
  }
})

test('capabilities as octets (RFC 4540 4.3.3)', () => {
  assert.equal(capabilityWord(CAPABILITIES), 0xd17d0000)
  assert.equal(capabilityWord({ ...CAPABILITIES, nat: false, twiceNat: true, protocolTranslation: true }), 0x907d0000)
  assert.equal(capabilityWord({ ...ALL, twiceNat: true, protocolTranslation: true, externalVersions: [6], internalVersions: [4] }), 0xd7f60000)
})

test('checks of PER in order (RFC 4540 8.3.1)', () => {
  const refuse = (enabling: Enable, expected: string, capabilities = ALL) => assert.equal(code(rig(capabilities), enable(enabling)), expected, JSON.stringify(enabling))
  refuse({}, '0212')
  // Locations are looked at in front of protocols, ranges and wildcards.
  refuse({ a0: full(3, 5004, 2) }, '034b')
  refuse({ a3: full(0, 6000, 2) }, '034b')
  refuse({ a0: full(9, 5004, 2) }, '034b')
  refuse({ a0: full(1, 0, 0, { protocol: 6, version: 3 }) }, '034b')
  refuse({ a0: full(0, 5004, 2, { protocol: 6 }) }, '034b')
  refuse({ a0: full(0, 5004, 2, { version: 3 }) }, '034f')
  refuse({ a3: full(3, 6000, 2, { version: 2, addressBytes: 16, prefixBits: 128 }) }, '034f')
  refuse({ a0: full(0, 5004, 0), a3: full(3, 6000, 0) }, '0356')
  refuse({ a0: full(0, 0, 0), a3: full(3, 0, 0) }, '0356')
  refuse({ a0: full(0, 5004, 1) }, '034b')
  // Ranges are compared even where the port is open, but for 0xffff.
  refuse({ a0: full(0, 0, 1) }, '034b')
  refuse({ a0: full(0, 0, 0xffff) }, '0212')
  refuse({ a0: full(0, 5004, 2), a3: protocolsOnly(3) }, '0212')
  refuse({ a0: full(0, 65535, 2), a3: full(3, 0, 2) }, '0355')
  refuse({ a0: full(0, 2, 0xffff), a3: full(3, 0, 0xffff) }, '0355')
  refuse({ a0: full(0, 65535, 1), a3: full(3, 65535, 1) }, '0212')
  refuse({ perSet: 0 }, '034b')
  refuse({ perSet: 0x01010000 }, '034b')
  refuse({ perSet: 0x00040000 }, '034b')
  refuse({ perSet: 0x0301ffff }, '0212')
  refuse({ lifetimeSec: 0 }, '034a')
  refuse({ gid: 99 }, '0344')
  refuse({ gid: 0 }, '0344')
})

test('wildcards that the box does not have are 0x034C, each by its own flag (RFC 4540 8.3.1)', () => {
  const none = { ...ALL, internalWildcards: false, externalWildcards: false, portWildcards: false }
  const cases: [Enable, Partial<Capabilities>][] = [
    [{ a0: full(0, 5004, 2, { prefixBits: 24 }) }, { internalWildcards: true }],
    [{ a3: full(3, 6000, 2, { prefixBits: 0, word0: 0 }) }, { externalWildcards: true }],
    [{ a3: full(3, 0, 2) }, { portWildcards: true }],
    [{ a0: protocolsOnly(0), a3: full(3, 6000, 2) }, { internalWildcards: true, portWildcards: true }],
    [{ a0: full(0, 5, 1, { protocol: 0 }), a3: full(3, 5, 1, { protocol: 0 }) }, { portWildcards: true }],
  ]
  for (const [enabling, flags] of cases) {
    assert.equal(code(rig(none), enable(enabling)), '034c', JSON.stringify(enabling))
    assert.equal(code(rig({ ...none, ...flags }), enable(enabling)), '0212', JSON.stringify(enabling))
  }
})

test('both directions: the protocol may be open and nothing else; what is not supported at all stays 0x034C (RFC 4540 8.3.1)', () => {
  const perSet = 0x00030000, open = full(3, 6000, 2, { prefixBits: 24 })
  assert.equal(code(rig(), enable({ perSet })), '0212')
  assert.equal(code(rig(), enable({ perSet, a0: full(0, 5, 1, { protocol: 0 }), a3: full(3, 5, 1, { protocol: 0 }) })), '0212')
  for (const a3 of [open, full(3, 0, 2), protocolsOnly(3)]) assert.equal(code(rig(), enable({ perSet, a3 })), '034b')
  assert.equal(code(rig(), enable({ perSet, a0: full(0, 5004, 2, { prefixBits: 31 }) })), '034b')
  assert.equal(code(rig({ ...ALL, externalWildcards: false }), enable({ perSet, a3: open })), '034c')
  // A protocol without ports has none to leave open.
  assert.equal(code(rig(), enable({ perSet, a0: full(0, 0, 1, { protocol: 47 }), a3: full(3, 0, 1, { protocol: 47 }) })), '0212')
  // PEA has the same rule, though its text lacks it.
  const box = rig()
  box.say(reserve(0x65110002))
  assert.equal(code(box, enable({ perSet, a3: open, pid: 1 })), '034b')
})

test('authorization, group and reservation are looked at before the tuples (RFC 4540 8.3.1, 8.4.1)', () => {
  const policy = createFakePolicy(), box = rig(ALL, policy), wrong = { a0: full(2, 1, 0) }
  assert.equal(code(box, enable({ ...wrong, gid: 99 })), '0344')
  assert.equal(code(box, enable({ ...wrong, pid: 99 })), '0343')
  assert.equal(code(box, enable({ ...wrong, pid: 0 })), '0343')
  policy.refuse = () => 'not-authorized-for-transaction'
  assert.equal(code(box, enable({ ...wrong, gid: 99 })), '0341')
  assert.equal(code(box, disable(full(2, 1, 0), full(3, 1, 0))), '0341')
  assert.equal(code(box, reserve(0)), '0341')
})

test('PEA: the same PID and group, the reserved A2; on a rule that is no reservation 0x034B (RFC 4540 8.4)', () => {
  const box = rig(), [reserved] = messagesIn(Buffer.from(box.say(reserve(0x65110002, 300))[0]!, 'hex'))
  const [enabled] = messagesIn(Buffer.from(box.say(enable({ pid: reserved!.pid, perSet: 0x03010000, lifetimeSec: 120 }))[0]!, 'hex'))
  assert.equal(enabled!.type, 0x0212)
  assert.deepEqual([enabled!.pid, enabled!.gid, enabled!.lifetimeSec], [reserved!.pid, reserved!.gid, 120])
  assert.deepEqual(enabled!.tuples[2], reserved!.tuples[2])
  assert.deepEqual(enabled!.tuples[1], { ...full(3, 6000, 2), location: 1 })
  assert.equal(code(box, enable({ pid: reserved!.pid })), '034b')
})

test('checks of PRR: undefined values are inconsistent, versions disagree, ranges of none (RFC 4540 8.2.1)', () => {
  assert.equal(code(rig(), reserve(0x65110002)), '0211')
  assert.equal(code(rig(), reserve(0x25110002)), '034b', 'NAT mode 0')
  assert.equal(code(rig(), reserve(0xe5110002)), '034b', 'NAT mode 3')
  assert.equal(code(rig(), reserve(0x75110002)), '034b', 'parity 3')
  assert.equal(code(rig(), reserve(0x6d110002)), '034f', 'inside version 3')
  assert.equal(code(rig(), reserve(0x67110002)), '034f', 'outside version 3')
  assert.equal(code(rig(), reserve(0x66110002)), '034f', 'IPv4 inside, IPv6 outside')
  assert.equal(code(rig(), reserve(0x65110000)), '0356')
  assert.equal(code(rig(), reserve(0xa5110002)), '034e')
  assert.equal(code(rig({ ...ALL, twiceNat: true }), reserve(0xa5110002)), '0211')
  assert.equal(code(rig(), reserve(0x65110002, 0)), '034a')
  assert.equal(code(rig(), reserve(0x65110002, 60, 99)), '0344')
})

test('a reservation of a pure firewall is a protocols-only tuple; of a NAT a full one; of a twice-NAT two (RFC 4540 8.2.2, 8.2.3)', () => {
  assert.deepEqual(rig({ ...ALL, nat: false }).say(octets(0x0111, 1000000, { prrSet: 0x65110002, lifetimeSec: 300 })),
    ['02110020000f4240' + '0005000400000001' + '0006000400000001' + '000700040000012c' + '0009000411001102'])
  assert.deepEqual(rig().say(octets(0x0111, 1000000, { prrSet: 0x65110002, lifetimeSec: 300 })),
    ['02110028000f4240' + '0005000400000001' + '0006000400000001' + '000700040000012c' + '0009000c012011029c400002c6336409'])
  assert.deepEqual(rig({ ...ALL, twiceNat: true }).say(octets(0x0111, 1000000, { prrSet: 0xa5110002, lifetimeSec: 300 })),
    ['02110038000f4240' + '0005000400000001' + '0006000400000001' + '000700040000012c' + '0009000c012011029c400002c6336409' +
      '0009000c012011019c400002c633640a'])
})

test('PDR: 0x0340 without the capability; locations and ranges like PER, wildcards of any kind (RFC 4540 8.8)', () => {
  const a3 = full(3, 0, 1)
  assert.equal(code(rig({ ...ALL, disableRules: false }), disable(protocolsOnly(0), a3)), '0340')
  assert.equal(code(rig({ ...ALL, internalWildcards: false, portWildcards: false }), disable(protocolsOnly(0), a3)), '0214')
  assert.equal(code(rig(), disable(protocolsOnly(1), a3)), '034b')
  assert.equal(code(rig(), disable(protocolsOnly(0, { protocol: 6 }), a3)), '034b')
  assert.equal(code(rig(), disable(full(0, 1, 2), full(3, 1, 3))), '034b')
  assert.equal(code(rig(), disable(protocolsOnly(0, { version: 9 }), a3)), '034f')
  assert.equal(code(rig(), disable(protocolsOnly(0), a3, 0)), '034a')
})

test('PLC: granted more than nothing it is PLC, nothing it is PRD; then the PID is gone (RFC 4540 8.5)', () => {
  const box = rig()
  box.say(enable({}))
  const plc = (pid: number, lifetimeSec: number) => box.say(octets(0x0115, tid++, { pid, lifetimeSec }))[0]!
  assert.match(plc(1, 0xffffffff), /^02150008........0007000400000e10$/)
  assert.match(plc(1, 0), /^02160000........$/)
  assert.match(plc(1, 0), /^03430000/)
  assert.match(plc(0, 0), /^03430000/)
  assert.match(plc(0xffffffff, 5), /^03430000/)
})

test('PRL lists 8,191 rules; one more is 0x0313 (RFC 4540 8.7)', () => {
  const policy = createFakePolicy(), box = rig(ALL, policy)
  for (let i = 0; i < 8191; i++) box.say(enable({}))
  const listed = messagesIn(Buffer.from(box.say(octets(0x0122, tid++))[0]!, 'hex'))[0]!
  assert.equal(listed.pids.length, 8191)
  box.say(enable({}))
  assert.equal(code(box, octets(0x0122, tid++)), '0313')
  assert.equal(code(box, octets(0x0121, tid++, { pid: 8192 })), '0223', 'the session survives')
})

test('PES and PDS replies repeat the tuples of the request octet by octet, in whichever form (RFC 4540 8.6)', () => {
  const prng = createPrng(SEED), word = () => prng.next() | 0
  const tuple = (location: number, version: number, protocol: number, range: number): WireTuple => {
    if (prng.below(3) === 0) return protocolsOnly(location, { version, protocol, prefixBits: prng.below(256) })
    const v6 = version === 2, prefixBits = [0, v6 ? 128 : 32, prng.below(v6 ? 129 : 33)][prng.below(3)]!
    return full(location, prng.below(3) === 0 ? 0 : 1 + prng.below(60_000), range, {
      version, protocol, prefixBits, addressBytes: v6 ? 16 : 4, word0: word(), word1: v6 ? word() : 0, word2: v6 ? word() : 0, word3: v6 ? word() : 0,
    })
  }
  /** The value of the n-th tuple attribute. */
  const values = (hex: string) => {
    const bytes = Buffer.from(hex, 'hex'), found: string[] = []
    for (let at = 8; at < bytes.length; at += 4 + bytes.readUInt16BE(at + 2)) {
      if (bytes.readUInt16BE(at) === TUPLE) found.push(bytes.toString('hex', at + 4, at + 4 + bytes.readUInt16BE(at + 2)))
    }
    return found
  }
  const relocated = (value: string, location: number) => value.slice(0, 6) + '0' + location + value.slice(8)
  for (let round = 0; round < 600; round++) {
    const box = rig({ ...ALL, nat: false }), version = 1 + prng.below(2), protocol = [0, 6, 17, 47][prng.below(4)]!, range = 1 + prng.below(40)
    const a0 = tuple(0, version, protocol, range), a3 = tuple(3, version, protocol, range), where = `seed ${SEED}, round ${round}`
    const request = round % 3 === 0 ? disable(a0, a3) : enable({ a0, a3, perSet: prng.below(2) << 24 | (1 + prng.below(2)) << 16 })
    const sent = values(request.toString('hex')), [reply] = box.say(request)
    if (reply!.startsWith('034b')) continue
    assert.match(reply!, /^021[24]/, where)
    const [status] = box.say(octets(0x0121, tid++, { pid: 1 }))
    const [s0, s3] = [sent[0]!, sent[1]!]
    if (round % 3 === 0) assert.deepEqual(values(status!), [s0, s3], where)
    else {
      // On a pure firewall A2 is A0 and A1 is A3 (RFC 4540 8.3.2).
      assert.deepEqual(values(reply!), [relocated(s0, 2), relocated(s3, 1)], where)
      assert.deepEqual(values(status!), [s0, relocated(s3, 1), relocated(s0, 2), s3], where)
    }
  }
})

test('PRS, PES and PDS tell kind, owner and what is left (RFC 4540 8.6)', () => {
  const box = rig(), status = (pid: number) => messagesIn(Buffer.from(box.say(octets(0x0121, tid++, { pid }))[0]!, 'hex'))[0]!
  box.say(reserve(0x65110002, 300), enable({ perSet: 0x03020000 }), disable(protocolsOnly(0), full(3, 0, 1), 50))
  const [prs, pes, pds] = [status(1), status(2), status(3)]
  assert.deepEqual([prs.type, pes.type, pds.type], [0x0221, 0x0223, 0x0224])
  for (const s of [prs, pes, pds]) assert.equal(Buffer.from(s.owner).toString(), 'tester')
  assert.deepEqual([prs.lifetimeSec, pes.lifetimeSec, pds.lifetimeSec], [300, 60, 50])
  assert.equal(pes.perSet, 0x03020000)
  assert.deepEqual([prs.gid, pes.gid], [1, 2])
  assert.equal(pes.present & tupleBit(1), tupleBit(1))
  assert.equal(code(box, octets(0x0121, tid++, { pid: 0 })), '0343')
})
