/** The short form of mib-soak.ts. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { soak } from './mib-soak.ts'

test('SIGKILL in the midst of random SETs: what was acknowledged is there, and nothing else (RFC 5190 midcomRuleStorageType)', async (t) => {
  const seed = Date.now() % 1_000_000
  t.diagnostic(`seed ${seed}`)
  const report = await soak(2, 100, seed)
  t.diagnostic(JSON.stringify(report))
  assert.equal(report.rounds, 2)
  assert.ok(report.acknowledged > 10)
})
