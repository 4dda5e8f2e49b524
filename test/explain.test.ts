/** Explaining changes nothing: the same captures with and without it; and what is explained holds together. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { checkConfig } from '../src/app/config/load.ts'
import { createExplainer, parseAsked } from '../src/app/explain/explain.ts'
import type { Explanation, LateAnswer } from '../src/app/explain/explanation.ts'
import type { Sink } from '../src/app/explain/sink.ts'
import { replay, type ReplayResult } from '../src/app/replay/replay.ts'
import { createPrng } from '../src/base/prng.ts'
import { readCounters } from '../src/channel/counters.ts'
import { captureBytes, openCapture } from '../src/phy/capture-reader.ts'
import { encodePcap } from '../src/phy/testing.ts'
import { buildPacket, type PacketSpec } from '../src/wire/build.ts'
import { createFrames } from '../src/wire/frames.ts'

const MAIN = 'build/src/app/cli/main.js'
const shared = path.resolve('../shared/pcaps')
const hasShared = fs.existsSync(shared)
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-explain-'))
after(() => fs.rmSync(scratch, { recursive: true }))

/** Of larger captures, dropped packets alone are explained. */
const MOST_BYTES = 700_000
/** Captures whose drops are summed up, too: those that drop most. */
const SUMMED = /^(frag|icmp|mal|udp)-/
const captures = ['pcaps', ...hasShared ? [shared] : []].flatMap((folder) => fs.readdirSync(folder).sort().map((name) => path.join(folder, name)))
  .filter((file) => /\.(pcap|pcapng)(\.gz)?$/.test(file) && !/-(in|out)side-out/.test(file))

function memorySink(): Sink & { text: () => string; take: () => string } {
  let text = ''
  return {
    write(more) { text += more }, ready: () => Promise.resolve(), close: () => Promise.resolve(), text: () => text,
    take() { const all = text; text = ''; return all },
  }
}

const outputs = (name: string) => ({ outInside: path.join(scratch, `${name}-inside.pcapng`), outOutside: path.join(scratch, `${name}-outside.pcapng`) })

/** A small table: it is soon made, and the larger captures fill it. */
const { config } = checkConfig('limits: {flows: 512}')

async function run(capture: string, name: string, asked: string | null, sink: Sink): Promise<ReplayResult> {
  return replay({
    capture, config: config!, inside: config!.inside, insideInterfaces: [], script: null, seed: 1, loops: 1, preload: false, pace: 0, ...outputs(name), onProgress: null,
    stop: null, explainer: asked === null ? null : createExplainer(parseAsked(asked), 'json', sink),
  })
}

const frames = createFrames({ capacity: 256, poolBytes: captureBytes() })

/** Digest of the packets of a capture, without comments: bytes, lengths and stamps. */
async function packetsOf(file: string): Promise<string> {
  const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: captureBytes() })
  const hash = createHash('sha1')
  do {
    for (let count = reader.fill(); count > 0; count = reader.fill()) {
      for (let i = 0; i < count; i++) {
        hash.update(`${frames.sec[i]}.${frames.nsec[i]} ${frames.capBytes[i]} ${frames.wireBytes[i]} ${frames.link[i]} `)
        hash.update(frames.pool.subarray(frames.off[i], frames.off[i] + frames.capBytes[i]))
      }
    }
  } while (await reader.more())
  await reader.close()
  return hash.digest('hex')
}

const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true })
  .compile(JSON.parse(fs.readFileSync('docs/explain.schema.json', 'utf8')) as object)
/** Lines of a capture that are held against the schema: the others are alike. */
const VALIDATED = 100

