/** `pinhole why`: verdicts, what turns them, exit statuses. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { checkConfig } from '../src/app/config/load.ts'
import { loadScript } from '../src/app/script/script.ts'
import { parsePacket } from '../src/app/why/packet.ts'
import { apply } from '../src/app/why/turn.ts'
import { why, type Answer } from '../src/app/why/why.ts'

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-why-'))
after(() => fs.rmSync(scratch, { recursive: true }))

/** Small tables: many boxes are made. */
const SMALL = 'limits: {flows: 64}\n'

async function ask(packet: string, { text = SMALL, capture = null as string | null, side = null as 'inside' | 'outside' | null, later = 0, script = null as string | null } = {}): Promise<Answer> {
  const { config, problems } = checkConfig(text)
  assert.ok(config !== null, JSON.stringify(problems))
  return why({
    packet: parsePacket(packet), side, laterMs: later, config, text, folder: '.', file: 'pinhole.yaml', inside: [], seed: 1, after: capture,
    script: script === null ? null : loadScript(script),
  })
}

const told = ({ turns }: Answer) => turns.map(({ edits }) => edits.map(({ path: setting, after: value, added }) => `${setting}: ${added ?? value}`).join(' and '))

test('why: every turn that is told turns the verdict, and the reasons are the engine\'s', async () => {
  const cases: [string, Parameters<typeof ask>[1], string, string[]][] = [
    ['udp 10.0.0.5:5004 > 198.51.100.7:6000', {}, 'sent', ['firewall.outbound: deny']],
    ['udp 10.0.0.5:5004 > 198.51.100.7:6000', { text: `${SMALL}firewall: {outbound: deny}\n` }, 'denied', ['firewall.outbound: permit']],
    ['udp [2001:db8::1]:53 > [fd00::5]:5000', {}, 'denied', ['firewall.inbound6: permit']],
    ['tcp 10.0.0.5:4000 > 198.51.100.7:80 flags A', { text: `${SMALL}firewall: {tcp-midstream: false}\n` }, 'tcp-midstream', ['firewall.tcp-midstream: true']],
    ['udp 10.0.0.5:5004 > 203.0.113.1:5004', { text: `${SMALL}nat: {hairpinning: false}\n` }, 'denied', []],
    ['udp 10.0.0.5:1 > 198.51.100.7:2 header-checksum wrong', {}, 'ipv4-bad-checksum', ['checks.ipv4-checksum: ignore']],
    ['udp 10.0.0.5:1 > 198.51.100.7:2 ttl 1', {}, 'ttl-exceeded', []],
    ['udp 10.0.0.5:1 > 10.1.0.7:2', {}, 'inside-to-inside', ['inside: [10.0.0.0/24]']],
    ['udp 198.51.100.7:1 > 192.0.2.9:2', {}, 'outside-to-outside', []],
    ['udp 198.51.100.7:1 > 10.0.0.5:2000', {}, 'no-mapping', ['nat.forwards: {protocol: udp, outside: "203.0.113.1:2000", inside: "10.0.0.5:2000", from: [198.51.100.7]}']],
    ['udp 10.0.0.5:1 > 224.0.0.1:2', {}, 'multicast', []],
  ]
  for (const [packet, options, reason, turns] of cases) {
    const answer = await ask(packet, options)
    const { explanation } = answer
    assert.equal(explanation.reason?.name ?? explanation.verdict, reason, packet)
    for (const turn of turns) assert.ok(told(answer).includes(turn), `${packet}: ${told(answer).join('; ')}`)
    for (const { explanation: then } of answer.turns) assert.notEqual(then.verdict === 'sent', explanation.verdict === 'sent', packet)
    if (turns.length > 0 && reason !== 'inside-to-inside') assert.equal(told(answer).find((turn) => !turn.startsWith('firewall.rules')), turns[0], packet)
  }
})

test('why: the state of a flow has a name, whatever its protocol is', async () => {
  const states: [string, string][] = [
    ['udp 10.0.0.5:5004 > 198.51.100.7:6000', 'open'], ['icmp 10.0.0.5 > 198.51.100.7', 'open'], ['gre 10.0.0.5 > 198.51.100.7', 'open'],
    ['tcp 10.0.0.5:4000 > 198.51.100.7:80', 'SYN-OUT'], ['sctp 10.0.0.5 > 198.51.100.7', 'opening'],
    ['dccp 10.0.0.5:4000 > 198.51.100.7:80', 'opening'],
  ]
  for (const [packet, state] of states) assert.equal((await ask(packet)).explanation.flow?.state, state, packet)
  const { answerTo } = await ask('sctp 198.51.100.7 > 10.0.0.5')
  assert.equal(answerTo?.explanation.flow?.state, 'answered')
})

