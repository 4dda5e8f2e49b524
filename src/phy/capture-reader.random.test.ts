import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createPrng } from '../base/prng.ts'
import type { Prng } from '../base/prng.ts'
import { createFrames } from '../wire/frames.ts'
import { readModel } from './capture-reader.model.ts'
import { captureBytes, openCapture } from './capture-reader.ts'
import { encodeBlock, encodePcap, encodePcapng, readAll } from './testing.ts'
import type { TestPacket } from './testing.ts'

const seed = Number(process.env['PINHOLE_SEED'] ?? Date.now() % 1_000_000)
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-phy-'))
after(() => fs.rmSync(dir, { recursive: true }))
const frames = createFrames({ capacity: 16, poolBytes: captureBytes(4096) })
const file = path.join(dir, 'capture')

async function agree(bytes: Uint8Array, regionBytes: number, what: string): Promise<void> {
  fs.writeFileSync(file, bytes)
  const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: frames.pool.length, regionBytes })
  const packets = await readAll(reader, frames)
  const model = readModel(bytes)
  assert.equal(packets.length, model.packets.length, `${what}: ${reader.fault?.reason}`)
  packets.forEach((packet, i) => {
    const other = model.packets[i]!
    // An if_tsoffset out of this world does not fit a double.
    if (Math.abs(other.sec) > Number.MAX_SAFE_INTEGER) packet.sec = other.sec
    assert.deepEqual(packet, other, `${what}, packet ${i}`)
  })
  assert.equal(reader.fault?.offset ?? -1, model.faultOffset, `${what}: ${reader.fault?.reason}`)
  assert.equal(reader.interfaces.length, model.interfaces, what)
}

const packets: TestPacket[] = [0, 1, 40, 61].map((length, i) => (
  { data: new Uint8Array(length).fill(i + 1), sec: 1_700_000_000 + i, nsec: 1000 * i, wireBytes: length + i % 2 * 100 }))
const mixed: TestPacket[] = [packets[2]!, { ...packets[3]!, iface: 1 }, { ...packets[1]!, block: 'simple' },
  { ...packets[2]!, block: 'obsolete', iface: 1 }, { ...packets[0]!, comment: 'hello' }]
const interfaces = [{ snapBytes: 100, name: 'a' }, { tsresol: 9, tsoffset: 77, link: 101 }]
const seeds: readonly Uint8Array[] = [
  encodePcap(packets), encodePcap(packets, { bigEndian: true, nano: true }), encodePcap(packets, { modified: true }),
  encodePcapng({ interfaces, packets: mixed, blocks: [encodeBlock(5, new Uint8Array(30)), encodeBlock(4, new Uint8Array(4))] }),
  encodePcapng({ bigEndian: true, interfaces, packets: mixed }, { interfaces: [{ tsresol: 0xa0 }], packets }),
]

test('a file cut at any byte yields the packets before the cut and a fault at the record that is cut', async () => {
  for (const [i, bytes] of seeds.entries()) {
    for (let end = 0; end <= bytes.length; end++) await agree(bytes.slice(0, end), 64 + end % 200, `file ${i} cut at ${end}`)
  }
})

test('a gzip file cut at any byte never throws and yields a prefix of the packets', async () => {
  const zipped = gzipSync(seeds[0]!), whole = readModel(seeds[0]!).packets
  for (let end = 0; end < zipped.length; end++) {
    fs.writeFileSync(file, zipped.subarray(0, end))
    const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: frames.pool.length, regionBytes: 128 })
    const got = await readAll(reader, frames)
    assert.notEqual(reader.fault, null, `cut at ${end}`)
    assert.deepEqual(got, whole.slice(0, got.length))
  }
})

test('damaged files are read as the model reads them', async (t) => {
  t.diagnostic(`seed ${seed}`)
  const random = createPrng(seed)
  for (let round = 0; round < 3000; round++) {
    await agree(mutate(seeds[round % seeds.length]!, random), 64 + random.below(300), `seed ${seed} round ${round}`)
  }
})

const NASTY = [0, 1, 2, 3, 4, 8, 12, 16, 20, 28, 32, 0x7f, 0x80, 0xff, 0x0a, 0x0d]

/** One to three of: a byte, a word, a piece taken out, a piece put in twice. */
function mutate(bytes: Uint8Array, random: Prng): Uint8Array {
  let out = bytes.slice()
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.below(out.length), end = Math.min(at + random.below(40), out.length)
    switch (random.below(4)) {
      case 0: out[at] = NASTY[random.below(NASTY.length)]!; break
      case 1: {
        const view = new DataView(out.buffer), word = Math.min(at & ~3, out.length - 4)
        view.setInt32(word, random.below(2) === 0 ? random.next() : NASTY[random.below(NASTY.length)]!, random.below(2) === 0)
        break
      }
      case 2: out = Uint8Array.of(...out.subarray(0, at), ...out.subarray(end)); break
      case 3: out = Uint8Array.of(...out.subarray(0, end), ...out.subarray(at)); break
    }
    if (out.length < 4) return out
  }
  return out
}
