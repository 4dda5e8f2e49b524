import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createFrames } from '../wire/frames.ts'
import { captureBytes, openCapture } from './capture-reader.ts'
import { openPcapngWriter, writerBytes } from './pcapng-writer.ts'
import { createLoopDevice, preloadCapture } from './preload.ts'
import { encodePcap, encodePcapng } from './testing.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-phy-'))
after(() => fs.rmSync(dir, { recursive: true }))

const REGION_BYTES = 4 * 1024 * 1024, READER_END = captureBytes(REGION_BYTES)
const frames = createFrames({ capacity: 256, poolBytes: READER_END + writerBytes() })
const share = { poolStart: 0, poolEnd: READER_END, regionBytes: REGION_BYTES }
const packet = { data: new Uint8Array(60).fill(1), sec: 1_700_000_000, nsec: 1000 }

/** `times` copies of the last record of a small file behind its head. */
function repeat(one: Uint8Array, recordBytes: number, times: number): Uint8Array {
  const head = one.length - recordBytes, out = Buffer.alloc(head + recordBytes * times)
  out.set(one.subarray(0, head))
  out.fill(one.subarray(head), head)
  return out
}
const kinds = {
  pcap: [encodePcap([packet]), 76], 'pcap big-endian': [encodePcap([packet], { bigEndian: true }), 76],
  pcapng: [encodePcapng({ packets: [packet] }), 92],
  'pcapng 2^-32': [encodePcapng({ interfaces: [{ tsresol: 0xa0 }], packets: [packet] }), 92],
  'pcapng simple': [encodePcapng({ packets: [{ ...packet, block: 'simple' }] }), 76],
} as const

/** The compiler works beside us, and on a busy machine late: so often it is tried again. What allocates does so each time. */
const MOST_ROUNDS = 100

/** Bytes of heap a packet that a call of `work` (which returns how many) takes once it runs compiled. */
function heapBytesOf(work: () => number): number {
  collect()
  const before = process.memoryUsage().heapUsed
  const packets = work()
  return (process.memoryUsage().heapUsed - before) / packets
}

for (const [name, [one, recordBytes]] of Object.entries(kinds)) {
  test(`fill allocates less than a byte a packet: ${name}`, async () => {
    const file = path.join(dir, 'capture')
    fs.writeFileSync(file, repeat(one, recordBytes, 50_000))
    let least = Infinity
    for (let round = 0; least >= 1 && round < MOST_ROUNDS; round++) {
      const reader = await openCapture(file, frames, share)
      // The whole file is in the pool then, and nothing else is under way.
      await new Promise((resolve) => { setTimeout(resolve, 20) })
      least = Math.min(least, heapBytesOf(() => {
        let total = 0
        for (let count = reader.fill(); count > 0; count = reader.fill()) total += count
        assert.ok(total > 40_000)
        return total
      }))
      await reader.close()
    }
    assert.ok(least < 1, `${least} bytes a packet`)
  })
}

test('a loop device allocates less than a byte a packet', async () => {
  const file = path.join(dir, 'capture')
  fs.writeFileSync(file, repeat(...kinds.pcap, 50_000))
  const store = await preloadCapture(file, frames, share)
  let least = Infinity
  for (let round = 0; least >= 1 && round < MOST_ROUNDS; round++) {
    const device = createLoopDevice(store, frames, { ...share, loops: 4, gapNs: 1 })
    await new Promise((resolve) => { setTimeout(resolve, 10) })
    least = Math.min(least, heapBytesOf(() => {
      let total = 0
      for (let count = device.fill(); count > 0; count = device.fill()) total += count
      return total
    }))
  }
  assert.ok(least < 1, `${least} bytes a packet`)
})

test('write allocates less than a byte a packet, short and long', async () => {
  const writer = await openPcapngWriter('/dev/null', frames, { poolStart: READER_END, poolEnd: frames.pool.length })
  for (const capBytes of [60, 1500]) {
    let least = Infinity
    for (let round = 0; least >= 1 && round < 2 * MOST_ROUNDS; round++) {
      await writer.ready()
      least = Math.min(least, heapBytesOf(() => {
        for (let i = 0; i < 300; i++) assert.ok(writer.write(3, capBytes, capBytes, 1_700_000_000, i, 1))
        return 300
      }))
    }
    assert.ok(least < 1, `${least} bytes a packet of ${capBytes}`)
  }
  await writer.close()
})

test('a long stream is read in constant memory', async () => {
  const pipe = path.join(dir, 'pipe')
  const chunk = repeat(...kinds.pcap, 100_000), head = chunk.subarray(0, 24), body = chunk.subarray(24), times = 40
  const head$ = path.join(dir, 'head'), body$ = path.join(dir, 'body')
  fs.writeFileSync(head$, head)
  fs.writeFileSync(body$, body)
  const generator = spawn('sh', ['-c', 'mkfifo "$1"; { cat "$2"; i=0; while [ $i -lt $4 ]; do cat "$3"; i=$((i+1)); done; } > "$1"',
    'sh', pipe, head$, body$, String(times)], { stdio: 'ignore' })
  while (!fs.existsSync(pipe)) await new Promise((resolve) => { setTimeout(resolve, 5) })
  const reader = await openCapture(pipe, frames, share)
  let total = 0, early = 0
  do {
    for (let count = reader.fill(); count > 0; count = reader.fill()) total += count
    if (early === 0 && total > 200_000) early = process.memoryUsage().rss
  } while (await reader.more())
  await reader.close()
  if (generator.exitCode === null) await new Promise((resolve) => { generator.on('exit', resolve) })
  assert.equal(reader.fault, null)
  assert.equal(total, times * 100_000)
  const grown = process.memoryUsage().rss - early
  assert.ok(grown < 32 * 1024 * 1024, `${reader.stats.streamBytes} bytes grew the process by ${grown}`)
})
