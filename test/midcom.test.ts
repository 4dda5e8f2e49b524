/** MIDCOM on virtual time: scripts beside captures, from end to end. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { print4 } from '../src/base/address.ts'
import { loadConfig } from '../src/app/config/load.ts'
import { replay, type ReplayOptions } from '../src/app/replay/replay.ts'
import { createReport, summary, type Report } from '../src/app/replay/report.ts'
import { checkScript } from '../src/app/script/script.ts'
import { readModel } from '../src/phy/capture-reader.model.ts'
import { encodePcap, type TestPacket } from '../src/phy/testing.ts'
import { buildPacket, verify, type PacketSpec } from '../src/wire/build.ts'

const MAIN = path.resolve('build/src/app/cli/main.js')
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-midcom-'))
after(() => fs.rmSync(dir, { recursive: true }))
const TIMEOUT_MS = 60_000

const inDir = (name: string) => path.join(dir, name)
const read = (name: string) => fs.readFileSync(inDir(name))
function write(name: string, bytes: Uint8Array | string): string {
  fs.writeFileSync(inDir(name), bytes)
  return name
}

const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true })
  .compile(JSON.parse(fs.readFileSync('docs/report.schema.json', 'utf8')) as object)

interface Ended { status: number | null; stdout: string; stderr: string }

function pinhole(args: readonly string[], input: Uint8Array | string = ''): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'replay', ...args], { cwd: dir, input, timeout: TIMEOUT_MS, encoding: 'utf8' })
  return { status, stdout, stderr }
}

interface Played { report: Report; midcom: NonNullable<Report['midcom']>; text: string }

/** Replays with a script in this process, and checks the report against its schema. */
async function played(capture: string, script: string, { config: name = 'box.yaml', ...more }: { config?: string } & Partial<Omit<ReplayOptions, 'config'>> = {}): Promise<Played> {
  const config = loadConfig(inDir(name)), { steps, problems } = checkScript(script)
  assert.deepEqual(problems, [])
  const options: ReplayOptions = {
    capture: inDir(capture), config, inside: config.inside, insideInterfaces: [], script: steps, seed: 1, loops: 1, preload: false, pace: 0,
    outInside: inDir('inside.pcapng'), outOutside: inDir('outside.pcapng'), onProgress: null, stop: null, ...more,
  }
  const report = createReport(options, await replay(options), { version: '', configFile: name, scriptFile: 'script.yaml' })
  const json = JSON.parse(JSON.stringify(report)) as Report
  assert.ok(validate(json), JSON.stringify(validate.errors, null, 1))
  return { report: json, midcom: json.midcom!, text: summary(report) }
}

const START_SEC = 1_700_000_000
function at(ms: number, spec: PacketSpec): TestPacket {
  return { data: buildPacket({ link: 'ethernet', ...spec }), sec: START_SEC + Math.floor(ms / 1000), nsec: Math.round(ms % 1000 * 1e6) }
}
type End = [address: string, port: number]
const udp = (ms: number, [src, srcPort]: End, [dst, dstPort]: End, bytes = 20) => at(ms, { proto: 'udp', src, srcPort, dst, dstPort, payload: new Uint8Array(bytes) })

/** What left, with the time since the first packet of the capture. */
function left(name: string): { ms: number; src: string; dst: string; srcPort: number; dstPort: number }[] {
  const { packets, faultOffset } = readModel(new Uint8Array(read(name)))
  assert.equal(faultOffset, -1)
  return packets.map(({ data, sec, nsec }) => {
    assert.deepEqual(verify(data, 14), [])
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    return {
      ms: (sec - START_SEC) * 1000 + nsec / 1e6, src: print4(view.getInt32(26)), dst: print4(view.getInt32(30)), srcPort: view.getUint16(34), dstPort: view.getUint16(36),
    }
  })
}

write('box.yaml', `
inside: [10.0.0.0/8]
nat: {pool: [203.0.113.1]}
midcom:
  enabled: true
  ports: 40000-40003
  addresses: [203.0.113.9]
  wildcards: {external: true, internal: true}
  agents:
    - {name: lab}
    - {name: watch, acts-for: [lab]}
    - {name: other}
    - {name: reader, may: [read]}
`)

