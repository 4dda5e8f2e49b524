import assert from 'node:assert/strict'
import test from 'node:test'
import { nearest } from './nearest.ts'

test('nearest: a slip is one or two letters, a beginning, or another way to join words', () => {
  assert.equal(nearest('outbuond', ['outbound', 'inbound']), 'outbound')
  assert.equal(nearest('out', ['outbound', 'inbound']), 'outbound')
  assert.equal(nearest('halfOpen', ['half-open', 'held-syns']), 'half-open')
  assert.equal(nearest('elephant', ['outbound', 'inbound']), null)
  assert.equal(nearest('x'.repeat(65), ['x'.repeat(65)]), null)
})

test('nearest: words of other firewalls, and slips in them, are told by ours, where ours can stand', () => {
  assert.deepEqual(['accept', 'acept', 'allow', 'drop', 'REJECT'].map((word) => nearest(word, ['permit', 'deny'])), ['permit', 'permit', 'permit', 'deny', 'deny'])
  assert.deepEqual(['in', 'out'].map((word) => nearest(word, ['outbound', 'inbound', 'both'])), ['inbound', 'outbound'])
  assert.equal(nearest('accept', ['drop', 'forward']), null)
})
