import assert from 'node:assert/strict'
import test from 'node:test'
import { createPrng } from '../../base/prng.ts'
import { randomRule } from '../../engine/firewall-testing.ts'
import { parseRule, printRule } from '../firewall/ipfilter.ts'
import { ruleInYaml } from '../firewall/yaml.ts'
import { digest } from './config.ts'
import { checkConfig, problemText } from './load.ts'

function rules(text: string) {
  const { config, problems } = checkConfig(text)
  assert.deepEqual(problems, [])
  return config!.firewall.rules
}

function complaints(text: string): string[] {
  return checkConfig(text).problems.map((problem) => problemText('f', problem).slice('f:'.length))
}

test('firewall rules: a section and a line of text say the same, and know their lines', () => {
  const [section, line] = rules(`firewall:
  rules:
    - name: web
      action: permit
      direction: outbound
      protocol: tcp
      source: [10.0.0.0/8, "!10.9.0.0/16"]
      destination-ports: [80, 443, 8000-8999]
      tcp-flags: setup
    - permit in 6 from 10.0.0.0/8,!10.9.0.0/16 to any 80,443,8000-8999 setup // web
`)
  assert.deepEqual([section!.line, line!.line], [3, 10])
  assert.deepEqual({ ...section, line: 0 }, { ...line, line: 0 })
})

test('firewall rules: mistakes are told at their places', () => {
  assert.deepEqual(complaints(`firewall:
  rules:
    - {action: allow}
    - {protocol: tcp}
    - {action: permit, protocol: tcq}
    - {action: permit, source: 10.0.0.1/8}
    - {action: permit, source-ports: 80}
    - {action: permit, protocol: tcp, destination-ports: [80, 99999]}
    - {action: deny, protocol: icmp6, icmp-types: redirect}
    - {action: deny, protocol: [icmp, icmp6], icmp-types: 3}
    - {action: deny, portocol: tcp}
    - permit in ip form any to any
    - 7
`), [
    '3:16: firewall.rules[0].action: \'allow\' is none of permit, deny; did you mean permit?',
    '4:7: firewall.rules[1]: action is missing; add action: permit',
    '5:34: firewall.rules[2].protocol: \'tcq\' is not a protocol; did you mean tcp?',
    '6:32: firewall.rules[3].source: \'10.0.0.1/8\' has bits set after its first 8; did you mean 10.0.0.0/8?',
    '7:38: firewall.rules[4].source-ports: ports are those of TCP and UDP, and the rule is about other protocols too; name tcp or udp',
    '8:58: firewall.rules[5].destination-ports: \'99999\' is beyond 65535',
    '9:51: firewall.rules[6].icmp-types: \'redirect\' is not a type of ICMPv6; write destination-unreachable, packet-too-big, time-exceeded, '
      + 'parameter-problem, echo-request, echo-reply',
    '10:59: firewall.rules[7].icmp-types: types of ICMP need the protocol icmp, or icmp6, alone; make a rule for each',
    '11:22: firewall.rules[8].portocol: no such setting; did you mean protocol?',
    '12:7: firewall.rules[9]: column 14: \'form\' stands where \'from\' is expected; write from',
    '13:7: firewall.rules[10]: a section or a text is needed here, not 7; write {action: permit} or "permit in ip from any to any"',
  ])
})

test('firewall rules: lists that multiply beyond what the packet path holds are refused', () => {
  const hosts = Array.from({ length: 250 }, (_, i) => `10.0.0.${i}`).join(', ')
  const ports = Array.from({ length: 40 }, (_, i) => 2 * i).join(', ')
  const text = `firewall: {rules: [{action: permit, protocol: [tcp, udp], source: [${hosts}], source-ports: [${ports}], destination-ports: [1, 3]}]}`
  assert.match(complaints(text).join(), /firewall.rules: the rules take more than 65536 entries/)
  const many = Array.from({ length: 32 }, (_, i) => `eth${i}`).join(', ')
  assert.match(complaints(`firewall: {rules: [{action: permit, interface: [${many}]}]}`).join(), /32 names of interfaces are too many/)
})

test('firewall rules: where a rule stands is not part of the digest, what it says is', () => {
  const of = (text: string) => digest(checkConfig(text).config!)
  const plain = of('firewall: {rules: [{action: deny, protocol: udp}]}')
  assert.equal(of('# a comment\nfirewall:\n\n  rules:\n  - deny both 17 from any to any\n'), plain)
  assert.notEqual(of('firewall: {rules: [{action: permit, protocol: udp}]}'), plain)
})

test('firewall rules: any rule can be written as text and as a section, and means the same', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const rule = randomRule(createPrng(seed))
    const [section, text] = rules(`firewall:\n  rules:\n${ruleInYaml(rule)}    - ${JSON.stringify(printRule(rule))}\n`)
    assert.deepEqual({ ...section, line: 0 }, rule, `seed ${seed}\n${ruleInYaml(rule)}`)
    assert.deepEqual({ ...text, line: 0 }, rule, `seed ${seed}`)
    const parsed = parseRule(printRule(section!))
    assert.ok(parsed.ok)
    assert.deepEqual(parsed.value, rule)
  }
})