/** What must hold of any explanation. */
function check(e: Explanation): void {
  const what = () => JSON.stringify(e, null, 1)
  assert.equal(e.verdict === 'dropped', e.reason !== null, what())
  assert.equal(e.verdict === 'sent', e.left !== null && e.to !== null, what())
  if (e.verdict !== 'sent') return assert.deepEqual(e.rewrite, [], what())
  // Every hop costs one, and no byte changes that is not a field of a header.
  assert.ok(e.rewrite.some(({ field }) => field === 'TTL' || field === 'hop limit'), what())
  assert.deepEqual(e.rewrite.filter(({ field }) => field.startsWith('bytes')), [], what())
  if (e.parse?.path === 'fragment after the first') return
  // What leaves belongs to a flow, and shows the endpoints that the flow says.
  assert.ok(e.flow !== null, what())
  const { inside, outside, peer } = e.flow
  const text = e.left!.replaceAll(/\[|\]/g, '')
  const shown = (endpoint: string) => {
    const match = /^\[?([^\]]*?)\]?:(\d+)$/.exec(endpoint)
    return endpoint.includes(']') || /^[\d.]+:\d+$/.test(endpoint) ? match![1] : endpoint
  }
  const far = e.hairpin === null ? e.to === 'outside' ? outside ?? inside : inside : e.hairpin.inside
  if (e.parse?.path.includes('error') === true) assert.ok(text.includes(shown(far)), what())
  else for (const endpoint of [far, e.hairpin === null ? peer : outside!]) assert.ok(text.includes(shown(endpoint)), `${endpoint}: ${what()}`)
}

test('explain: verdicts, bytes and digest of every capture are the same with and without, and each explanation holds together', async (t) => {
  let packets = 0, dropped = 0
  for (const file of captures) {
    const sink = memorySink()
    const without = await run(file, 'without', null, sink), all = await run(file, 'with', fs.statSync(file).size < MOST_BYTES ? 'ip or not ip' : 'drop', sink)
    assert.equal(all.machine.plane.digest(), without.machine.plane.digest(), file)
    assert.deepEqual(readCounters(all.machine.counters), readCounters(without.machine.counters), file)
    for (const side of ['outInside', 'outOutside'] as const) {
      assert.equal(await packetsOf(outputs('with')[side]), await packetsOf(outputs('without')[side]), file)
    }
    const lines = sink.take().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Explanation & { kind: string })
    const explained = lines.filter(({ kind }) => kind === 'packet'), late = lines.filter(({ kind }) => kind === 'answer')
    explained.forEach(check)
    for (const line of [...explained.slice(0, VALIDATED), ...late.slice(0, VALIDATED)]) assert.ok(validate(line), JSON.stringify([validate.errors, line]))
    // Only what was explained when it came is told of again.
    for (const { packet } of late) assert.ok(explained.some((e) => e.packet === packet && e.verdict === 'dropped'), `${file}: ${packet}`)
    // A frame that ends inside its link header matches no filter that reads it.
    assert.ok(explained.length <= without.packets)
    packets += explained.length
    const reasons = new Map<string, number>()
    for (const { reason } of explained) if (reason !== null) reasons.set(reason.name, (reasons.get(reason.name) ?? 0) + 1)

    if (!SUMMED.test(path.basename(file))) continue
    const drops = await run(file, 'with', 'drops', sink)
    assert.equal(drops.machine.plane.digest(), without.machine.plane.digest(), file)
    const counted = sink.take().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as { reason: string; packets: number })
    for (const line of counted) assert.ok(validate(line), JSON.stringify([validate.errors, line]))
    const counters = readCounters(without.machine.counters)
    const summed = new Map<string, number>()
    for (const line of counted) summed.set(line.reason, (summed.get(line.reason) ?? 0) + line.packets)
    for (const [reason, count] of summed) {
      assert.equal(count, counters[`drop-${reason}-packets`], `${file}: ${reason}`)
      dropped += count
    }
    assert.equal([...summed.values()].reduce((sum, n) => sum + n, 0), counters['drop-packets'], file)
    for (const [reason, count] of reasons) assert.ok(count <= (summed.get(reason) ?? 0), `${file}: ${reason}`)
  }
  t.diagnostic(`${captures.length} captures, ${packets} packets explained, ${dropped} dropped${hasShared ? '' : `; ${shared} is not there`}`)
})

