import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { LocalEngine, openEngineStore } from './local-engine.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pinhole-snmp-engine-'))
after(() => rmSync(scratch, { recursive: true }))
const random = (bytes: number) => Buffer.alloc(bytes, 7)
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

test('engine: a new one gets an identifier of RFC 3411 5 and counts its starts, on disk before it says anything', () => {
  const directory = join(scratch, 'new', 'deeper')
  const read = () => JSON.parse(readFileSync(join(directory, 'snmp-engine.json'), 'utf8')) as unknown
  for (const boots of [1, 2, 3]) {
    const engine = new LocalEngine(openEngineStore(directory, null, random), () => 0)
    assert.deepEqual([engine.boots, hex(engine.id)], [boots, '80007ed905' + '07'.repeat(12)])
    assert.deepEqual(read(), { engineId: hex(engine.id), engineBoots: boots })
  }
  assert.deepEqual(readdirSync(directory), ['snmp-engine.json'])
})

test('engine: another identifier is another life, that begins with its first start (RFC 3414 2.2.1)', () => {
  const directory = join(scratch, 'other'), start = (id: Uint8Array | null) => new LocalEngine(openEngineStore(directory, id, random), () => 0)
  const id = Buffer.from('8000000001', 'hex')
  assert.deepEqual([start(null).boots, start(null).boots, start(id).boots, start(id).boots, start(null).boots], [1, 2, 1, 2, 3])
  assert.equal(hex(start(null).id), '8000000001')
})

test('engine: a state that is damaged or cannot be kept is an error, not a guess', () => {
  const open = (text: string) => {
    writeFileSync(join(scratch, 'snmp-engine.json'), text)
    return () => openEngineStore(scratch, null, random)
  }
  for (const text of ['', '{', 'null', '{"engineId":"80","engineBoots":1}', '{"engineId":"8000000001","engineBoots":-1}', '{"engineId":"8000000001","engineBoots":2147483648}']) {
    assert.throws(open(text), /snmp-engine\.json is damaged .*: remove it, and the engine gets a new identifier/, text)
  }
  writeFileSync(join(scratch, 'file'), '')
  assert.throws(() => openEngineStore(join(scratch, 'file'), null, random), /EEXIST|ENOTDIR/)
})

test('engine: time counts seconds from the start of the engine, and the count of starts stays at its end (RFC 3414 2.2.2)', () => {
  let nowMs = 5000
  const engine = new LocalEngine({ engineId: Buffer.alloc(5, 1), boots: 0x7fffffff, save: () => { /* kept nowhere */ } }, () => nowMs)
  nowMs = 7999
  assert.deepEqual([engine.time, engine.boots], [2, 0x7fffffff])
})
