import test from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { composeChallenge, composeToken, readCredential, verifyToken } from './authentication.ts'

const { authentication } = JSON.parse(readFileSync('docs/simco-vectors.json', 'utf8')) as { authentication: Record<string, string> }
const bytes = (name: string) => Buffer.from(authentication[name]!, 'hex')
const key = bytes('key'), agent = bytes('agentChallenge'), box = bytes('middleboxChallenge')

test('challenges and tokens are those of the vectors', () => {
  assert.deepEqual(composeChallenge('b2bua-1', agent.subarray(-32)), agent)
  assert.deepEqual(composeChallenge('', box.subarray(-32)), box)
  assert.deepEqual(composeToken('', key, 'mbox', box, agent), bytes('middleboxToken'))
  assert.deepEqual(composeToken('b2bua-1', key, 'agent', agent, box), bytes('agentToken'))
  assert.deepEqual(composeToken('b2bua-1', key, 'agent', undefined, box), bytes('agentTokenWithoutOwnChallenge'))
})

test('a token holds for its key, role and both challenges, and no octet of it may change', () => {
  const token = bytes('agentToken')
  assert.ok(verifyToken(token, key, 'agent', agent, box))
  assert.ok(!verifyToken(token, Buffer.alloc(32), 'agent', agent, box))
  assert.ok(!verifyToken(token, key, 'mbox', agent, box))
  assert.ok(!verifyToken(token, key, 'agent', box, agent))
  assert.ok(!verifyToken(token, key, 'agent', undefined, box))
  // The name is not part of the mac: it says whose key to try.
  for (let at = 9; at < token.length; at++) {
    const changed = Buffer.from(token)
    changed[at]! ^= 1
    assert.ok(!verifyToken(changed, key, 'agent', agent, box), `octet ${at}`)
  }
  for (let end = 0; end < token.length; end++) assert.ok(!verifyToken(token.subarray(0, end), key, 'agent', agent, box))
})

test('other algorithms, lengths and names that are not UTF-8 are no credentials', () => {
  assert.equal(readCredential(agent)?.name, 'b2bua-1')
  for (const [at, value] of [[0, 2], [1, 6], [1, 8], [2, 0xff]] as const) {
    const changed = Buffer.from(agent)
    changed[at] = value
    assert.equal(readCredential(changed), undefined)
  }
  assert.throws(() => composeChallenge('x'.repeat(256), box.subarray(-32)), RangeError)
})