const PEER: End = ['198.51.100.7', 6000]
/** The same two packets every 100 ms: to the first and to the second port of what is kept for rules. */
const knocking = Array.from({ length: 60 }, (_, n) => [udp(n * 100, PEER, ['203.0.113.1', 40_000]), udp(n * 100, PEER, ['203.0.113.1', 40_001])]).flat()
write('knocking.pcap', encodePcap(knocking))

test('script: before the rule packets are dropped, while it lives they reach A0 as promised, afterwards they are dropped (RFC 5189 2.3.9)', async () => {
  const { midcom, report, text } = await played('knocking.pcap', `
- {at: 500ms, agent: watch, session: open}
- {at: 1s, agent: lab, do: reserve, protocol: udp, ports: 2, parity: even, lifetime: 10s, as: media}
- {at: 1.5s, agent: lab, do: enable, reservation: media, internal: 10.0.0.5:5004+2 udp, external: 198.51.100.7, direction: inbound, parity: same, lifetime: 2s, as: call, expect: ok}
- {at: 5s, agent: lab, do: status, rule: call, expect: no-such-rule}
`)
  const [, reserved, enabled, gone] = midcom.transactions
  // Two ports, the first even, out of four: one of two places.
  const first = Number(/^203\.0\.113\.1:(\d+)-\d+ udp$/.exec(reserved.outside!)?.[1])
  assert.ok(first === 40_000 || first === 40_002)
  assert.deepEqual([reserved.ok, reserved.lifetimeSec, reserved.traffic, reserved.ended], [true, 10, null, null])
  assert.deepEqual([enabled.rule, enabled.group, enabled.outside, enabled.lifetimeSec], [reserved.rule, reserved.group, reserved.outside, 2])
  assert.deepEqual([enabled.internal, enabled.external, enabled.inside], ['10.0.0.5:5004-5005 udp', '198.51.100.7 udp', '198.51.100.7 udp'])
  assert.deepEqual(enabled.ended, { atMs: 3500, cause: 'expired' })
  assert.deepEqual([gone.ok, gone.reason, gone.met], [false, 'no-such-rule', true])
  const inside = left('inside.pcapng')
  if (first === 40_000) {
    assert.deepEqual([...new Set(inside.map(({ ms }) => ms))], Array.from({ length: 20 }, (_, n) => 1500 + n * 100))
    assert.deepEqual([...new Set(inside.map(({ src, srcPort, dst, dstPort }) => `${src}:${srcPort} ${dst}:${dstPort}`))],
      ['198.51.100.7:6000 10.0.0.5:5004', '198.51.100.7:6000 10.0.0.5:5005'])
    assert.deepEqual(enabled.traffic, { packets: 40, bytes: 40 * 48 })
  } else assert.deepEqual([inside, enabled.traffic], [[], { packets: 0, bytes: 0 }])
  assert.equal(report.dropped.packets, 120 - inside.length)
  const told = midcom.events.map(({ atMs, agent, kind, lifetimeSec, cause }) => [atMs, agent, kind, lifetimeSec, cause])
  assert.deepEqual(told, [
    [1000, 'watch', 'rule', 10, 'agent'], [1500, 'watch', 'rule', 2, 'agent'], [3500, 'watch', 'rule', 0, 'expired'], [3500, 'lab', 'rule', 0, 'expired'],
  ])
  for (const part of ['4 steps', 'lab enable call: ok', 'ended at 3.500 s, expired', 'lab is told: rule', reserved.outside!]) assert.ok(text.includes(part), part)
})

test('script: a packet of the very millisecond of a step comes after it, of the end of a rule too', async () => {
  const rules = [40_000, 40_001, 40_002, 40_003].map((port) => `- {at: 1s, agent: lab, do: enable, internal: 10.0.0.5:${port} udp, external: any, direction: inbound, lifetime: 2s}`).join('\n')
  await played('knocking.pcap', rules)
  const times = [...new Set(left('inside.pcapng').map(({ ms }) => ms))]
  assert.deepEqual(times, Array.from({ length: 20 }, (_, n) => 1000 + n * 100))
})

