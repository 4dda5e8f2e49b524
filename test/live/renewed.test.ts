/** Interfaces that are removed and made anew while a box runs between them: see lab.ts. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { INTERFACES, OFFLOAD, openLab, xdpObstacle, type Lab, type Place } from './lab.ts'
import { actorsOf, found, others } from './stage.ts'

const OUT = '198.51.100.7', OUT6 = '2001:db8:9::7'
/** Of the host at the other end, whose interface goes and comes with that of the box. */
const HOSTS: Record<'in0' | 'out0', { where: Place; lines: string[][] }> = {
  in0: { where: 'inside', lines: [
    ['address', 'add', '10.0.0.5/24', 'dev', 'eth0'], ['address', 'add', '2001:db8:1::5/64', 'dev', 'eth0', 'nodad'],
    ['route', 'add', 'default', 'via', '10.0.0.1'], ['-6', 'route', 'add', 'default', 'via', '2001:db8:1::1'],
  ] },
  out0: { where: 'outside', lines: [
    ['address', 'add', '203.0.113.254/24', 'dev', 'eth0'], ['address', 'add', '2001:db8:2::fe/64', 'dev', 'eth0', 'nodad'],
    ['-6', 'route', 'add', '2001:db8:1::/64', 'via', '2001:db8:2::1'],
  ] },
}

if (found !== null) test('interfaces made anew', { skip: found.reason }, () => { /* there is no lab */ })
else describe('interfaces made anew', () => {
  let lab: Lab
  before(() => { lab = openLab('packet') })
  after(() => lab.close())

  const { peer, peerLater, serve, says, withBox } = actorsOf(() => lab)

  const remove = (name: 'in0' | 'out0') => lab.must('box', 'ip', 'link', 'del', name)
  /** With other Ethernet addresses at both ends. */
  function make(name: 'in0' | 'out0', mtu = 1500): void {
    const { where, lines } = HOSTS[name]
    // The namespace of the host, as its processes have it.
    const host = lab.start(where, 'sleep', '30')
    lab.must('box', 'ip', 'link', 'add', name, 'mtu', String(mtu), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(host.pid))
    host.kill('SIGKILL')
    lab.must(where, 'ip', 'link', 'set', 'eth0', 'up')
    lab.must(where, process.execPath, OFFLOAD, 'eth0', '0')
    for (const line of lines) lab.must(where, 'ip', ...line)
  }

  test('flows go on, without any privilege: a connection, IPv6; neighbours are met anew, and counts go on', async () => {
    await serve('outside', 'echo', OUT, '7030')
    const echoed = lab.start('outside', process.execPath, '-e',
      `require('node:net').createServer((s) => s.pipe(s)).listen(7031, '${OUT}', () => console.log('ready'))`)
    await new Promise((resolve) => echoed.stdout!.once('data', resolve))
    const report = await withBox([...INTERFACES, ...others === false ? ['--user', 'nobody'] : []], async (box) => {
      const steady = peerLater('inside', 'steady', OUT, '7031', '12')
      await sleep(300)
      lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT6)
      for (const name of ['out0', 'in0'] as const) {
        remove(name)
        await says(box, new RegExp(`${name}: the interface was removed; the box waits for one of that name`))
        make(name)
        await says(box, new RegExp(`${name} is down: ip link set ${name} up`))
        lab.must('box', 'ip', 'link', 'set', name, 'up')
        await says(box, new RegExp(`${name} is there again, with the Ethernet address `))
        assert.match(lab.run('inside', 'ping', '-c', '4', '-i', '0.3', '-W', '2', OUT).stdout, / [2-4] received/)
        assert.match(lab.run('inside', 'ping', '-c', '4', '-i', '0.3', '-W', '2', OUT6).stdout, / [2-4] received/)
        assert.equal(peer('inside', 'ask', OUT, '7030', '100'), 'answered')
      }
      const { asked, answered } = JSON.parse(await steady) as { asked: number; answered: number }
      assert.deepEqual([answered, answered > 100], [asked, true])
    })
    // The connection, a datagram and echo requests of either version each time, and one before: what was there went on.
    assert.equal(report.flows.opened, 1 + 1 + 2 * 3)
    assert.ok(report.interfaces!.links.every(({ counters }) => counters['received-frames'] > 100 && counters['sent-frames'] > 100))
  })

  test('one that is shorter, or that the kernel forwards, is not taken until it is as at the start', () => withBox(INTERFACES, async (box) => {
    remove('out0')
    make('out0', 1400)
    lab.must('box', 'sysctl', '-qw', 'net.ipv4.conf.out0.forwarding=1')
    lab.must('box', 'ip', 'link', 'set', 'out0', 'up')
    await says(box, /the kernel itself forwards IPv4 packets of out0: sysctl -w net\.ipv4\.conf\.out0\.forwarding=0/)
    lab.must('box', 'sysctl', '-qw', 'net.ipv4.conf.out0.forwarding=0')
    await says(box, /out0 is there again with an MTU of 1400: ip link set out0 mtu 1500/)
    assert.notEqual(lab.run('inside', 'ping', '-c', '1', '-W', '1', OUT).status, 0)
    lab.must('box', 'ip', 'link', 'set', 'out0', 'mtu', '1500')
    await says(box, /out0 is there again, with the Ethernet address/)
    lab.must('inside', 'ping', '-c', '2', '-W', '2', OUT)
  }).then(() => { /* what it reports is not the point */ }))

  for (const [what, option, skip] of [['workers', '2', false], ['driver', 'xdpgeneric', xdpObstacle() ?? false]] as const) {
    test(`with --${what} ${option} the box says that one made anew counts from the next start`, { skip }, () => withBox([...INTERFACES, `--${what}`, option], async (box) => {
      remove('out0')
      await says(box, /out0: the interface was removed; one of that name counts from the next start\n/)
      make('out0')
      lab.must('box', 'ip', 'link', 'set', 'out0', 'up')
    }).then(() => { /* what it reports is not the point */ }))
  }
})
