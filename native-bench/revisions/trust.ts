/**
 * How far the verdicts of `compare` can be trusted: comparisons of a revision with itself, and with itself made slower in the
 * packet path by a known part. `node build/native-bench/revisions/trust.js [COMPARISONS] [PERCENT] [ROW]`; the result stands in
 * native-bench/README.md. What is planted is a chain of multiplications for each packet, as long as a measure of its own, of many
 * more pairs, says that the part takes. It stands in a function too long to be inlined: what else the compiler makes of the packet
 * path should not change. (It still may, by as much as the part, so what is measured is the very program that is compared.)
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../child.ts'
import { roomyDirectory } from '../inputs.ts'
import { allRows } from '../rows.ts'
import { ENGINE_CHILD, engineCaptures } from '../runners.ts'
import { median } from '../statistics.ts'
import { checkOut, removeCheckOut, WORK_TREE } from './checkout.ts'
import { createProcessors } from './processors.ts'
import { measurePair, type Turns } from './sliced.ts'
import { judgePairs, looks, type Judgement } from './verdict.ts'

const TURNS: Turns = { warmBatches: 6000, batches: 800, turns: 30 }
const EFFECT = 0.03, MOST_PAIRS = 36, CALIBRATION_PAIRS = 48, MANY = 12
/** Where the plane begins to measure a batch in the bundled program, and what is put behind it. */
const ANCHOR = 'let start = clockNs();'
/** Multiplications of one round of the planted function: so many that V8 does not inline it. */
const UNROLLED = 32
const PLANTED = `let pinholePlanted = 1;
function pinholePlant(rounds) {
  let planted = pinholePlanted;
  for (let n = rounds; n > 0; n--) {
${'    planted = Math.imul(planted, 1664525) + 1013904223 | 0;\n'.repeat(UNROLLED)}  }
  pinholePlanted = planted;
}
`
/** Calibrated so long, and so near to the part that is asked for. */
const MOST_CALIBRATIONS = 8, NEAR = 0.1

const ENGINE_ROW = 'forward/flows-16k-64b'
const [comparisons = '20', percent = '5', rowName = ENGINE_ROW] = process.argv.slice(2)
const row = allRows(false).find(({ name, kind }) => name === rowName && kind === 'engine')
const wrong = !/^[1-9]\d*$/.test(comparisons) ? `COMPARISONS is a whole number from 1 on, and not ${comparisons}`
  : !(Number(percent) > 0 && Number(percent) <= 100) ? `PERCENT is above 0 and at most 100, and not ${percent}`
  : row?.kind !== 'engine' ? `ROW is one of known flows, as ${ENGINE_ROW}, and not ${rowName}` : null
if (wrong !== null || row?.kind !== 'engine') {
  console.error(`trust: ${wrong}\nusage: trust.js [COMPARISONS] [PERCENT] [ROW]`)
  process.exit(2)
}

const directory = mkdtempSync(join(roomyDirectory(), 'pinhole-trust-')), tree = join(directory, 'tree')
process.on('exit', () => {
  removeCheckOut(ROOT, tree)
  rmSync(directory, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))

checkOut(ROOT, WORK_TREE, tree)
const file = join(tree, ENGINE_CHILD), slower = file.replace(/\.js$/, '-slower.js'), text = readFileSync(file, 'utf8')
if (text.split(ANCHOR).length !== 2) throw new Error('the packet path has no such place')
const { args } = engineCaptures(row.parameters, directory)

function plant(perPacket: number): void {
  writeFileSync(slower, PLANTED + text.replace(ANCHOR, `${ANCHOR}\n  pinholePlant((to - from) * ${perPacket / UNROLLED} | 0);`))
}

const processors = createProcessors()
let pairsMade = 0
/** Of a multiplication, as a part of a packet's time. */
let cost = 0

async function quotient(programs: readonly [string, string]): Promise<number> {
  processors?.next()
  // Each of the two begins as often on each processor.
  return (await measurePair(programs, args, TURNS, (pairsMade++ & 2) !== 0)).quotient
}

async function change(pairs: number): Promise<number> {
  const quotients: number[] = []
  while (quotients.length < pairs) quotients.push(await quotient([file, slower]))
  return median(quotients) - 1
}

/** Plants multiplications that take so large a part of the time of a packet. */
async function calibrate(part: number): Promise<void> {
  let perPacket = MANY
  for (let n = 1; n <= MOST_CALIBRATIONS; n++) {
    plant(perPacket)
    const found = await change(n === 1 ? CALIBRATION_PAIRS / 4 : CALIBRATION_PAIRS)
    console.log(`${perPacket.toFixed(2)} multiplications a packet: ${(found * 100).toFixed(1)} % slower`)
    if (Math.abs(found / part - 1) <= NEAR) return
    // By the part of the cost that is known to be theirs: near to it, what one of them costs is lost in what else has changed.
    if (n === 1) cost = found / perPacket
    perPacket += (part - found) / cost
  }
  throw new Error(`no number of multiplications takes ${part * 100} % here`)
}

async function compare(programs: readonly [string, string]): Promise<Judgement> {
  const quotients: number[] = []
  let judgement: Judgement | null = null
  for (const most of looks(MOST_PAIRS)) {
    while (quotients.length < most) quotients.push(await quotient(programs))
    judgement = judgePairs(quotients, EFFECT)
    if (judgement.verdict !== 'undecided') break
  }
  return judgement!
}

await calibrate(Number(percent) / 100)
// In turns, so that the hours of a machine are shared between both.
const pairs = [['the same', [file, file]], [`${percent} % slower`, [file, slower]]] as const
const found = new Map<string, number>()
for (let n = 1; n <= Number(comparisons); n++) {
  for (const [what, programs] of pairs) {
    const { verdict, change: by, low, high, pairs: count } = await compare(programs)
    const said = `${what}: ${verdict === 'undecided' ? 'no change' : verdict}`
    found.set(said, (found.get(said) ?? 0) + 1)
    const inPercent = [by, low, high].map(part => (part * 100).toFixed(1))
    console.log(`${n}. ${said}, ${inPercent[0]} % (${inPercent[1]} … ${inPercent[2]}), ${count} pairs`)
  }
}
for (const [said, count] of found) console.log(`${said}: ${count} of ${comparisons}`)
