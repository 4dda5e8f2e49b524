import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { fileURLToPath } from 'node:url'

const PINHOLE = fileURLToPath(new URL('main.js', import.meta.url))
const CAPTURE = 'pcaps/nat-mixed-in.pcap'
const folder = mkdtempSync(join(tmpdir(), 'pinhole-against-'))
after(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function check(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PINHOLE, 'check', ...args], { encoding: 'utf8' })
  return { status, stdout, stderr }
}

interface Json { packets: number; flows: { protocol: string; direction: string; passesNow: boolean; reason: string; rule: { number: number; line: number } | null; packets: number; first: number }[]; changed: { flows: number; noLongerPass: number; passNow: number; packets: number }; findings: { number: number; kind: string }[] }

test('check --against: the same configuration changes nothing, with status 0', () => {
  const same = file('same.yaml', '')
  assert.deepEqual(check('--against', CAPTURE, same, '--config', same), {
    status: 0, stderr: '', stdout: `${same} in place of ${same}, on ${JSON.parse(check('--against', CAPTURE, same, '--json').stdout).packets} packets of ${CAPTURE}:\nno flow would change\n`,
  })
})

test('check --against: flows that a new rule denies are listed with the rule, and back with what had denied them', () => {
  const old = file('old.yaml', ''), next = file('next.yaml', 'firewall:\n  rules:\n    - deny in 17 from any to any // no udp\n')
  const forth = check('--against', CAPTURE, next, '--config', old, '--json')
  assert.equal(forth.status, 1)
  const found = JSON.parse(forth.stdout) as Json
  assert.ok(found.changed.flows > 0 && found.changed.passNow === 0)
  // ICMP errors about such flows and their fragments go with them.
  assert.ok(found.flows.every(({ protocol, passesNow }) => ['udp', 'icmp'].includes(protocol) && !passesNow))
  const denied = found.flows.filter(({ reason }) => reason === 'denied-by-firewall')
  assert.ok(denied.length > 0 && denied.every(({ protocol, rule, direction }) => protocol === 'udp' && rule?.number === 1 && rule.line === 3 && direction === 'outbound'))
  assert.match(check('--against', CAPTURE, next).stdout, /udp [\d.]+:\d+ > [\d.]+:\d+: denied-by-firewall by rule 1 'no udp' in line 3; \d+ packets, the first is \d+/)
  const back = JSON.parse(check('--against', CAPTURE, old, '--config', next, '--json').stdout) as Json
  assert.deepEqual([back.changed.passNow, back.changed.noLongerPass, back.changed.packets], [found.changed.noLongerPass, 0, found.changed.packets])
})

test('check --against: rules that never decide are told with their lines, those without a packet too, which is no fault', () => {
  const shadowed = file('shadowed.yaml', 'firewall:\n  rules:\n    - permit both ip from any to any\n    - deny in 6 from any to any 80\n    - deny out 1 from any to any icmptypes 3\n')
  const { status, stdout } = check('--against', CAPTURE, shadowed, '--config', shadowed)
  assert.equal(status, 1)
  assert.match(stdout, /shadowed\.yaml:4: rule 2: shadowed: rule 1 before it matches all that it could match\n/)
  assert.match(stdout, /shadowed\.yaml:5: rule 3: never matches: an ICMP message of these types opens no flow/)
  const idle = file('idle.yaml', 'firewall: {rules: ["deny in 6 from 10.99.99.99 to any"]}')
  const quiet = check('--against', CAPTURE, idle, '--config', idle)
  assert.equal(quiet.status, 0)
  assert.match(quiet.stdout, /idle\.yaml:1: rule 1: decides about no packet of this capture/)
})

test('check --against: what cannot be done is said, with the statuses of the program', () => {
  const good = file('good.yaml', '')
  assert.deepEqual([check('--against', CAPTURE).status, check('--against', CAPTURE, good, good).status, check('--against', '-', good).status], [2, 2, 2])
  assert.deepEqual([check('--against', 'none.pcap', good).status, check(good, '--config', good).status], [2, 2])
  assert.match(check('--against', CAPTURE, file('bad.yaml', 'firewall: {rules: [permit]}')).stderr, /bad\.yaml:1:20: firewall\.rules\[0\]: column 7: the rule ends where/)
})
