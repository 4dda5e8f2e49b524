/** What the kernel still has to do with packets that a live box has: see lab.ts. */
import assert from 'node:assert/strict'
import { release } from 'node:os'
import { after, before, describe, test } from 'node:test'
import { INTERFACES, capObstacle, openLab, xdpObstacle, type Lab, type RunningBox } from './lab.ts'
import { found } from './stage.ts'

/** Programs at ingress came with Linux 6.6. */
const [major, minor] = release().split('.').map(Number) as [number, number]
const noProgram = major < 6 || (major === 6 && minor < 6) ? `Linux ${release()} has no such programs` : xdpObstacle() ?? false
const OUT = '198.51.100.7', OUT6 = '2001:db8:9::7', PINGS = 50

if (found !== null) test('the kernel beside a box', { skip: found.reason }, () => { /* there is no lab */ })
else for (const driver of ['packet', 'libpcap'] as const) describe(`the kernel beside a box, by ${driver}`, { skip: driver === 'libpcap' && (capObstacle() ?? false) }, () => {
  let lab: Lab
  before(() => { lab = openLab(driver) })
  after(() => lab.close())

  const ping = (where: 'inside' | 'outside', address: string, count = PINGS) =>
    assert.match(lab.must(where, 'ping', '-c', String(count), '-i', '0.01', '-W', '2', address), / 0% packet loss/, address)
  /** Packets that its stack has taken up, of both versions. */
  function taken(): number {
    const [, names, values] = /^(Ip: .*)\n(Ip: .*)$/m.exec(lab.must('box', 'cat', '/proc/net/snmp'))!
    const four = Number(values!.split(' ')[names!.split(' ').indexOf('InReceives')])
    return four + Number(/^Ip6InReceives\s+(\d+)$/m.exec(lab.must('box', 'cat', '/proc/net/snmp6'))![1])
  }
  async function during(box: RunningBox, work: () => void): Promise<number> {
    try {
      const before = taken()
      work()
      return taken() - before
    } finally {
      const { status, stderr } = await box.end()
      assert.equal(status, 0, stderr)
    }
  }

  test('packets that the box forwards and answers go no further up its stack; it has those to its own addresses', { skip: noProgram }, async () => {
    lab.must('box', 'ip', 'address', 'add', '10.0.0.9/24', 'dev', 'in0')
    const args = [...INTERFACES, '--inside', 'in0,10.0.0.9/24']
    try {
      const idle = await during(await lab.box(...args), () => {
        for (const address of [OUT, OUT6, '10.0.0.1']) ping('inside', address)
        ping('outside', '203.0.113.1')
      })
      assert.ok(idle < PINGS / 2, `${idle} were taken up`)
      const own = await during(await lab.box(...args), () => ping('inside', '10.0.0.9'))
      assert.ok(own >= PINGS, `${own} were taken up`)
    } finally {
      lab.must('box', 'ip', 'address', 'del', '10.0.0.9/24', 'dev', 'in0')
    }
  })

  test('without CAP_NET_ADMIN and CAP_BPF the box forwards as well, beside the kernel, and says what that costs', async () => {
    const box = await lab.boxBy(['setpriv', '--bounding-set=-all,+net_raw', '--inh-caps=-all'], ...INTERFACES)
    const both = await during(box, () => {
      ping('inside', OUT)
      ping('inside', OUT6)
    })
    assert.ok(both >= 2 * PINGS, `${both} were taken up`)
    for (const name of ['in0', 'out0']) assert.match(box.stderr(), new RegExp(`${name}: the kernel takes each packet up its stack as well, .*\\(the box has not\\)`))
  })

  test('it ends with the box, also when that is killed', async () => {
    const box = await lab.box(...INTERFACES)
    box.child.kill('SIGKILL')
    await box.end()
    const before = taken()
    lab.run('inside', 'ping', '-c', '10', '-i', '0.01', '-W', '1', OUT)
    // Nobody answers ARP now; what is asked there is known still.
    assert.ok(taken() > before)
  })
})
