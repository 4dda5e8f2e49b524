/** The door of a box for recordings, and its client, with a packet path that the test plays. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTap, createTapMemory, EVERYTHING, MARK_SENT } from '../../phy/tap.ts'
import { buildPacket } from '../../wire/build.ts'
import { createFrames, SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import { Failure } from '../cli/status.ts'
import { openDoor } from '../record/door.ts'
import { defaultRecordDoor, openRecordDoor, recordFolder, type Request } from './record-door.ts'

const dir = mkdtempSync(join(tmpdir(), 'pinhole-door-'))
after(() => rmSync(dir, { recursive: true }))
const LINKS = [{ name: 'in0', mac: [2, 0, 0, 0, 0, 1] }, { name: 'out0', mac: [2, 0, 0, 0, 0, 2] }]
const ALL: Request = { filter: '', kinds: EVERYTHING, snapBytes: 65_535 }
let doors = 0

async function setUp(t: TestContext, ringBytes = 1 << 20) {
  const path = join(dir, `folder-${doors}`, `${doors++}.record`), memory = createTapMemory(ringBytes), log: string[] = []
  const frames = createFrames({ capacity: 16, poolBytes: 65_536 }), tap = createTap(frames, memory, () => Date.now())
  const door = await openRecordDoor({ path, version: '1.2.3', timeScale: 4, configuration: '{"nat":{}}' }, LINKS, 77, memory, (line) => log.push(line))
  assert.ok(door !== null, log.join('\n'))
  let isOpen = true
  const close = async () => {
    if (isOpen) await door.close()
    isOpen = false
  }
  t.after(close)
  /** A UDP frame to that port, received by a side or sent by it. */
  function pass(port: number, side = SIDE_INSIDE, isSent = false, isOwn = false, bytes = 60): Uint8Array {
    const frame = buildPacket({ link: 'ethernet', proto: 'udp', src: 0x0a000005, dst: 0xc6336407 | 0, srcPort: 1000, dstPort: port, payload: new Uint8Array(bytes) })
    frames.pool.set(frame, 128)
    frames.off[0] = 128
    frames.capBytes[0] = frames.wireBytes[0] = frame.length
    frames.iface[0] = side
    if (isSent) tap.sent(side, Int32Array.of(128, frame.length), 1)
    else if (tap.isWanted()) {
      tap.received(1)
      tap.kept(isOwn ? 0 : 1)
    }
    tap.publish()
    return frame
  }
  return { path, tap, pass, close, log }
}

/** A recording as the pcapng draft says, block by block. */
function readRecording(bytes: Buffer) {
  const packets: { iface: number; direction: string; comment: string; data: Buffer; wireBytes: number }[] = []
  const interfaces: string[] = [], comments: string[] = [], statistics: { received: number; dropped: number; accepted: number }[] = []
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    const type = bytes.readUInt32LE(at), end = at + bytes.readUInt32LE(at + 4) - 4
    assert.equal(bytes.readUInt32LE(end), bytes.readUInt32LE(at + 4), 'a block ends with its length')
    const optionsFrom = (from: number) => {
      const options: [number, Buffer][] = []
      for (let o = from; o < end && bytes.readUInt16LE(o) !== 0; o += 4 + (bytes.readUInt16LE(o + 2) + 3 & ~3)) {
        options.push([bytes.readUInt16LE(o), bytes.subarray(o + 4, o + 4 + bytes.readUInt16LE(o + 2))])
      }
      return options
    }
    const of = (options: [number, Buffer][], code: number) => options.find(([one]) => one === code)?.[1]
    if (type === 0x0a0d0d0a) comments.push(...optionsFrom(at + 24).filter(([code]) => code === 1).map(([, text]) => text.toString()))
    else if (type === 1) interfaces.push(of(optionsFrom(at + 16), 2)!.toString())
    else if (type === 5) {
      const [received, dropped, accepted] = [4, 5, 6].map((code) => Number(of(optionsFrom(at + 20), code)!.readBigUInt64LE()))
      statistics.push({ received: received!, dropped: dropped!, accepted: accepted! })
    } else {
      assert.equal(type, 6)
      const kept = bytes.readUInt32LE(at + 20), options = optionsFrom(at + 28 + (kept + 3 & ~3))
      packets.push({
        iface: bytes.readUInt32LE(at + 8), wireBytes: bytes.readUInt32LE(at + 24), data: bytes.subarray(at + 28, at + 28 + kept),
        direction: ['', 'in', 'out'][of(options, 2)!.readUInt32LE() & 3]!, comment: of(options, 1)?.toString() ?? '',
      })
    }
  }
  return { packets, interfaces, comments, statistics }
}

