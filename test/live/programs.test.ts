/** Programs of other people through a box of the lab: name resolution by the C library, and iperf3. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { INTERFACES, obstacle, openLab, type Lab, type RunningBox } from './lab.ts'

const PEER = path.resolve('build/test/live/peer.js'), OUT = '198.51.100.7', OUT6 = '2001:db8:9::7'
const found = obstacle()
if (found?.isFault === true && process.env.CI !== undefined) throw new Error(found.reason)
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-programs-'))
after(() => fs.rmSync(dir, { recursive: true }))

interface Iperf { end: { sum_sent: { bytes: number }; sum_received: { bytes: number }; sum?: { lost_packets: number; packets: number } }; error?: string }

if (found !== null) test('programs', { skip: found.reason }, () => { /* there is no lab */ })
else describe('programs', () => {
  let lab: Lab
  let box: RunningBox
  before(async () => {
    lab = openLab()
    box = await lab.box(...INTERFACES)
  })
  after(async () => {
    const { status } = await box.end()
    lab.close()
    assert.equal(status, 0)
  })

  const server = async (...command: string[]) => {
    const child = lab.start('outside', ...command)
    await new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
    return child
  }

  test('DNS: the C library finds names over UDP and TCP, over IPv4 and IPv6', async () => {
    await server(process.execPath, PEER, 'dns', OUT)
    await server(process.execPath, PEER, 'dns', OUT6)
    for (const [name, option] of [[OUT, ''], [OUT, 'use-vc'], [OUT6, ''], [OUT6, 'use-vc']] as const) {
      lab.resolver('inside', `nameserver ${name}\noptions timeout:2 attempts:2 ${option}\n`)
      const said = lab.must('inside', 'getent', '-s', 'dns', 'ahosts', 'host.example')
      assert.match(said, /^192\.0\.2\.33 /m, `${name} ${option}`)
      assert.match(said, /^2001:db8::33 /m, `${name} ${option}`)
    }
  })

  test('iperf3: TCP both ways at once, with several streams, and UDP each way, over IPv4 and IPv6', async () => {
    const run = async (address: string, ...args: string[]) => {
      const child = await server('iperf3', '--server', '--one-off', '--bind', address, '--forceflush')
      const { status, stdout } = lab.run('inside', 'iperf3', '--client', address, '--json', '--time', '1', ...args)
      const report = JSON.parse(stdout) as Iperf
      child.kill()
      assert.equal(status, 0, report.error)
      return report.end
    }
    const both = await run(OUT, '--bidir', '--parallel', '4')
    assert.ok(both.sum_sent.bytes > 1e6 && both.sum_received.bytes > 1e6, JSON.stringify(both.sum_sent))
    const back = await run(OUT6, '--reverse')
    assert.ok(back.sum_received.bytes > 1e6, JSON.stringify(back.sum_received))
    for (const reverse of [[], ['--reverse']]) {
      const { sum } = await run(OUT, '--udp', '--bitrate', '5M', '--length', '1200', ...reverse)
      assert.ok(sum!.packets > 300 && sum!.lost_packets <= sum!.packets / 50, JSON.stringify(sum))
    }
  })
})
