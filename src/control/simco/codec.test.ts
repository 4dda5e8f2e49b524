import test from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import {
  BAD, BROKEN, FORMATS, MAX_CHALLENGE_BYTES, MAX_LISTED_RULES, MAX_OPENING_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES, MESSAGE, MORE,
  PER_REQUEST, PRL_REPLY, SA_REQUEST, TOKEN, createDecoder, createFault, createMessage, createOutput, decodeMessage, encode,
  type Decoded, type Message,
} from './codec.ts'
import { fromJson, messageName, toJson, type JsonMessage } from './json.ts'
import { octets } from './testing.ts'
import { createPrng } from '../../base/prng.ts'

interface Vectors {
  vectors: { description: string; hex: string; message: JsonMessage }[]
  bad: { description: string; hex: string; code: string; position: number; reason: string }[]
}
const { vectors, bad } = JSON.parse(readFileSync('docs/simco-vectors.json', 'utf8')) as Vectors
const SEED = Number(process.env['PINHOLE_SEED'] ?? 4540)

function encoded(message: Message): string {
  const out = createOutput(16)
  encode(out, message)
  return Buffer.from(out.bytes.subarray(0, out.end)).toString('hex')
}

/** Every answer up to MORE or BROKEN, messages as their octets. */
function read(chunks: Buffer[], maxPayloadBytes = MAX_PAYLOAD_BYTES): string[] {
  const decoder = createDecoder(maxPayloadBytes), found: string[] = []
  for (const chunk of chunks) {
    decoder.push(chunk)
    for (let decoded: Decoded = MESSAGE; decoded !== MORE;) {
      const message = createMessage()
      decoded = decoder.next(message)
      if (decoded === MESSAGE) found.push(encoded(message))
      else if (decoded !== MORE) found.push(`${decoder.fault.code.toString(16)} at ${decoder.fault.position}: ${decoder.fault.reason}`)
      if (decoded === BROKEN) return found
    }
  }
  return found
}

test('every vector decodes to its message and encodes to its octets', () => {
  for (const { description, hex, message } of vectors) {
    const bytes = Buffer.from(hex, 'hex'), decoded = createMessage(), fault = createFault()
    assert.equal(decodeMessage(bytes, 0, bytes.length, decoded, fault), MESSAGE, `${description}: ${fault.reason}`)
    assert.deepEqual(toJson(decoded), message, description)
    assert.equal(encoded(decoded), hex, description)
    assert.equal(encoded(fromJson(message)), hex, description)
  }
})

test('what is wrong with an attribute is told: unknown, in the wrong place, twice, missing, of another length', () => {
  const pid = '0005000400000001', lifetime = '000700040000003c', tuple = (value: string) => `0009${(value.length / 2).toString(16).padStart(4, '0')}${value}`
  const judge = (type: string, ...attributes: string[]) => {
    const payload = attributes.join(''), decoder = createDecoder()
    decoder.push(Buffer.from(type + (payload.length / 2).toString(16).padStart(4, '0') + '00000001' + payload, 'hex'))
    assert.equal(decoder.next(createMessage()), BAD, attributes.join(' '))
    return `${decoder.fault.reason} at ${decoder.fault.position}`
  }
  for (const attribute of [0, 12, 0xffff]) {
    assert.equal(judge('0122', attribute.toString(16).padStart(4, '0') + '0000'), 'attribute-unknown at 8')
  }
  for (let attribute = 1; attribute < 12; attribute++) {
    assert.equal(judge('0122', attribute.toString(16).padStart(4, '0') + '000400000000'), 'attribute-unexpected at 8')
  }
  assert.equal(judge('0121', pid, pid), 'attribute-duplicate at 16')
  assert.equal(judge('0115', lifetime, pid), 'attribute-missing at 8')
  assert.equal(judge('0115', pid, pid, lifetime), 'attribute-duplicate at 16')
  assert.equal(judge('0115', pid), 'attribute-missing at 16')
  // An IPv4 address of sixteen octets, an IPv6 one of four, an undefined version with another length, tuples cut off anywhere.
  const v4 = '01201100138c0002', v6 = '02801100138c0002', none = '09201100138c0002'
  for (const value of [v4 + '00'.repeat(16), v6 + '00'.repeat(4), none + '00'.repeat(8), v4, '11001100' + '00'.repeat(4), '1100', '0120', '11', '01']) {
    assert.equal(judge('0114', tuple(value), tuple('11001103'), lifetime), 'attribute-length at 10', value)
  }
})