/** All that a recording has, once it has ended. */
async function whole(client: Awaited<ReturnType<typeof openDoor>>) {
  const pieces: Buffer[] = []
  for await (const piece of client.data()) pieces.push(piece)
  return readRecording(Buffer.concat(pieces))
}

const isFailure = (status: number, wanted: RegExp) => (error: unknown) => error instanceof Failure && error.status === status && wanted.test(error.message)

test('door: it says whose it is; a recording has what passes from then on, with its sides, directions and marks, and an end that counts it', async (t) => {
  const { path, pass, tap } = await setUp(t)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const client = await openDoor(path)
  assert.deepEqual(client.greeting, { pinhole: '1.2.3', pid: process.pid, links: ['in0', 'out0'] })
  pass(1)
  assert.equal(tap.isWanted(), false)
  await client.ask(ALL)
  assert.equal(tap.isWanted(), true)
  const sent = [pass(2), pass(3, SIDE_OUTSIDE), pass(4, SIDE_OUTSIDE, true), pass(5, SIDE_INSIDE, true), pass(6, SIDE_INSIDE, false, true)]
  client.finish()
  const { packets, interfaces, statistics, comments } = await whole(client)
  assert.deepEqual(packets.map(({ iface, direction, comment }) => [iface, direction, comment]), [
    [0, 'in', ''], [1, 'in', ''], [1, 'out', ''], [0, 'out', ''], [0, 'in', 'for the box itself'],
  ])
  for (const [n, { data }] of packets.entries()) assert.deepEqual([...data], [...sent[n]!])
  assert.deepEqual(interfaces, ['in0', 'out0'])
  assert.deepEqual(statistics, [{ received: 3, dropped: 0, accepted: 3 }, { received: 2, dropped: 0, accepted: 2 }])
  assert.match(comments.join('\n'), /--inside-if in0 --seed 77\npinhole-replay: \{.*"seed":77.*"timeScale":4/)
  assert.equal(tap.isWanted(), false)
})

test('door: what is asked for is what comes: by filter, by side and direction, as long as is wanted', async (t) => {
  const { path, pass } = await setUp(t)
  const filtered = await openDoor(path)
  await filtered.ask({ filter: 'udp port 53 and side outside', kinds: EVERYTHING, snapBytes: 50 })
  for (const port of [53, 54, 53]) for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) pass(port, side)
  filtered.finish()
  const { packets, statistics } = await whole(filtered)
  assert.deepEqual(packets.map(({ iface, data, wireBytes }) => [iface, data.length, wireBytes]), [[1, 50, 102], [1, 50, 102]])
  assert.deepEqual(statistics, [{ received: 3, dropped: 0, accepted: 0 }, { received: 3, dropped: 0, accepted: 2 }])
  const some = await openDoor(path)
  await some.ask({ filter: '', kinds: 1 << (SIDE_OUTSIDE | MARK_SENT), snapBytes: 65_535 })
  for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) for (const isSent of [false, true]) pass(7, side, isSent)
  some.finish()
  assert.deepEqual((await whole(some)).packets.map(({ iface, direction }) => [iface, direction]), [[1, 'out']])
})

