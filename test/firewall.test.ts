/** Firewall rules over a capture: hits in the report, and a script that replaces them at a time of the capture. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'

const PINHOLE = fileURLToPath(new URL('../src/app/cli/main.js', import.meta.url))
const CAPTURE = 'pcaps/nat-mixed-in.pcap'
const folder = mkdtempSync(join(tmpdir(), 'pinhole-firewall-'))
after(() => rmSync(folder, { recursive: true }))
const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true }).compile(JSON.parse(readFileSync('docs/report.schema.json', 'utf8')) as object)

interface Report {
  digest: string
  drops: Record<string, number>
  flows: { opened: number; expired: number; current: number }
  firewall: {
    rules: { number: number; name: string | null; line: number; packets: number; bytes: number }[]
    unmatched: { packets: number }
    replacements: number
    flowsEnded: number
    replaced: { line: number; atMs: number; file: string; rules: number; flowsEnded: number }[]
  } | null
}

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

function replay(...args: string[]): Report {
  const report = join(folder, 'report.json')
  const { status, stderr } = spawnSync(process.execPath, [PINHOLE, 'replay', CAPTURE, '--report', report, ...args], { encoding: 'utf8' })
  assert.deepEqual([status, stderr], [0, ''])
  const read = JSON.parse(readFileSync(report, 'utf8')) as Report
  assert.ok(validate(read), JSON.stringify(validate.errors))
  return read
}

const PLAIN = file('plain.yaml', '')
const RULES = file('rules.yaml', `firewall:
  rules:
    - {name: dns, action: permit, direction: outbound, protocol: udp, destination-ports: 53}
    - deny in 17 from any to any
    - permit both 6 from any to any // tcp
`)

test('hits of rules are packets that opened flows or were refused, and stand in the report with name and line', () => {
  assert.equal(replay('--config', PLAIN).firewall, null)
  const { firewall, drops } = replay('--config', RULES)
  const [dns, udp, tcp] = firewall!.rules
  assert.deepEqual([dns!.name, dns!.line, udp!.line, tcp!.name], ['dns', 3, 4, 'tcp'])
  assert.ok(dns!.packets > 0 && udp!.packets > 0 && tcp!.packets > 0 && tcp!.bytes > tcp!.packets * 20)
  assert.equal(drops['denied-by-firewall'], udp!.packets)
})

test('rules that a script brings count from its time on: flows that they forbid end, all others go on, and nothing depends on batches', () => {
  const script = file('script.yaml', `- {at: 0s, firewall: ${PLAIN}}\n- {at: 20ms, firewall: rules.yaml}\n- {at: 1h, firewall: plain.yaml}\n`)
  const scripted = replay('--config', PLAIN, '--script', script)
  const [first, second, last] = scripted.firewall!.replaced
  assert.deepEqual([first!.flowsEnded, second!.line, second!.atMs, second!.file, second!.rules, last!.rules], [0, 2, 20, 'rules.yaml', 3, 0])
  assert.equal(scripted.firewall!.flowsEnded, first!.flowsEnded + second!.flowsEnded + last!.flowsEnded)
  assert.equal(replay('--config', PLAIN, '--script', script, '--preload').digest, scripted.digest)
  // Without a replacement that forbids anything, nothing changes.
  const idle = file('idle.yaml', `- {at: 20ms, firewall: plain.yaml}\n`)
  assert.equal(replay('--config', PLAIN, '--script', idle).digest, replay('--config', PLAIN).digest)
})

test('a mistake in the rules that a script names is told at the step', () => {
  const bad = file('bad.yaml', 'firewall: {rules: [permit]}'), script = file('wrong.yaml', '- {at: 1s, firewall: bad.yaml}\n')
  const { status, stderr } = spawnSync(process.execPath, [PINHOLE, 'replay', CAPTURE, '--config', PLAIN, '--script', script], { encoding: 'utf8' })
  assert.equal(status, 2)
  assert.match(stderr, new RegExp(`^${script}:1:22: \\[0\\]\\.firewall: ${bad}:1:20: firewall\\.rules\\[0\\]: column 7:`))
})
