import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createPrng } from '../../base/prng.ts'
import { Reader, SEQUENCE, Writer } from './ber.ts'
import {
  counter32, counter64, COUNTER64, END_OF_MIB_VIEW, integer, INTEGER, IP_ADDRESS, NO_SUCH_INSTANCE, NO_SUCH_OBJECT, NULL_VALUE, objectId, OBJECT_ID,
  octets, OCTETS, OPAQUE, timeTicks, unsigned32, UNSIGNED32, type Value,
} from './mib.ts'
import { MAX_SUB_ID, parseOid, type Oid } from './oid.ts'

function written(name: Oid, value: Value): Buffer {
  const writer = new Writer(65_507)
  assert.ok(writer.varbind(name, value))
  return Buffer.from(writer.bytes.subarray(writer.start, writer.end))
}

/** What a varbind reads as, or why it cannot be read. */
function read(bytes: Uint8Array): { name: Oid; value: Value } | string {
  const reader = new Reader()
  reader.reset(bytes)
  const outer = reader.enter(SEQUENCE), name = reader.oid(), value = reader.value()
  reader.leave(outer)
  return reader.fault ?? { name, value }
}

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const SYS_DESCR = '06 08 2b 06 01 02 01 01 01 00'

test('BER: varbinds have the octets that X.690 gives them', () => {
  const name = parseOid('1.3.6.1.2.1.1.1.0')!
  const cases: [Value, string][] = [
    [integer(0), '02 01 00'], [integer(127), '02 01 7f'], [integer(128), '02 02 00 80'], [integer(-128), '02 01 80'], [integer(-129), '02 02 ff 7f'],
    [integer(0x7fffffff), '02 04 7f ff ff ff'], [integer(-0x80000000), '02 04 80 00 00 00'],
    [unsigned32(0x7fffffff), '42 04 7f ff ff ff'], [unsigned32(0xffffffff), '42 05 00 ff ff ff ff'], [counter32(300), '41 02 01 2c'],
    [timeTicks(65_536), '43 03 01 00 00'], [counter64(0), '46 01 00'], [counter64(2n ** 64n - 1n), '46 09 00 ff ff ff ff ff ff ff ff'],
    [counter64(2n ** 40n), '46 06 01 00 00 00 00 00'], [octets(hex('00 ff')), '04 02 00 ff'], [{ tag: IP_ADDRESS, value: hex('0a 00 00 05') }, '40 04 0a 00 00 05'],
    [objectId([0, 0]), '06 01 00'], [objectId([2, 999, 3]), '06 03 88 37 03'], [objectId([1, 3, MAX_SUB_ID]), '06 06 2b 8f ff ff ff 7f'],
    [objectId([2, MAX_SUB_ID]), '06 05 90 80 80 80 4f'],
    [NULL_VALUE, '05 00'], [NO_SUCH_OBJECT, '80 00'], [NO_SUCH_INSTANCE, '81 00'], [END_OF_MIB_VIEW, '82 00'],
  ]
  for (const [value, text] of cases) {
    const inner = Buffer.concat([hex(SYS_DESCR), hex(text)])
    assert.deepEqual(written(name, value), Buffer.concat([Buffer.of(SEQUENCE, inner.length), inner]), text)
    assert.deepEqual(read(written(name, value)), { name, value })
  }
})

const oids = fc.tuple(fc.constantFrom(0, 1, 2), fc.nat(39), fc.array(fc.nat(MAX_SUB_ID), { maxLength: 126, size: 'max' })).map(([a, b, rest]) => [a, b, ...rest])
const values: fc.Arbitrary<Value> = fc.oneof(
  fc.integer({ min: -0x80000000, max: 0x7fffffff }).map(integer), fc.nat(0xffffffff).map(unsigned32), fc.nat(0xffffffff).map(counter32),
  fc.nat(0xffffffff).map(timeTicks), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(counter64), oids.map(objectId),
  fc.uint8Array({ maxLength: 300, size: 'max' }).map(octets), fc.uint8Array({ maxLength: 9 }).map((value): Value => ({ tag: OPAQUE, value })),
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((value): Value => ({ tag: IP_ADDRESS, value })), fc.constantFrom(NULL_VALUE, NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_MIB_VIEW),
)
const plain = ({ tag, value }: Value) => ({ tag, value: value instanceof Uint8Array ? [...value] : value })

test('BER: whatever is written reads as it was', () => {
  fc.assert(fc.property(oids, values, (name, value) => {
    const back = read(written(name, value))
    assert.ok(typeof back !== 'string', String(back))
    assert.deepEqual([back.name, plain(back.value)], [name, plain(value)])
  }), { numRuns: 2000 })
})

