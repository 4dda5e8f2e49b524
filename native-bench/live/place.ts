/** Where `bench:live` measures: host, box and sink in network namespaces that are made and removed here, and who is the box. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { compile } from './compile.ts'

const MAIN = resolve('dist/pinhole.js'), OFFLOAD = resolve('build/test/live/offload.js')
const INSIDE = '10.0.0.5', SINK = '203.0.113.254'
/** Everybody has the same outside addresses, so that 128k flows find ports. */
const INSIDE_BOX = '10.0.0.1/24', OUTSIDE_BOX = Array.from({ length: 8 }, (_, i) => `203.0.113.${i + 1}`), OUTSIDE_BITS = '/24'
const POOL = `${OUTSIDE_BOX[0]}-${OUTSIDE_BOX[7]}`
const NOBODY = '02:00:00:00:00:01'
const STDERR_BYTES = 2000

/** Who forwards: `nft`, a driver of Pinhole, or after `c-` one of the C program. */
export const KERNEL = 'nft', C = 'c-'

export interface Traffic {
  /** Of the first one. */
  first?: number
  flows: number
  /** Of a frame, without its check sequence. */
  bytes: number
}

/** What became of packets; times in ns. */
export interface Sent {
  sent: number
  /** Had arrived when the last was sent, and a little later. */
  through: number
  arrived: number
  wallNs: number
  /** Processor time of the sender, and of all that the kernel did for it. */
  cpuNs: number
  /** What the mode of blast.c tells besides. */
  rest: number[]
}

export interface Box {
  /** null: it is the kernel. */
  pid: number | null
  /** Packets to it, by a mode of blast.c and its arguments. @throws Error */
  blast(mode: 'send' | 'open' | 'ping', traffic: Traffic, ...args: number[]): Sent
}

export interface Place {
  /** Does work with a fresh network behind a fresh box. @throws Error if there is no such box here, or it ended */
  behind(who: string, work: (box: Box) => Promise<void>): Promise<void>
  /** Processor time of sending alone, in ns a packet: those to an Ethernet address that nobody has are thrown away. */
  sendingNs(traffic: Traffic, seconds: number): number
  clear(): void
}

function must(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}

/** Processor time of all threads of a process so far. */
export function processNs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .reduce((ns, thread) => ns + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]), 0)
}

/** @throws Error with what the compiler says */
export function createPlace(): Place {
  const dir = mkdtempSync(join(tmpdir(), 'pinhole-bench-live-'))
  const name = (where: string) => `pinhole-bench-${where}-${process.pid}`
  const inside = (where: string, ...command: string[]) => must('ip', 'netns', 'exec', name(where), ...command)
  let running: ChildProcess | null = null

  const programs = { blast: '', forward: '' }
  try {
    programs.blast = compile('blast', dir)
    programs.forward = compile('forward', dir)
  } catch (error) {
    rmSync(dir, { recursive: true })
    throw error
  }

  function forget(): void {
    for (const where of ['host', 'box', 'sink']) spawnSync('ip', ['netns', 'del', name(where)], { stdio: 'ignore' })
  }

  function macOf(where: string, link: string): string {
    return (JSON.parse(inside(where, 'ip', '-j', 'link', 'show', link)) as { address: string }[])[0].address
  }

  function lay(): void {
    forget()
    for (const where of ['host', 'box', 'sink']) {
      must('ip', 'netns', 'add', name(where))
      inside(where, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1')
      inside(where, 'ip', 'link', 'set', 'lo', 'up')
    }
    for (const [end, where, address] of [['in0', 'host', `${INSIDE}/24`], ['out0', 'sink', `${SINK}${OUTSIDE_BITS}`]]) {
      inside('box', 'ip', 'link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name(where))
      inside('box', 'ip', 'link', 'set', end, 'up')
      inside(where, 'ip', 'address', 'add', address, 'dev', 'eth0')
      inside(where, 'ip', 'link', 'set', 'eth0', 'up')
      // Nobody joins frames here, and the ring of libpcap is larger when nobody could.
      inside('box', process.execPath, OFFLOAD, end, '0')
    }
    // What arrives is counted by its interface, and goes no further; echo requests are answered.
    inside('sink', 'nft', 'table ip raw { chain pre { type filter hook prerouting priority raw; ip protocol udp drop; }; }')
  }

  function blast(mode: string, mac: string, { first = 0, flows, bytes }: Traffic, ...args: number[]): Sent {
    const said = inside('host', 'taskset', '-c', '0', programs.blast, mode, 'eth0', mac, INSIDE, SINK,
      ...[first, flows, bytes].map(String), name('sink'), ...args.map(String))
    const [sent, through, arrived, wallNs, cpuNs, ...rest] = said.trim().split(' ').map(Number)
    return { sent, through, arrived, wallNs, cpuNs, rest }
  }

  /** The command of who is a process, which forwards from when it says something, until SIGTERM; null: the kernel does it. */
  function begin(who: string): string[] | null {
    if (who === KERNEL) {
      inside('box', 'ip', 'address', 'add', INSIDE_BOX, 'dev', 'in0')
      for (const address of OUTSIDE_BOX) inside('box', 'ip', 'address', 'add', address + OUTSIDE_BITS, 'dev', 'out0')
      inside('box', 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
      // What masquerade does, which has but one address.
      const rule = `oifname "out0" snat to ${POOL}`
      inside('box', 'nft', `table ip nat { chain post { type nat hook postrouting priority srcnat; ${rule}; }; }`)
      return null
    }
    if (who.startsWith(C)) {
      const ends = [`in0,${INSIDE_BOX},${macOf('host', 'eth0')}`, `out0,${POOL},${macOf('sink', 'eth0')}`]
      return [programs.forward, who.slice(C.length), ...ends]
    }
    return [process.execPath, MAIN, 'run', '--quiet', '--driver', who, '--inside', `in0,${INSIDE_BOX}`,
      '--outside', `out0,${OUTSIDE_BOX[0]}${OUTSIDE_BITS}`, '--pool', POOL]
  }

  async function behind(who: string, work: (box: Box) => Promise<void>): Promise<void> {
    lay()
    const mac = macOf('box', 'in0'), command = begin(who)
    const box = (pid: number | null): Box => ({ pid, blast: (mode, traffic, ...args) => blast(mode, mac, traffic, ...args) })
    if (command === null) return work(box(null))
    const child = spawn('ip', ['netns', 'exec', name('box'), ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-STDERR_BYTES) })
    running = child
    const closed = new Promise((wake) => child.once('close', wake))
    try {
      await new Promise<void>((ready, broken) => {
        child.stdout.once('data', () => ready())
        child.once('error', broken)
        child.once('close', (status, signal) => broken(new Error(`the box ended (${signal ?? status}): ${said.trim()}`)))
      })
      // Its main thread alone, with the host on the other core: woken on that of the host it would stay there, and poll while the
      // host waits to read the answer. The optimizing compiler has a thread of its own.
      must('taskset', '-c', '-p', '1', String(child.pid))
      await work(box(child.pid!))
    } finally {
      child.kill('SIGTERM')
      await closed
      running = null
    }
  }

  return {
    behind,
    sendingNs(traffic, seconds) {
      lay()
      const { sent, cpuNs } = blast('send', NOBODY, traffic, seconds, 0)
      return cpuNs / sent
    },
    clear() {
      running?.kill('SIGKILL')
      forget()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