test('the vectors hold every message of RFC 4540', () => {
  const held = new Set(vectors.map(({ message }) => Number(message.type)))
  for (const type of FORMATS.keys()) assert.ok(held.has(type), messageName(type))
})

test('bad octets are answered with code, position and reason, and the next message is read (RFC 4540 6)', () => {
  for (const { description, hex, code, position, reason } of bad) {
    const chunk = Buffer.from(hex + '0122000000000007', 'hex'), decoder = createDecoder(), message = createMessage()
    decoder.push(chunk)
    const decoded = decoder.next(message)
    assert.equal(decoded, code === '0x0401' ? BROKEN : BAD, description)
    assert.deepEqual({ ...decoder.fault }, { code: Number(code), position, reason }, description)
    assert.equal(message.tid, 1, description)
    if (decoded === BROKEN) continue
    assert.equal(decoder.next(message), MESSAGE, description)
    assert.equal(message.tid, 7, description)
  }
})

test('every vector, cut in two at each octet, is the same message', () => {
  for (const { description, hex } of vectors) {
    const bytes = Buffer.from(hex, 'hex')
    for (let at = 0; at <= bytes.length; at++) {
      assert.deepEqual(read([bytes.subarray(0, at), bytes.subarray(at)]), [hex], `${description}, cut at ${at}`)
    }
    assert.deepEqual(read([...bytes].map(octet => Buffer.of(octet))), [hex], `${description}, octet by octet`)
  }
})

test('several messages in one chunk, and chunks that cut them anywhere', () => {
  const all = [...vectors.map(({ hex }) => hex), ...vectors.map(({ hex }) => hex).reverse()]
  const stream = Buffer.from(all.join(''), 'hex'), prng = createPrng(SEED)
  assert.deepEqual(read([stream]), all)
  for (let round = 0; round < 50; round++) {
    const chunks: Buffer[] = []
    for (let at = 0; at < stream.length;) {
      const end = Math.min(stream.length, at + 1 + prng.below(1 + prng.below(400)))
      chunks.push(stream.subarray(at, end))
      at = end
    }
    assert.deepEqual(read(chunks), all, `seed ${SEED}, round ${round}`)
  }
})

test('a chunk that was kept may change: the messages are what they were, also the beginning of one whose rest comes later', () => {
  const stream = Buffer.from(vectors.map(({ hex }) => hex).join(''), 'hex'), prng = createPrng(SEED)
  for (let round = 0; round < 50; round++) {
    const lent = Buffer.from(stream), decoder = createDecoder(), message = createMessage(), cut = 1 + prng.below(lent.length - 1)
    const found: string[] = []
    const take = (most: number): void => {
      while (most-- > 0 && decoder.next(message) === MESSAGE) found.push(encoded(message))
    }
    decoder.push(lent, 0, cut)
    take(prng.below(vectors.length))
    decoder.keep()
    lent.fill(0xff, 0, cut)
    take(Infinity)
    decoder.push(lent, cut)
    take(Infinity)
    assert.deepEqual(found, vectors.map(({ hex }) => hex), `seed ${SEED}, round ${round}, cut at ${cut}`)
  }
})

test('chunks that come before the last one is read stand behind it', () => {
  const stream = Buffer.from(vectors.map(({ hex }) => hex).join(''), 'hex'), prng = createPrng(SEED)
  for (let round = 0; round < 50; round++) {
    const decoder = createDecoder(), message = createMessage(), found: string[] = []
    for (let at = 0; at < stream.length;) {
      const end = Math.min(stream.length, at + 1 + prng.below(200)), from = prng.below(3)
      const lent = Buffer.concat([stream.subarray(0, from), stream.subarray(at, end), stream.subarray(0, prng.below(3))])
      const before: number = decoder.unreadBytes
      decoder.push(lent, from, from + end - at)
      assert.equal(decoder.unreadBytes, before + end - at)
      at = end
      for (let most = prng.below(4); most > 0 && decoder.next(message) === MESSAGE; most--) found.push(encoded(message))
      if (prng.below(2) > 0) {
        decoder.keep()
        lent.fill(0xff)
      }
    }
    while (decoder.next(message) === MESSAGE) found.push(encoded(message))
    assert.deepEqual(found, vectors.map(({ hex }) => hex), `seed ${SEED}, round ${round}`)
  }
})

