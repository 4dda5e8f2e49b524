/** `pinhole run` between two interfaces by a driver, judged by the hosts at its ends: see lab.ts. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { INTERFACES, MAIN, OFFLOAD, openLab, xdpObstacle, type Lab } from './lab.ts'
import { actorsOf, dir, found, MIDCOM_BOX, others, PEER } from './stage.ts'

const open = path.join(dir, 'open.yaml')
fs.writeFileSync(open, 'nat: {filtering: endpoint-independent}\n')
const OUT = '198.51.100.7', OUT6 = '2001:db8:9::7'

/** What a box between two interfaces is for, by one driver: all of it by `packet`, and by others what depends on how frames come and go. */
export const play = (driver: 'packet' | 'xdpdrv' | 'xdpgeneric') => void describe(`run between interfaces by ${driver}`, { skip: found?.reason ?? (driver === 'packet' ? false : xdpObstacle() ?? false) }, () => {
  let lab: Lab
  before(() => { lab = openLab(driver) })
  const by = driver === 'packet' ? driver : `${driver}, copied`
  const READY = `ready: in0 (${by}, MTU 1500) to out0 (${by}, MTU 1500)`
  /** What is the same for all drivers, and for both modes of XDP. */
  const once = (name: string, work: () => Promise<void> | void) => { if (driver === 'packet') test(name, work) }
  const twice = (name: string, options: { skip?: string | false }, work: () => Promise<void> | void) => { if (driver !== 'xdpgeneric') test(name, options, work) }
  after(() => lab.close())

  const { peer, peerLater, serve, says, withBox } = actorsOf(() => lab)

  once('echo: the box answers at its own addresses from either side, and lets others through to who they are for', async () => {
    const report = await withBox(INTERFACES, (box) => {
      assert.equal(box.ready, READY)
      const inside: string[] = ['10.0.0.1', '203.0.113.1', '203.0.113.254', OUT, '2001:db8:1::1', '2001:db8:2::1', OUT6]
      for (const address of inside) assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', address), / 0% packet loss/, address)
      const outside = ['203.0.113.1', '2001:db8:2::1', '2001:db8:1::1']
      for (const address of outside) assert.match(lab.must('outside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', address), / 0% packet loss/, address)
      assert.notEqual(lab.run('outside', 'ping', '-c', '1', '-W', '1', '203.0.113.2').status, 0, 'an address of the NAT is nobody')
    })
    assert.equal(report.interfaces!.counters['echo-requests'], 14)
    assert.deepEqual(report.interfaces!.links.map(({ name, driver: its, mtu }) => [name, its, mtu]), [['in0', by, 1500], ['out0', by, 1500]])
    assert.equal(report.midcom, null)
    assert.equal(report.interfaces!.links[0]!.counters['ring-full-frames'], 0)
  })

  once('traceroute: each hop tells of itself, the box from its own address (RFC 1812 4.3.2.4)', () => withBox(INTERFACES, () => {
    const hops = (text: string) => text.split('\n').slice(1).map((line) => line.trim().split(/ +/)[1]).filter((hop) => hop !== undefined)
    assert.deepEqual(hops(lab.must('inside', 'traceroute', '-n', '-q', '1', '-w', '2', OUT)), ['10.0.0.1', OUT])
    assert.deepEqual(hops(lab.must('inside', 'traceroute', '-n', '-q', '1', '-w', '2', '-I', OUT)), ['10.0.0.1', OUT])
    assert.deepEqual(hops(lab.must('inside', 'traceroute', '-6', '-n', '-q', '1', '-w', '2', OUT6)), ['2001:db8:2::1', OUT6])
    assert.deepEqual(hops(lab.must('inside', 'traceroute', '-n', '-q', '1', '-w', '2', '10.0.0.1')), ['10.0.0.1'])
  }).then(() => { /* what it reports is not the point */ }))

  once('errors: a host that does not answer on its link, and a network that nobody knows, are told to the sender', () => withBox(INTERFACES.slice(0, 6), () => {
    assert.match(lab.run('inside', 'ping', '-c', '1', '-W', '5', '203.0.113.77').stdout, /From 10\.0\.0\.1 .*Destination Host Unreachable/)
    assert.match(lab.run('inside', 'ping', '-c', '1', '-W', '2', OUT).stdout, /From 10\.0\.0\.1 .*Destination Net Unreachable/)
    assert.match(lab.run('inside', 'ping', '-c', '1', '-W', '2', OUT6).stdout, /From 2001:db8:2::1 .*Destination unreachable: No route/)
    assert.match(peer('inside', 'ask', '10.0.0.1', '9', '10'), /ECONNREFUSED/)
  }).then((report) => {
    assert.equal(report.interfaces!.counters['unreachable-errors'], 3)
    assert.equal(report.interfaces!.counters['neighbours-failed'], 1)
  }))

  test('TCP: 32 MB each way are what was sent, over IPv4 and IPv6, and 200 transfers at once', () => withBox(INTERFACES, async () => {
    await serve('outside', 'serve', '::', '8080')
    assert.equal(peer('inside', 'post', `http://${OUT}:8080/`, '33554432'), 'same')
    assert.equal(peer('inside', 'fetch', `http://${OUT}:8080/33554432`, '33554432'), 'same')
    assert.equal(peer('inside', 'fetch', `http://[${OUT6}]:8080/4194304`, '4194304'), 'same')
    assert.match(peer('inside', 'fetch', `http://${OUT}:8080/100000`, '100000'), /same/)
    assert.equal(lab.must('inside', 'curl', '-s', `http://${OUT}:8080/who`).replace('::ffff:', '').replace(/\.\d+$/, ''), '203.0.113')
    assert.equal(lab.must('inside', 'curl', '-s', `http://[${OUT6}]:8080/who`), '2001:db8:1::5')
    const ran = lab.must('inside', 'curl', '-s', '--parallel', '--parallel-max', '200', '-o', '/dev/null', '-w', '%{http_code} %{size_download}\n', `http://${OUT}:8080/20000?[1-200]`.replace('?', '#'))
    assert.deepEqual([...new Set(ran.trim().split('\n'))], ['200 20000'])
    assert.equal(ran.trim().split('\n').length, 200)
  }).then((report) => {
    for (const { counters } of report.interfaces!.links) assert.deepEqual([counters['ring-full-frames'], counters['send-full-frames'], counters['oversized-frames']], [0, 0, 0])
  }))

  twice('fragments and MTU: datagrams in fragments pass both ways; what is too long for the far link is told to its sender (RFC 1191, RFC 8201)', {}, async () => {
    await serve('outside', 'echo', OUT, '7000')
    await serve('outside', 'echo', OUT6, '7000')
    const { flows } = await withBox([...INTERFACES, '--time-scale', '600'], async () => {
      assert.equal(peer('inside', 'ask', OUT, '7000', '5000'), 'answered')
      assert.equal(peer('inside', 'ask', OUT6, '7000', '5000'), 'answered')
      // Five minutes are half a second here.
      await sleep(1000)
      lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    })
    assert.ok(flows.expired >= 2, `${flows.expired} expired`)
    for (const [where, name] of [['box', 'out0'], ['outside', 'eth0']] as const) lab.must(where, 'ip', 'link', 'set', name, 'mtu', '1400')
    try {
      await withBox(INTERFACES, () => {
        assert.match(lab.run('inside', 'ping', '-M', 'do', '-c', '1', '-W', '2', '-s', '1450', OUT).stdout, /From 10\.0\.0\.1 .*Frag needed and DF set \(mtu = 1400\)/)
        assert.match(lab.run('inside', 'ping', '-6', '-M', 'do', '-c', '1', '-W', '2', '-s', '1450', OUT6).stdout, /From 2001:db8:2::1 .*Packet too big: mtu=1400/)
        assert.equal(peer('inside', 'ask', OUT, '7000', '1450'), 'answered')
        assert.match(lab.must('inside', 'ip', 'route', 'get', OUT), /mtu 1400/)
      })
    } finally {
      for (const [where, name] of [['box', 'out0'], ['outside', 'eth0']] as const) lab.must(where, 'ip', 'link', 'set', name, 'mtu', '1500')
      lab.must('inside', 'ip', 'route', 'flush', 'cache')
    }
  })

  twice('agents: a pinhole is open from the answer to the request on, and shut again, under load; a reload loses no flow', { skip: others }, async () => {
    const file = path.join(dir, 'box.yaml')
    fs.writeFileSync(file, MIDCOM_BOX)
    assert.equal(lab.must('box', process.execPath, MAIN, 'check', file).includes('error'), false)
    await serve('outside', 'mirror', OUT, '7001')
    await serve('outside', 'serve', OUT, '8081')
    const listener = lab.start('inside', process.execPath, PEER, 'listen', '10.0.0.5', '5004')
    const heard: string[] = []
    listener.stdout!.setEncoding('utf8').on('data', (text: string) => heard.push(...text.trim().split('\n')))
    const ctl = (...args: string[]) => lab.run('box', process.execPath, MAIN, 'ctl', ...args, '--json')
    await withBox(['--config', file, '--user', 'nobody'], async (box) => {
      assert.equal(box.ready, `${READY}, simco 127.0.0.1:7626`)
      assert.match(fs.readFileSync(`/proc/${box.child.pid}/status`, 'utf8'), /^Uid:\t65534\t65534\t65534/m)
      const steady = peerLater('inside', 'steady', OUT, '7001', '6')
      const load = peerLater('inside', 'fetch', `http://${OUT}:8081/100000000`, '100000000')
      const enabled = ctl('enable', '10.0.0.5:5004', `${OUT}:6000`, '--protocol', 'udp', '--direction', 'inbound')
      assert.equal(enabled.status, 0, enabled.stderr)
      const { rule, outside } = JSON.parse(enabled.stdout) as { rule: number; outside: { address: string; port: number } }
      const sending = lab.start('outside', process.execPath, PEER, 'send', OUT, outside.address, String(outside.port), '600')
      await sleep(1000)
      fs.appendFileSync(file, 'firewall: {rules: [{name: dns, action: permit, direction: outbound, protocol: udp, destination-ports: 53}]}\n')
      box.child.kill('SIGHUP')
      await says(box, /reloaded what 1 agent may do, and 1 firewall rule/)
      fs.appendFileSync(file, 'nonsense: 1\n')
      box.child.kill('SIGHUP')
      await says(box, /nonsense.*\n.*the box goes on as it was/s)
      assert.equal((await lab.later('box', process.execPath, MAIN, 'ctl', 'delete', String(rule))).status, 0)
      // What had passed before that is read here by now.
      await sleep(100)
      const before = heard.length
      await sleep(1000)
      sending.kill('SIGKILL')
      assert.ok(before > 10 && heard.length <= before + 1, `${before} came while the pinhole was open, ${heard.length - before} after`)
      assert.match(heard[1]!, new RegExp(`^\\d+ ${OUT.replaceAll('.', '\\.')} 6000$`))
      assert.equal(await load, 'same')
      const { asked, answered } = JSON.parse(await steady) as { asked: number; answered: number }
      assert.ok(asked > 500)
      assert.equal(answered, asked)
    })
  })

  test('kernel: an address that the kernel has too is the kernel\'s, so the doors of the box can be there', async () => {
    const file = path.join(dir, 'door.yaml')
    fs.writeFileSync(file, `midcom:
  enabled: true
  agents: [{name: lab, key: 00112233445566778899aabbccddeeff, inside: [10.0.0.0/24]}]
  simco: {listen: ["10.0.0.1:7626"], allow-plain: true}
`)
    const key = path.join(dir, 'lab.key')
    fs.writeFileSync(key, '00112233445566778899aabbccddeeff')
    lab.must('box', 'ip', 'address', 'add', '10.0.0.1/24', 'dev', 'in0')
    try {
      const report = await withBox([...INTERFACES, '--config', file], (box) => {
        assert.equal(box.ready, `${READY}, simco 10.0.0.1:7626`)
        const ping = lab.must('inside', 'ping', '-c', '3', '-i', '0.1', '-W', '2', '10.0.0.1')
        assert.match(ping, /3 received, 0% packet loss/)
        assert.equal(ping.includes('DUP'), false)
        const reserved = lab.run('inside', process.execPath, MAIN, 'ctl', '--server', '10.0.0.1:7626', '--agent', 'lab', '--key-file', key, 'reserve', '--protocol', 'udp')
        assert.equal(reserved.status, 0, reserved.stderr)
        lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
      })
      assert.ok(report.interfaces!.counters['kernel-packets'] > 5)
    } finally {
      lab.must('box', 'ip', 'address', 'del', '10.0.0.1/24', 'dev', 'in0')
    }
  })

  once('hairpin: inside hosts meet by their outside addresses (RFC 4787 REQ-9)', () => withBox([...INTERFACES, '--config', open], async () => {
    // The mapping of the echo host shows its outside port to whom it writes first.
    const seen = lab.start('outside', process.execPath, PEER, 'listen', OUT, '7003')
    const from = new Promise<string>((resolve) => { seen.stdout!.setEncoding('utf8').on('data', (text: string) => { if (!text.startsWith('ready')) resolve(text) }) })
    await new Promise<void>((resolve) => seen.stdout!.once('data', () => resolve()))
    const script = `const s = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true })
      s.on('message', (m, r) => s.send(m, r.port, r.address)); s.bind(7004, '10.0.0.6', () => s.send('hello', 7003, '${OUT}'))`
    lab.start('inside', process.execPath, '-e', script)
    const [, address, port] = (await from).trim().split(' ') as [string, string, string]
    assert.match(address, /^203\.0\.113\./)
    assert.equal(peer('inside', 'ask', address, port, '100'), 'answered')
  }).then((report) => assert.ok(report.hairpinPackets >= 2)))

  twice('links: a neighbour that changes its Ethernet address, and a link that goes down and up, are met again', {}, () => withBox(INTERFACES, async (box) => {
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    lab.must('outside', 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99')
    // Linux tells nobody; whoever asks is told.
    lab.must('outside', 'ip', 'neigh', 'flush', 'all')
    lab.must('outside', 'ping', '-c', '1', '-W', '2', '203.0.113.1')
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    lab.must('box', 'ip', 'link', 'set', 'out0', 'down')
    await sleep(300)
    assert.notEqual(lab.run('inside', 'ping', '-c', '1', '-W', '1', OUT).status, 0)
    lab.must('box', 'ip', 'link', 'set', 'out0', 'up')
    await sleep(500)
    assert.match(lab.run('inside', 'ping', '-c', '3', '-i', '0.3', '-W', '2', OUT).stdout, / [0-9]+ received|[1-3] received/)
    assert.match(box.stderr(), /out0: Network is down; trying again/)
  }).then(() => { /* what it reports is not the point */ }))

  test('frames that are not the box\'s, of a VLAN or too long, are counted and in nobody\'s way', () => withBox(INTERFACES, async (box) => {
    const [{ address }] = JSON.parse(lab.must('box', 'ip', '-j', 'link', 'show', 'in0')) as [{ address: string }]
    // More than the ring holds.
    peer('inside', 'tagged', address, '6000')
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    // A pair of veth lets pass what would have room with a tag.
    lab.must('inside', 'ip', 'link', 'set', 'eth0', 'mtu', '1504')
    try {
      for (let n = 0; n < 3; n++) assert.equal(peer('inside', 'ask', OUT, '7011', '1474'), 'silence')
      await says(box, /(?:1 frame was longer than its|frames were longer than their) link takes/)
    } finally {
      lab.must('inside', 'ip', 'link', 'set', 'eth0', 'mtu', '1500')
    }
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
  }).then((report) => {
    const { counters } = report.interfaces!.links[0]!
    const tagged = counters['tagged-frames']
    if (driver === 'packet') assert.ok(tagged > 5000, `${tagged} tagged`)
    // They come past the sockets, where there is less room.
    else assert.ok(tagged > 500 && tagged + counters['ring-full-frames'] > 5000, `${tagged} tagged`)
    assert.deepEqual([counters['oversized-frames'], counters['unsegmented-frames']], [2, 1])
  }))

  test('joined frames: hosts whose offloads are as the system makes them send and receive 20 MB over IPv4 and IPv6', async () => {
    const offload = (value: string) => {
      for (const where of ['inside', 'outside'] as const) lab.must(where, process.execPath, OFFLOAD, 'eth0', value)
    }
    offload('1')
    try {
      const report = await withBox(INTERFACES, async () => {
        await serve('outside', 'serve', '::', '8083')
        for (const host of [OUT, `[${OUT6}]`]) {
          assert.equal(peer('inside', 'post', `http://${host}:8083/`, '20000000'), 'same')
          assert.equal(peer('inside', 'fetch', `http://${host}:8083/20000000`, '20000000'), 'same')
        }
      })
      for (const { counters } of report.interfaces!.links) {
        assert.equal(counters['oversized-frames'], 0)
        // With a program in veth, its kernel cuts them.
        if (driver === 'xdpdrv') assert.deepEqual([counters['segmented-frames'], counters['unsegmented-frames']], [0, 0])
        else assert.ok(counters['segmented-frames'] > 200 && counters['unsegmented-frames'] <= counters['segmented-frames'] / 20, JSON.stringify(counters))
      }
    } finally {
      offload('0')
    }
  })

  once('idle: a box without packets takes no processor time', () => withBox(INTERFACES, async (box) => {
    await sleep(2500)
    const ticks = () => fs.readFileSync(`/proc/${box.child.pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ').slice(11, 13).reduce((sum, text) => sum + Number(text), 0)
    const from = ticks()
    await sleep(2000)
    assert.ok(ticks() - from <= 4, `${ticks() - from} hundredths of a second in two seconds`)
  }).then(() => { /* what it reports is not the point */ }))

  if (driver === 'packet') test('privileges: CAP_NET_RAW is all that a box needs, as deploy/pinhole.service gives it', { skip: others }, async () => {
    assert.match(fs.readFileSync('deploy/pinhole.service', 'utf8'), /^AmbientCapabilities=CAP_NET_RAW\nCapabilityBoundingSet=CAP_NET_RAW$/m)
    const only = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--no-new-privs', '--bounding-set=-all,+net_raw', '--inh-caps=-all,+net_raw', '--ambient-caps=-all,+net_raw']
    const box = await lab.boxBy(only, ...INTERFACES)
    assert.match(fs.readFileSync(`/proc/${box.child.pid}/status`, 'utf8'), /^CapEff:\t0000000000002000$/m)
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT6)
    assert.equal((await box.end()).status, 0)
    const none = lab.run('box', 'setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--inh-caps=-all', process.execPath, MAIN, 'run', ...INTERFACES)
    assert.deepEqual([none.status, none.stdout], [2, ''])
    assert.match(none.stderr, /CAP_NET_RAW is needed/)
  })

  once('refused: what would not work is said at once, with what to do', () => {
    const says = (args: string[], wanted: RegExp) => {
      const { status, stderr } = lab.refused(...args)
      assert.equal(status, 2, stderr)
      assert.match(stderr, wanted)
    }
    const out = ['--outside', 'out0,203.0.113.1/24']
    says(['--inside', 'nix0,10.0.0.1/24', ...out], /there is no interface nix0/)
    says(['--inside', 'lo,10.0.0.1/24', ...out], /lo is no Ethernet interface/)
    says(['--inside', 'in0,10.0.0.1', ...out], /has no prefix length.*10\.0\.0\.1\/24/)
    says(['--inside', 'in0,10.0.0.0/24', ...out], /number of its network/)
    says(['--inside', 'in0,203.0.113.9/24', ...out], /is on both links/)
    says(['--inside', 'in0,10.0.0.1/24', ...out, '--gateway', '192.0.2.1'], /192\.0\.2\.1 is on neither link/)
    says(['--inside', 'in0,10.0.0.1/24'], /--outside is missing/)
    says([], /which interfaces\?/)
    says(['--inside', 'in0,10.0.0.1/24', ...out, '--user', 'nobody-at-all'], /there is no such user/)
    const forwarding = (value: number) => lab.must('box', 'sh', '-c', `echo ${value} > /proc/sys/net/ipv4/conf/in0/forwarding`)
    forwarding(1)
    says(['--inside', 'in0,10.0.0.1/24', ...out], /the kernel itself forwards IPv4 packets of in0: sysctl -w net\.ipv4\.conf\.in0\.forwarding=0/)
    forwarding(0)
    lab.must('box', 'ip', 'address', 'add', '203.0.113.1/24', 'dev', 'out0')
    says(['--inside', 'in0,10.0.0.1/24', ...out], /the kernel has 203\.0\.113\.1 on out0 too.*ip address del 203\.0\.113\.1 dev out0/)
    lab.must('box', 'ip', 'address', 'del', '203.0.113.1/24', 'dev', 'out0')
    lab.must('box', 'ip', 'link', 'set', 'in0', 'down')
    says(['--inside', 'in0,10.0.0.1/24', ...out], /in0 is down: ip link set in0 up/)
    lab.must('box', 'ip', 'link', 'set', 'in0', 'up')
  })

  if (driver !== 'packet') test('XDP: the program goes with the box, however it ends, and two boxes do not share an interface', async () => {
    const programs = () => (lab.must('box', 'ip', 'link').match(/prog\/xdp/g) ?? []).length
    const box = await lab.box(...INTERFACES)
    assert.match(box.stderr(), new RegExp(`in0: AF_XDP in ${driver === 'xdpdrv' ? 'driver' : 'generic'} mode, copied, 1 queue\n`))
    assert.equal(programs(), 2)
    const second = lab.refused(...INTERFACES)
    assert.equal(second.status, 2)
    assert.match(second.stderr, /in0: BPF_LINK_CREATE: .*another XDP program is there, or another box: ip link set in0 xdp off/)
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT6)
    assert.equal((await box.end()).status, 0)
    assert.equal(programs(), 0)
    lab.must('box', 'ip', 'link', 'set', 'in0', 'mtu', '9000')
    const long = lab.refused(...INTERFACES)
    lab.must('box', 'ip', 'link', 'set', 'in0', 'mtu', '1500')
    assert.deepEqual([long.status, long.stderr], [2, 'pinhole: in0: AF_XDP takes no frames longer than a page, so an MTU of 9000 is too much for it: ip link set in0 mtu 3822, or --driver packet\n'])
    const killed = await lab.box(...INTERFACES)
    const gone = new Promise((resolve) => killed.child.once('exit', resolve))
    killed.child.kill('SIGKILL')
    await gone
    await sleep(100)
    assert.equal(programs(), 0)
  })

  if (driver === 'xdpdrv') test('XDP: CAP_NET_ADMIN, CAP_BPF and CAP_NET_RAW are all that it takes, with memory that may be locked', { skip: others }, async () => {
    const by = (names: string[]) => {
      const set = ['-all', ...names.map((name) => `+${name}`)].join()
      return ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--no-new-privs', `--bounding-set=${set}`, `--inh-caps=${set}`, `--ambient-caps=${set}`]
    }
    // The last stands for LimitMEMLOCK=infinity, which takes a root of more than a container.
    const box = await lab.boxBy(by(['net_raw', 'net_admin', 'bpf', 'ipc_lock']), ...INTERFACES)
    lab.must('inside', 'ping', '-c', '1', '-W', '2', OUT)
    assert.equal((await box.end()).status, 0)
    const refused = (start: string[]) => lab.run('box', ...start, process.execPath, MAIN, 'run', '--driver', driver, ...INTERFACES)
    assert.match(refused(by(['net_raw'])).stderr, /AF_XDP needs CAP_NET_ADMIN, CAP_BPF and CAP_NET_RAW/)
    assert.match(refused(['prlimit', '--memlock=65536:', ...by(['net_raw', 'net_admin', 'bpf'])]).stderr, /more memory has to be locked.*LimitMEMLOCK=infinity/)
  })

  if (driver !== 'packet') test('XDP: checksums that the other end of a veth pair left to hardware are completed, and others are right as they are', async () => {
    await serve('outside', 'echo', OUT, '7010')
    const offload = (command: string) => lab.must('inside', process.execPath, OFFLOAD, 'eth0', command, 'checksum')
    const { interfaces } = await withBox(INTERFACES, () => {
      for (const size of ['1', '100', '1400']) assert.equal(peer('inside', 'ask', OUT, '7010', size), 'answered')
      offload('0')
      for (const size of ['1', '100', '1400']) assert.equal(peer('inside', 'ask', OUT, '7010', size), 'answered')
      offload('1')
    })
    const { counters } = interfaces!.links[0]!
    assert.ok(counters['completed-checksums'] >= 3, `${counters['completed-checksums']} completed`)
  })

  if (driver !== 'packet') test('XDP: no frame is lost to the box: after load, loss, an interface that goes down and one that sends nothing, all are where they belong', async () => {
    const shuttle = lab.start('box', process.execPath, path.resolve('build/test/live/shuttle.js'), driver, 'in0', 'out0')
    let said = ''
    shuttle.stdout!.setEncoding('utf8').on('data', (text: string) => { said += text })
    const ended = new Promise<number>((resolve) => shuttle.on('close', resolve))
    for (let n = 0; n < 50 && said === ''; n++) await sleep(100)
    assert.equal(said, 'ready\n')
    const mac = (name: string) => (JSON.parse(lab.must('box', 'ip', '-j', 'link', 'show', name)) as [{ address: string }])[0].address
    // Addressed to the box, each is taken; what it sends on comes to a host that it is not for.
    const flood = () => Promise.all([
      lab.later('inside', process.execPath, PEER, 'flood', mac('in0'), '60000'), lab.later('outside', process.execPath, PEER, 'flood', mac('out0'), '60000'),
    ])
    await flood()
    const down = flood()
    for (const name of ['out0', 'in0']) {
      await sleep(100)
      lab.must('box', 'ip', 'link', 'set', name, 'down')
      await sleep(100)
      lab.must('box', 'ip', 'link', 'set', name, 'up')
    }
    await down
    lab.must('outside', 'ip', 'link', 'set', 'eth0', 'down')
    await lab.later('inside', process.execPath, PEER, 'flood', mac('in0'), '20000')
    lab.must('outside', 'ip', 'link', 'set', 'eth0', 'up')
    // Two rings have been left full by an interface that was down.
    await sleep(200)
    await flood()
    shuttle.stdin!.end()
    assert.equal(await ended, 0)
    const { seen, census, counters } = JSON.parse(said.split('\n')[1]!) as { seen: number; census: Record<string, number>; counters: Record<string, number>[] }
    const { chunks, free, held, fill, rx, tx, done, kernel } = census as Record<'chunks' | 'free' | 'held' | 'fill' | 'rx' | 'tx' | 'done' | 'kernel', number>
    assert.equal(free + held + fill + rx + tx + done + kernel, chunks, JSON.stringify(census))
    assert.deepEqual([held, rx, tx, done, kernel], [0, 0, 0, 0, 0], JSON.stringify(census))
    assert.equal(fill, 2 * 4096, 'all room for frames is there again')
    assert.ok(seen > 20_000, `${seen} frames`)
    assert.ok(counters.every((one) => one['sent-frames']! > 10_000), JSON.stringify(counters))
  })
})
