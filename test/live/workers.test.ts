/** `pinhole run --workers` in the lab of lab.ts: what one worker does, several have to do as well. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { printAddress } from '../../src/base/address.ts'
import { createNpt6, NPT6_DONE } from '../../src/channel/npt6.ts'
import { createSteering, STRIPE_PORTS } from '../../src/channel/steering.ts'
import { INTERFACES, MAIN, openLab, type Lab } from './lab.ts'
import { ENVIRONMENT, NO_NET_SNMP, asUser } from '../net-snmp.ts'
import { actorsOf, dir, found, MIDCOM_BOX, others } from './stage.ts'

const OUT = '198.51.100.7', OUT6 = '2001:db8:9::7', WORKERS = 3
const HOSTS = Array.from({ length: 16 }, (_, n) => `10.0.0.${20 + n}`)
const steering = createSteering({ workers: WORKERS, stripeBase: 0, stripePorts: STRIPE_PORTS, bySubnet: false })
const wordOf = (host: string) => host.split('.').reduce((word, octet) => word << 8 | Number(octet), 0)
const workerOf = (host: string) => steering.ofAddress4(wordOf(host))
/** A host of each worker. */
const ofEach = Array.from({ length: WORKERS }, (_, worker) => HOSTS.find((host) => workerOf(host) === worker)!)
/** And one more. */
const secondOfEach = ofEach.map((first, worker) => HOSTS.find((host) => workerOf(host) === worker && host !== first)!)