test('door: one recorder at a time; the next one is served when that has ended or gone', async (t) => {
  const { path, tap } = await setUp(t), first = await openDoor(path)
  await first.ask(ALL)
  const second = await openDoor(path)
  await assert.rejects(second.ask(ALL), isFailure(5, /somebody records this box already/))
  first.close()
  // What is on its way is let come first.
  let third = await openDoor(path), isServed = false
  for (let n = 0; n < 50 && !isServed; n++) {
    isServed = await third.ask(ALL).then(() => true, () => false)
    if (isServed) break
    await sleep(20)
    third = await openDoor(path)
  }
  assert.deepEqual([isServed, tap.isWanted()], [true, true])
  third.finish()
  await whole(third)
  const fourth = await openDoor(path)
  await fourth.ask(ALL)
  fourth.close()
})

test('door: a request that cannot be understood is answered, or the line is closed, and the box goes on', async (t) => {
  const { path, tap } = await setUp(t)
  for (const [request, wanted] of [
    [{ ...ALL, filter: 'prot 5' }, /prot/], [{ ...ALL, kinds: 0 }, /not understood/], [{ ...ALL, kinds: 16 }, /not understood/], [{ ...ALL, kinds: 1.5 }, /not understood/],
    [{ ...ALL, snapBytes: 0 }, /not understood/], [{ ...ALL, snapBytes: 65_536 }, /not understood/], [{ ...ALL, filter: 7 }, /not understood/],
  ] as [Request, RegExp][]) {
    const client = await openDoor(path)
    await assert.rejects(client.ask(request), isFailure(5, wanted), JSON.stringify(request))
    client.close()
  }
  /** What is answered to such octets, behind the greeting, when the line is closed. */
  const raw = (text: string, isHalf = false) => new Promise<string>((resolve) => {
    let said = ''
    const socket = createConnection(path, () => {
      if (isHalf) socket.end(text)
      else socket.write(text)
    })
    socket.setEncoding('utf8').on('data', (piece: string) => { said += piece }).on('close', () => resolve(said.split('\n').slice(1).join('')))
    socket.on('error', () => { /* closed before all was read */ })
  })
  assert.deepEqual([await raw('no JSON\n'), await raw('x'.repeat(70_000)), await raw('', true), await raw('{"filter"', true)], ['', '', '', ''])
  assert.equal(tap.isWanted(), false)
  // The least there is to ask for.
  const client = await openDoor(path)
  await client.ask({ filter: '', kinds: 1, snapBytes: 1 })
  client.close()
})

test('door: a request that comes in pieces, down to single octets, is the request', async (t) => {
  const { path, pass } = await setUp(t), request = `${JSON.stringify({ ...ALL, filter: 'udp port 53' })}\n`, cut = request.indexOf('port')
  const octets = [...request]
  for (const pieces of [[request.slice(0, cut), request.slice(cut)], [request.slice(0, -1), '\n'], octets]) {
    let said = Buffer.alloc(0)
    const socket = createConnection({ path, allowHalfOpen: true }), ended = new Promise<void>((resolve) => socket.once('end', () => resolve()))
    socket.on('data', (piece: Buffer) => { said = Buffer.concat([said, piece]) })
    for (const piece of pieces) {
      socket.write(piece)
      // Each leaves by itself, and is read by itself.
      await sleep(2)
    }
    const lines = () => said.toString('latin1').split('\n')
    for (let n = 0; lines().length < 3 && n < 500; n++) await sleep(10)
    assert.deepEqual(JSON.parse(lines()[1]!), { ok: true })
    for (const port of [52, 53, 54]) pass(port)
    socket.end()
    await ended
    socket.destroy()
    const { packets, statistics } = readRecording(said.subarray(said.indexOf(10, said.indexOf(10) + 1) + 1))
    assert.deepEqual([packets.length, statistics[0]!.received], [1, 3])
  }
})