test('long chunks that several decoders keep do not disturb one another', () => {
  const text = vectors.map(({ hex }) => hex).join('').repeat(60), stream = Buffer.from(text, 'hex'), prng = createPrng(SEED)
  const all = Array.from({ length: 60 }, () => vectors.map(({ hex }) => hex)).flat()
  const readers = Array.from({ length: 4 }, () => ({ decoder: createDecoder(), at: 0, found: [] as string[] })), message = createMessage()
  const take = ({ decoder, found }: typeof readers[0], most: number): void => {
    while (most-- > 0 && decoder.next(message) === MESSAGE) found.push(encoded(message))
  }
  while (readers.some(({ at }) => at < stream.length)) {
    const reader = readers[prng.below(4)]!, end = Math.min(stream.length, reader.at + 1 + prng.below(20_000))
    const lent = Buffer.from(stream.subarray(reader.at, end))
    reader.decoder.push(lent)
    reader.at = end
    take(reader, prng.below(300))
    reader.decoder.keep()
    lent.fill(0xff)
    if (prng.below(8) === 0) {
      const other = createDecoder()
      other.push(stream.subarray(0, 10_000))
      other.keep()
      other.forget()
      assert.equal(other.unreadBytes, 0)
    }
  }
  for (const reader of readers) {
    take(reader, Infinity)
    assert.deepEqual(reader.found, all, `seed ${SEED}`)
  }
})

test('what is kept of a message grows with what has come, not with what was announced', () => {
  const decoder = createDecoder(), message = createMessage()
  decoder.push(Buffer.from('0122fff80000000100', 'hex'))
  assert.equal(decoder.next(message), MORE)
  assert.equal(decoder.heldBytes, 9)
  const before = process.memoryUsage().arrayBuffers
  const many = Array.from({ length: 1000 }, () => {
    const one = createDecoder()
    one.push(Buffer.from('0122fff80000000100', 'hex'))
    one.next(message)
    return one
  })
  assert.ok(process.memoryUsage().arrayBuffers - before < 2_000_000, 'a thousand decoders with nine octets each')
  assert.equal(many.length, 1000)
})

test('nothing longer than an SE request passes before the session is open', () => {
  const longest = octets(SA_REQUEST, 1, { present: 1 << TOKEN, token: Buffer.alloc(MAX_CHALLENGE_BYTES, 7) })
  assert.deepEqual(read([longest], MAX_OPENING_PAYLOAD_BYTES), [longest.toString('hex')])
  const header = Buffer.from('0101100d00000001', 'hex')
  assert.deepEqual(read([header], MAX_OPENING_PAYLOAD_BYTES), ['401 at 2: payload-too-long'])
  assert.deepEqual(read([header.subarray(0, 5), header.subarray(5)], MAX_OPENING_PAYLOAD_BYTES), ['401 at 2: payload-too-long'])
})

test('a PRL reply holds 8,191 rules and no more (RFC 4540 8.7)', () => {
  const pids = Array.from({ length: MAX_LISTED_RULES }, (_, i) => 0x80000000 + i)
  const bytes = octets(PRL_REPLY, 1, { pids }), message = createMessage()
  assert.equal(bytes.length, 65_536)
  assert.equal(decodeMessage(bytes, 0, bytes.length, message, createFault()), MESSAGE)
  assert.deepEqual(message.pids, pids)
  assert.throws(() => octets(PRL_REPLY, 1, { pids: [...pids, 1] }), RangeError)
})

test('encoding refuses what has no place on the wire', () => {
  assert.throws(() => octets(0x0116, 1), RangeError)
  assert.throws(() => octets(SA_REQUEST, 1, { token: Buffer.alloc(MAX_CHALLENGE_BYTES + 1) }), RangeError)
  assert.throws(() => octets(0x0224, 1, { owner: Buffer.alloc(256) }), RangeError)
  assert.throws(() => fromJson({ type: '0x0122', name: 'PRL request', tid: 1, attributes: [{ attribute: 'pid', value: 1 }] }), RangeError)
})

