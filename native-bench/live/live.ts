/**
 * `npm run bench:live`: `pinhole run`, by each driver, against a C program on the same kind of sockets (forward.c) and against the
 * kernel's nftables masquerade, in network namespaces that are made and removed here. A host sends UDP of 60-byte frames over veth,
 * as fast as it can; what arrives behind the box is counted. Rounds alternate.
 *
 * Two figures: packets a second that came through, best and median of the rounds, which need a quiet machine with two cores; and
 * processor time a packet, of all that has to do with it but the sending itself, which is right on a busy one as well.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { max, median } from 'simple-statistics'
import { compile } from './compile.ts'
import { search, type Bound, type Goal } from '../search/mlr.ts'

const MAIN = resolve('dist/pinhole.js')
const INSIDE = '10.0.0.5', BOX = ['10.0.0.1/24', '203.0.113.1/24'], SINK = '203.0.113.254'
const TICK_NS = 1e7
const WARM_SECONDS = 3

interface Sample { sentKpps: number; kpps: number; cpuNs: number; boxNs: number }

function whole(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 is needed.')
  return Number(text)
}

const flags = new Command('bench:live')
  .description('Forward between two interfaces, by Pinhole, by a C program on the same sockets and by the kernel, alternately. '
    + 'Needs root, ip, nft, taskset and a C compiler.')
  .option('--flows <n>', 'flows of the traffic', whole, 4096)
  .option('--seconds <n>', 'length of a measurement', whole, 2)
  .option('--rounds <n>', 'rounds', whole, 5)
  .option('--drivers <list>', 'of Pinhole and, after c-, of the C program, with commas', (text) => text.split(','),
    ['packet', 'xdpdrv', 'xdpgeneric'].flatMap((driver) => [driver, `c-${driver}`]))
  .option('--search', 'in place of that: the rates at which nothing, and half a per cent, is lost')
  .option('--json', 'for programs')
  .parse().opts<{ flows: number; seconds: number; rounds: number; drivers: string[]; search?: true; json?: true }>()

function fail(message: string): never {
  process.stderr.write(`bench:live: ${message}\n`)
  process.exit(2)
}

if (process.getuid?.() !== 0) fail('root is needed: it makes network namespaces')
const dir = mkdtempSync(join(tmpdir(), 'pinhole-bench-live-')), BLAST = join(dir, 'blast'), FORWARD = join(dir, 'forward')
const name = (where: string) => `pinhole-bench-${where}-${process.pid}`

function must(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`)
  return stdout
}
const inside = (where: string, ...command: string[]) => must('ip', 'netns', 'exec', name(where), ...command)

function clear(): void {
  for (const where of ['host', 'box', 'sink']) spawnSync('ip', ['netns', 'del', name(where)], { stdio: 'ignore' })
}

function macOf(where: string, link: string): string {
  return (JSON.parse(inside(where, 'ip', '-j', 'link', 'show', link)) as { address: string }[])[0]!.address
}

/** Fresh namespaces; the Ethernet address of the box. */
function lay(): string {
  clear()
  for (const where of ['host', 'box', 'sink']) {
    must('ip', 'netns', 'add', name(where))
    inside(where, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1')
    inside(where, 'ip', 'link', 'set', 'lo', 'up')
  }
  for (const [end, where, address] of [['in0', 'host', `${INSIDE}/24`], ['out0', 'sink', `${SINK}/24`]] as const) {
    inside('box', 'ip', 'link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name(where))
    inside('box', 'ip', 'link', 'set', end, 'up')
    inside(where, 'ip', 'address', 'add', address, 'dev', 'eth0')
    inside(where, 'ip', 'link', 'set', 'eth0', 'up')
  }
  // What arrives is counted by its interface, and goes no further.
  inside('sink', 'nft', 'table ip raw { chain pre { type filter hook prerouting priority raw; ip protocol udp drop; }; }')
  return macOf('box', 'in0')
}

function arrived(): number {
  const [link] = JSON.parse(inside('sink', 'ip', '-j', '-s', 'link', 'show', 'eth0')) as { stats64: { rx: { packets: number } } }[]
  return link!.stats64.rx.packets
}

/** `rate`: packets a second, or 0: as fast as it goes. */
function blast(mac: string, seconds: number, rate = 0): [sent: number, ns: number] {
  const said = inside('host', 'taskset', '-c', '0', BLAST, 'eth0', mac, INSIDE, SINK,
    String(flags.flows), String(seconds), String(rate))
  return said.trim().split(' ').map(Number) as [number, number]
}

/** Processor time of a process so far. */
function cpuNs(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ').slice(11, 13).map(Number)
  return (user! + system!) * TICK_NS
}

/** `sendingNs`: what a packet costs that nobody receives. */
async function measure(mac: string, pid: number | null, sendingNs: number): Promise<Sample> {
  blast(mac, WARM_SECONDS)
  const before = arrived(), boxBefore = pid === null ? 0 : cpuNs(pid)
  const [sent, ns] = blast(mac, flags.seconds)
  const boxNs = (pid === null ? 0 : cpuNs(pid)) - boxBefore
  await new Promise((wake) => setTimeout(wake, 100))
  const through = arrived() - before
  const kpps = (packets: number) => packets / flags.seconds / 1000
  return { sentKpps: kpps(sent), kpps: kpps(through), cpuNs: (ns - sendingNs * sent + boxNs) / through, boxNs: boxNs / through }
}

/** A packet to an Ethernet address that nobody has costs the sending, and being thrown away. */
function sendingAlone(): number {
  lay()
  const [sent, ns] = blast('02:00:00:00:00:01', WARM_SECONDS)
  return ns / sent
}

/** What is done with a network behind its box: its Ethernet address, and the process of the box, if there is one. */
type Work<T> = (mac: string, pid: number | null) => Promise<T>

async function kernel<T>(work: Work<T>): Promise<T> {
  const mac = lay()
  inside('box', 'ip', 'address', 'add', BOX[0]!, 'dev', 'in0')
  inside('box', 'ip', 'address', 'add', BOX[1]!, 'dev', 'out0')
  inside('box', 'sysctl', '-qw', 'net.ipv4.ip_forward=1')
  inside('box', 'nft', 'table ip nat { chain post { type nat hook postrouting priority srcnat; oifname "out0" masquerade; }; }')
  return work(mac, null)
}

const OUTSIDE_ADDRESS = BOX[1]!.split('/')[0]!

async function pinhole<T>(driver: string, work: Work<T>): Promise<T> {
  const mac = lay()
  const ends = ['--inside', `in0,${BOX[0]}`, '--outside', `out0,${BOX[1]}`, '--pool', OUTSIDE_ADDRESS]
  // Not on one core alone: the optimizing compiler has a thread of its own.
  return withBox(mac, [process.execPath, MAIN, 'run', '--quiet', '--driver', driver, ...ends], work)
}

async function yardstick<T>(driver: string, work: Work<T>): Promise<T> {
  const mac = lay()
  const ends = [`in0,${BOX[0]},${macOf('host', 'eth0')}`, `out0,${OUTSIDE_ADDRESS},${macOf('sink', 'eth0')}`]
  return withBox(mac, [FORWARD, driver, ...ends], work)
}

/** @param command a program that forwards from when it says something, until SIGTERM */
async function withBox<T>(mac: string, command: string[], work: Work<T>): Promise<T> {
  const child = spawn('ip', ['netns', 'exec', name('box'), ...command], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((wake) => child.once('exit', wake))
  try {
    await new Promise<void>((ready, broken) => {
      child.stdout.once('data', () => ready())
      child.once('exit', () => broken(new Error('the box ended')))
    })
    return await work(mac, child.pid!)
  } finally {
    child.kill('SIGTERM')
    await ended
  }
}

const KERNEL = 'kernel, masquerade', C = 'c-', PINHOLE = 'pinhole, '
const nameOf = (driver: string) => driver.startsWith(C) ? driver : PINHOLE + driver

/** One after the other, by the name that it has in the table. */
async function inTurn<T>(work: Work<T>): Promise<Record<string, T>> {
  const results: Record<string, T> = {}
  for (const driver of flags.drivers) {
    results[nameOf(driver)] = await (driver.startsWith(C) ? yardstick(driver.slice(C.length), work) : pinhole(driver, work))
  }
  results[KERNEL] = await kernel(work)
  return results
}

/* Search for the throughput. */

const NO_LOSS: Goal = { name: 'no loss', lossRatio: 0, trialSeconds: 1, totalSeconds: 5, exceedRatio: 0.5, width: 0.05 }
const GOALS = [NO_LOSS, { ...NO_LOSS, name: '0.5 % lost', lossRatio: 0.005 }]
const LEAST_RATE = 10_000, SHORT_SECONDS = 0.2, MOST_TRIALS = 120

const searched: Work<Bound[]> = async (mac) => {
  const [sent] = blast(mac, WARM_SECONDS)
  const most = Math.ceil(sent / WARM_SECONDS)
  const { bounds } = await search({ least: LEAST_RATE, most, goals: GOALS, shortSeconds: SHORT_SECONDS, mostTrials: MOST_TRIALS },
    async (load, seconds) => {
      const before = arrived(), [count] = blast(mac, seconds, load)
      await new Promise((wake) => setTimeout(wake, 100))
      // What the sender could not send was not offered: the trial says nothing about so high a load.
      return Math.max(0, 1 - (arrived() - before) / Math.max(count, load * seconds))
    })
  return bounds
}

async function searchAll(): Promise<void> {
  const found = await inTurn(searched)
  if (flags.json === true) {
    process.stdout.write(JSON.stringify({ ...flags, node: process.version, found }, null, 1) + '\n')
    return
  }
  const kpps = (rate: number | null) => rate === null ? '-' : (rate / 1000).toFixed(0)
  const lines = Object.entries(found).flatMap(([who, bounds]) => bounds.map(({ goal, lower, upper, trials }) =>
    [who.padEnd(20), goal.padEnd(12), kpps(lower).padStart(12), kpps(upper).padStart(14), String(trials).padStart(8)].join('')))
  process.stdout.write(['kpps                            at least     less than  trials', ...lines, ''].join('\n'))
}

/* Rates side by side. */

async function ratesOfAll(): Promise<void> {
  const samples: Record<string, Sample[]> = {}
  for (let n = 0; n < flags.rounds; n++) {
    const sendingNs = sendingAlone()
    const round = await inTurn((mac, pid) => measure(mac, pid, sendingNs))
    for (const [who, sample] of Object.entries(round)) (samples[who] ??= []).push(sample)
  }
  const of = (list: Sample[], what: keyof Sample) => list.map((sample) => sample[what])
  if (flags.json === true) {
    process.stdout.write(JSON.stringify({ ...flags, node: process.version, samples }, null, 1) + '\n')
    return
  }
  const line = (title: string, ...cells: string[]) => title.padEnd(20) + cells.map((cell) => cell.padStart(11)).join('') + '\n'
  const kernels = samples[KERNEL]!
  const row = ([who, list]: [string, Sample[]]) => {
    const rates = of(list, 'kpps'), lost = list.map(({ sentKpps, kpps }) => 1 - kpps / sentKpps)
    const inC = who.startsWith(PINHOLE) ? samples[C + who.slice(PINHOLE.length)] : undefined
    // Neighbours in time are compared with each other.
    const ratio = (what: keyof Sample, to: Sample[] | undefined, unit: string) =>
      to === undefined ? '' : `${median(list.map((sample, i) => sample[what] / to[i]![what])).toFixed(2)} ${unit}`
    return line(who, max(rates).toFixed(0), median(rates).toFixed(0), `${(median(lost) * 100).toFixed(1)} %`,
      ratio('kpps', kernels, '×'), ratio('kpps', inC, '× C'), median(of(list, 'cpuNs')).toFixed(0),
      ratio('cpuNs', kernels, '×'), ratio('cpuNs', inC, '× C'),
      median(of(list, 'boxNs')).toFixed(0), ratio('boxNs', inC, '× C'))
  }
  const head = line('', 'best kpps', 'median', 'lost', '', '', 'ns/packet', '', '', 'by the box', '')
  process.stdout.write(head + Object.entries(samples).map(row).join('')
    + '× is the median of the ratios to the kernel in the same round, × C of those to the C program on the same kind of sockets\n')
}

try {
  compile('blast', dir)
  if (flags.drivers.some((driver) => driver.startsWith(C))) compile('forward', dir)
  await (flags.search === true ? searchAll() : ratesOfAll())
} catch (error) {
  process.stderr.write(`bench:live: ${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  clear()
  rmSync(dir, { recursive: true })
}