test('door: sixteen may be connected; one more is turned away, and served when another has gone', async (t) => {
  const { path } = await setUp(t)
  const clients: Awaited<ReturnType<typeof openDoor>>[] = []
  for (let n = 0; n < 16; n++) clients.push(await openDoor(path))
  await assert.rejects(openDoor(path), isFailure(5, /the box has closed its door/))
  clients.pop()!.close()
  for (let isServed = false; !isServed;) {
    isServed = await openDoor(path).then((client) => clients.push(client) > 0, () => false)
    if (!isServed) await sleep(20)
  }
  await clients[0]!.ask(ALL)
  for (const client of clients) client.close()
})

test('door: who reads slowly loses frames, which are counted, and gets all that was kept, more than lies in a socket', async (t) => {
  const { path, pass } = await setUp(t, 1 << 16), client = await openDoor(path)
  await client.ask(ALL)
  const COUNT = 60_000
  for (let n = 0; n < COUNT; n++) {
    pass(n & 0xffff)
    if (n % 400 === 0) await sleep(1)
  }
  client.finish()
  const { packets, statistics } = await whole(client)
  const [{ received, dropped, accepted }] = statistics as [typeof statistics[number]]
  assert.deepEqual([received, accepted, packets.length], [COUNT, COUNT - dropped, COUNT - dropped])
  assert.ok(dropped > 100 && accepted > 5000, `${dropped} of ${COUNT} lost`)
})

test('door: for who reads nothing the box keeps a few megabytes and no more; what it lost is counted by side, sent or received', async (t) => {
  const { path, pass } = await setUp(t), client = await openDoor(path)
  await client.ask(ALL)
  const EACH = 40, ROUNDS = 100, BYTES = 1400
  for (let n = 0; n < ROUNDS; n++) {
    for (let k = 0; k < EACH; k++) {
      pass(k, SIDE_INSIDE, false, false, BYTES)
      pass(k, SIDE_OUTSIDE, true, false, BYTES)
      // Of one side both kinds are lost.
      if (k % 4 === 0) pass(k, SIDE_OUTSIDE, false, false, BYTES)
    }
    await sleep(4)
  }
  client.finish()
  const { packets, statistics } = await whole(client)
  assert.deepEqual(statistics.map(({ received }) => received), [EACH * ROUNDS, EACH * ROUNDS * 5 / 4])
  for (const [side, { received, dropped, accepted }] of statistics.entries()) {
    assert.deepEqual([accepted, packets.filter(({ iface }) => iface === side).length], [received - dropped, accepted])
  }
  const keptBytes = packets.length * BYTES
  assert.ok(keptBytes > 1 << 19 && keptBytes < 3 << 20, `${keptBytes} of ${EACH * ROUNDS * BYTES * 9 / 4} bytes were kept`)
})

test('door: a box that ends gives a recorder what there is and an end, closes other lines, and leaves no socket behind', async (t) => {
  const { path, pass, close } = await setUp(t)
  const client = await openDoor(path), idle = createConnection(path)
  const isClosed = new Promise<void>((resolve) => idle.once('close', () => resolve()))
  idle.on('error', () => { /* it is closed */ }).resume()
  await client.ask(ALL)
  pass(9)
  const recorded = whole(client)
  await close()
  await isClosed
  const { packets, statistics } = await recorded
  assert.deepEqual([packets.length, statistics.length, existsSync(path)], [1, 2, false])
  await assert.rejects(openDoor(path), isFailure(5, /no box is there/))
})

