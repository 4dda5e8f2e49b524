import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parsePrefix, type Prefix } from '../../base/address.ts'
import { digest } from '../config/config.ts'
import { checkConfig, loadConfig } from '../config/load.ts'
import { checkRecorded, recordedConfiguration } from './recorded-settings.ts'

const dir = mkdtempSync(join(tmpdir(), 'pinhole-settings-'))
after(() => rmSync(dir, { recursive: true }))

const INSIDE = ['10.0.0.0/24', '2001:db8:1::/64'].map((text) => {
  const parsed = parsePrefix(text)
  assert.ok(parsed.ok)
  return parsed.value
}) as Prefix[]

function kept(text: string, pool: string[] = []): string | null {
  const file = join(dir, 'box.yaml')
  writeFileSync(file, text)
  const config = loadConfig(file)
  config.box = { ...config.box, insideAddress: 0x0a000001, mtuInside: 1500, mtuOutside: 1400 }
  return recordedConfiguration({ file, pool, config, inside: INSIDE })
}

test('recorded settings: they are those that decide about packets, filled in, and a configuration again', () => {
  const text = kept(`nat: {filtering: address-dependent, ports: 2000-3000}
interfaces:
  inside: {name: in0, addresses: [10.0.0.1/24]}
  outside: {name: out0, addresses: [203.0.113.1/24]}
firewall: {rules: ["deny in 17 from any to any"]}
`, ['203.0.113.1-203.0.113.4'])
  const { config, problems } = checkConfig(text!)
  assert.deepEqual(problems, [])
  const { nat, box, inside, interfaces, firewall } = config!
  assert.deepEqual([nat.filtering, nat.ports, nat.pool.length, firewall.rules.length], ['address-dependent', { first: 2000, last: 3000 }, 4, 1])
  assert.deepEqual([box.insideAddress, box.mtuInside, box.mtuOutside, interfaces], [0x0a000001, 1500, 1400, null])
  assert.deepEqual(inside, INSIDE)
})

test('recorded settings: no key, no certificate, no user and no place of the box is among them', () => {
  const secret = '00112233445566778899aabbccddeeff'
  const text = kept(`midcom:
  enabled: true
  ports: 50000-50999
  agents: [{name: lab, key: ${secret}, inside: [10.0.0.0/24]}]
  simco: {listen: ["127.0.0.1:7626"], allow-plain: true}
  state: /var/lib/pinhole
`)
  assert.equal(/001122|lab|7626|var/.test(text!), false, text!)
  assert.deepEqual(checkConfig(text!).config!.midcom.ports, { first: 50_000, last: 50_999 })
})

test('recorded settings: those of somebody else are checked, and no file that they name is looked at', () => {
  const none = join(dir, 'none.pem')
  const text = JSON.stringify({ nat: { pool: ['203.0.113.9'] }, midcom: { enabled: true, simco: { tls: { cert: none, key: none } }, agents: [{ name: 'a', 'key-file': none }] } })
  assert.notDeepEqual(checkConfig(text).problems, [])
  assert.deepEqual(checkRecorded(text).problems, [])
  for (const bad of ['', 'null', '[]', '7', '{"midcom":7}', '{"nat":{"pool":["x"]}}', '{"__proto__":{}}']) {
    const { config, problems } = checkRecorded(bad)
    assert.equal(config === null, problems.length > 0, bad)
  }
})

test('recorded settings: without a file they are the defaults; what is too long or came by a pipe is not kept', () => {
  const config = checkConfig('{}').config!
  const text = recordedConfiguration({ file: undefined, pool: [], config, inside: config.inside })
  assert.equal(digest(checkConfig(text!).config!), digest({ ...config, box: { ...config.box, mtuInside: 0, mtuOutside: 0 } }))
  assert.equal(recordedConfiguration({ file: '-', pool: [], config, inside: INSIDE }), null)
  const rules = Array.from({ length: 2000 }, (_, i) => `  - {name: rule-${i}, action: deny, direction: inbound, protocol: udp, destination-ports: ${i}}`)
  assert.equal(kept(`firewall:\n  rules:\n${rules.join('\n')}\n`.replaceAll('  - ', '    - ')), null)
})