if (found !== null) test('run with several workers', { skip: found.reason }, () => { /* there is no lab */ })
else describe('run with several workers', () => {
  let lab: Lab
  before(() => {
    lab = openLab()
    for (const host of HOSTS) lab.must('inside', 'ip', 'address', 'add', `${host}/24`, 'dev', 'eth0')
  })
  after(() => lab.close())

  const { peer, peerLater, serve, says, withBox: withWorkers } = actorsOf(() => lab, '--workers', String(WORKERS))
  const withBox: typeof withWorkers = async (...args) => {
    const report = await withWorkers(...args)
    assert.equal(report.workers!.count, WORKERS)
    return report
  }

  test('mappings: a host has one outside address, an endpoint one port whatever it talks to, of its worker\'s stripes (RFC 4787 REQ-1, REQ-2)', async () => {
    await serve('outside', 'who', OUT, '7100')
    await serve('outside', 'who', '203.0.113.254', '7100')
    const log = path.join(dir, 'mappings.log')
    const report = await withBox([...INTERFACES, '--log-mappings', log], () => {
      // Each worker knows the router from here on.
      for (const host of ofEach) assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', '-I', host, OUT), /2 received/)
      const answers = JSON.parse(peer('inside', 'hosts', HOSTS[0]!, String(HOSTS.length), '7100', OUT, '203.0.113.254')) as Record<string, string[]>
      assert.deepEqual(Object.keys(answers), HOSTS)
      for (const [host, said] of Object.entries(answers)) {
        assert.equal(said.length, 4, host)
        assert.equal(new Set(said).size, 1, `${host}: ${said.join(', ')}`)
        assert.equal(steering.ofPort(Number(said[0]!.split(' ')[1])), workerOf(host))
      }
      assert.equal(new Set(Object.values(answers).map(([said]) => said)).size, HOSTS.length)
    })
    const lines = fs.readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { event: string; inside: string })
    for (const host of HOSTS) assert.ok(lines.some(({ inside }) => JSON.stringify(inside).includes(host)), host)
    assert.equal(report.mappingLog!.lost, 0)
    for (const one of report.workers!.each) assert.ok(one.flows >= 3, JSON.stringify(report.workers))
    // The kernel has dealt out nearly all of it: what is handed on is what neighbours say.
    assert.equal(report.workers!.each.reduce((sum, one) => sum + one.takenOverFrames, 0), 0)
    assert.equal(report.flows.opened, 2 * HOSTS.length + WORKERS)
  })

  test('hairpin: hosts of different workers meet by their outside addresses, in fragments too (RFC 4787 REQ-9)', async () => {
    const config = path.join(dir, 'open.yaml')
    fs.writeFileSync(config, 'nat: {filtering: endpoint-independent}\n')
    const [server, other] = ofEach as [string, string]
    const report = await withBox([...INTERFACES, '--config', config], async () => {
      const seen = await serve('outside', 'listen', OUT, '7003')
      const from = new Promise<string>((resolve) => { seen.stdout!.setEncoding('utf8').on('data', resolve) })
      const script = `const s = require('node:dgram').createSocket({ type: 'udp4', reuseAddr: true })
        s.on('message', (m, r) => s.send(m, r.port, r.address)); s.bind(7004, '${server}', () => s.send('hello', 7003, '${OUT}'))`
      lab.start('inside', process.execPath, '-e', script)
      const [, address, port] = (await from).trim().split(' ') as [string, string, string]
      for (const host of [other, ofEach[2]!, server]) {
        assert.equal(peer('inside', 'ask', address, port, '100', host), 'answered', host)
        assert.equal(peer('inside', 'ask', address, port, '5000', host), 'answered', `${host}, fragments`)
      }
    })
    assert.ok(report.hairpinPackets >= 6)
    assert.ok(report.workers!.each.every(({ takenOverFrames }) => takenOverFrames > 0), JSON.stringify(report.workers))
    assert.equal(report.interfaces!.counters['handover-drops'], 0)
    assert.equal(report.interfaces!.counters['early-fragment-drops'], 0)
  })

  test('forwards and prefixes: a port of the configuration leads to its host, an outside IPv6 address too, from either side (RFC 6296 4.3)', async () => {
    const config = path.join(dir, 'fixed.yaml')
    // One stripe for all of them, so that two of three are not of the worker that the kernel gives them to.
    fs.writeFileSync(config, `inside: [10.0.0.0/24, "2001:db8:1::/48"]
nat:
  forwards: [${ofEach.map((host, n) => `{protocol: udp, outside: "203.0.113.2:${5376 + n}", inside: "${host}:7008"}`).join(', ')}]
  npt6: [{inside: "2001:db8:1::/48", outside: "2001:db8:7::/48"}]
`)
    const npt6 = createNpt6([{ inside: [0x20010db8, 0x10000], insideBits: 48, outside: [0x20010db8, 0x70000], outsideBits: 48 }])
    const of6 = (words: Int32Array) => steering.ofSum6([...words].reduce((sum, word) => sum + (word >>> 16) + (word & 0xffff), 0))
    const six = Array.from({ length: 40 }, (_, n) => Int32Array.of(0x20010db8, 0x10000, 0, 0x100 + n))
    const [server, other] = [0, 1].map((worker) => six.find((words) => of6(words) === worker)!) as [Int32Array, Int32Array]
    for (const words of [server, other]) lab.must('inside', 'ip', 'address', 'add', `${printAddress({ version: 6, words })}/64`, 'dev', 'eth0', 'nodad')
    for (const host of [...ofEach, printAddress({ version: 6, words: server })]) await serve('inside', 'echo', host, '7008')
    const shown = Int32Array.from(server)
    assert.equal(npt6.outward(shown, 0), NPT6_DONE)
    const report = await withBox([...INTERFACES, '--config', config], () => {
      for (const n of ofEach.keys()) {
        assert.equal(peer('outside', 'ask', '203.0.113.2', String(5376 + n), '100'), 'answered', `port of worker ${n}`)
        assert.equal(peer('outside', 'ask', '203.0.113.2', String(5376 + n), '4000'), 'answered', `port of worker ${n}, in fragments`)
        assert.equal(peer('inside', 'ask', '203.0.113.2', String(5376 + n), '100', ofEach[(n + 1) % WORKERS]!), 'answered', `${n} from inside`)
      }
      assert.equal(peer('inside', 'ask', printAddress({ version: 6, words: shown }), '7008', '100', printAddress({ version: 6, words: other })), 'answered')
    })
    assert.ok(report.workers!.each.every(({ takenOverFrames }) => takenOverFrames > 0), JSON.stringify(report.workers))
    assert.ok(report.hairpinPackets >= 2 * WORKERS + 2)
  })

  test('fragments, errors and traces from outside find the worker that they are for', async () => {
    await serve('outside', 'echo', OUT, '7000')
    await serve('outside', 'echo', OUT6, '7000')
    await withBox(INTERFACES, () => {
      for (const host of HOSTS.slice(0, 6)) {
        assert.equal(peer('inside', 'ask', OUT, '7000', '5000', host), 'answered', host)
        // Nobody listens there: the error quotes the packet of this host.
        assert.equal(peer('inside', 'ask', OUT, '7999', '100', host), 'ECONNREFUSED', host)
      }
      for (const host of ofEach) {
        assert.match(lab.must('inside', 'traceroute', '-n', '-s', host, '-w', '2', '-q', '1', '-m', '3', OUT), / 10\.0\.0\.1 .*\n.* 198\.51\.100\.7 /s)
      }
      assert.equal(peer('inside', 'ask', OUT6, '7000', '5000'), 'answered')
      assert.match(lab.must('inside', 'ping', '-6', '-c', '2', '-i', '0.1', '-W', '2', OUT6), /2 received/)
    })
  })

  test('a worker that is killed under load: its flows are lost and its rules are not, and others notice nothing', { skip: others }, async () => {
    const file = path.join(dir, 'kill.yaml')
    fs.writeFileSync(file, MIDCOM_BOX)
    await serve('outside', 'mirror', OUT, '7001')
    const ctl = (...args: string[]) => lab.run('box', process.execPath, MAIN, 'ctl', ...args, '--json')
    const victim = 1, report = await withBox(['--config', file, '--user', 'nobody'], async (box) => {
      const pids = [...box.stderr().matchAll(/worker (\d+): forwards, process (\d+)/g)].map(([, , pid]) => Number(pid))
      assert.equal(pids.length, WORKERS)
      for (const pid of pids) assert.match(fs.readFileSync(`/proc/${pid}/status`, 'utf8'), /^Uid:\t65534\t65534\t65534/m)
      const listeners = await Promise.all(ofEach.map(async (host) => {
        const child = await serve('inside', 'listen', host, '5004'), heard: string[] = []
        child.stdout!.setEncoding('utf8').on('data', (text: string) => heard.push(...text.trim().split('\n')))
        return heard
      }))
      const pinholes = ofEach.map((host) => {
        const enabled = ctl('enable', `${host}:5004`, `${OUT}:6000`, '--protocol', 'udp', '--direction', 'inbound')
        assert.equal(enabled.status, 0, enabled.stderr)
        return JSON.parse(enabled.stdout) as { rule: number; outside: { address: string; port: number } }
      })
      const send = (n: number) => peer('outside', 'send', OUT, pinholes[n]!.outside.address, String(pinholes[n]!.outside.port), '5')
      for (const n of pinholes.keys()) send(n)
      await sleep(300)
      assert.deepEqual(listeners.map((heard) => heard.length), [5, 5, 5])
      const steady = ofEach.map((host) => peerLater('inside', 'steady', OUT, '7001', '4', host))
      await sleep(1000)
      const [pid] = [...box.stderr().matchAll(/worker 1: forwards, process (\d+)/g)].map(([, one]) => Number(one))
      process.kill(pid!, 'SIGKILL')
      await says(box, /worker 1 ended \(SIGKILL\); its \d+ flows are lost, another one takes its place/)
      await says(box, /worker 1: forwards.*worker 1: forwards/s)
      // Rules are asked for and granted as before, and those that stood still stand.
      for (const n of pinholes.keys()) send(n)
      await sleep(300)
      assert.deepEqual(listeners.map((heard) => heard.length), [10, 10, 10])
      assert.equal(ctl('delete', String(pinholes[victim]!.rule)).status, 0)
      send(victim)
      await sleep(300)
      assert.equal(listeners[victim]!.length, 10)
      for (const [n, one] of steady.entries()) {
        if (n === victim) continue
        const { asked, answered } = JSON.parse(await one) as { asked: number; answered: number }
        assert.ok(asked > 500)
        assert.equal(answered, asked, `worker ${n}`)
      }
      assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', '-I', ofEach[victim]!, OUT), /2 received/)
    })
    assert.deepEqual(report.workers!.each.map(({ restarts }) => restarts), [0, 1, 0])
    assert.ok(report.workers!.flowsLost >= 1)
    // A datagram's and a connection's of each; then the pinhole and the echo of the victim. What it had opened before it died counts.
    assert.ok(report.flows.opened >= 8, `${report.flows.opened} flows`)
  })

  test('rules that outlast a restart, of ports and of whole addresses (midcom.addresses), count in all workers before the first packet', { skip: NO_NET_SNMP }, async () => {
    const file = path.join(dir, 'kept.yaml'), kept = path.join(dir, 'kept')
    fs.writeFileSync(file, `${MIDCOM_BOX}  addresses: [203.0.113.9-203.0.113.11]
  state: ${kept}
  snmp: {listen: [127.0.0.1:1161], users: [{name: lab, agent: lab, auth: SHA-256, auth-password: labauthpass, priv: AES, priv-password: labprivpass}]}
`)
    const user = asUser({ name: 'lab', auth: 'labauthpass', priv: 'labprivpass' }, 1161)
    const tools = ['env', ...Object.entries(ENVIRONMENT).filter(([name]) => /^(MIB|SNMP)/.test(name)).map(([name, value]) => `${name}=${value}`)]
    const row = (n: number, column: string) => `midcomRule${column}."lab".7.${n}`
    const set = (n: number, columns: Record<string, string>) => lab.must('box', ...tools, 'snmpset', ...user,
      ...Object.entries(columns).flatMap(([column, value]) => [row(n, column), ...value.split(' ')]))
    const shown = (n: number) => lab.must('box', ...tools, 'snmpget', '-Oqvx', ...user, row(n, 'OperStatus'), row(n, 'OutsideIpAddr'), row(n, 'OutsidePort'), row(n, 'Error'))
      .trim().split('\n').map((line) => line.replaceAll('"', '').trim())
    const outside = (n: number) => shown(n)[1]!.split(' ').map((octet) => parseInt(octet, 16)).join('.')
    const rows = ofEach.map((_, n) => 1 + n), whole = ofEach.map((_, n) => 11 + n)
    const common = { RowStatus: 'i createAndGo', StorageType: 'i nonVolatile', StorageTime: 'u 60', Lifetime: 'u 300', ExternalIpAddr: `d ${OUT}`, AdminStatus: 'i enable' }

    const first = await lab.box('--config', file)
    const mtus = lab.must('box', ...tools, 'snmpget', '-Oqv', ...user, 'ifMtu.1', 'ifMtu.2').trim().split('\n')
    assert.deepEqual(mtus, ['in0', 'out0'].map((name) => lab.must('box', 'cat', `/sys/class/net/${name}/mtu`).trim()))
    for (const [n, host] of ofEach.entries()) {
      set(rows[n]!, { ...common, TransportProtocol: 'u 17', PortRange: 'i single', InternalIpAddr: `d ${host}`, InternalPort: 'u 5014', ExternalPort: 'u 6000', FlowDirection: 'i inbound' })
      set(whole[n]!, { ...common, TransportProtocol: 'u 0', InternalIpAddr: `d ${secondOfEach[n]!}`, FlowDirection: 'i biDirectional' })
    }
    const was = [...rows, ...whole].map(shown)
    assert.deepEqual(was.map(([state]) => state), was.map(() => 'enabled'), JSON.stringify(was))
    first.child.kill('SIGKILL')
    await first.end()

    const heard = await Promise.all(ofEach.map(async (host) => {
      const child = await serve('inside', 'listen', host, '5014'), lines: string[] = []
      child.stdout!.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')))
      return lines
    }))
    for (const host of secondOfEach) await serve('inside', 'echo', host, '7012')
    await serve('outside', 'who', OUT, '7013')
    const report = await withBox(['--config', file], async () => {
      assert.deepEqual([...rows, ...whole].map(shown), was)
      for (const n of ofEach.keys()) peer('outside', 'send', OUT, outside(rows[n]!), shown(rows[n]!)[2]!, '5')
      await sleep(300)
      assert.deepEqual(heard.map((lines) => lines.length), [5, 5, 5])
      for (const [n, host] of secondOfEach.entries()) {
        const address = outside(whole[n]!)
        assert.match(address, /^203\.0\.113\.(9|10|11)$/)
        for (const bytes of ['100', '4000']) assert.equal(peer('outside', 'ask', address, '7012', bytes, OUT), 'answered', `${host}, ${bytes} octets`)
        assert.match(lab.must('outside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', '-I', OUT, address), /2 received/)
        assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', '-I', host, OUT), /2 received/)
        assert.match(JSON.stringify(JSON.parse(peer('inside', 'hosts', host, '1', '7013', OUT))), new RegExp(`"${address} \\d+","${address} \\d+"`))
      }
    })
    assert.equal(report.interfaces!.counters['handover-drops'], 0)
    assert.equal(report.workers!.restarts, 0)
  })

  test('reload: new firewall rules count in all workers, and flows of all that they forbid end', async () => {
    const file = path.join(dir, 'reload.yaml'), start = 'checks: {spoofing: both}\n'
    fs.writeFileSync(file, start)
    await serve('outside', 'mirror', OUT, '7005')
    const report = await withBox([...INTERFACES, '--config', file], async (box) => {
      const lasting = ofEach.map((host) => peerLater('inside', 'steady', OUT, '7005', '3', host))
      await serve('outside', 'echo', OUT, '7006')
      for (const host of ofEach) assert.equal(peer('inside', 'ask', OUT, '7006', '100', host), 'answered')
      fs.writeFileSync(file, `${start}firewall: {rules: [{action: deny, direction: outbound, protocol: udp}]}\n`)
      box.child.kill('SIGHUP')
      await says(box, /firewall: 1 rule counts, 3 flows ended/)
      for (const host of ofEach) assert.notEqual(peer('inside', 'ask', OUT, '7006', '100', host), 'answered')
      for (const one of lasting) {
        const { asked, answered } = JSON.parse(await one) as { asked: number; answered: number }
        assert.equal(answered, asked)
      }
      // What all of them have done until now, without an end.
      // systemd sends a signal to all processes of a unit.
      const children = fs.readFileSync(`/proc/${box.child.pid}/task/${box.child.pid}/children`, 'utf8').trim().split(' ').map(Number)
      assert.equal(children.length, 3)
      for (const pid of [box.child.pid!, ...children]) process.kill(pid, 'SIGUSR2')
      for (let n = 0; n < 100 && !/^memory/m.test(box.stdout()); n++) await sleep(100)
      assert.match(box.stdout(), /^up .* packets, seed \d+\n(?:.*\n)*in +inside [1-9].*\n(?:.*\n)*in0 +[1-9][\d,]* frames received.*\n(?:.*\n)*memory +[\d.]+ MiB resident$/m)
    })
    assert.equal(report.firewall!.replacements, 1)
    assert.equal(report.firewall!.rules[0]!.packets, 3)
    assert.equal(report.workers!.restarts, 0)
  })

  test('a worker that hangs is ended and followed by another one, and one that dies again and again ends the box, with status 70', async () => {
    const file = path.join(dir, 'again.yaml')
    fs.writeFileSync(file, MIDCOM_BOX)
    const box = await lab.box('--config', file, '--workers', String(WORKERS))
    const pidOf = (worker: number) => Number([...box.stderr().matchAll(new RegExp(`worker ${worker}: forwards, process (\\d+)`, 'g'))].at(-1)![1])
    const [hanging, dying] = [pidOf(0), pidOf(2)]
    process.kill(hanging, 'SIGSTOP')
    const sinceMs = Date.now()
    // Meanwhile an agent waits, for the rule is to count in every worker.
    const enabled = lab.later('box', process.execPath, MAIN, 'ctl', 'enable', `${ofEach[0]!}:5004`, `${OUT}:6000`, '--protocol', 'udp', '--direction', 'inbound', '--timeout', '20s')
    await says(box, /worker 0 has hung for 10 s: it is ended/, 15)
    assert.ok(Date.now() - sinceMs > 8000)
    await says(box, /worker 0: forwards.*worker 0: forwards/s)
    const { status: answer, stderr: said } = await enabled
    assert.equal(answer, 0, said)
    assert.match(lab.must('inside', 'ping', '-c', '2', '-i', '0.1', '-W', '2', '-I', ofEach[0]!, OUT), /2 received/)
    let last = dying
    for (let n = 1; n < 6; n++) {
      process.kill(last, 'SIGKILL')
      for (let tries = 0; tries < 100 && pidOf(2) === last; tries++) await sleep(50)
      assert.notEqual(pidOf(2), last)
      last = pidOf(2)
    }
    const ended = new Promise((resolve) => box.child.once('close', resolve))
    process.kill(last, 'SIGKILL')
    assert.equal(await ended, 70, box.stderr())
    assert.match(box.stderr(), /pinhole: worker 2 ended \(SIGKILL\) 6 times within 60 s: the box ends\n/)
  })

  test('refused: what several workers cannot do is said at once', () => {
    const file = path.join(dir, 'no.yaml')
    const refused = (text: string) => {
      fs.writeFileSync(file, text)
      const { status, stderr } = lab.run('box', process.execPath, MAIN, 'run', ...INTERFACES, '--config', file, '--workers', '3')
      assert.equal(status, 2, stderr)
      return stderr.trim()
    }
    const at = (line: number, column: number, setting: string) => `${file}:${line}:${column}: ${setting}: --workers 3: `
    assert.equal(refused('nat: {pools: [{inside: [10.0.0.0/24], addresses: [203.0.113.9], hosts-per-address: 256}]}\n'),
      `${at(1, 84, 'nat.pools[0].hosts-per-address')}hosts with ports of their own on a fixed address need one worker; leave it out, or run one worker`)
    assert.equal(refused('nat: {ports: 1024-1100}\n'), `${at(1, 14, 'nat.ports')}77 ports are too few: each worker has 64 at least; write a longer range`)
    assert.equal(refused('interfaces:\n  driver: xdp\n  inside: {name: in0, addresses: [10.0.0.1/24]}\n  outside: {name: out0, addresses: [203.0.113.1/24]}\nnat:\n  ports: 1024-3071\n  port-block: 1024\n'),
      `${at(2, 11, 'interfaces.driver')}this driver serves one worker; packet serves several\n`
      + `${at(7, 15, 'nat.port-block')}2 blocks an address are too few: a worker has at least one; write fewer ports a block`)
    assert.match(lab.refused(...INTERFACES, '--driver', 'xdp', '--workers', '3').stderr, /^pinhole: --workers 3: --driver xdp: this driver serves one worker; packet serves several\n$/)
    for (const count of ['0', '17', '1e1']) assert.match(lab.refused(...INTERFACES, '--workers', count).stderr, /A whole number from 1 to 16 is needed/)
    assert.match(lab.refused('--simulate', '--config', file, '--workers', '2').stderr, /--workers is for interfaces/)
  })
})
