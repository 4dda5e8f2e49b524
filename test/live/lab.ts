/**
 * Three network namespaces of their own, removed at the end: an inside host, the box, and an outside host behind which there is a
 * network. Nothing of them touches the machine's own interfaces.
 *
 *   inside eth0 10.0.0.5 --- in0 10.0.0.1  box  203.0.113.1 out0 --- eth0 203.0.113.254 outside, 198.51.100.7 behind it
 *          2001:db8:1::5         :1::1              :2::1                 2001:db8:2::fe        2001:db8:9::7
 *
 * With a switch in a fourth, both hosts and in0 of the box are at that, and there is no out0: what parts the sides are VLANs.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import * as path from 'node:path'
import type { DriverChoice } from '../../src/phy/drivers.ts'

export const MAIN = path.resolve('build/src/app/cli/main.js'), OFFLOAD = path.resolve('build/test/live/offload.js')
const TIMEOUT_MS = 60_000
export const INTERFACES = [
  '--inside', 'in0,10.0.0.1/24,2001:db8:1::1/64', '--outside', 'out0,203.0.113.1/24,2001:db8:2::1/64',
  '--pool', '203.0.113.1-203.0.113.4', '--gateway', '203.0.113.254', '--gateway', '2001:db8:2::fe',
]
export type Place = 'inside' | 'box' | 'outside' | 'switch'

/** Why there is no lab here, or null; `isFault`: there should be one. */
export function obstacle(): { reason: string; isFault: boolean } | null {
  if (process.platform !== 'linux') return { reason: 'this is not Linux', isFault: false }
  if (process.getuid?.() !== 0) return { reason: 'not root: no network namespace can be made', isFault: false }
  const tools = [['ip', 'iproute2'], ['ping', 'iputils-ping'], ['traceroute', 'traceroute'], ['tcpdump', 'tcpdump'], ['curl', 'curl'], ['iperf3', 'iperf3'], ['setpriv', 'util-linux'], ['sysctl', 'procps']]
  const missing = tools.filter(([tool]) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0)
  if (missing.length > 0) return { reason: `missing: ${missing.map(([tool, name]) => `${tool} (${name})`).join(', ')}`, isFault: true }
  if (!existsSync('native/packet.node')) return { reason: 'the driver is not built: node scripts/native.js says why', isFault: true }
  const name = `pinhole-try-${process.pid}`
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return { reason: 'root here may not make network namespaces', isFault: false }
  const veth = spawnSync('ip', ['-n', name, 'link', 'add', 'try0', 'type', 'veth', 'peer', 'name', 'try1'])
  spawnSync('ip', ['netns', 'del', name])
  if (veth.status !== 0) return { reason: 'this kernel has no veth', isFault: false }
  return existsSync('/proc/net/if_inet6') ? null : { reason: 'this kernel has no IPv6', isFault: false }
}

/** Why there are no AF_XDP sockets here, or null. */
export function xdpObstacle(): string | null {
  if (!/^XDP /m.test(readFileSync('/proc/net/protocols', 'utf8'))) return 'this kernel has no AF_XDP'
  const held = BigInt('0x' + /^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!)
  return [CAP_NET_ADMIN, CAP_BPF].every((one) => (held >> one & 1n) === 1n) ? null : 'this root has neither CAP_NET_ADMIN nor CAP_BPF'
}

const CAP_NET_ADMIN = 12n, CAP_BPF = 39n

/** Why there is no libpcap for Node here, or null. */
export function capObstacle(): string | null {
  try {
    createRequire(import.meta.url)('cap')
    return null
  } catch (error) {
    return `the package cap is not here: ${(error as Error).message.split('\n')[0]}`
  }
}

export interface Ran { status: number | null; stdout: string; stderr: string }

export interface RunningBox {
  child: ChildProcess
  /** Name of the line that said it was ready. */
  ready: string
  stdout(): string
  stderr(): string
  /** Ends it by SIGTERM. */
  end(): Promise<Ran>
}

export interface Lab {
  /** Runs a program in a namespace, to its end. */
  run(where: Place, ...command: string[]): Ran
  /** The same; throws what it says if it fails. */
  must(where: Place, ...command: string[]): string
  /** The same while others go on. */
  later(where: Place, ...command: string[]): Promise<Ran>
  start(where: Place, ...command: string[]): ChildProcess
  /** What programs there find as /etc/resolv.conf. */
  resolver(where: Place, text: string): void
  /** A box between in0 and out0, once it is ready. */
  box(...args: string[]): Promise<RunningBox>
  /** The same, started by another program that takes a command. */
  boxBy(program: string[], ...args: string[]): Promise<RunningBox>
  /** One that does not start: what it says. */
  refused(...args: string[]): Ran
  close(): void
}

