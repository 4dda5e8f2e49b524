/** The C yardstick of live forwarding, judged by the hosts at its ends: a figure of frames that it spoils would be worth nothing. */
import assert from 'node:assert/strict'
import { spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { OFFLOAD, obstacle, openLab, xdpObstacle, type Lab, type Place } from '../../test/live/lab.ts'
import { compile } from './compile.ts'

const PEER = path.resolve('build/test/live/peer.js')
const hasCompiler = spawnSync(process.env['CC'] ?? 'cc', ['--version']).status === 0
const reason = obstacle()?.reason ?? (hasCompiler ? null : 'there is no C compiler')
const OUT = '203.0.113.254', BYTES = '300000'
/** Both packets of a question are seen by then. */
const DUMP_MS = 10_000

/** Its port is free then. */
async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('close', resolve))
  child.kill()
  await gone
}

interface Counted { received: number; sent: number; noRoom: number }
interface Report { inside: Counted; outside: Counted; flowsOpened: number; drops: Record<string, number> }

describe('the C forwarder', { skip: reason ?? false }, () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'pinhole-forward-'))
  let lab: Lab
  let program: string
  before(() => {
    program = compile('forward', dir)
    lab = openLab()
  })
  after(() => {
    lab.close()
    rmSync(dir, { recursive: true })
  })

  const mac = (where: Place) => (JSON.parse(lab.must(where, 'ip', '-j', 'link', 'show', 'eth0')) as { address: string }[])[0].address
  const peer = (where: Place, ...command: string[]) => lab.must(where, process.execPath, PEER, ...command).trim()
  const serve = async (where: Place, ...command: string[]) => {
    const child = lab.start(where, ...command)
    await new Promise<void>((resolve, reject) => {
      (command[0] === 'tcpdump' ? child.stderr : child.stdout)!.once('data', () => resolve())
      child.once('exit', (status) => reject(new Error(`${command.join(' ')}: ended with ${status}`)))
    })
    return child
  }

  for (const driver of ['packet', 'xdpdrv', 'xdpgeneric']) {
    test(`${driver}: UDP, TCP and echo requests pass both ways, translated, with right checksums and one hop less`,
      { skip: driver === 'packet' ? false : xdpObstacle() ?? false }, async () => {
        const box = lab.start('box', program, driver, `in0,10.0.0.1/24,${mac('inside')}`, `out0,203.0.113.1,${mac('outside')}`)
        let said = ''
        await new Promise<void>((ready, broken) => {
          box.stdout!.on('data', (text: Buffer) => {
            said += text.toString()
            ready()
          })
          box.once('exit', (status) => broken(new Error(`it ended: ${status}`)))
        })
        const over = new Promise((resolve) => box.once('close', resolve)), beside: ChildProcess[] = []
        try {
          // Checksums that the sender leaves to hardware are completed; then again as they are on a wire.
          for (const isLeft of ['1', '0']) {
            lab.must('inside', process.execPath, OFFLOAD, 'eth0', isLeft, 'checksum')
            beside.push(await serve('outside', process.execPath, PEER, 'echo', OUT, '7'))
            const dump = await serve('outside', 'tcpdump', '-i', 'eth0', '-nn', '-vvv', '-c', '2', 'udp and port 7')
            let seen = ''
            dump.stdout!.on('data', (text: Buffer) => { seen += text.toString() })
            const ended = new Promise((resolve) => dump.once('close', resolve))
            assert.equal(peer('inside', 'ask', OUT, '7', '33'), 'answered')
            await Promise.race([ended, sleep(DUMP_MS, null, { ref: false })])
            dump.kill()
            const [there] = seen.split(/\n(?=\S)/)
            assert.match(there!, /ttl 63,.*proto UDP \(17\), length 61\)\s+203\.0\.113\.1\.\d+ > 203\.0\.113\.254\.7: \[udp sum ok\]/s)
            assert.doesNotMatch(there!, /bad cksum/)
            beside.push(await serve('outside', process.execPath, PEER, 'serve', OUT, '80'))
            assert.equal(peer('inside', 'fetch', `http://${OUT}/${BYTES}`, BYTES), 'same')
            assert.equal(peer('inside', 'post', `http://${OUT}/`, BYTES), 'same')
            for (const child of beside.splice(0)) await killed(child)
          }
          assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', OUT), / 0% packet loss/)
          // Nobody has asked for that.
          assert.equal(peer('outside', 'ask', '203.0.113.1', '5000', '33'), 'silence')
        } finally {
          for (const child of [...beside, box]) child.kill()
        }
        await over
        const report = JSON.parse(said.slice(said.indexOf('{'))) as Report
        assert.equal(report.drops['no-mapping'], 1)
        assert.deepEqual([report.inside.noRoom, report.outside.noRoom], [0, 0])
        assert.ok(report.flowsOpened >= 7 && report.inside.sent > 100 && report.outside.sent > 100, said)
      })
  }

  test('bad arguments: status 2 and how it is called', () => {
    for (const args of [[], ['dpdk', 'in0,10.0.0.1/24,2:0:0:0:0:1', 'out0,203.0.113.1,2:0:0:0:0:2'],
      ['packet', 'in0,10.0.0.1,2:0:0:0:0:1', 'out0,203.0.113.1,2:0:0:0:0:2'], ['packet', 'in0,10.0.0.1/33,2:0:0:0:0:1', 'out0,203.0.113.1,2:0:0:0:0:2'],
      ['packet', 'in0,10.0.0.1/24,2:0:0:0:0:1', 'out0,203.0.113.2-203.0.113.1,2:0:0:0:0:2'],
      ['packet', 'in0,10.0.0.1/24,2:0:0:0:0', 'out0,203.0.113.1,2:0:0:0:0:2'], ['packet', 'in0,10.0.0/24,2:0:0:0:0:1', 'out0,203.0.113.1,2:0:0:0:0:2']]) {
      const { status, stderr } = lab.run('box', program, ...args)
      assert.equal(status, 2, args.join(' '))
      assert.match(stderr, /^usage: /)
    }
    const { status, stderr } = lab.run('box', program, 'packet', 'none0,10.0.0.1/24,2:0:0:0:0:1', 'out0,203.0.113.1,2:0:0:0:0:2')
    assert.deepEqual([status, stderr], [1, 'forward: none0: no such interface: No such device\n'])
  })
})
