/** The package as it is installed: what it holds, and that `pinhole/agent` can be imported from it, with types. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'

const scratch = mkdtempSync(join(tmpdir(), 'pinhole-package-'))
after(() => rmSync(scratch, { recursive: true }))
const NO_TAR = spawnSync('tar', ['--version']).status === 0 ? false : 'no tar'

const CONSUMER = `
import { connect, MidcomError, type Agent, type AgentEvent, type RuleStatus } from 'pinhole/agent'
export async function call(agent: Agent): Promise<number> {
  const { rule, outside } = await agent.enable({
    protocol: 'udp', internal: '10.0.0.5:5004+2', external: '*', direction: 'inbound', lifetimeSec: 300,
  })
  const all: RuleStatus[] = await agent.resynchronise()
  for await (const event of agent.events()) {
    const told: AgentEvent = event
    if (told.kind === 'overflow') return told.lost + all.length + outside.port
    // @ts-expect-error: an event of a rule has no count of lost events
    if (told.kind === 'rule') return told.lost
  }
  return rule
}
// @ts-expect-error: a lifetime is a number
void connect('127.0.0.1', 1).then((agent) => agent.changeLifetime(1, '5m')).catch((error: unknown) => {
  console.log(error instanceof MidcomError ? error.local : error)
})
`

test('pinhole/agent is imported from the packed package, with types that need no others', { skip: NO_TAR }, () => {
  const npm = (...args: string[]) => execFileSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const [{ filename }] = JSON.parse(npm('pack', '--ignore-scripts', '--json', '--pack-destination', scratch)) as [{ filename: string }]
  const installed = join(scratch, 'node_modules', 'pinhole')
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['xzf', join(scratch, filename), '-C', installed, '--strip-components=1'])
  writeFileSync(join(scratch, 'package.json'), '{"type":"module"}')
  writeFileSync(join(scratch, 'consumer.ts'), CONSUMER)
  writeFileSync(join(scratch, 'tsconfig.json'), JSON.stringify({
    compilerOptions: {
      strict: true, target: 'es2022', lib: ['es2022', 'dom'], module: 'nodenext', types: [], skipDefaultLibCheck: true,
    },
    files: ['consumer.ts'],
  }))
  const compiled = spawnSync(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', scratch], { encoding: 'utf8' })
  assert.equal(compiled.stdout + compiled.stderr, '')
  // The agent needs nothing but Node.
  const { stdout, status } = spawnSync(process.execPath, ['consumer.js'], { cwd: scratch, encoding: 'utf8' })
  assert.deepEqual([stdout, status], ['unreachable\n', 0])
})