test('explain: packets with random bytes in them are explained, and forwarded as without', async (t) => {
  const seed = Number(process.env['PINHOLE_SEED'] ?? Date.now() % 2 ** 31)
  t.diagnostic(`seed ${seed}`)
  const { below } = createPrng(seed)
  const file = path.join(scratch, 'mutated.pcap')
  let explained = 0
  for (const name of fs.readdirSync('pcaps').filter((one) => one.endsWith('-in.pcap'))) {
    const bytes = fs.readFileSync(path.join('pcaps', name))
    // Little-endian records behind a header of 24 bytes; their own headers stay.
    for (let at = 24; at < bytes.length;) {
      const length = bytes.readUInt32LE(at + 8)
      for (let n = below(4); n > 0 && length > 0; n--) bytes[at + 16 + below(Math.min(length, 80))] = below(256)
      at += 16 + length
    }
    fs.writeFileSync(file, bytes)
    const sink = memorySink()
    const without = await run(file, 'without', null, sink), all = await run(file, 'with', 'len >= 0', sink)
    assert.equal(all.machine.plane.digest(), without.machine.plane.digest(), `${name}, seed ${seed}`)
    assert.deepEqual(readCounters(all.machine.counters), readCounters(without.machine.counters), `${name}, seed ${seed}`)
    explained += sink.take().trimEnd().split('\n').length
  }
  t.diagnostic(`${explained} packets`)
  assert.ok(explained > 100)
})

const hasTshark = spawnSync('tshark', ['-v']).status === 0
const noTshark = hasTshark || process.env['CI'] === 'true' ? false : 'no tshark on PATH: nobody else has read the comments'

function pinhole(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, 'replay', ...args], { encoding: 'utf8' })
}

test('explain: in the outputs Wireshark shows what became of each packet that matched, and of what left because of it', { skip: noTshark }, () => {
  assert.ok(hasTshark, 'tshark is needed here')
  const comments = (file: string) => spawnSync('tshark', ['-n', '-r', file, '-T', 'fields', '-e', 'frame.number', '-e', 'frame.comment'], { encoding: 'utf8' }).stdout
    .trimEnd().split('\n').map((line) => line.split('\t'))
  const out = path.join(scratch, 'out.pcapng'), back = path.join(scratch, 'back.pcapng')
  const { status, stdout } = pinhole('pcaps/icmp-errors-in.pcap', '--explain', 'udp or icmp', '--out-outside', out, '--out-inside', back)
  assert.equal(status, 0)
  for (const file of [out, back]) for (const [number, comment] of comments(file)) assert.match(comment ?? '', /^pinhole: /, `${file}, ${number}`)
  const answers = comments(back).filter(([, comment]) => /^pinhole: answer to packet \d+: IP 10\.0\.0\.5\.33001 > /.test(comment!))
  assert.equal(answers.length, 1)
  assert.match(stdout, / {2}answered {2}to inside: IP 192\.0\.0\.8 > 10\.0\.0\.5: ICMP time exceeded/)
  // Only those that match.
  pinhole('pcaps/icmp-errors-in.pcap', '--explain', 'icmp', '--out-outside', out, '--out-inside', back)
  const some = [...comments(out), ...comments(back)]
  assert.ok(some.some(([, comment]) => comment) && some.some(([, comment]) => !comment))
  // Fragments that were held say what they waited for.
  pinhole('pcaps/udp-fragments-in.pcap', '--explain', 'fragment', '--out-outside', out, '--out-inside', back)
  assert.ok([...comments(out), ...comments(back)].some(([, comment]) => /^pinhole: fragment held until packet \d+/.test(comment!)))
})

test('explain: without a filter it counts drops; text and JSON say the same, and the summary makes way for them', () => {
  const plain = pinhole('pcaps/nat-mixed-in.pcap', '--explain')
  assert.equal(plain.status, 0)
  assert.match(plain.stdout, /^no-mapping: 2 packets, by RFC 4787 REQ-8$/m)
  assert.match(plain.stdout, /^ +1 {2}outside {2}udp 203\.0\.113\.99:9999 > 10\.0\.0\.3:5060 {2}\(packet 249\)$/m)
  assert.match(plain.stderr, /^digest/m)
  assert.equal(pinhole('pcaps/nat-mixed-in.pcap', '--explain', 'drops').stdout, plain.stdout)
  const json = pinhole('pcaps/nat-mixed-in.pcap', '--explain', 'drops and udp', '--explain-format', 'json').stdout.trimEnd().split('\n')
    .map((line) => JSON.parse(line) as { reason: string; flow: string; packets: number })
  assert.deepEqual(json.map(({ reason, flow, packets }) => [reason, flow, packets]), [
    ['multicast', 'udp 10.0.0.1:1900 > 239.255.255.250:1900', 1], ['ttl-exceeded', 'udp 10.0.0.5:33001 > 198.51.100.9:33434', 1],
    ['no-mapping', 'udp 203.0.113.99:9999 > 10.0.0.3:5060', 1],
  ])
})

