/**
 * `pinhole run` on VLANs of its interfaces, which the box tags itself. Hosts have the kernel push and pop their tags (tagger.c), and
 * drop what comes with another one or none; what tcpdump sees at them is what is on the wire.
 */
import assert from 'node:assert/strict'
import { spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { INTERFACES, MAIN, capObstacle, OFFLOAD, openLab, xdpObstacle, type Lab, type Place } from './lab.ts'
import { actorsOf, dir, found, MIDCOM_BOX, PEER } from './stage.ts'

const OUT = '198.51.100.7', OUT6 = '2001:db8:9::7'
const TAGGER = path.join(dir, 'tagger')
/** The same box with VLAN 7 inside and 9 outside. */
const onVlans = (outside: 'out0' | 'in0') => INTERFACES.map((text) => text.replace('in0,', 'in0:7,').replace('out0,', `${outside}:9,`))
const VLANS = { inside: 7, outside: 9 } as const
type Host = keyof typeof VLANS

function obstacle(): string | null {
  if (found !== null) return found.reason
  const made = spawnSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', TAGGER, 'test/live/tagger.c'], { encoding: 'utf8' })
  if (made.error !== undefined) return 'no C compiler for what tags frames'
  assert.equal(made.status, 0, made.stderr)
  const tried = spawnSync(TAGGER, ['lo', '7'], { encoding: 'utf8', input: '' })
  return tried.stdout === 'ready\n' ? null : `this kernel takes no programs that tag frames (Linux 6.6): ${tried.stderr}`
}

const reason = obstacle()

function stage(driver: Parameters<typeof openLab>[0], hasSwitch = false) {
  let lab!: Lab
  const taggers = new Map<Host, ChildProcess>()
  const { peer, peerLater, serve, says, withBox } = actorsOf(() => lab)

  /** What the host sends is tagged from now on, or no more. */
  async function tag(where: Host, vlan: number | null): Promise<void> {
    const before = taggers.get(where)
    if (before !== undefined) {
      const gone = new Promise((resolve) => before.once('close', resolve))
      before.stdin!.end()
      await gone
    }
    taggers.delete(where)
    if (vlan === null) return
    const child = lab.start(where, TAGGER, 'eth0', String(vlan))
    await new Promise<void>((resolve) => child.stdout!.once('data', () => resolve()))
    taggers.set(where, child)
  }

  before(async () => {
    lab = openLab(driver, hasSwitch)
    // What the box's kernel says there of itself has no tag.
    for (const name of hasSwitch ? ['in0'] : ['in0', 'out0']) lab.must('box', 'sh', '-c', `echo 1 > /proc/sys/net/ipv6/conf/${name}/disable_ipv6`)
    for (const [where, vlan] of Object.entries(VLANS)) await tag(where as Host, vlan)
    await serve('outside', 'echo', OUT, '7000')
    await serve('outside', 'echo', OUT6, '7000')
    await serve('outside', 'serve', '::', '8080')
  })
  after(() => lab.close())

  const mac = (where: Place, name: string) => (JSON.parse(lab.must(where, 'ip', '-j', 'link', 'show', name)) as [{ address: string }])[0].address
  const ping = (where: Place, address: string, ...more: string[]) => lab.run(where, 'ping', '-c', '1', '-W', '2', ...more, address).stdout

  /** All frames at an interface while `work` is under way; what is asked of them is said in tcpdump's words. */
  async function watched(where: Place, name: string, work: () => Promise<void> | void): Promise<(filter: string) => string[]> {
    const file = path.join(dir, `wire-${Math.random()}.pcap`)
    const child = lab.start(where, 'tcpdump', '-i', name, '-s', '96', '-B', '16384', '-U', '-Z', 'root', '-w', file)
    await new Promise<void>((resolve) => {
      let said = ''
      child.stderr!.setEncoding('utf8').on('data', (text: string) => { if ((said += text).includes('listening on')) resolve() })
    })
    await work()
    await sleep(200)
    const gone = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGINT')
    await gone
    return (filter) => {
      const { status, stdout, stderr } = spawnSync('tcpdump', ['-nn', '-e', '-r', file, filter], { encoding: 'utf8', maxBuffer: 1 << 28 })
      assert.equal(status, 0, stderr)
      return stdout.split('\n').filter((line) => line !== '')
    }
  }

  /**
   * Everything that the box sends to a host has the tag of that side, of priority 0, and nothing has another one or two. `least`
   * frames are seen at each: fewer than were sent, where the host joins them (GRO).
   */
  async function judged(boxInterfaces: Record<Host, string>, least: number, work: () => Promise<void> | void): Promise<void> {
    let atInside: ((filter: string) => string[]) | null = null
    const atOutside = await watched('outside', 'eth0', async () => { atInside = await watched('inside', 'eth0', work) })
    for (const [where, at] of [['inside', atInside!], ['outside', atOutside]] as const) {
      const from = `ether src ${mac('box', boxInterfaces[where])}`
      const tagged = at(`${from} and vlan ${VLANS[where]}`)
      assert.ok(tagged.length >= least, `${tagged.length} frames to ${where}`)
      for (const line of tagged) assert.match(line, new RegExp(`ethertype 802\\.1Q \\(0x8100\\), length \\d+: vlan ${VLANS[where]}, p 0, ethertype (IPv4|IPv6|ARP)`))
      const others = at(from).filter((line) => !line.includes(`vlan ${VLANS[where]}, `))
      // A switch shows everybody what is for all.
      assert.deepEqual(others.filter((line) => !hasSwitch || !/> (ff:ff|33:33)/.test(line)), [], `from the box at ${where}`)
    }
  }

  /** What a box is for, in a few words. */
  function passesSome(tcpBytes: number): void {
    for (const address of ['10.0.0.1', OUT, OUT6]) assert.match(ping('inside', address), / 0% packet loss/, address)
    for (const [address, bytes] of [[OUT, '60'], [OUT6, '5000']] as const) assert.equal(peer('inside', 'ask', address, '7000', bytes), 'answered', `${address} ${bytes}`)
    assert.equal(peer('inside', 'post', `http://${OUT}:8080/`, String(tcpBytes)), 'same')
    assert.equal(peer('inside', 'fetch', `http://[${OUT6}]:8080/${tcpBytes}`, String(tcpBytes)), 'same')
  }

  /** The same in more. */
  function passes(tcpBytes: number): void {
    for (const address of ['10.0.0.1', '203.0.113.254', OUT, '2001:db8:1::1', OUT6]) assert.match(ping('inside', address), / 0% packet loss/, address)
    for (const address of ['203.0.113.1', '2001:db8:2::1', '2001:db8:1::1']) assert.match(ping('outside', address), / 0% packet loss/, address)
    // The MTU is that of packets.
    for (const size of ['1472', '4000']) assert.match(ping('inside', OUT, '-s', size, ...size === '1472' ? ['-M', 'do'] : []), / 0% packet loss/, size)
    for (const [address, bytes] of [[OUT, '60'], [OUT, '5000'], [OUT6, '60'], [OUT6, '5000']] as const) assert.equal(peer('inside', 'ask', address, '7000', bytes), 'answered', `${address} ${bytes}`)
    assert.equal(peer('inside', 'post', `http://${OUT}:8080/`, String(tcpBytes)), 'same')
    assert.equal(peer('inside', 'fetch', `http://${OUT}:8080/${tcpBytes}`, String(tcpBytes)), 'same')
    assert.equal(peer('inside', 'fetch', `http://[${OUT6}]:8080/${tcpBytes}`, String(tcpBytes)), 'same')
  }

  return { lab: () => lab, tag, peer, peerLater, serve, says, withBox, mac, ping, watched, judged, passes, passesSome }
}

if (reason !== null) test('VLANs', { skip: reason }, () => { /* there is no lab */ })
else {
  describe('VLANs of two interfaces, by packet', () => {
    const { lab, tag, peer, says, withBox, mac, ping, watched, judged, passes } = stage('packet')
    const ARGS = onVlans('out0')
    const EACH = { inside: 'in0', outside: 'out0' }

    test('packets of all kinds pass, and every frame of the box has the tag of its side (802.1Q)', async () => {
      const report = await withBox(ARGS, async (box) => {
        assert.equal(box.ready, 'ready: in0:7 (packet, MTU 1500) to out0:9 (packet, MTU 1500)')
        await judged(EACH, 600, () => {
          passes(4_000_000)
          const hops = (...more: string[]) => lab().must('inside', 'traceroute', '-n', '-q', '1', '-w', '2', ...more).split('\n').slice(1).map((line) => line.trim().split(/ +/)[1]).filter((hop) => hop !== undefined)
          assert.deepEqual(hops(OUT), ['10.0.0.1', OUT])
          assert.deepEqual(hops('-6', OUT6), ['2001:db8:2::1', OUT6])
          assert.match(lab().run('inside', 'ping', '-c', '1', '-W', '5', '203.0.113.77').stdout, /From 10\.0\.0\.1 .*Destination Host Unreachable/)
        })
      })
      const [inside, outside] = report.interfaces!.links
      assert.deepEqual([inside!.name, outside!.name], ['in0:7', 'out0:9'])
      for (const { counters } of [inside!, outside!]) {
        assert.deepEqual([counters['untagged-frames'], counters['tagged-frames'], counters['oversized-frames'], counters['ring-full-frames'], counters['send-errors']], [0, 0, 0, 0, 0])
        assert.ok(counters['received-frames'] > 3000 && counters['sent-frames'] > 3000, JSON.stringify(counters))
      }
    })

    test('frames of other VLANs, without one, with priority alone, of 802.1ad and with two tags are each counted, and go no further', async () => {
      const hosts = async (vlan: number | null, counter: 'untagged-frames' | 'tagged-frames') => {
        await tag('inside', vlan)
        const { interfaces } = await withBox(ARGS, () => { assert.match(ping('inside', '10.0.0.1'), / 100% packet loss/) })
        const { counters } = interfaces!.links[0]!
        // Only ARP has come, and in vain.
        assert.ok(counters[counter] >= 1, JSON.stringify(counters))
        assert.equal(counters['received-frames'], 0)
      }
      await hosts(null, 'untagged-frames')
      await hosts(8, 'tagged-frames')
      await tag('inside', 7)
      const report = await withBox(ARGS, () => {
        const to = mac('box', 'in0')
        // Past what tags the host's own.
        for (const [tags, count] of [['81000008', 300], ['8100a000', 200], ['88a80007', 100], ['88a8000781000007', 50], ['8100000781000009', 40], ['', 30]] as const) peer('inside', 'tagged', to, String(count), tags)
        assert.match(ping('inside', OUT), / 0% packet loss/)
      })
      const { links: [{ counters }], counters: ofBox } = report.interfaces as NonNullable<typeof report.interfaces> & { links: [{ counters: Record<string, number> }] }
      assert.deepEqual([counters['tagged-frames'], counters['priority-tagged-frames'], counters['service-tagged-frames'], counters['untagged-frames'], ofBox['stacked-tag-frames']], [300, 200, 150, 30, 40])
    })

    test('too long for the far link: its MTU without the tag is told to the sender (RFC 1191, RFC 8201); frames that a sender left joined are cut', async () => {
      const offload = (value: string) => { for (const where of ['inside', 'outside'] as const) lab().must(where, process.execPath, OFFLOAD, 'eth0', value) }
      const mtu = (value: string) => { for (const [where, name] of [['box', 'out0'], ['outside', 'eth0']] as const) lab().must(where, 'ip', 'link', 'set', name, 'mtu', value) }
      mtu('1400')
      offload('1')
      try {
        const { interfaces } = await withBox(ARGS, () => {
          assert.match(ping('inside', OUT, '-M', 'do', '-s', '1450'), /From 10\.0\.0\.1 .*Frag needed and DF set \(mtu = 1400\)/)
          assert.match(ping('inside', OUT6, '-M', 'do', '-s', '1450'), /From 2001:db8:2::1 .*Packet too big: mtu=1400/)
          assert.match(ping('inside', OUT, '-M', 'do', '-s', '1372'), / 0% packet loss/)
          assert.equal(peer('inside', 'post', `http://${OUT}:8080/`, '8000000'), 'same')
          assert.equal(peer('inside', 'fetch', `http://[${OUT6}]:8080/8000000`, '8000000'), 'same')
        })
        for (const { counters } of interfaces!.links) assert.ok(counters['segmented-frames'] > 50 && counters['oversized-frames'] === 0, JSON.stringify(counters))
      } finally {
        offload('0')
        mtu('1500')
        lab().must('inside', 'ip', 'route', 'flush', 'cache')
      }
    })

    test('a recording has the names of the VLANs and frames without tags, and a replay of it does the same', async () => {
      const file = path.join(dir, 'vlan.pcapng'), out = path.join(dir, 'vlan-out.pcapng')
      await withBox([...ARGS, '--record-door', path.join(dir, 'door')], async () => {
        const recorder = lab().start('box', process.execPath, MAIN, 'record', '--box', path.join(dir, 'door'), '-w', file)
        await new Promise<void>((resolve) => { recorder.stderr!.setEncoding('utf8').on('data', (text: string) => { if (text.includes('recording')) resolve() }) })
        for (const bytes of ['60', '3000']) assert.equal(peer('inside', 'ask', OUT, '7000', bytes), 'answered')
        assert.match(ping('inside', OUT6), / 0% packet loss/)
        const gone = new Promise((resolve) => recorder.once('close', resolve))
        recorder.kill('SIGINT')
        await gone
      })
      const replayed = spawnSync(process.execPath, [MAIN, 'replay', file, '--out-outside', out], { encoding: 'utf8' })
      assert.equal(replayed.status, 0, replayed.stderr)
      assert.match(replayed.stderr, /is a recording of a box.*--inside-if in0:7, --seed/)
      const packets = (name: string, filter: string) => spawnSync('tcpdump', ['-nn', '-t', '-v', '-r', name, filter], { encoding: 'utf8' }).stdout.replace(/\s+/g, ' ')
      const ours = 'udp and dst host 198.51.100.7'
      assert.ok(packets(out, ours).includes(`> ${OUT}.7000`))
      // The recording has packets as they came, too, with the source that they had then.
      assert.equal(packets(out, ours), packets(file, `${ours} and not src net 10.0.0.0/24`))
      assert.equal(packets(file, 'vlan'), '')
    })

    test('a reload does not move the box to another VLAN, and says so', async () => {
      const file = path.join(dir, 'vlan.yaml')
      fs.writeFileSync(file, MIDCOM_BOX.replace('name: in0,', 'name: in0, vlan: 7,').replace('name: out0,', 'name: out0, vlan: 9,'))
      await withBox(['--config', file], async (box) => {
        fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('vlan: 7', 'vlan: 8'))
        box.child.kill('SIGHUP')
        await says(box, /reloaded .*\n?.*interfaces.inside: in0:8 counts from the next start; the box goes on with in0:7/)
        assert.match(ping('inside', OUT), / 0% packet loss/)
        fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('vlan: 8', 'vlan: 4095'))
        box.child.kill('SIGHUP')
        await says(box, /vlan\.yaml:2:\d+: interfaces\.inside\.vlan: VLAN 4095 is reserved/)
      })
    })

    test('the tag is that of the link on the box\'s own announcements, too (RFC 5227)', async () => {
      const at = await watched('outside', 'eth0', async () => {
        await withBox(ARGS, async () => { await sleep(2500) })
      })
      assert.match(at('vlan and arp').join('\n'), /vlan 9, p 0, ethertype ARP.* who-has 203\.0\.113\.1 .*tell 203\.0\.113\.1,/)
      assert.deepEqual(at(`ether src ${mac('box', 'out0')} and not vlan`), [])
    })
  })

  describe('both sides are VLANs of one interface, by packet', () => {
    const { lab, peer, withBox, ping, judged, passes, passesSome } = stage('packet', true)
    const ARGS = onVlans('in0'), EACH = { inside: 'in0', outside: 'in0' }

    test('packets of all kinds pass, and leave in the other VLAN', async () => {
      const { interfaces } = await withBox(ARGS, async (box) => {
        assert.equal(box.ready, 'ready: in0:7 (packet, MTU 1500) to in0:9 (packet, MTU 1500)')
        await judged(EACH, 300, () => { passes(2_000_000) })
      })
      const [inside, outside] = interfaces!.links.map(({ counters }) => counters)
      assert.deepEqual([inside!['tagged-frames'], outside!['tagged-frames'], inside!['untagged-frames'], outside!['untagged-frames']], [0, 0, 0, 0])
      // What came by one left by the other, but for what the box says itself.
      for (const [from, to] of [[inside!, outside!], [outside!, inside!]] as const) assert.ok(Math.abs(from['received-frames'] - to['sent-frames']) < 100, JSON.stringify(interfaces))
    })

    test('an MTU of one side, hairpinning, and two workers', async () => {
      const file = path.join(dir, 'stick.yaml')
      fs.writeFileSync(file, `nat: {filtering: endpoint-independent}\nbox: {mtu-outside: 1400}\n`)
      const first = await withBox([...ARGS, '--config', file], async () => {
        assert.match(ping('inside', OUT, '-M', 'do', '-s', '1450'), /From 10\.0\.0\.1 .*Frag needed and DF set \(mtu = 1400\)/)
        assert.match(ping('inside', OUT6, '-M', 'do', '-s', '1450'), /Packet too big: mtu=1400/)
        // Whoever hears from the mirror of an inside host knows where it is from outside.
        const seen = lab().start('outside', process.execPath, PEER, 'listen', OUT, '7003')
        const from = new Promise<string>((resolve) => { seen.stdout!.setEncoding('utf8').on('data', (text: string) => { if (!text.startsWith('ready')) resolve(text) }) })
        await new Promise<void>((resolve) => seen.stdout!.once('data', () => resolve()))
        lab().start('inside', process.execPath, '-e', `const s = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true })
          s.on('message', (m, r) => s.send(m, r.port, r.address)); s.bind(7004, '10.0.0.6', () => s.send('hello', 7003, '${OUT}'))`)
        const [, address, port] = (await from).trim().split(' ') as [string, string, string]
        assert.match(address, /^203\.0\.113\./)
        assert.equal(peer('inside', 'ask', address, port, '100'), 'answered')
      })
      assert.ok(first.hairpinPackets >= 2)
      assert.equal(first.interfaces!.links[1]!.name, 'in0:9')
      lab().must('inside', 'ip', 'route', 'flush', 'cache')
      const { workers } = await withBox([...ARGS, '--workers', '2'], () => { passesSome(1_000_000) })
      assert.equal(workers!.count, 2)
    })

    test('refused, or said where: AF_XDP for both sides of an interface, and VLANs that are none', () => {
      const says = (args: string[], wanted: RegExp) => {
        const { status, stderr } = lab().run('box', process.execPath, MAIN, 'run', ...args)
        assert.equal(status, 2, stderr)
        assert.match(stderr, wanted)
      }
      const by = (inside: string, outside: string, ...more: string[]) => ['--inside', `${inside},10.0.0.1/24`, '--outside', `${outside},203.0.113.1/24`, ...more]
      if (xdpObstacle() === null) says(by('in0:7', 'in0:9', '--driver', 'xdp'), /in0: AF_XDP has all of an interface for one side, and here are both: --driver packet/)
      says(by('in0:7', 'in0:7'), /interfaces: in0:7 is inside already; name another VLAN/)
      says(by('in0', 'in0:9'), /both sides are on in0, and the inside one has no VLAN; name a VLAN for each side/)
      for (const vlan of ['0', '4095', '4096', 'x']) says(by(`in0:${vlan}`, 'in0:9'), /--inside: .*VLAN/)
    })
  })

  for (const driver of ['xdpdrv', 'xdpgeneric', 'libpcap'] as const) {
    const why = driver === 'libpcap' ? capObstacle() : xdpObstacle()
    describe(`VLANs of two interfaces, by ${driver}`, { skip: why ?? false }, () => {
      const { lab, peer, withBox, mac, ping, watched, judged, passesSome } = stage(driver)
      // The tag is beside the frame at first, then in it. Beside it, nobody tells in generic mode.
      for (const isIn of driver === 'xdpdrv' ? [false, true] : [driver === 'xdpgeneric']) {
        test(`packets of all kinds pass in frames of that VLAN alone; hosts have tags ${isIn ? 'in' : 'beside'} frames`, async () => {
          for (const where of ['inside', 'outside'] as const) lab().must(where, process.execPath, OFFLOAD, 'eth0', isIn ? '0' : '1', 'tag')
          const report = await withBox(onVlans('out0'), async () => {
            const atBox = await watched('box', 'in0', async () => { await judged({ inside: 'in0', outside: 'out0' }, 60, () => { passesSome(1_000_000) }) })
            // What goes by AF_XDP no other socket sees; the rest is what is for all, and for neighbours.
            if (driver !== 'libpcap') assert.ok(atBox(`ether dst ${mac('box', 'in0')} and (vlan and tcp)`).length === 0)
            for (const [tags, count] of [['81000008', 40], ['8100a000', 30], ['88a80007', 20], ['', 10]] as const) peer('inside', 'tagged', mac('box', 'in0'), String(count), tags)
            assert.match(ping('inside', OUT), / 0% packet loss/)
          })
          const { counters } = report.interfaces!.links[0]!
          assert.deepEqual([counters['tagged-frames'], counters['priority-tagged-frames'], counters['service-tagged-frames'], counters['untagged-frames']], [40, 30, 20, 10])
        })
      }
    })
  }
}
