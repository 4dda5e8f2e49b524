/** `pinhole record`: what passes the interfaces of a box that runs, into files of pcapng. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { KINDS, MARK_OUTSIDE, MARK_SENT } from '../../phy/tap.ts'
import { parseDuration } from '../config/quantity.ts'
import { FilterError } from '../filter/lex.ts'
import { asksOutcome } from '../filter/match.ts'
import { explainFault, parseFilter } from '../filter/parse.ts'
import { openDoor } from '../record/door.ts'
import { openRecordFiles, type RecordFiles, type RecordSummary } from '../record/files.ts'
import { counted, grouped } from '../figures.ts'
import { checkOutputs } from './outputs.ts'
import { Failure, STATUS } from './status.ts'
import { positive } from './values.ts'

interface RecordFlags {
  write: string
  box?: string
  side: 'inside' | 'outside' | 'both'
  direction: 'in' | 'out' | 'both'
  snap: number
  count?: number
  duration?: number
  files?: number
  size?: number
  seconds?: number
  json?: true
}

const SNAP_MOST_BYTES = 65_535
/** What is on its way when the recording ends has so long to come. */
const LAST_MS = 5000

export function registerRecord(program: Command): void {
  program.command('record')
    .summary('record what passes a running box, for a replay')
    .description('Record what passes the interfaces of a box that `pinhole run` runs on this machine, as pcapng that '
      + '`pinhole replay` forwards again by the same settings. The box goes on as it is, and never waits for the disk.')
    .argument('[filter...]', "which frames, in tcpdump's syntax, and `side inside` or `side outside`; without it all")
    .requiredOption('-w, --write <file>', 'where to (pcapng; - is standard output)')
    .option('--box <pid|path>', 'which box, by the number of its process or its --record-door; without it the only one there is')
    .addOption(new Option('--side <side>', 'interfaces').choices(['inside', 'outside', 'both']).default('both'))
    .addOption(new Option('--direction <direction>', 'frames that the box received, or sent').choices(['in', 'out', 'both'])
      .default('both'))
    .option('--snap <bytes>', 'keep so much of each frame', snapBytes, SNAP_MOST_BYTES)
    .option('--count <n>', 'end after n frames', positive)
    .option('--duration <time>', 'end after that time, as in 30s or 5m', duration)
    .option('--size <bytes>', 'begin another file before one has more, as in 500k, 100M or 2G', size)
    .option('--seconds <n>', 'begin another file when one has been open so long', positive)
    .option('--files <n>', 'keep the newest n files, with --size or --seconds', positive)
    .option('--json', 'summary as JSON')
    .addHelpText('after', `
It ends by SIGINT or SIGTERM, --count or --duration, or with the box: status 0, whole files, and a summary. Status 2: the filter or
an option cannot be used; 4: a file cannot be written; 5: no such box, or it went without a word, and files hold what came before.
Frames wait in 16 MiB of memory; what finds no room there is lost and counted, in the summary and in the last file.
A pipe may be the output: what its reader is too slow for is lost and counted likewise, and when it goes the recording ends.
Files of --size and --seconds are named as dumpcap names them: lab_00001_20261129193000.pcapng.

Filter: host, net, port, portrange, proto, tcp, udp, icmp, icmp6, ip, ip6, arp, ether host, vlan, src and dst, less, greater,
tcp[13] & 2 != 0 and the like, not, and, or, parentheses; and side inside, side outside. Each frame is asked by itself: one that the
NAT rewrites has another address on the other side. The outside host is the same on both: host 198.51.100.7 has both halves of
its flows.

Examples:
  pinhole record -w incident.pcapng && pinhole replay incident.pcapng --explain
  pinhole record -w lab.pcapng --files 10 --size 100M
  pinhole record -w dns.pcapng --duration 1m --side inside 'udp port 53 or icmp'`)
    .action(run)
}

function snapBytes(text: string): number {
  const bytes = positive(text)
  if (bytes > SNAP_MOST_BYTES) throw new InvalidArgumentError(`A frame has at most ${SNAP_MOST_BYTES} bytes.`)
  return bytes
}

function duration(text: string): number {
  const parsed = parseDuration(text)
  if (!parsed.ok) {
    throw new InvalidArgumentError([parsed.message, ...parsed.suggestion === undefined ? [] : [parsed.suggestion]].join('; '))
  }
  if (parsed.value < 1 || parsed.value >= 2 ** 31) throw new InvalidArgumentError('From 1ms to 24d is possible.')
  return parsed.value
}