test('explain: a rule of an agent is named with its owner, on every packet of its flows and on what it blocks', () => {
  const call = ['pcaps/midcom-call-in.pcap', '--config', 'pcaps/midcom-call-config.yaml', '--explain-format', 'json']
  const explained = (...args: string[]) => pinhole(...call, ...args).stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Explanation)
  const all = explained('--script', 'pcaps/midcom-call-script.yaml', '--explain', 'rule 1')
  assert.ok(all.length > 2, String(all.length))
  for (const { rules, verdict } of all.filter((e) => e.verdict === 'sent')) {
    assert.equal(verdict, 'sent')
    assert.deepEqual(rules, [{ kind: 'midcom', rule: '1', owner: 'proxy', what: 'admits the flow inbound' }])
  }
  const script = path.join(scratch, 'disable.yaml')
  fs.writeFileSync(script, '- {at: 0s, agent: proxy, do: disable, internal: 10.0.0.5 udp, external: any, expect: ok}\n')
  const blocked = explained('--script', script, '--explain', 'reason denied-by-rule')
  assert.ok(blocked.length > 0)
  for (const { rules } of blocked) assert.deepEqual(rules, [{ kind: 'midcom', rule: '1', owner: 'proxy', what: 'blocks the packet' }])
})

test('explain: a firewall rule is named with its file and line where it decides, and on the packets of its flows', () => {
  const config = path.join(scratch, 'rules.yaml')
  fs.writeFileSync(config, 'firewall:\n  rules:\n    - {name: no-web, action: deny, protocol: tcp}\n    - permit in 17 from any to any\n')
  const explained = pinhole('pcaps/nat-mixed-in.pcap', '--config', config, '--explain', 'rule no-web or rule 2', '--explain-format', 'json').stdout.trimEnd()
    .split('\n').map((line) => JSON.parse(line) as Explanation)
  const said = (verdict: string, to: string | null, what: string) => explained.filter((e) => e.verdict === verdict && e.to === to && e.rules.some((rule) => rule.what === what))
  const denied = said('dropped', null, 'denies the packet')
  assert.ok(denied.length > 0)
  for (const { rules, reason, also } of denied) {
    assert.deepEqual(rules, [{ kind: 'firewall', rule: 'no-web', owner: `${config}:3`, what: 'denies the packet' }])
    assert.equal(reason?.name, 'denied-by-firewall')
    assert.ok(also.length <= 1)
  }
  assert.ok(said('sent', 'outside', 'permits the packet').length > 0)
  assert.ok(said('sent', 'inside', 'admitted the flow').length > 0)
  const text = pinhole('pcaps/nat-mixed-in.pcap', '--config', config, '--explain', 'new').stdout
  assert.ok(text.includes(`  rule      firewall rule 2 (${config}:4) permits the packet\n`), text.slice(0, 1000))
})