test('door: a box that ends waits for who reads nothing for about two seconds', async (t) => {
  const { path, pass, close } = await setUp(t, 1 << 22), client = await openDoor(path)
  await client.ask(ALL)
  for (let n = 0; n < 3000; n++) {
    pass(n, SIDE_INSIDE, false, false, 1400)
    if (n % 100 === 0) await sleep(2)
  }
  // Counted in short waits, as those of a process that is stopped meanwhile do not count.
  let waits = 0, isClosed = false
  const closing = close().then(() => { isClosed = true })
  while (!isClosed && waits < 100) {
    await sleep(50)
    waits++
  }
  assert.ok(isClosed && waits > 20 && waits < 90, `${waits} waits of 50 ms`)
  await closing
  client.close()
})

test('door: a box whose door cannot be opened goes on without, and says why', async () => {
  const file = join(dir, 'file'), log: string[] = []
  writeFileSync(file, '')
  const open = (path: string) => openRecordDoor({ path, version: '1', timeScale: 1, configuration: null }, LINKS, 1, createTapMemory(4096), (line) => log.push(line))
  assert.equal(await open(join(file, 'x.record')), null)
  assert.equal(await open(join(dir, 'y'.repeat(200))), null)
  assert.match(log[0]!, /^pinhole record cannot record this box: .*(EEXIST|ENOTDIR)/)
  assert.match(log[1]!, /^pinhole record cannot record this box: /)
  // One of a box that did not end well makes room.
  const left = join(dir, 'left.record')
  writeFileSync(left, '')
  const door = await open(left)
  const client = await openDoor(left)
  client.close()
  await door!.close()
})

test('doors: the only one there is is found by itself, stale ones are taken away, and of several one has to be named', async (t) => {
  const folder = join(dir, 'runtime'), before = process.env.RUNTIME_DIRECTORY
  t.after(() => {
    if (before === undefined) delete process.env.RUNTIME_DIRECTORY
    else process.env.RUNTIME_DIRECTORY = before
  })
  process.env.RUNTIME_DIRECTORY = `${folder}:/elsewhere`
  assert.deepEqual([recordFolder(), defaultRecordDoor()], [folder, join(folder, `${process.pid}.record`)])
  await assert.rejects(openDoor(undefined), isFailure(5, /no box is running whose door is in/))
  const open = (path: string) => openRecordDoor({ path, version: '1', timeScale: 1, configuration: null }, LINKS, 1, createTapMemory(4096), () => { /* nothing */ })
  const one = await open(defaultRecordDoor())
  // Nobody listens there any more.
  const stale = createServer().listen(join(folder, '7.record'))
  await new Promise((resolve) => stale.once('listening', resolve))
  const kept = join(folder, '8.record')
  await import('node:fs/promises').then(({ link }) => link(join(folder, '7.record'), kept))
  await new Promise((resolve) => stale.close(resolve))
  for (const which of [undefined, String(process.pid), defaultRecordDoor()]) (await openDoor(which)).close()
  assert.equal(existsSync(kept), false)
  const other = await open(join(folder, '9.record'))
  await assert.rejects(openDoor(undefined), isFailure(2, /which box\? --box takes one of \d+ \(in0 to out0\), \d+ \(in0 to out0\)/))
  await assert.rejects(openDoor('12345'), isFailure(5, /12345\.record: no box is there/))
  await one!.close()
  await other!.close()
})

test('doors: what answers and is no box, or does not answer in JSON, is told', async (t) => {
  mkdirSync(join(dir, 'strange'), { recursive: true })
  const listen = async (name: string, act: (socket: Socket) => void) => {
    const path = join(dir, 'strange', name), server = createServer(act).listen(path)
    await new Promise((resolve) => server.once('listening', resolve))
    t.after(() => server.close())
    return path
  }
  await assert.rejects(openDoor(await listen('closes', (socket) => socket.end())), isFailure(5, /the box has closed its door/))
  await assert.rejects(openDoor(await listen('talks', (socket) => socket.end('x'.repeat(70_000)))), isFailure(5, /what answers is no box/))
  await assert.rejects(openDoor(await listen('babbles', (socket) => socket.end('hello\n'))), isFailure(5, /JSON|token/))
})
