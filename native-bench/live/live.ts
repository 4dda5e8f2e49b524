/**
 * `npm run bench:live`: `pinhole run`, by each driver, against a C program on the same kind of sockets (forward.c) and against the
 * kernel's nftables NAT, in network namespaces that are made and removed here. A host sends UDP over veth, as fast as it can or at
 * a rate; what arrives behind the box is counted. Rounds alternate.
 *
 * Two figures of most: packets a second that came through, which need a quiet machine with two cores; and processor time a packet,
 * of all that has to do with it but the sending itself, which is right on a busy one as well.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { newResult, type Figures } from '../result.ts'
import { targetsText } from '../table.ts'
import { judgeTargets } from '../targets.ts'
import { C, createPlace, KERNEL, type Place, type Traffic } from './place.ts'
import { liveResults, type Measured } from './results.ts'
import { LIVE_ROWS, WARM, WARM_SECONDS, type LiveRow, type Settings } from './rows.ts'
import { liveText } from './table.ts'
import { LIVE_TARGETS } from './targets.ts'

const STATUS = { ok: 0, found: 1, usage: 2, failed: 3 } as const
const STATUS_HELP = `
Rows:
${LIVE_ROWS.map(({ name, title }) => `  ${name.padEnd(12)}  ${title}`).join('\n')}
rate-0 comes with --search only.

Exit status:
  0  done
  1  --targets: a target is missed
  2  the command line cannot be used, or something that is needed is not here
  3  a row failed: a box ended, or nothing came through`
const RINGS = ['packet', 'xdpdrv', 'xdpgeneric'], PINHOLES = [...RINGS, 'xdp', 'libpcap']
const SENDING_SECONDS = 1

interface Flags {
  rounds: number
  seconds: number
  load: number
  drivers: string[]
  rows?: string[]
  search?: true
  targets?: true
  json: string
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('A whole number from 1 is needed.')
  return Number(text)
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0.1 && value <= 60)) throw new InvalidArgumentError('A number from 0.1 to 60 is needed.')
  return value
}

const listOf = (known: readonly string[]) => (text: string): string[] => {
  const names = text.split(',')
  const stranger = names.find((name) => !known.includes(name))
  if (stranger !== undefined) throw new InvalidArgumentError(`${stranger} is none of ${known.join(', ')}.`)
  return names
}

const flags = new Command('bench:live')
  .description('Forward between two interfaces, by Pinhole, by a C program on the same sockets and by the kernel, alternately. '
    + 'Needs root, ip, nft, taskset and a C compiler.')
  .option('--rounds <n>', 'rounds', whole, 3)
  .option('--seconds <n>', 'length of a measurement of packets a second', seconds, 1.2)
  .option('--load <n>', 'packets/s behind which round trips are measured', whole, 100_000)
  .option('--drivers <list>', 'of Pinhole and, after c-, of the C program, with commas',
    listOf([...PINHOLES, ...RINGS.map((name) => C + name)]),
    [...RINGS.flatMap((driver) => [driver, C + driver]), 'libpcap'])
  .option('--rows <list>', 'those rows only, with commas', listOf(LIVE_ROWS.map(({ name }) => name)))
  .option('--search', 'only the highest rates without loss, with the time that takes')
  .option('--targets', 'hold the figures against the targets of the project')
  .option('--json <file>', 'where the result goes', '.bench/live.json')
  .addHelpText('after', STATUS_HELP)
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride((error) => process.exit(error.exitCode === 0 ? STATUS.ok : STATUS.usage))
  .parse().opts<Flags>()

function fail(message: string): never {
  process.stderr.write(`bench:live: ${message}\n`)
  process.exit(STATUS.usage)
}

const progress = (text: string) => { if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`) }

function rowsWanted(settings: Settings): LiveRow[] {
  const wanted = LIVE_ROWS.filter(({ name, kind }) => (flags.rows === undefined || flags.rows.includes(name))
    && (!settings.isLong || kind === 'search'))
    .filter(({ isOf }) => isOf(KERNEL, settings) || flags.drivers.some((who) => isOf(who, settings)))
  if (wanted.length === 0) fail('no row is left; --help names them')
  return wanted
}

/** One box after the other, each through all rows; who failed in a row is not asked for it again. */
async function measureAll(place: Place, rows: readonly LiveRow[], all: readonly string[], settings: Settings): Promise<Measured> {
  const measured: Measured = { rounds: new Map(), errors: new Map() }
  const of = <T>(map: Map<string, Map<string, T>>, who: string) => {
    if (!map.has(who)) map.set(who, new Map<string, T>())
    return map.get(who)!
  }
  for (let round = 0; round < flags.rounds; round++) {
    const alone = new Map<Traffic, number>()
    for (const { kind, traffic } of rows) if (kind === 'rate') alone.set(traffic, place.sendingNs(traffic, SENDING_SECONDS))
    for (const who of all) {
      const errors = of<string>(measured.errors, who), rounds = of<Figures[]>(measured.rounds, who)
      const left = rows.filter(({ name, isOf }) => isOf(who, settings) && !errors.has(name))
      if (left.length === 0) continue
      let current = left[0]
      try {
        await place.behind(who, async (box) => {
          box.blast('send', WARM, WARM_SECONDS, 0)
          for (current of left) {
            progress(`round ${round + 1} of ${flags.rounds}: ${who}, ${current.name}`)
            try {
              const figures = await current.measure({ ...settings, box, sendingNs: (traffic) => alone.get(traffic)! })
              rounds.set(current.name, [...rounds.get(current.name) ?? [], figures])
            } catch (error) {
              errors.set(current.name, (error as Error).message)
            }
          }
        })
      } catch (error) {
        for (const { name } of left) errors.set(name, (error as Error).message)
      }
    }
  }
  progress('')
  return measured
}

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) fail('root is needed: it makes network namespaces')
  const settings: Settings = { seconds: flags.seconds, load: flags.load, isLong: flags.search === true }
  const rows = rowsWanted(settings), all = [...flags.drivers, KERNEL]
  const compiler = spawnSync(process.env['CC'] ?? 'cc', ['--version'], { encoding: 'utf8' })
  if (compiler.status !== 0) fail('there is no C compiler')
  const place = createPlace()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      place.clear()
      process.exit(130)
    })
  }
  try {
    const result = newResult(flags.rounds, false, compiler.stdout.split('\n')[0])
    const measured = await measureAll(place, rows, all, settings)
    result.rows = liveResults(rows, all, settings, measured)
    mkdirSync(dirname(flags.json), { recursive: true })
    writeFileSync(flags.json, JSON.stringify(result, null, 2) + '\n')
    console.log(liveText(rows, all, measured))
    let status: number = STATUS.ok
    if (flags.targets === true) {
      const targets = judgeTargets(result.rows, LIVE_TARGETS, [])
      console.log('\n' + targetsText(targets))
      if (targets.some(({ passed, figure }) => !passed && figure !== null)) status = STATUS.found
    }
    return [...measured.errors.values()].some((errors) => errors.size > 0) ? STATUS.failed : status
  } finally {
    place.clear()
  }
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`bench:live: ${(error as Error).message}\n`)
  return STATUS.usage
})