const busy = `
- {at: 0s, agent: lab, do: reserve, protocol: udp, ports: 2, as: media}
- {at: 0s, agent: lab, do: enable, internal: 10.0.0.1:1000 udp, external: any, direction: inbound, lifetime: 1s, as: one}
- {at: 1.234s, agent: lab, do: enable, reservation: media, internal: 10.0.0.5:5004+2 udp, external: any, max-idle: 1s, direction: inbound, as: two}
- {at: 3s, agent: other, do: disable, internal: any, external: 198.51.100.7, lifetime: 1s, as: block}
- {at: 4.5s, agent: lab, do: enable, internal: 10.0.0.5:7 udp, external: 198.51.100.7:6000, direction: bidirectional, as: three}
- {at: 5s, agent: lab, do: list}
`
/** The report without what differs from run to run and from one way of reading to another. */
function essence({ report }: Played): object {
  return { ...report, version: '', measured: null, settings: null, capture: null }
}

test('script: the same input gives the same bytes, however it is read and however packets fall into batches', async () => {
  const talk = knocking.flatMap((packet, n) => [packet, udp(n * 50 + 7, ['10.0.0.5', 5004], PEER), udp(n * 50 + 8, ['10.0.0.9', 1], ['198.51.100.8', 2])])
    .sort((a, b) => a.sec - b.sec || a.nsec - b.nsec)
  const bytes = encodePcap(talk)
  write('talk.pcap', bytes)
  const one = await played('talk.pcap', busy), files = ['outside.pcapng', 'inside.pcapng'].map(read)
  assert.ok(one.midcom.transactions.filter(({ ok }) => ok).length >= 5, one.text)
  assert.ok(one.midcom.transactions.some(({ traffic }) => traffic !== null && traffic.packets > 0), one.text)
  for (const more of [{}, { preload: true }, { pace: 1000 }]) {
    assert.deepEqual(essence(await played('talk.pcap', busy, more)), essence(one), JSON.stringify(more))
    assert.deepEqual(['outside.pcapng', 'inside.pcapng'].map(read), files)
  }
  // From a pipe, in pieces of a few packets each.
  write('script.yaml', busy)
  const child = spawn(process.execPath, [MAIN, 'replay', '-', '--config', 'box.yaml', '--script', 'script.yaml', '--report', 'report.json'], { cwd: dir, stdio: ['pipe', 'ignore', 'inherit'] })
  const ended = new Promise((resolve) => { child.on('close', resolve) })
  for (let from = 0; from < bytes.length; from += 501) {
    child.stdin.write(bytes.subarray(from, from + 501))
    await new Promise((resolve) => { setTimeout(resolve, 1) })
  }
  child.stdin.end()
  assert.equal(await ended, 0)
  assert.deepEqual(essence({ ...one, report: JSON.parse(read('report.json').toString()) as Report }), essence(one))
})

