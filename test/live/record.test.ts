/** `pinhole record` on a box of the lab: what it records is what passed, and a replay of it does what the box did. */
import assert from 'node:assert/strict'
import { spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { INTERFACES, MAIN, obstacle, openLab, type Lab, type Place, type RunningBox } from './lab.ts'

const PEER = path.resolve('build/test/live/peer.js'), OUT = '198.51.100.7', OUT6 = '2001:db8:9::7'
const found = obstacle()
if (found?.isFault === true && process.env.CI !== undefined) throw new Error(found.reason)
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-record-'))
after(() => fs.rmSync(dir, { recursive: true }))

const TSHARK = spawnSync('tshark', ['--version']).status === 0
interface Summary { packets: number; bytes: number; files: string[]; deletedFiles: number; lostPackets: number; isWhole: boolean }

if (found !== null) test('record', { skip: found.reason }, () => { /* there is no lab */ })
else describe('record', () => {
  let lab: Lab
  let box: RunningBox
  const config = path.join(dir, 'box.yaml')
  fs.writeFileSync(config, `nat: {filtering: address-dependent}
midcom:
  enabled: true
  ports: 50000-50999
  agents: [{name: lab, key: 00112233445566778899aabbccddeeff, inside: [10.0.0.0/24]}]
  simco: {listen: ["127.0.0.1:0"], allow-plain: true}
`)
  before(async () => {
    lab = openLab()
    await serve('outside', 'serve', '::', '8080')
    await serve('outside', 'echo', OUT, '7000')
    box = await lab.box(...INTERFACES, '--config', config, '--seed', '77', '--time-scale', '3')
  })
  after(async () => {
    await box.end()
    lab.close()
  })

  const peer = (where: Place, ...command: string[]) => lab.must(where, process.execPath, PEER, ...command).trim()
  async function serve(where: Place, ...command: string[]): Promise<void> {
    const child = lab.start(where, process.execPath, PEER, ...command)
    await new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
  }

  interface Recorder { child: ChildProcess; ended: Promise<{ status: number | null; stdout: string; stderr: string }> }

  /** A recorder, once it records. Doors are no part of a network namespace. */
  async function record(...args: string[]): Promise<Recorder> {
    const child = lab.start('box', process.execPath, MAIN, 'record', '--json', ...args)
    let stdout = '', stderr = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    const ended = new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) => {
      child.on('close', (status) => resolve({ status, stdout, stderr }))
    })
    await new Promise<void>((resolve) => {
      child.stderr!.setEncoding('utf8').on('data', (text: string) => { if ((stderr += text).includes('recording')) resolve() })
      void ended.then(() => resolve())
    })
    return { child, ended }
  }

  async function finished({ child, ended }: Recorder, signal: NodeJS.Signals | null = 'SIGINT'): Promise<Summary> {
    if (signal !== null) child.kill(signal)
    const { status, stdout, stderr } = await ended
    assert.equal(status, 0, stdout + stderr)
    const summary = JSON.parse(stdout) as Summary
    assert.equal(summary.isWhole, true)
    return summary
  }

  const replay = (file: string, ...args: string[]) => {
    const ran = spawnSync(process.execPath, [MAIN, 'replay', file, ...args], { encoding: 'utf8' })
    assert.equal(ran.status, 0, ran.stderr)
    return ran
  }

  /** Packets of a file as tshark reads them, a line each. */
  const tshark = (file: string, filter: string, ...fields: string[]) => {
    const { status, stdout, stderr } = spawnSync('tshark', ['-n', '-r', file, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    return stdout.split('\n').filter((line) => line !== '')
  }

  test('a replay of a recording sends the same bytes as the box, which was not restarted for it', { skip: TSHARK ? false : 'no tshark' }, async () => {
    const file = path.join(dir, 'incident.pcapng'), out = path.join(dir, 'out.pcapng'), back = path.join(dir, 'back.pcapng')
    const recorder = await record('-w', file)
    lab.must('inside', 'ping', '-c', '2', '-i', '0.1', OUT)
    lab.must('inside', 'ping', '-c', '1', '10.0.0.1')
    lab.must('inside', 'ping', '-c', '1', OUT6)
    for (const [from, bytes] of [['10.0.0.5', '100'], ['10.0.0.6', '3000']] as const) assert.equal(peer('inside', 'ask', OUT, '7000', bytes), 'answered', from)
    lab.must('inside', 'curl', '-s', '--interface', '10.0.0.6', '-o', '/dev/null', `http://${OUT}:8080/200000`)
    lab.must('inside', 'curl', '-s', '--parallel', '--parallel-max', '20', '-o', '/dev/null', `http://${OUT}:8080/2000#[1-20]`)
    lab.must('inside', 'curl', '-s', '-o', '/dev/null', `http://[${OUT6}]:8080/50000`)
    lab.run('outside', 'ping', '-c', '1', '-W', '1', '203.0.113.3')
    const summary = await finished(recorder)
    assert.equal(summary.lostPackets, 0)

    const { stdout, stderr } = replay(file, '--out-outside', out, '--out-inside', back)
    const digest = (text: string) => /^digest +(\S+)/m.exec(text)?.[1]
    assert.ok(digest(stdout) !== undefined)
    assert.equal(digest(replay(file, '--preload').stdout), digest(stdout))
    assert.match(stderr, /is a recording of a box.*--inside-if in0, --seed 77, its configuration/)
    // What the box sent, but for what it said of itself; and what the replay says that it sent. The link headers of a replay are others.
    const fields = ['ip.src', 'ip.dst', 'ip.id', 'ip.checksum', 'ipv6.src', 'ipv6.dst', 'ip.proto', 'tcp.srcport', 'tcp.dstport', 'tcp.seq_raw', 'tcp.ack_raw', 'tcp.checksum', 'udp.srcport', 'udp.dstport', 'icmp.ident', 'icmp.checksum', 'ip.frag_offset', 'frame.len']
    const ours = '(ip or ipv6) and not icmpv6.type >= 133 and not ip.addr == 10.0.0.1 and not ip.addr == 203.0.113.254'
    for (const [side, again] of [['out0', out], ['in0', back]] as const) {
      const was = tshark(file, `frame.packet_flags_direction == 2 and frame.interface_name == ${side} and ${ours}`, ...fields)
      const is = tshark(again, ours, ...fields)
      assert.ok(was.length > 100, `${side}: ${was.length} packets`)
      assert.deepEqual(is, was, side)
    }
    // No secret of the box is in it.
    assert.equal(fs.readFileSync(file).includes('00112233'), false)
    // The file names what it has to, and what was not for the packet path.
    const [infos] = [spawnSync('capinfos', ['-M', file], { encoding: 'utf8' }).stdout]
    assert.match(infos, /Name = in0[\s\S]*Description = inside[\s\S]*Time precision = nanoseconds \(9\)[\s\S]*Name = out0[\s\S]*Description = outside/)
    assert.deepEqual(tshark(file, 'icmp.type == 8 and ip.dst == 10.0.0.1', 'frame.comment'), ['for the box itself'])
    assert.equal(tshark(file, 'frame', 'frame.number').length, summary.packets)
  })

  test('filter, side, direction and snap length choose; count and duration end it', async () => {
    const file = path.join(dir, 'some.pcapng')
    const recorder = await record('-w', file, '--snap', '60', '--side', 'outside', '--direction', 'out', 'udp port 7000 and greater 300')
    assert.equal(peer('inside', 'ask', OUT, '7000', '400'), 'answered')
    assert.equal(peer('inside', 'ask', OUT, '7000', '100'), 'answered')
    const { packets } = await finished(recorder, 'SIGTERM')
    assert.equal(packets, 1)
    if (TSHARK) assert.deepEqual(tshark(file, 'frame', 'frame.interface_name', 'ip.dst', 'frame.cap_len', 'frame.len'), [`out0\t${OUT}\t60\t442`])

    const counted = await record('-w', file, '--count', '3')
    lab.must('inside', 'ping', '-c', '3', '-i', '0.1', OUT)
    assert.equal((await finished(counted, null)).packets, 3)
    const sides = await record('-w', file, '--duration', '700ms', 'icmp and side inside')
    lab.must('inside', 'ping', '-c', '1', OUT)
    assert.equal((await finished(sides, null)).packets, 2)
  })

  test('a ring of files keeps the newest, and each can be read by itself', async () => {
    const recorder = await record('-w', path.join(dir, 'ring.pcapng'), '--size', '100k', '--files', '3')
    lab.must('inside', 'curl', '-s', '-o', '/dev/null', `http://${OUT}:8080/400000`)
    const { files, deletedFiles, lostPackets } = await finished(recorder)
    assert.equal(lostPackets, 0)
    assert.equal(files.length, 3)
    assert.ok(deletedFiles >= 4, `${deletedFiles} deleted`)
    assert.deepEqual(fs.readdirSync(dir).filter((name) => name.startsWith('ring')).sort().map((name) => path.join(dir, name)), files)
    for (const file of files) {
      assert.match(path.basename(file), /^ring_\d{5}_\d{14}\.pcapng$/)
      assert.ok(fs.statSync(file).size <= 102_400)
      assert.ok(fs.readFileSync(file).includes('pinhole-replay: '))
    }
    replay(files[0]!)
  })

  test('who reads slowly loses frames, which are counted, and the box does not wait', async () => {
    const recorder = await record('-w', path.join(dir, 'slow.pcapng'))
    recorder.child.kill('SIGSTOP')
    assert.equal(peer('inside', 'fetch', `http://${OUT}:8080/33554432`, '33554432'), 'same')
    recorder.child.kill('SIGCONT')
    const { lostPackets, packets } = await finished(recorder)
    assert.ok(lostPackets > 1000 && packets > 1000, `${lostPackets} lost, ${packets} recorded`)
  })

  test('refused: a filter that cannot be read, a second recorder, no box', async () => {
    const says = (args: string[], status: number, wanted: RegExp) => {
      const ran = lab.run('box', process.execPath, MAIN, 'record', ...args)
      assert.equal(ran.status, status, ran.stderr)
      assert.match(ran.stderr, wanted)
    }
    const file = path.join(dir, 'refused.pcapng')
    says(['-w', file, 'prot 5'], 2, /filter: column 1: 'prot' is not a word of a filter; did you mean 'proto'\?/)
    says(['-w', file, 'udp and drop'], 2, /what becomes of a frame is not known/)
    says(['-w', file, '--files', '2'], 2, /--files needs --size or --seconds/)
    says(['-w', path.join(dir, 'none', 'x')], 4, /cannot write .*no such file or directory/)
    says(['-w', file, '--box', '1'], 5, /1\.record: no box is there/)
    const recorder = await record('-w', file)
    says(['-w', path.join(dir, 'second.pcapng')], 5, /somebody records this box already/)
    assert.equal(fs.existsSync(path.join(dir, 'second.pcapng')), false)
    await finished(recorder)
  })

  test('a recording ends with its box: in order when that ends in order, with status 5 when it is killed', async () => {
    const name = path.join(dir, 'door')
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await box.end()
      box = await lab.box(...INTERFACES, '--record-door', name)
      assert.equal(fs.statSync(name).mode & 0o777, 0o600)
      const recorder = await record('-w', path.join(dir, 'end.pcapng'), '--box', name)
      lab.must('inside', 'ping', '-c', '1', OUT)
      await sleep(50)
      box.child.kill(signal)
      const { status, stdout, stderr } = await recorder.ended
      assert.equal(status, signal === 'SIGTERM' ? 0 : 5, stdout + stderr)
      assert.ok((JSON.parse(stdout) as Summary).packets >= 4)
      assert.equal(fs.existsSync(name), signal === 'SIGKILL')
      replay(path.join(dir, 'end.pcapng'))
    }
    // One that nobody listens at any more is in nobody's way.
    const doors = process.env.RUNTIME_DIRECTORY!
    box = await lab.box(...INTERFACES)
    box.child.kill('SIGKILL')
    await box.end()
    assert.equal(fs.readdirSync(doors).length, 1)
    box = await lab.box(...INTERFACES, '--record-door', 'none')
    const ran = lab.run('box', process.execPath, MAIN, 'record', '-w', path.join(dir, 'x.pcapng'))
    assert.equal(ran.status, 5)
    assert.match(ran.stderr, /no box is running/)
    assert.equal(fs.readdirSync(doors).length, 0)
  })
})
