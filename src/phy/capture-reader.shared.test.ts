import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { createFrames } from '../wire/frames.ts'
import { readModel } from './capture-reader.model.ts'
import { captureBytes, openCapture } from './capture-reader.ts'
import { copyRow } from './testing.ts'

const pcaps = path.resolve(process.cwd(), '../shared/pcaps')
const absent = fs.existsSync(pcaps) ? false : `${pcaps} is not there: real captures are not compared`
const names = absent ? [] : fs.readdirSync(pcaps).filter((name) => /\.(pcap|pcapng)(\.gz)?$/.test(name))

/** tshark takes a third of a second to start: by default it sees one file of each format. */
const tsharkAll = process.env['PINHOLE_TSHARK_ALL'] === '1'
function forTshark(name: string): boolean { return tsharkAll || /^fmt-|composite|[.]pcapng$/.test(name) }

const REGION_BYTES = 65_536
const frames = createFrames({ capacity: 256, poolBytes: captureBytes(REGION_BYTES) })

interface Line { epoch: string; capBytes: number; wireBytes: number }

/** Compares with the model packet by packet and returns what tshark would print of them. */
async function compare(file: string): Promise<{ lines: Line[]; fault: boolean }> {
  const bytes = fs.readFileSync(file)
  const model = readModel(file.endsWith('.gz') ? gunzipSync(bytes) : bytes)
  const reader = await openCapture(file, frames, { poolStart: 0, poolEnd: frames.pool.length, regionBytes: REGION_BYTES })
  const lines: Line[] = []
  do {
    for (let count = reader.fill(); count > 0; count = reader.fill()) {
      for (let row = 0; row < count; row++) {
        const packet = copyRow(frames, row), other = model.packets[lines.length]
        const where = `${file}, packet ${lines.length}`
        assert.ok(other !== undefined, where)
        // Plain comparisons: deepEqual takes its time for a hundred thousand packets.
        assert.ok(Buffer.compare(packet.data, other.data) === 0, where)
        assert.ok(packet.wireBytes === other.wireBytes && packet.link === other.link && packet.iface === other.iface, where)
        assert.ok(packet.sec === other.sec && packet.nsec === other.nsec, where)
        const epoch = `${packet.sec}.${String(packet.nsec).padStart(9, '0')}`
        lines.push({ epoch, capBytes: packet.data.length, wireBytes: packet.wireBytes })
      }
    }
  } while (await reader.more())
  await reader.close()
  assert.equal(lines.length, model.packets.length, file)
  assert.equal(reader.fault?.offset ?? -1, model.faultOffset, file)
  assert.equal(reader.interfaces.length, model.interfaces, file)
  return { lines, fault: reader.fault !== null }
}

test('real captures are read as the model reads them, and as tshark does', { skip: absent }, async (t) => {
  const tshark = spawnSync('tshark', ['-v']).status === 0
  if (!tshark) t.diagnostic('no tshark on PATH: compared with the model only')
  let packets = 0, compared = 0
  for (const name of names) {
    const file = path.join(pcaps, name)
    const { lines, fault } = await compare(file)
    packets += lines.length
    if (!tshark || fault || !forTshark(name)) continue
    const { stdout, status } = spawnSync('tshark', ['-n', '-r', file, '-T', 'fields', '-e', 'frame.time_epoch', '-e', 'frame.cap_len',
      '-e', 'frame.len', '-e', 'frame.encap_type'], { encoding: 'utf8', maxBuffer: 2 ** 28 })
    assert.equal(status, 0, name)
    // Without a link type it is no packet: tshark lists custom blocks, too.
    const theirs = stdout.split('\n').slice(0, -1).map((line) => line.split('\t')).filter((fields) => fields[3] !== '')
      .map(([epoch, capBytes, wireBytes]) => ({ epoch, capBytes: Number(capBytes), wireBytes: Number(wireBytes) }))
    // A Simple Packet Block has no stamp, and tshark prints none.
    theirs.forEach((line, i) => { if (line.epoch === '') line.epoch = lines[i]?.epoch ?? '' })
    assert.equal(lines.length, theirs.length, name)
    const differs = lines.findIndex(({ epoch, capBytes, wireBytes }, i) => epoch !== theirs[i]!.epoch
      || capBytes !== theirs[i]!.capBytes || wireBytes !== theirs[i]!.wireBytes)
    if (differs >= 0) assert.deepEqual(lines[differs], theirs[differs], `${name}, packet ${differs}`)
    compared++
  }
  t.diagnostic(`${names.length} files, ${packets} packets; ${compared} files compared with tshark`)
})