test('script: every transaction, with groups, a disable rule and sessions', async () => {
  const { midcom } = await played('knocking.pcap', `
- {at: 1s, agent: other, session: open}
- {at: 1s, agent: watch, session: open}
- {at: 1s, agent: watch, session: open}
- {at: 1s, agent: lab, do: reserve, protocol: tcp, as: r1, lifetime: 20s}
- {at: 1s, agent: lab, do: enable, group: r1, internal: 10.0.0.1:80 tcp, external: 198.51.100.0/24, direction: inbound, lifetime: 10s, as: e1}
- {at: 1s, agent: lab, do: list}
- {at: 1s, agent: lab, do: group-list}
- {at: 2s, agent: watch, do: group-status, group: r1}
- {at: 2s, agent: watch, do: status, rule: r1}
- {at: 2s, agent: watch, do: status, rule: e1}
- {at: 2s, agent: other, do: status, rule: e1, expect: not-authorized-for-rule}
- {at: 2s, agent: other, do: group-lifetime, group: e1, lifetime: 1s, expect: not-authorized-for-group}
- {at: 2s, agent: reader, do: list, expect: ok}
- {at: 2s, agent: reader, do: reserve, protocol: udp, expect: not-authorized-for-transaction}
- {at: 3s, agent: lab, do: lifetime, rule: e1, lifetime: 30s}
- {at: 3s, agent: watch, do: group-lifetime, group: r1, lifetime: 5s}
- {at: 3s, agent: lab, do: enable, internal: 10.0.0.2:1 udp, external: 198.51.100.7:1, direction: inbound, as: victim}
- {at: 3s, agent: other, do: disable, internal: 10.0.0.2, external: any, lifetime: 3s, as: block, expect: ok}
- {at: 3s, agent: lab, do: enable, internal: 10.0.0.2:1 udp, external: 198.51.100.7:1, direction: inbound, expect: blocked-by-disable-rule}
- {at: 3s, agent: other, do: status, rule: block}
- {at: 4s, agent: lab, do: lifetime, rule: e1, lifetime: 0s}
- {at: 4s, agent: lab, do: lifetime, rule: e1, lifetime: 0s, expect: no-such-rule}
- {at: 4s, agent: lab, do: lifetime, rule: 4000, lifetime: 1s, expect: no-such-rule}
- {at: 4s, agent: other, session: close}
- {at: 4s, agent: other, do: list, expect: session-not-open}
- {at: 4s, agent: other, session: open, expect: ok}
- {at: 4s, agent: other, do: list}
- {at: 4s, agent: nobody, session: open, expect: not-authorized-for-transaction}
- {at: 4s, agent: lab, do: enable, reservation: e1, internal: 10.0.0.2:1 udp, external: any, expect: no-such-rule}
- {at: 4s, agent: lab, do: reserve, group: 999, protocol: udp, expect: no-such-group}
`)
  const by = (line: number) => midcom.transactions.find((step) => step.line === line)!
  const [r1, e1] = [by(5), by(6)]
  assert.equal(e1.group, r1.group)
  assert.deepEqual(by(7).entries, [{ id: r1.rule, owner: 'lab' }, { id: e1.rule, owner: 'lab' }])
  assert.deepEqual(by(8).entries, [{ id: r1.group, owner: 'lab' }])
  assert.deepEqual([by(9).owner, by(9).lifetimeSec, by(9).entries], ['lab', 19, [{ id: r1.rule, owner: 'lab' }, { id: e1.rule, owner: 'lab' }]])
  assert.deepEqual([by(10).owner, by(10).outside, by(10).lifetimeSec], ['lab', r1.outside, 19])
  assert.deepEqual([by(11).direction, by(11).internal, by(11).external, by(11).lifetimeSec], ['inbound', '10.0.0.1:80 tcp', '198.51.100.0/24 tcp', 9])
  assert.equal(by(16).lifetimeSec, 30)
  assert.equal(by(17).lifetimeSec, 5)
  assert.deepEqual(by(18).ended, { atMs: 3000, cause: 'disabled' })
  assert.deepEqual([by(21).lifetimeSec, by(21).owner, by(21).external, by(21).group], [3, 'other', 'any', null])
  assert.deepEqual([e1.ended, by(22).lifetimeSec], [{ atMs: 4000, cause: 'agent' }, 0])
  assert.deepEqual(by(28).entries, [{ id: by(19).rule, owner: 'other' }])
  assert.deepEqual(r1.ended, null, 'it lives until 8 s, and the capture ends at 5.9 s')
  assert.equal(midcom.unmet, 0)
  assert.deepEqual(midcom.events.filter(({ kind }) => kind === 'group').map(({ agent, lifetimeSec }) => [agent, lifetimeSec]), [['lab', 5]])
  assert.deepEqual(midcom.failures['no-such-rule'], 3)
  assert.equal(midcom.transactions.length, 30)
})

test('script: a rule without packets ends when its idle time is over, one with packets lives on', async () => {
  const { midcom } = await played('knocking.pcap', `
- {at: 0s, agent: lab, do: enable, internal: 10.0.0.1:1 udp, external: 198.51.100.99, direction: inbound, max-idle: 2s, as: silent}
${[1, 2, 3].map((host) => `- {at: 0s, agent: lab, do: enable, internal: 10.0.1.${host}:1 udp, external: any, direction: inbound, max-idle: 2s}`).join('\n')}
- {at: 0s, agent: lab, do: enable, internal: 10.0.1.9:1 udp, external: any, direction: inbound, expect: lack-of-ports}
`)
  assert.deepEqual(midcom.transactions[0].ended, { atMs: 2000, cause: 'idle' })
  const knocked = midcom.transactions.slice(1, 4).filter(({ outside }) => /:4000[01] /.test(outside!))
  assert.ok(knocked.length >= 1)
  for (const { traffic, ended } of knocked) assert.deepEqual([traffic, ended], [{ packets: 60, bytes: 60 * 48 }, null])
})