test('why: the firewall rule that decided is named with its place; a rule for this packet alone comes before settings', async () => {
  const text = `${SMALL}firewall:\n  rules:\n    - permit in 17 from any to any 53\n    - {name: no-chat, action: deny, protocol: udp, direction: outbound}\n`
  const packet = 'udp 10.0.0.5:5004 > 198.51.100.7:6000'
  const denied = await ask(packet, { text })
  assert.equal(denied.explanation.reason?.name, 'denied-by-firewall')
  assert.deepEqual(denied.explanation.rules, [{ kind: 'firewall', rule: 'no-chat', owner: 'pinhole.yaml:5', what: 'denies the packet' }])
  assert.deepEqual(told(denied), ['firewall.rules: permit in 17 from 10.0.0.5 5004 to 198.51.100.7 6000'])
  const permitted = await ask('udp 10.0.0.5:5004 > 198.51.100.7:53', { text })
  assert.deepEqual(permitted.explanation.rules, [{ kind: 'firewall', rule: '1', owner: 'pinhole.yaml:4', what: 'permits the packet' }])
  assert.equal(told(permitted)[0], 'firewall.rules: deny in 17 from 10.0.0.5 5004 to 198.51.100.7 53')
  const stranger = await ask('udp 198.51.100.9:9 > 10.0.0.1:5000', { capture: 'pcaps/udp-hairpin-in.pcap' })
  assert.equal(told(stranger)[0], 'firewall.rules: permit out 17 from 198.51.100.9 9 to 10.0.0.1 5000')
  const six = await ask('tcp [2001:db8::1]:443 > [fd00::5]:80')
  assert.equal(told(six)[0], 'firewall.rules: permit out 6 from 2001:db8::1 443 to fd00::5 80')
})

test('why: after a capture the box knows its flows; a stranger is filtered until the filter, or a packet to it, lets it in (RFC 4787 REQ-8)', async () => {
  const capture = 'pcaps/udp-hairpin-in.pcap'
  const known = await ask('udp 198.51.100.1:3478 > 10.0.0.1:5000', { capture })
  assert.equal(known.explanation.verdict, 'sent')
  assert.equal(known.explanation.flow?.how, 'found')
  const stranger = await ask('udp 198.51.100.9:9 > 10.0.0.1:5000', { capture })
  assert.equal(stranger.explanation.reason?.name, 'filtered')
  assert.deepEqual(stranger.explanation.mapping?.inside, '10.0.0.1:5000')
  assert.deepEqual(told(stranger).slice(1, 3), ['nat.forwards: {protocol: udp, outside: "203.0.113.1:5000", inside: "10.0.0.1:5000", from: [198.51.100.9]}', 'nat.filtering: endpoint-independent'])
  assert.ok(stranger.turns[0].captureDrops !== null)
  assert.equal(stranger.answerTo?.packet, 'udp 10.0.0.1:5000 > 198.51.100.9:9')
  // Five minutes later the mapping is gone (REQ-5).
  const late = await ask('udp 198.51.100.9:9 > 10.0.0.1:5000', { capture, later: 299_000 }), tooLate = await ask('udp 198.51.100.9:9 > 10.0.0.1:5000', { capture, later: 301_000 })
  assert.equal(late.explanation.reason?.name, 'filtered')
  assert.equal(tooLate.explanation.reason?.name, 'no-mapping')
})

test('why: without a capture, what agents did counts from the beginning of the box, and a rule that is over lets nothing pass (RFC 5189 2.1.6)', async () => {
  const text = `${SMALL}firewall: {outbound: deny}\nmidcom: {enabled: true, agents: [{name: a}]}\n`
  const script = path.join(scratch, 'later.yaml')
  const rule = 'agent: a, do: enable, internal: "10.0.0.5:5004 udp", direction: outbound, lifetime: 1s, expect: ok'
  fs.writeFileSync(script, `- {at: 0s, ${rule}, external: "198.51.100.7:6000"}\n- {at: 5s, ${rule}, external: "198.51.100.8:6000"}\n`)
  const verdict = async (peer: number, later: number) =>
    (await ask(`udp 10.0.0.5:5004 > 198.51.100.${peer}:6000`, { text, script, later })).explanation.verdict
  assert.deepEqual([await verdict(7, 0), await verdict(7, 999), await verdict(7, 1000)], ['sent', 'sent', 'dropped'])
  assert.deepEqual([await verdict(8, 4999), await verdict(8, 5000), await verdict(8, 6000)], ['dropped', 'sent', 'dropped'])
})

test('why: with agents a rule that lets it pass is told, and was made', async () => {
  const text = `${SMALL}${fs.readFileSync('pcaps/midcom-call-config.yaml', 'utf8')}`
  const answer = await ask('udp 198.51.100.9:6000 > 10.0.0.5:7000', { text })
  assert.equal(answer.explanation.verdict, 'dropped')
  assert.equal(answer.rule?.command, 'pinhole ctl enable 10.0.0.5:7000 198.51.100.9:6000 --protocol udp --direction inbound')
  assert.equal(answer.rule?.explanation.verdict, 'sent')
  assert.deepEqual(answer.rule?.explanation.rules.map(({ kind, what }) => [kind, what]), [['midcom', 'admits the flow inbound']])
})