const UNITS: Record<string, number> = { '': 1, k: 1024, M: 1024 ** 2, G: 1024 ** 3 }

function size(text: string): number {
  const [, number, unit] = /^([1-9]\d{0,11})([kMG]?)$/.exec(text) ?? []
  if (number === undefined) throw new InvalidArgumentError('A number of bytes is needed, with k, M or G if you like.')
  return Number(number) * UNITS[unit!]!
}

function kinds({ side, direction }: RecordFlags): number {
  let bits = 0
  for (let kind = 0; kind < KINDS; kind++) {
    const isSide = side === 'both' || (side === 'outside') === ((kind & MARK_OUTSIDE) !== 0)
    const isDirection = direction === 'both' || (direction === 'out') === ((kind & MARK_SENT) !== 0)
    if (isSide && isDirection) bits |= 1 << kind
  }
  return bits
}

function checkFilter(text: string): void {
  if (text === '') return
  try {
    if (!asksOutcome(parseFilter(text))) return
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    throw new Failure(STATUS.usage, `filter: ${explainFault(text, error)}`, { cause: error })
  }
  throw new Failure(STATUS.usage, 'filter: what becomes of a frame is not known when it is recorded; of the words of our own, '
    + '`side` may be asked for. `pinhole replay --explain` takes them all')
}

async function run(words: string[], flags: RecordFlags): Promise<void> {
  const filter = words.join(' ')
  checkFilter(filter)
  const isRing = flags.size !== undefined || flags.seconds !== undefined
  if (flags.files !== undefined && !isRing) {
    throw new Failure(STATUS.usage, '--files needs --size or --seconds, by which a file ends')
  }
  if (flags.write === '-' && isRing) throw new Failure(STATUS.usage, 'standard output is one file: no --size or --seconds')
  if (!isRing) checkOutputs({ capture: null, config: null }, [flags.write])
  const door = await openDoor(flags.box)
  const over = new AbortController()
  let files: RecordFiles
  try {
    // A box that refuses leaves files as they are.
    await door.ask({ filter, kinds: kinds(flags), snapBytes: flags.snap })
    files = openRecordFiles({
      path: flags.write, files: flags.files ?? Infinity,
      sizeBytes: flags.size ?? Infinity, ageMs: (flags.seconds ?? Infinity) * 1000, count: flags.count ?? Infinity,
      nowMs: () => Date.now(), signal: over.signal,
    })
  } catch (error) {
    door.close()
    throw error
  }
  let timer: NodeJS.Timeout | null = null
  let isEnding = false
  const finish = () => {
    if (isEnding) return
    isEnding = true
    door.finish()
    timer = setTimeout(() => {
      over.abort()
      door.close()
    }, LAST_MS)
  }
  // Once: a second signal has its usual effect.
  process.once('SIGINT', finish)
  process.once('SIGTERM', finish)
  const limit = flags.duration === undefined ? null : setTimeout(finish, flags.duration)
  let summary: RecordSummary
  try {
    process.stderr.write(`recording ${door.greeting.links.join(' to ')}\n`)
    for await (const piece of door.data()) if (!await files.take(piece)) finish()
  } catch (error) {
    // A box that is killed resets the connection.
    if (error instanceof Failure || (error as NodeJS.ErrnoException).code === undefined) throw error
  } finally {
    if (limit !== null) clearTimeout(limit)
    if (timer !== null) clearTimeout(timer)
    process.off('SIGINT', finish)
    process.off('SIGTERM', finish)
    door.close()
    summary = files.close()
  }
  const told = flags.write === '-' ? process.stderr : process.stdout
  told.write((flags.json === true ? JSON.stringify(summary) : summaryText(summary)) + '\n')
  if (!summary.isWhole) throw new Failure(STATUS.connection, 'the box went without a word; what came before is recorded')
}

function summaryText({ packets, bytes, files, deletedFiles, lostPackets }: RecordSummary): string {
  const deleted = deletedFiles === 0 ? '' : `, ${grouped(deletedFiles)} deleted`
  const where = files[0] === '-' ? 'standard output' : files.length === 1 ? files[0]! : `${files.length} files from ${files[0]!} on`
  return `${counted(packets, 'frame')}, ${counted(bytes, 'byte')} in ${where}${deleted}; ${grouped(lostPackets)} lost`
}