test('script: an answer that was not expected is told with its line, and ends with status 1', () => {
  write('script.yaml', `- {at: 1s, agent: lab, do: list}
- {at: 1s, agent: lab, do: status, rule: 9, expect: ok}
- {at: 1s, agent: lab, do: list, expect: no-such-rule}
`)
  const { status, stderr, stdout } = pinhole(['knocking.pcap', '--config', 'box.yaml', '--script', 'script.yaml', '--report', 'report.json'])
  assert.equal(stderr, 'script.yaml:2: status: expected ok, and the answer is no-such-rule\nscript.yaml:3: list: expected no-such-rule, and the answer is ok\n')
  assert.equal(status, 1)
  const report = JSON.parse(read('report.json').toString()) as Report
  assert.deepEqual([report.midcom?.unmet, report.settings.scriptFile], [2, 'script.yaml'])
  assert.match(stdout, /^midcom +3 steps, 2 NOT as expected;/m)
})

test('script: time goes on after the last packet, and over gaps of months', async () => {
  const day = 86_400_000
  write('gaps.pcap', encodePcap([0, 90 * day, 90 * day + 1000].map((ms) => udp(ms, PEER, ['203.0.113.1', 40_000]))))
  const rules = (when: string, lifetime: string) => [1, 2, 3, 4].map((host) => `- {at: ${when}, agent: lab, do: enable, internal: 10.0.0.${host}:1 udp, external: any, direction: inbound, lifetime: ${lifetime}, expect: ok}`).join('\n')
  const { midcom, report } = await played('gaps.pcap', [rules('10d', '12d'), rules('40d', '1d'), rules('89d', '12d'), '- {at: 200d, agent: lab, do: list, as: end}'].join('\n'), { config: write('long.yaml', read('box.yaml').toString() + '  max-lifetime: 12d\n') })
  assert.equal(report.virtualMs, 90 * day + 1000)
  const ends = midcom.transactions.slice(0, 12).map(({ ended }) => ended?.atMs)
  assert.deepEqual([...new Set(ends)], [22 * day, 41 * day, 101 * day])
  assert.deepEqual(midcom.transactions.slice(8, 12).map(({ traffic }) => traffic?.packets).sort(), [0, 0, 0, 2])
  assert.deepEqual(left('inside.pcapng').map(({ ms }) => ms), [90 * day, 90 * day + 1000])
  assert.deepEqual(midcom.transactions[12].entries, [])
})

test('script: without packets it is played all the same', async () => {
  write('empty.pcap', encodePcap([]))
  const { midcom } = await played('empty.pcap', '- {at: 1s, agent: lab, do: reserve, protocol: udp, lifetime: 1s}\n- {at: 3s, agent: lab, do: list}\n')
  assert.deepEqual([midcom.transactions[0].ended?.atMs, midcom.transactions[1].entries], [2000, []])
})

test('script: it goes on over rounds of a loop', async () => {
  const { midcom, report } = await played('knocking.pcap', '- {at: 8s, agent: lab, do: reserve, protocol: udp, lifetime: 1s}\n- {at: 10s, agent: lab, do: list}\n', { loops: 2 })
  assert.equal(report.packets, 240)
  assert.deepEqual(midcom.transactions[0].ended?.atMs, 9000)
})

test('script: what cannot be used ends with status 2 before anything is touched', async () => {
  write('bad.yaml', '- {at: 1s, agent: lab, do: enabel}\n')
  write('plain.yaml', 'inside: [10.0.0.0/8]\n')
  write('good.yaml', '- {at: 1s, agent: lab, do: list}\n')
  for (const [args, message] of [
    [['--config', 'box.yaml', '--script', 'bad.yaml'], /^bad\.yaml:1:28: \[0\]\.do: 'enabel' is none of .*; did you mean enable\?\n$/],
    [['--config', 'box.yaml', '--script', 'absent.yaml'], /^absent\.yaml: there is no such file/],
    [['--config', 'plain.yaml', '--script', 'good.yaml'], /^pinhole: good\.yaml needs a configuration with midcom\.enabled/],
    [['--script', 'good.yaml'], /^pinhole: good\.yaml needs a configuration/],
    [['--config', 'box.yaml', '--script', 'good.yaml', '--report', 'good.yaml'], /^pinhole: good\.yaml is the script/],
  ] as const) {
    const { status, stdout, stderr } = pinhole(['knocking.pcap', '--out-inside', 'never.pcapng', ...args])
    assert.equal(status, 2, args.join(' '))
    assert.equal(stdout, '')
    assert.match(stderr, message)
    assert.ok(!fs.existsSync(inDir('never.pcapng')))
  }
})
