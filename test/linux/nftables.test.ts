/**
 * Linux as judge: the same packets through masquerade and a stateful filter of nftables, in a network namespace, and through the engine.
 * What differs stands in docs/nftables.md with its reason, and nothing else may differ. Where Linux cannot be asked, the engine is still
 * held to what the document says of it.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { engineOptions } from '../../src/app/compose.ts'
import { checkConfig } from '../../src/app/config/load.ts'
import { box } from '../conformance/box.ts'
import { CASES, type Case } from './cases.ts'
import { difference, run, sendTo, type Answer } from './compare.ts'
import { compile, obstacle, openLinux } from './linux.ts'

const DOCUMENT = 'docs/nftables.md'
/** The defaults, with the addresses that Linux has. */
const CONFIG = `
inside: [10.0.0.0/8, "fd00::/8"]
box: {inside-address: 10.255.255.254, address6: "fd00::fe"}
nat: {pool: [203.0.113.1]}
`

interface Row { name: string; step: number; linux: string; ours: string; why: string }

/** Rows of the table, with what is written between backquotes taken out of them. */
function documented(): Row[] {
  return readFileSync(DOCUMENT, 'utf8').split('\n').filter(line => /^\| [^|]+ \| \d+ \|/.test(line)).map((line) => {
    const [name, step, linux, ours, why] = line.slice(2, -2).split(' | ').map(cell => cell.trim().replace(/^`(.*)`$/, '$1'))
    return { name, step: Number(step), linux, ours, why }
  })
}

function asRow({ name, step, linux, ours }: Omit<Row, 'why'>, why: string): string {
  return `| ${name} | ${step} | \`${linux}\` | \`${ours}\` | ${why} |`
}

/** The engine's answers to a case, in a box of its own. */
async function engineAnswers(one: Case): Promise<Answer[]> {
  const { config, problems } = checkConfig(CONFIG)
  assert.deepEqual(problems, [])
  return run(one, sendTo(box(engineOptions(config!, config!.inside, 1, 0))))
}

test('nftables: each row of the document has a case, a step of it, and a reason', () => {
  const rows = documented()
  assert.ok(rows.length > 0)
  for (const { name, step, linux, ours, why } of rows) {
    const found = CASES.find(one => one.name === name)
    assert.ok(found !== undefined, `there is no case '${name}'`)
    assert.ok(step >= 1 && step <= (found.together === true ? 1 : found.steps.length), `${name}: ${step}`)
    assert.ok(linux !== ours && linux !== '' && ours !== '' && why.length > 10, name)
  }
  const keys = rows.map(({ name, step }) => `${name} ${step}`)
  assert.equal(new Set(keys).size, keys.length, 'a row is there twice')
})

test('nftables: the engine does what the document says where it differs', async () => {
  for (const { name, step, ours } of documented()) {
    const one = CASES.find(({ name: other }) => other === name)!
    const { text } = (await engineAnswers(one))[step - 1]
    assert.equal(ours.replace(/, bytes \d+-\d+: [\da-f-]+$/, ''), text, `${name}, packet ${step}`)
  }
})

const why = obstacle()
const isSkipped = why !== null && !(why.isFault && process.env['CI'] === 'true')

test('nftables: Linux and the engine let the same packets out, but for what the document lists', { skip: isSkipped ? `Linux cannot be asked: ${why.reason}` : false }, async (t) => {
  assert.equal(why, null, why?.reason)
  const scratch = mkdtempSync(join(tmpdir(), 'pinhole-linux-'))
  t.after(() => rmSync(scratch, { recursive: true }))
  const program = join(scratch, 'tun')
  compile(program)
  const rows = documented()
  const reasons = new Map(rows.map(row => [asRow(row, ''), row.why]))
  const unlisted: string[] = []
  let packets = 0
  const linux = await openLinux(program)
  t.after(() => linux.close())
  for (const one of CASES) {
    await linux.forget()
    const theirs = await run(one, linux.send)
    packets += one.steps.length
    const ours = await engineAnswers(one)
    theirs.forEach((answer, at) => {
      const differs = difference(answer, ours[at])
      if (differs === null) return
      const row = { name: one.name, step: at + 1, linux: differs[0], ours: differs[1] }
      if (!reasons.delete(asRow(row, ''))) unlisted.push(asRow(row, '(why)'))
    })
  }
  t.diagnostic(`${CASES.length} cases, ${packets} packets, ${rows.length} differences`)
  assert.equal(unlisted.join('\n'), '', `differences that ${DOCUMENT} does not list`)
  assert.deepEqual([...reasons.keys()], [], `${DOCUMENT} lists what does not differ`)
})