test('why: a packet to an outside address that nobody opened passes by a forward to some inside host, which the answer says; nothing odder is told', async () => {
  const { turns } = await ask('udp 198.51.100.9:6000 > 203.0.113.1:5004')
  assert.deepEqual(turns.map(({ edits: [edit] }) => [edit!.path, edit!.added, edit!.example]),
    [['nat.forwards', '{protocol: udp, outside: "203.0.113.1:5004", inside: "10.0.0.1:5004", from: [198.51.100.9]}', '10.0.0.1']])
  assert.equal(turns[0]!.explanation.to, 'inside')
  assert.deepEqual((await ask('icmp 198.51.100.9 > 203.0.113.1')).turns, [])
})

test('why: a changed configuration keeps what else stands in the file', () => {
  const text = '# ours\nnat:\n  filtering: endpoint-independent\ntimers:\n'
  const changed = apply(text, [['nat.filtering', 'address-dependent'], ['timers.udp', '10m'], ['inside', '[10.0.0.0/8, "fc00::/7"]']].map(([setting, value]) => ({ path: setting, before: '', after: value, added: null, example: null })))
  assert.ok(changed.startsWith('# ours\n'), changed)
  const { config, problems } = checkConfig(changed)
  assert.ok(config !== null, JSON.stringify(problems))
  assert.deepEqual([config.nat.filtering, config.timers.udpMs, config.inside.length], ['address-dependent', 600_000, 2])
})

function pinhole(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['build/src/app/cli/main.js', 'why', ...args], (error, stdout, stderr) => resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr }))
  })
}

test('why: status 0 passes, 1 does not, 2 cannot be asked, 3 the capture is damaged; text and JSON say what', async () => {
  const config = path.join(scratch, 'pinhole.yaml')
  fs.writeFileSync(config, `${SMALL}nat:\n  filtering: address-dependent\n`)
  const passes = await pinhole('udp 10.0.0.5:5004 > 198.51.100.7:6000', '--config', config)
  assert.equal(passes.status, 0, passes.stderr)
  assert.match(passes.stdout, /^ {2}flow {6}opened: UDP 10\.0\.0\.5:5004 = 203\.0\.113\.\d:5004 with 198\.51\.100\.7:6000; open; ends in 5 min if idle$/m)
  assert.match(passes.stdout, /^ {2}firewall\.outbound: deny {2}\(now permit, the default\)\n {2}then {6}dropped: denied$/m)
  const stranger = await pinhole('udp 198.51.100.9:9 > 10.0.0.1:5000', '--config', config, '--after', 'pcaps/udp-hairpin-in.pcap')
  assert.equal(stranger.status, 1)
  assert.match(stranger.stdout, /^ {2}nat\.filtering: endpoint-independent {2}\(now address-dependent, line 3\)$/m)
  const json = await pinhole('udp 198.51.100.9:9 > 10.0.0.1:5000', '--config', config, '--json', '--from', 'outside')
  assert.equal(json.status, 1)
  const value = JSON.parse(json.stdout) as { passes: boolean; explanation: { reason: { name: string } }; turns: unknown[] }
  assert.deepEqual([value.passes, value.explanation.reason.name], [false, 'no-mapping'])
  const wrong = await pinhole('udp 10.0.0.5 > 1.2.3.4:5')
  assert.equal(wrong.status, 2)
  assert.match(wrong.stderr, /column 5: udp needs a port: 10\.0\.0\.5:53\n {2}udp 10\.0\.0\.5 > 1\.2\.3\.4:5\n {6}\^/)
  const words = await pinhole('udp', '10.0.0.5:5004', '>', '198.51.100.7:6000', '--config', config)
  assert.deepEqual(words, passes, 'quoted or not')
  const redirected = await pinhole('udp', '10.0.0.5:5004')
  assert.equal(redirected.status, 2)
  assert.match(redirected.stderr, /\^\nQuote the packet: the shell has taken what follows > for the name of a file\.\n$/)
  assert.equal((await pinhole('udp 10.0.0.5:1 > 1.2.3.4:5', '--after', 'no-such.pcap')).status, 2)
  const damaged = path.join(scratch, 'damaged.pcap')
  fs.writeFileSync(damaged, fs.readFileSync('pcaps/udp-hairpin-in.pcap').subarray(0, 300))
  const cut = await pinhole('udp 10.0.0.5:1 > 1.2.3.4:5', '--after', damaged, '--config', config)
  assert.equal(cut.status, 3)
  assert.match(cut.stderr, /damaged\.pcap: byte \d+: /)
})
