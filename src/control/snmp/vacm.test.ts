import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { compareOids, parseOid, type Oid } from './oid.ts'
import { modelCompare, modelContains, modelSeek } from './vacm.model.ts'
import { NO_MASK, Vacm, View, type AccessEntry, type ViewFamily } from './vacm.ts'

const oid = (text: string): Oid => parseOid(text)!
const family = (text: string, included = true, mask: Uint8Array = NO_MASK): ViewFamily => ({ subtree: oid(text), mask, included })

test('VACM: the family of alice holds her rows in every column and nobody else\'s (RFC 3415 4, vacmViewTreeFamilyMask)', () => {
  const view = new View('alice', [family('1.3.6.1.2.1.171.1.1.3.1.0.5.97.108.105.99.101', true, Buffer.from('ffef', 'hex'))])
  for (const column of [4, 27]) {
    assert.equal(view.contains(oid(`1.3.6.1.2.1.171.1.1.3.1.${column}.5.97.108.105.99.101.7.1`)), true)
    assert.equal(view.contains(oid(`1.3.6.1.2.1.171.1.1.3.1.${column}.3.98.111.98.7.1`)), false)
  }
  assert.equal(view.contains(oid('1.3.6.1.2.1.171.1.1.4.1.3.5.97.108.105.99.101.7')), false)
  // A walk goes from bob's rows to alice's of the same column, and from behind hers to the next column.
  const text = (from: string) => view.seek(oid(from))?.join('.')
  assert.equal(text('1.3.6.1.2.1.171.1.1.3.1.4.3.98.111.98.7.1'), '1.3.6.1.2.1.171.1.1.3.1.4.5.97.108.105.99.101')
  assert.equal(text('1.3.6.1.2.1.171.1.1.3.1.4.5.98'), '1.3.6.1.2.1.171.1.1.3.1.5.5.97.108.105.99.101')
  assert.equal(text('1.3'), '1.3.6.1.2.1.171.1.1.3.1.0.5.97.108.105.99.101')
  assert.equal(view.seek(oid('1.3.6.1.2.1.171.1.1.3.1.4294967295.5.98')), null)
})

test('VACM: the longest family decides, among equals the larger (RFC 3415 4, vacmViewTreeFamilyType)', () => {
  const view = new View('v', [family('1.3.6'), family('1.3.6.1', false), family('1.3.6.1.2'), family('1.3.6.1.9.0', false, Buffer.of(0b11110011)), family('1.3.6.1.2.5', true)])
  assert.deepEqual(['1.3.6', '1.3.6.2', '1.3.6.1', '1.3.6.1.3', '1.3.6.1.2', '1.3.6.1.2.5', '1.3.6.1.2.6'].map((text) => view.contains(oid(text))), [true, true, false, false, true, false, false])
  assert.equal(new View('none', []).seek(oid('1.3')), null)
})

test('VACM: random views hold and seek what the slow model does', () => {
  const seed = Number(process.env['SEED'] ?? 1)
  const prng = createPrng(seed)
  // Every name of up to four of 0, 1, 2: what a view holds changes only at such names.
  const names: Oid[] = [[]]
  for (let at = 0; names[at]!.length < 4; at++) for (const next of [0, 1, 2]) names.push([...names[at]!, next])
  names.shift()
  names.sort(modelCompare)
  const random = () => Array.from({ length: 1 + prng.below(4) }, () => prng.below(3))
  for (let round = 0; round < 3000; round++) {
    const families = Array.from({ length: prng.below(5) }, (): ViewFamily => {
      return { subtree: random(), mask: prng.below(3) === 0 ? Uint8Array.of(prng.below(256)) : NO_MASK, included: prng.below(3) > 0 }
    }).filter((one, i, all) => all.findIndex(({ subtree }) => compareOids(subtree, one.subtree) === 0) === i)
    const view = new View('v', families), from = random()
    assert.equal(view.contains(from), modelContains(families, from), `seed ${seed}, round ${round}`)
    const sought = view.seek(from), expected = modelSeek(families, names, from)
    // It may find a name that is longer than those of the model, or one with a sub-identifier above 2; never one behind the model's.
    if (expected === null) assert.ok(sought === null || sought.some((subId) => subId > 2) || sought.length > 4, `seed ${seed}, round ${round}: ${JSON.stringify([families, from, sought])}`)
    else {
      assert.ok(sought !== null && modelContains(families, sought) && modelCompare(sought, from) >= 0, `seed ${seed}, round ${round}: ${JSON.stringify([families.map((f) => [f.subtree.join("."), f.mask[0], f.included]), from, sought, expected])}`)
      assert.ok(modelCompare(sought, expected) <= 0, `seed ${seed}, round ${round}: ${sought.join('.')} behind ${expected.join('.')}`)
    }
  }
})

test('VACM: the most fitting access entry counts (RFC 3415 4, vacmAccessTable)', () => {
  const entry = (more: Partial<AccessEntry>): AccessEntry => ({
    group: 'g', contextPrefix: '', isExact: true, securityModel: 3, level: 1, read: '', write: '', notify: '', ...more,
  })
  const views = ['any', 'usm', 'high', 'prefix', 'exact'].map((name) => new View(name, []))
  const vacm = new Vacm({
    contexts: ['', 'lab', 'lab2'], groups: new Map([['u', 'g'], ['lost', 'no']]), views,
    access: [
      entry({ securityModel: 0, level: 2, read: 'any' }), entry({ read: 'usm' }), entry({ level: 3, read: 'high' }),
      entry({ contextPrefix: 'la', isExact: false, read: 'prefix', level: 3 }), entry({ contextPrefix: 'lab', read: 'exact' }), entry({ group: 'x', read: 'any' }),
    ],
  })
  const read = (level: 1 | 2 | 3, context: string, user = 'u') => {
    const found = vacm.viewsOf(user, level, context)
    return typeof found === 'string' ? found : found.read?.name ?? null
  }
  assert.deepEqual([read(1, ''), read(2, ''), read(3, '')], ['usm', 'usm', 'high'])
  assert.deepEqual([read(3, 'lab'), read(3, 'lab2'), read(2, 'lab2')], ['exact', 'prefix', 'noAccessEntry'])
  assert.deepEqual([read(3, 'elsewhere'), read(3, '', 'nobody'), read(3, '', 'lost')], ['noSuchContext', 'noGroupName', 'noAccessEntry'])
})

test('VACM: what is remembered of one user in one context is no other\'s, whatever stands in their names', () => {
  const entry = (group: string, read: string): AccessEntry => ({ group, read, contextPrefix: '', isExact: false, securityModel: 3, level: 3, write: '', notify: '' })
  const vacm = new Vacm({
    contexts: ['a', 'a b', '1 a'], groups: new Map([['b c', 'high'], ['c', 'low'], ['', 'low']]), views: [new View('all', []), new View('little', [])],
    access: [entry('high', 'all'), entry('low', 'little')],
  })
  const read = (context: string, user: string) => {
    const found = vacm.viewsOf(user, 3, context)
    return typeof found === 'string' ? found : found.read?.name
  }
  assert.deepEqual([read('a', 'b c'), read('a b', 'c'), read('a b', 'c'), read('a', 'b c'), read('a', '')], ['all', 'little', 'little', 'all', 'little'])
})
