import assert from 'node:assert/strict'
import test from 'node:test'
import { DROP_REASONS } from '../../channel/reasons.ts'
import { settings } from '../config/schema.ts'
import { REASON_TEXTS } from './reasons.ts'

test('reasons: each reason of the list is explained by a clause or setting, a sentence and a hint, and none besides', () => {
  assert.deepEqual(Object.keys(REASON_TEXTS).sort(), DROP_REASONS.map(([name]) => name as string).sort())
  for (const [name, { clause, why, hint }] of Object.entries(REASON_TEXTS)) {
    assert.ok(clause.length > 3 && !clause.endsWith('.'), `${name}: ${clause}`)
    for (const sentence of [why, hint]) {
      assert.match(sentence, /^[A-Z].{15,}\.$/, name)
      assert.ok(sentence.length <= 160, `${name}: ${sentence.length} characters`)
    }
  }
})

test('reasons: every setting that a reason, its clause or its hint names is one of the configuration', () => {
  const known = new Set(settings().map(([path]) => path))
  const sections = new Set([...known].map((path) => path.split('.')[0]).filter((section) => section !== 'inside'))
  for (const [name, { clause, hint, settings: named }] of Object.entries(REASON_TEXTS)) {
    for (const path of named) assert.ok(known.has(path), `${name}: ${path}`)
    for (const [path] of `${clause} ${hint}`.matchAll(/\b[a-z0-9-]+(?:\.[a-z0-9-]+)+\b/g)) {
      if (sections.has(path.split('.')[0])) assert.ok(known.has(path), `${name}: ${path}`)
    }
  }
})
