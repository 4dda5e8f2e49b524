/** Filters of ours against tcpdump, on real captures and our own: the same filter, the same number of packets. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { compileFilter, type Match, type Seen } from '../src/app/filter/match.ts'
import { parseFilter } from '../src/app/filter/parse.ts'
import { captureBytes, openCapture } from '../src/phy/capture-reader.ts'
import { LINK_ETHERNET, createFrames } from '../src/wire/frames.ts'
import { createLink } from '../src/wire/link.ts'
import { FILTERS } from './tcpdump-filters.ts'

const shared = path.resolve('../shared/pcaps')
const folders = ['pcaps', ...fs.existsSync(shared) ? [shared] : []]
const hasTcpdump = spawnSync('tcpdump', ['--version']).status === 0
const skip = hasTcpdump || process.env['CI'] === 'true' ? false : 'no tcpdump on PATH: nobody else has counted'
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-filter-'))
after(() => fs.rmSync(scratch, { recursive: true }))

const frames = createFrames({ capacity: 256, poolBytes: captureBytes() })
const link = createLink(frames)
const hasTag = compileFilter(parseFilter('vlan'))
const MOST_BYTES = 4_000_000

/** Runs a capture past `see`. False: it is damaged. */
async function scan(file: string, see: (packet: Seen) => void): Promise<boolean> {
  const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: captureBytes() })
  const packet = { view: frames.view } as Seen
  do {
    for (let count = reader.fill(); count > 0; count = reader.fill()) {
      link.locate(count)
      for (let i = 0; i < count; i++) {
        for (const column of ['off', 'capBytes', 'wireBytes', 'link', 'net', 'l3'] as const) packet[column] = frames[column][i]
        see(packet)
      }
    }
  } while (await reader.more())
  await reader.close()
  return reader.fault === null
}

/** tcpdump reads a list of files of one link type, each of one interface. */
async function captures(): Promise<{ plain: string[]; tagged: string[] }> {
  const plain: string[] = [], tagged: string[] = []
  const files = folders.flatMap((folder) => fs.readdirSync(folder).map((name) => path.join(folder, name)))
    .filter((file) => /\.(pcap|pcapng)$/.test(file) && !path.basename(file).startsWith('fmt-') && fs.statSync(file).size < MOST_BYTES)
  for (const file of files) {
    let tags = 0, others = 0
    const isWhole = await scan(file, (packet) => {
      if (packet.link !== LINK_ETHERNET) others++
      else if (hasTag(packet)) tags++
    })
    if (isWhole && others === 0) (tags > 0 ? tagged : plain).push(file)
  }
  return { plain, tagged }
}

/** Root's tcpdump becomes another user once it has the first file, who may not reach the others. */
const asWho = process.getuid?.() === 0 ? ['-Z', 'root'] : []

function tcpdump(list: string, filter: string): number {
  const { stdout, stderr } = spawnSync('tcpdump', [...asWho, '-n', '--count', '-V', list, filter], { encoding: 'utf8' })
  const count = /^(\d+) packets?$/m.exec(stdout)?.[1]
  assert.ok(count !== undefined, `${filter}: ${stderr}`)
  return Number(count)
}

async function compare(name: string, files: readonly string[], pairs: readonly { ours: string; theirs: string }[]): Promise<number> {
  const list = path.join(scratch, name)
  fs.writeFileSync(list, files.map((file) => file + '\n').join(''))
  const counts = pairs.map(() => 0)
  const compiled: Match[] = pairs.map(({ ours }) => compileFilter(parseFilter(ours)))
  let packets = 0
  for (const file of files) {
    await scan(file, (packet) => {
      packets++
      compiled.forEach((match, n) => { if (match(packet)) counts[n]++ })
    })
  }
  const theirs = pairs.map((pair) => tcpdump(list, pair.theirs))
  assert.deepEqual(pairs.map(({ ours }, n) => `${ours}: ${counts[n]}`), pairs.map(({ ours }, n) => `${ours}: ${theirs[n]}`))
  return packets
}

test('filter: each of the list counts as many packets of the captures as tcpdump does', { skip }, async (t) => {
  assert.ok(hasTcpdump, 'tcpdump is needed here')
  const { plain, tagged } = await captures()
  const pairs = FILTERS.map((filter) => typeof filter === 'string' ? { ours: filter, theirs: filter } : filter)
  const packets = await compare('plain', plain, pairs)
  t.diagnostic(`${pairs.length} filters, ${plain.length} captures, ${packets} packets${folders.length === 1 ? '; ../shared/pcaps is not there' : ''}`)
  // Behind tags ours sees by itself what tcpdump has to be told to look at.
  if (tagged.length === 0) return
  const inside = ['ip', 'ip6', 'tcp', 'udp', 'icmp', 'port 53', 'tcp port 80', 'net 10.0.0.0/8', 'ip[8] < 5', 'src portrange 1024-65535', 'ip6 multicast']
  const behind = inside.map((filter) => ({ ours: filter, theirs: `(${filter}) or (vlan and (${filter})) or (vlan and (${filter}))` }))
  await compare('tagged', tagged, behind)
})