test('reserved octets and undefined values survive: encode(decode(x)) = x', () => {
  for (const spaced of [
    '0101000800000001 00010004030000ff',
    '0201000c00000001 000400082fff1234ffffffff',
    '0111001000000001 000a0004ff000000 00070004ffffffff',
    '03ff000000000001',
    '0114001800000001 000900041fff11ff 000900041000ff09 0007000400000001',
    '0112003c00000001 000b00040709ff01 0009000c09ff11ff0000000001020304 0009001800ff110900000000000102030405060708090a0b0c0d0e0f' +
      '0007000400000001',
  ]) {
    const hex = spaced.replaceAll(' ', ''), bytes = Buffer.from(hex, 'hex'), message = createMessage(), fault = createFault()
    assert.equal(decodeMessage(bytes, 0, bytes.length, message, fault), MESSAGE, fault.reason)
    assert.equal(encoded(message), hex)
  }
})

test('random octets, and vectors with octets changed, never throw; what decodes encodes to the same octets', () => {
  const prng = createPrng(SEED), message = createMessage(), fault = createFault(), counts = { good: 0, bad: 0 }
  const sources = vectors.map(({ hex }) => Buffer.from(hex, 'hex'))
  for (let round = 0; round < 40_000; round++) {
    let bytes: Buffer
    if (round % 4 === 0) {
      bytes = Buffer.from(Array.from({ length: 8 + prng.below(80) }, () => prng.next() & 255))
      bytes[0] = 1 + prng.below(4)
    } else {
      const source = sources[prng.below(sources.length)]!
      bytes = Buffer.from(source)
      for (let changes = 1 + prng.below(3); changes > 0; changes--) {
        const at = prng.below(bytes.length)
        bytes[at] = prng.below(2) === 0 ? bytes[at]! ^ 1 << prng.below(8) : prng.next() & 255
      }
      if (prng.below(4) === 0) bytes = bytes.subarray(0, 8 + prng.below(bytes.length - 7))
    }
    bytes.writeUInt16BE(bytes.length - 8, 2)
    // The octets stand at the very end of their memory, where a read too far is undefined and shows as a wrong value.
    const alone = Buffer.from(Uint8Array.from(bytes).buffer)
    if (decodeMessage(alone, 0, alone.length, message, fault) === MESSAGE) {
      counts.good++
      assert.equal(encoded(message), bytes.toString('hex'), `seed ${SEED}, round ${round}`)
    } else {
      counts.bad++
      assert.ok(fault.position >= 0 && fault.position <= bytes.length && fault.reason !== 'none', `seed ${SEED}, round ${round}`)
    }
  }
  assert.ok(counts.good > 2000 && counts.bad > 10_000, JSON.stringify(counts))
})

test('a random stream in random chunks never throws and holds no more than one message', () => {
  const prng = createPrng(SEED + 1), message = createMessage()
  for (let round = 0; round < 300; round++) {
    const decoder = createDecoder(MAX_OPENING_PAYLOAD_BYTES)
    for (let n = 0; n < 20; n++) {
      const chunk = Buffer.from(Array.from({ length: prng.below(60) }, () => prng.below(3) === 0 ? prng.next() & 255 : prng.below(8)))
      decoder.push(chunk)
      let decoded: Decoded = MESSAGE
      for (let answers = 0; decoded !== MORE && decoded !== BROKEN; answers++) {
        decoded = decoder.next(message)
        assert.ok(answers <= chunk.length / 8 + 1, `seed ${SEED + 1}, round ${round}: too many answers`)
      }
      assert.ok(decoder.heldBytes <= 8 + MAX_OPENING_PAYLOAD_BYTES)
      if (decoded === BROKEN) break
    }
  }
})

test('decoding a PER request allocates nothing', () => {
  const { hex } = vectors.find(({ message }) => Number(message.type) === PER_REQUEST)!
  const chunk = Buffer.from(hex.repeat(20), 'hex'), decoder = createDecoder(), message = createMessage()
  const work = () => {
    for (let round = 0; round < 500; round++) {
      decoder.push(chunk)
      while (decoder.next(message) === MESSAGE) { /* the record is filled */ }
    }
  }
  for (let i = 0; i < 20; i++) work()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 10; i++) work()
  const perMessage = (process.memoryUsage().heapUsed - before) / 100_000
  assert.ok(perMessage < 1, `${perMessage} bytes a message`)
})