test('explain: --explain-to writes to a file, which is left alone until the capture is open', () => {
  const file = path.join(scratch, 'why.txt')
  fs.writeFileSync(file, 'precious')
  assert.equal(pinhole('pcaps/no-such.pcap', '--explain', 'drop', '--explain-to', file).status, 2)
  assert.equal(fs.readFileSync(file, 'utf8'), 'precious')
  const { status, stdout } = pinhole('pcaps/udp-filtering-in.pcap', '--explain', 'reason filtered', '--explain-to', file)
  assert.equal(status, 0)
  assert.match(stdout, /^digest/m)
  assert.match(fs.readFileSync(file, 'utf8'), /^#4 .*\n[\s\S]* {2}meets {5}10\.0\.0\.1:5000 = 203\.0\.113\.\d:5000, dynamic, flows with 198\.51\.100\.1:6000, 198\.51\.100\.1:6001\n[\s\S]* {2}dropped {3}filtered: /)
  assert.equal(pinhole('pcaps/udp-filtering-in.pcap', '--explain', 'igmp', '--explain-to', file).status, 0)
  assert.equal(fs.readFileSync(file, 'utf8'), '', 'nothing matched: an empty file')
  assert.equal(pinhole('pcaps/udp-filtering-in.pcap', '--explain', 'udp', '--explain-to', scratch).status, 4)
})

test('explain: a filter that cannot be read is told with its column, and no output is touched', () => {
  const { status, stderr } = pinhole('pcaps/nat-mixed-in.pcap', '--explain', 'tcp and prot 5')
  assert.equal(status, 2)
  assert.match(stderr, /column 9: 'prot' is not a word of a filter; did you mean 'proto'\?\n {2}tcp and prot 5\n {10}\^/)
  assert.match(pinhole('pcaps/nat-mixed-in.pcap', '--explain', 'drops udp').stderr, /column 7: 'drops' stands alone/)
  assert.match(pinhole('pcaps/nat-mixed-in.pcap', '--explain', 'drops and udpp').stderr, /column 11: 'udpp' is not a word/)
  assert.match(pinhole('--explain', 'pcaps/nat-mixed-in.pcap').stderr, /That is a file/)
})

test('explain: pieces of what was cut for the link, an answer of six seconds later, and the flow of a static address are told of as what they are', () => {
  const capture = path.join(scratch, 'told.pcap'), config = path.join(scratch, 'told.yaml')
  const data = (spec: PacketSpec) => buildPacket({ link: 'ethernet', ...spec })
  const packet = (spec: PacketSpec, sec: number) => ({ data: data(spec), sec, nsec: 5_000_000 })
  const [A, X, STATIC, PEER] = ['10.0.0.5', '198.51.100.7', '10.0.0.9', '198.51.100.9']
  fs.writeFileSync(config, 'box: {mtu-outside: 1280}\nnat:\n  static: [{inside: 10.0.0.9, outside: 192.0.2.9, from: [198.51.100.0/24]}]\n')
  fs.writeFileSync(capture, encodePcap([
    packet({ proto: 'udp', src: A, srcPort: 5000, dst: X, dstPort: 53, payload: new Uint8Array(1400) }, 100),
    packet({ proto: 'tcp', src: X, srcPort: 80, dst: '203.0.113.1', dstPort: 5001, tcpFlags: 2 }, 101),
    packet({ proto: 'tcp', src: PEER, srcPort: 999, dst: '192.0.2.9', dstPort: 22, tcpFlags: 2 }, 102),
    packet({ proto: 'tcp', src: PEER, srcPort: 999, dst: '192.0.2.9', dstPort: 22, tcpFlags: 16 }, 103),
    packet({ proto: 'udp', src: A, srcPort: 5000, dst: X, dstPort: 53 }, 110),
  ]))
  const out = path.join(scratch, 'told-out.pcapng')
  const lines = pinhole(capture, '--config', config, '--explain', 'ip', '--explain-format', 'json', '--out-outside', out).stdout.trimEnd().split('\n')
    .map((line) => JSON.parse(line) as Explanation & LateAnswer & { kind: string })
  for (const line of lines) assert.ok(validate(line), JSON.stringify([validate.errors, line]))
  assert.deepEqual(lines.map(({ kind, packet }) => `${kind} ${packet}`), ['packet 1', 'packet 2', 'packet 3', 'packet 4', 'answer 2', 'packet 5'])
  assert.deepEqual(lines[0]!.also.map(({ kind, to }) => [kind, to]), [['fragment', 'outside']])
  assert.equal(lines[1]!.reason?.name, 'no-mapping')
  assert.equal(lines[4]!.time, '107.005000000')
  assert.match(lines[4]!.answer!, /^IP 203\.0\.113\.1 > 198\.51\.100\.7: ICMP unreachable code 3/)
  assert.deepEqual([lines[2]!.flow?.how, lines[2]!.flow?.inside, lines[2]!.flow?.outside], ['opened', `${STATIC}:22`, '192.0.2.9:22'])
  assert.equal(lines[3]!.flow?.how, 'found')
  const text = pinhole(capture, '--config', config, '--explain', 'tcp port 5001').stdout
  assert.match(text, /^#2 {2}107\.005000000 {2}its silence is over .*\n {2}answered {2}to outside: IP 203\.0\.113\.1 > /m)
})