test('BER: what is wrong is refused by name: widths, lengths, paddings, OIDs beyond SMI (RFC 2578 3.5)', () => {
  const varbind = (name: string, value: string) => {
    const inner = hex(name + value)
    return Buffer.concat([hex('30 82'), Buffer.of(inner.length >> 8, inner.length & 255), inner])
  }
  const value = (text: string) => varbind(SYS_DESCR, text)
  const cases: [Buffer, RegExp][] = [
    [value('02 00'), /width/], [value('02 06 00 00 00 00 00 01'), /width/], [value('02 05 00 80 00 00 00'), /out of range/], [value('42 04 ff ff ff ff'), /out of range/],
    [value('42 05 01 00 00 00 00'), /out of range/], [value('46 00'), /width/], [value('46 09 01 00 00 00 00 00 00 00 00'), /width/], [value('46 01 80'), /width/],
    [value('40 03 0a 00 00'), /3 octets/], [value('05 01 00'), /1 octets/], [value('09 01 00'), /tag 9/], [value(''), /cut short/], [value('02'), /cut short|tag/],
    [value('04 80 00 00'), /indefinite/], [value('04 85 00 00 00 00 01 00'), /length of a length/], [value('04 05 00'), /beyond/], [value('04 84 ff ff ff ff'), /beyond/],
    [value('05 00 00'), /left over/], [value('06 00'), /empty/], [value('06 02 2b 81'), /cut short/], [value('06 03 2b 80 01'), /padded/],
    [value('06 06 2b 90 80 80 80 00'), /above 32 bits/], [value('06 07 2b ff ff ff ff ff 7f'), /above 32 bits/], [value('06 81 81 2b' + '01'.repeat(128)), /too many/],
    [hex('31 00'), /tag 49/], [hex('30'), /cut short/], [hex(''), /cut short/],
  ]
  for (const [bytes, fault] of cases) {
    const said = read(bytes)
    assert.ok(typeof said === 'string' && fault.test(said), `${bytes.toString('hex')}: ${JSON.stringify(said, (_, one: unknown) => typeof one === 'bigint' ? `${one}` : one)}`)
  }
  // Lengths longer than they need be are BER, and net-snmp sends them.
  assert.deepEqual(read(hex(`30 82 00 0c ${SYS_DESCR} 05 00`)), { name: [1, 3, 6, 1, 2, 1, 1, 1, 0], value: NULL_VALUE })
})

test('BER: random and mutated octets never throw, and never read beyond their end', () => {
  const seed = Number(process.env['SEED'] ?? 1)
  const prng = createPrng(seed)
  const good = written([1, 3, 6, 1, 2, 1, 1, 1, 0], objectId([1, 3, 6, 1, 4, 1, 4_000_000_000, 1]))
  for (let i = 0; i < 20_000; i++) {
    const bytes = i % 2 === 0 ? Buffer.from(good) : Buffer.from(Array.from({ length: prng.below(40) }, () => prng.below(256)))
    for (let n = prng.below(4); n > 0 && bytes.length > 0; n--) bytes[prng.below(bytes.length)] = prng.below(256)
    const cut = bytes.subarray(0, bytes.length - prng.below(3))
    const reader = new Reader()
    reader.reset(cut)
    const outer = reader.enter(SEQUENCE)
    reader.oid()
    reader.value()
    reader.leave(outer)
    assert.ok(reader.at <= cut.length && reader.end <= cut.length, `seed ${seed}, round ${i}`)
  }
})

test('BER: a varbind that does not fit is not begun, and the writer takes the next smaller one', () => {
  const writer = new Writer(65_507), name: Oid = [1, 3, 6, 1]
  writer.reset(20)
  assert.equal(writer.varbind(name, octets(Buffer.alloc(12))), false)
  assert.equal(writer.end, writer.start)
  assert.equal(writer.varbind(name, octets(Buffer.alloc(11))), true)
  assert.equal(writer.end - writer.start, 20)
  assert.equal(writer.varbind(name, NULL_VALUE), false)
  writer.reset()
  assert.equal(writer.varbind(name, octets(Buffer.alloc(65_507))), false)
  assert.equal(writer.varbind(name, { tag: OCTETS, value: Buffer.alloc(65_400) }), true)
})

test('BER: tags that stand for the same value are told apart', () => {
  for (const tag of [INTEGER, UNSIGNED32, COUNTER64, OBJECT_ID]) {
    const reader = new Reader()
    reader.reset(Buffer.of(tag, 1, 1))
    if (tag !== INTEGER) assert.equal(reader.integer(INTEGER, 0, 9), 0)
    else assert.equal(reader.integer(INTEGER, 0, 9), 1)
    assert.equal(reader.fault === null, tag === INTEGER)
  }
})
