import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { fileURLToPath } from 'node:url'

const PINHOLE = fileURLToPath(new URL('main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'pinhole-rules-'))
after(() => rmSync(folder, { recursive: true }))

function run(args: string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PINHOLE, ...args], { input, encoding: 'utf8' })
  return { status, stdout, stderr }
}

const YAML = `firewall:
  rules:
    - name: web
      action: permit
      direction: outbound
      protocol: [tcp, udp]
      source: [10.0.0.0/8, 192.168.0.0/16]
      destination-ports: 443
    - deny both ip from any to any frag
`

test('rules: a configuration is printed as text, and that as YAML which means the same', () => {
  const text = run(['rules', '-'], YAML)
  assert.deepEqual(text, {
    status: 0, stderr: '',
    stdout: 'permit in 6,17 from 10.0.0.0/8,192.168.0.0/16 to any 443 // web\ndeny both ip from any to any frag\n',
  })
  const yaml = run(['rules', '--from', 'ipfilter', '-'], `# rules\n\n${text.stdout}`)
  assert.equal(yaml.status, 0)
  assert.deepEqual(run(['rules', '-'], `# rules\n\n${text.stdout}`), yaml, 'rules are seen to be rules')
  assert.deepEqual(run(['rules', '-'], yaml.stdout), text)
})

test('rules: --strict prints what RFC 6733 has, and --implied the rule that it implies', () => {
  assert.equal(run(['rules', '--strict', '-'], YAML).stdout, [
    'permit in 6 from 10.0.0.0/8 to any 443', 'permit in 6 from 192.168.0.0/16 to any 443', 'permit in 17 from 10.0.0.0/8 to any 443',
    'permit in 17 from 192.168.0.0/16 to any 443', 'deny in ip from any to any frag', 'deny out ip from any to any frag', '',
  ].join('\n'))
  const plain = run(['rules', '--from', 'ipfilter', '--to', 'ipfilter', '--implied', '-'], 'permit in 6 from any to any\ndeny out 6 from any to any\n')
  assert.equal(plain.stdout, 'permit in 6 from any to any\ndeny out 6 from any to any\ndeny in ip from any to any\npermit out ip from any to any\n')
  for (const rule of ['permit in ip from any to any recv eth0', 'permit in ip from 10.0.0.0/8,!10.1.0.0/16 to any', 'deny in 1 from any to any icmptypes 8/1']) {
    const refused = run(['rules', '--from', 'ipfilter', '--strict', '-'], rule)
    assert.equal(refused.status, 2)
    assert.match(refused.stderr, /-:1: rule 1 cannot be written so: an IPFilterRule/)
  }
})

test('rules: each mistake in a file of rules is told with line and column', () => {
  const file = join(folder, 'rules.txt')
  writeFileSync(file, 'permit in ip from any to any\npermit on ip from any to any\n\ndeny in 6 from any to any 99999\n')
  const { status, stderr } = run(['rules', '--from', 'ipfilter', file])
  assert.equal(status, 2)
  assert.equal(stderr, `${file}:2:8: 'on' stands where a direction is expected; did you mean in?\n${file}:4:27: '99999' is beyond 65535\n`)
})