/** @param driver of its boxes; `hasSwitch`: both hosts are at a switch, as the box is */
export function openLab(driver: DriverChoice = 'auto', hasSwitch = false): Lab {
  const places: Place[] = ['inside', 'box', 'outside', ...hasSwitch ? ['switch'] as const : []]
  const name = (where: Place) => `pinhole-${where}-${process.pid}`
  const started: ChildProcess[] = []
  // Doors for recordings are no part of a namespace: other boxes are not met there.
  const runtime = mkdtempSync(path.join(tmpdir(), 'pinhole-run-'))
  process.env.RUNTIME_DIRECTORY = runtime
  const argv = (where: Place, command: string[]) => ['netns', 'exec', name(where), ...command]

  function run(where: Place, ...command: string[]): Ran {
    const { status, stdout, stderr } = spawnSync('ip', argv(where, command), { encoding: 'utf8', timeout: TIMEOUT_MS })
    return { status, stdout, stderr }
  }

  function must(where: Place, ...command: string[]): string {
    const { status, stdout, stderr } = run(where, ...command)
    if (status !== 0) throw new Error(`${command.join(' ')}: ${status}: ${stdout}${stderr}`)
    return stdout
  }

  function start(where: Place, ...command: string[]): ChildProcess {
    const child = spawn('ip', argv(where, command), { stdio: ['pipe', 'pipe', 'pipe'] })
    started.push(child)
    return child
  }

  function collect(child: ChildProcess): { ran: Promise<Ran>; stdout: () => string; stderr: () => string } {
    let stdout = '', stderr = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    const ran = new Promise<Ran>((resolve) => child.on('close', (status) => resolve({ status, stdout, stderr })))
    return { ran, stdout: () => stdout, stderr: () => stderr }
  }

  for (const where of places) {
    const { status, stderr } = spawnSync('ip', ['netns', 'add', name(where)], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    must(where, 'ip', 'link', 'set', 'lo', 'up')
    // A kernel answers one address with six errors, and then with one a second: how many a test may provoke depended on its pace.
    must(where, 'sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0', 'net.ipv6.icmp.ratelimit=0')
  }
  if (hasSwitch) {
    must('switch', 'sh', '-c', 'for all in all default; do echo 1 > /proc/sys/net/ipv6/conf/$all/disable_ipv6; done')
    must('switch', 'ip', 'link', 'add', 'br0', 'type', 'bridge')
    must('switch', 'ip', 'link', 'set', 'br0', 'up')
  }
  const pair = (here: Place, end: string, where: Place, other: string) => {
    must(here, 'ip', 'link', 'add', end, 'type', 'veth', 'peer', 'name', other, 'netns', name(where))
    must(here, 'ip', 'link', 'set', end, 'up')
    must(where, 'ip', 'link', 'set', other, 'up')
    if (here === 'switch') must(here, 'ip', 'link', 'set', end, 'master', 'br0')
  }
  if (hasSwitch) pair('switch', 'to-box', 'box', 'in0')
  for (const [end, where] of [['in0', 'inside'], ['out0', 'outside']] as const) {
    if (hasSwitch) pair('switch', `to-${where}`, where, 'eth0')
    else pair('box', end, where, 'eth0')
    // What a network card does for a host that shares its memory with the box is undone: frames are as on a wire.
    must(where, process.execPath, OFFLOAD, 'eth0', '0')
  }
  const set = (where: Place, lines: string) => {
    for (const line of lines.split('\n').map((text) => text.trim()).filter((text) => text !== '')) must(where, 'ip', ...line.split(' '))
  }
  set('inside', `address add 10.0.0.5/24 dev eth0
    address add 10.0.0.6/24 dev eth0
    address add 2001:db8:1::5/64 dev eth0 nodad
    route add default via 10.0.0.1
    -6 route add default via 2001:db8:1::1`)
  set('outside', `address add 203.0.113.254/24 dev eth0
    address add 198.51.100.7/32 dev lo
    address add 2001:db8:2::fe/64 dev eth0 nodad
    address add 2001:db8:9::7/128 dev lo nodad
    -6 route add 2001:db8:1::/64 via 2001:db8:2::1`)

  async function boxBy(program: string[], ...args: string[]): Promise<RunningBox> {
    const child = start('box', ...program, process.execPath, MAIN, 'run', '--driver', driver, ...args)
    const { ran, stdout, stderr } = collect(child)
    await new Promise<void>((resolve, reject) => {
      child.stdout!.on('data', () => { if (stdout().includes('\n')) resolve() })
      void ran.then(() => reject(new Error(`it ended: ${stdout()}${stderr()}`)))
    })
    return {
      child, stdout, stderr, ready: stdout().trim(),
      async end() {
        child.kill('SIGTERM')
        return ran
      },
    }
  }

  return {
    run, must, start, boxBy,
    resolver(where, text) {
      const folder = path.join('/etc/netns', name(where))
      mkdirSync(folder, { recursive: true })
      writeFileSync(path.join(folder, 'resolv.conf'), text)
    },
    later: (where, ...command) => collect(start(where, ...command)).ran,
    refused: (...args) => run('box', process.execPath, MAIN, 'run', '--driver', driver, ...args),
    box: (...args) => boxBy([], ...args),
    close() {
      for (const child of started) child.kill('SIGKILL')
      rmSync(runtime, { recursive: true, force: true })
      for (const where of places) {
        spawnSync('ip', ['netns', 'del', name(where)])
        rmSync(path.join('/etc/netns', name(where)), { recursive: true, force: true })
      }
    },
  }
}
