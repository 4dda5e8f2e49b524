/** Plain connections by native/streams.node, held against Node's sockets at the other end. */
import test, { type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createPrng, type Prng } from '../../base/prng.ts'
import { SE, box, dial } from './server-testing.ts'
import type { SimcoSession } from './session.ts'
import { takeStream, type Stream } from './streams.ts'
import { patiently } from './testing.ts'

const SEED = Number(process.env['PINHOLE_SEED'] ?? 4540)
const ADDON = 'native/streams.node'
const skip = existsSync(ADDON) || process.env['CI'] !== undefined ? false : `${ADDON} is not built: node scripts/native.js says why`

/** What a session would be told. */
class Listener {
  readonly stream: Stream
  octets = Buffer.alloc(0)
  /** Octets of each call. */
  readonly chunks: number[] = []
  written = 0
  events: string[] = []
  /** Called with each chunk, after it was kept. */
  onOctets = (): void => { /* nothing */ }
  constructor(stream: Stream) {
    this.stream = stream
    const session = {
      receiveLent: (room: Uint8Array, from: number, to: number) => {
        this.octets = Buffer.concat([this.octets, room.subarray(from, to)])
        this.chunks.push(to - from)
        this.onOctets()
      },
      written: () => { this.written++ },
    }
    stream.session = session as unknown as SimcoSession
    for (const event of ['end', 'close']) stream.on(event, () => { this.events.push(event) })
  }
}

interface Pair { near: Listener; far: Socket }

/** Connections of which the near end is a stream. */
async function pairs(t: TestContext, count: number): Promise<Pair[]> {
  const streams: Stream[] = []
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, accepted => {
    const stream = takeStream(accepted)
    assert.ok(stream !== null, 'the addon has not taken it')
    assert.ok(accepted.destroyed)
    streams.push(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo, found: Pair[] = []
  for (let n = 0; n < count; n++) {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    far.on('error', () => { /* 'close' follows */ })
    await once(far, 'connect')
    await until(() => streams.length === n + 1)
    const stream = streams[n]!
    assert.deepEqual([stream.remoteAddress, stream.remotePort], ['127.0.0.1', far.localPort])
    found.push({ near: new Listener(stream), far })
  }
  t.after(() => {
    for (const { near, far } of found) {
      near.stream.destroy()
      far.destroy()
    }
    server.close()
  })
  return found
}

async function pair(t: TestContext): Promise<Pair> { return (await pairs(t, 1))[0]! }

async function until(condition: () => boolean): Promise<void> {
  let isOver = false
  const come = async () => { while (!isOver && !condition()) await new Promise(resolve => setTimeout(resolve, 1)) }
  await patiently(come(), () => `this is not so: ${String(condition)}`).finally(() => { isOver = true })
}

function noise(prng: Prng, bytes: number): Buffer { return Buffer.from(Array.from({ length: bytes }, () => prng.below(256))) }

function gather(socket: Socket): { octets: Buffer; hasEnded: boolean; isClosed: boolean } {
  const got = { octets: Buffer.alloc(0), hasEnded: false, isClosed: false }
  socket.on('data', (chunk: Buffer) => { got.octets = Buffer.concat([got.octets, chunk]) })
  socket.on('end', () => { got.hasEnded = true })
  socket.on('close', () => { got.isClosed = true })
  return got
}

test('a session is carried by a stream, not by a socket of Node\'s', { skip }, async t => {
  const sockets = () => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length
  const { server, port } = await box(t), before = sockets(), client = await dial(port)
  assert.match((await client.send(SE).take())[0]!, /^0201/)
  assert.equal(sockets() - before, 1, 'the client\'s')
  assert.equal(server.counters['connections-current'], 1)
})

test('nothing is read before the stream is asked to, and then everything, in order and from wherever it was cut', { skip }, async t => {
  const { near, far } = await pair(t), prng = createPrng(SEED), sent = noise(prng, 200_000)
  far.write(sent.subarray(0, 1000))
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal(near.octets.length, 0)
  near.stream.resume()
  for (let at = 1000; at < sent.length;) {
    const end = Math.min(sent.length, at + 1 + prng.below(9000))
    far.write(sent.subarray(at, end))
    at = end
    if (prng.below(4) === 0) await until(() => near.octets.length === at)
  }
  await until(() => near.octets.length === sent.length)
  assert.ok(near.octets.equals(sent), `seed ${SEED}`)
})

test('what the system does not take waits, is sent when it does, and then the session is told, once', { skip }, async t => {
  const { near, far } = await pair(t), sent = noise(createPrng(SEED), 3000)
  far.pause()
  near.stream.resume()
  const buffer = Buffer.concat([...Array.from({ length: 4000 }, () => sent), Buffer.from('not this')])
  near.stream.write(buffer, buffer.length - 8)
  assert.ok(near.stream.queuedBytes > 0, 'loopback has taken 12 MB')
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.deepEqual([near.written, near.events], [0, []])
  // Meanwhile it is still read.
  far.write('hello')
  await until(() => near.octets.length === 5)
  const got = gather(far)
  far.resume()
  await until(() => got.octets.length === buffer.length - 8)
  await until(() => near.written === 1)
  assert.equal(near.stream.queuedBytes, 0)
  assert.ok(got.octets.equals(buffer.subarray(0, -8)))
  near.stream.write(Buffer.from('more, and what it was part of'), 4)
  await until(() => got.octets.length === buffer.length - 4)
  assert.equal(near.written, 1, 'taken at once: nobody is told')
})

test('either end may close its half first; the connection is gone when both have', { skip }, async t => {
  for (const isFarFirst of [true, false]) {
    const { near, far } = await pair(t), got = gather(far)
    near.stream.resume()
    if (isFarFirst) {
      far.end('last words')
      await until(() => near.events.length === 1)
      assert.deepEqual([near.octets.toString(), near.events], ['last words', ['end']])
      near.stream.resume()
      near.stream.write(Buffer.from('the answer'), 10)
      near.stream.end()
    } else {
      near.stream.write(Buffer.from('the answer'), 10)
      near.stream.end()
      near.stream.end()
      await until(() => got.hasEnded)
      assert.deepEqual(near.events, [])
      far.end('last words')
    }
    await until(() => near.events.length === 2 && got.isClosed)
    assert.deepEqual([near.octets.toString(), got.octets.toString(), near.events], ['last words', 'the answer', ['end', 'close']])
    assert.ok(near.stream.destroyed)
    near.stream.write(Buffer.from('too late'), 8)
    assert.equal(near.stream.queuedBytes, 0)
  }
})

test('a connection that is reset closes: while it is read, and while octets wait for it', { skip }, async t => {
  const [reading, writing] = await pairs(t, 2) as [Pair, Pair]
  reading.near.stream.resume()
  reading.far.resetAndDestroy()
  await until(() => reading.near.events.length === 1)
  const { near, far } = writing
  near.stream.write(Buffer.alloc(20_000_000), 20_000_000)
  assert.ok(near.stream.queuedBytes > 0)
  far.resetAndDestroy()
  await until(() => near.events.length === 1)
  assert.deepEqual([reading.near.events, near.events, near.stream.queuedBytes, near.written], [['close'], ['close'], 0, 0])
})

test('who writes to a connection that is gone is told of it later, not in the middle', { skip }, async t => {
  const { near, far } = await pair(t)
  far.resetAndDestroy()
  await new Promise(resolve => setTimeout(resolve, 20))
  near.stream.write(Buffer.from('hello'), 5)
  assert.deepEqual([near.events, near.stream.destroyed, near.stream.queuedBytes], [[], true, 0])
  await new Promise(resolve => process.nextTick(resolve))
  assert.deepEqual(near.events, ['close'])
})

test('a connection that is not read rests, though its other end is gone; it closes when it is read', { skip }, async t => {
  const { near, far } = await pair(t)
  near.stream.resume()
  far.write('a')
  await until(() => near.octets.length === 1)
  near.stream.pause()
  far.resetAndDestroy()
  await new Promise(resolve => setTimeout(resolve, 30))
  const before = process.cpuUsage()
  await new Promise(resolve => setTimeout(resolve, 200))
  const { user, system } = process.cpuUsage(before)
  assert.ok(user + system < 100_000, `${(user + system) / 1000} ms of 200 were spent`)
  assert.deepEqual(near.events, [])
  near.stream.resume()
  await until(() => near.events.length === 1)
})

test('a stream that another one closes is told nothing more, and who is taken meanwhile hears only what is its own', { skip }, async t => {
  const [one, other] = await pairs(t, 2) as [Pair, Pair], accepted: Socket[] = []
  const server = createServer({ pauseOnConnect: true }, socket => { accepted.push(socket) }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const far = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let taken: Listener | undefined
  t.after(() => {
    taken?.stream.destroy()
    far.destroy()
    server.close()
  })
  await until(() => accepted.length === 1)
  const close = ({ near }: Pair) => () => {
    near.stream.destroy()
    if (taken !== undefined) return
    taken = new Listener(takeStream(accepted[0]!)!)
    taken.stream.resume()
  }
  one.near.onOctets = close(other)
  other.near.onOctets = close(one)
  one.far.write('to one')
  other.far.write('to other')
  far.write('to who came')
  await new Promise(resolve => setTimeout(resolve, 20))
  one.near.stream.resume()
  other.near.stream.resume()
  await until(() => one.near.events.length + other.near.events.length === 1 && taken!.octets.length > 0)
  await new Promise(resolve => setTimeout(resolve, 20))
  assert.equal(one.near.octets.length + other.near.octets.length, one.near.octets.length === 0 ? 8 : 6)
  assert.equal(taken!.octets.toString(), 'to who came')
})

test('each stream is read once a look, 64 KiB at the most, also when all together fill the room many times', { skip }, async t => {
  const all = await pairs(t, 40), prng = createPrng(SEED), BYTES = 300_000
  const sent = all.map(() => noise(prng, 1000))
  all.forEach(({ far }, i) => far.write(Buffer.concat(Array.from({ length: BYTES / 1000 }, () => sent[i]!))))
  await new Promise(resolve => setTimeout(resolve, 50))
  let turns: number[] = []
  const order: number[][] = [turns]
  all.forEach(({ near }, i) => {
    near.onOctets = () => turns.push(i)
    near.stream.resume()
  })
  let isOver = false
  const look = () => {
    if (turns.length > 0) order.push(turns = [])
    if (!isOver) setImmediate(look)
  }
  look()
  await until(() => all.every(({ near }) => near.octets.length === BYTES))
  isOver = true
  for (const { near } of all) assert.ok(near.chunks.every(bytes => bytes <= 65_536))
  all.forEach(({ near }, i) => assert.ok(near.octets.equals(Buffer.concat(Array.from({ length: BYTES / 1000 }, () => sent[i]!)))))
  for (const one of order) assert.equal(new Set(one).size, one.length, `somebody was read twice in a look: ${one.join(' ')}`)
  assert.ok(order[0]!.length >= 30, `only ${order[0]!.length} were read in the first look`)
})

test('random traffic both ways, with halves that close and resets: octets come as they were sent, and all is given back', { skip }, async t => {
  const prng = createPrng(SEED)
  for (let round = 0; round < 4; round++) {
    const all = await pairs(t, 30)
    await Promise.all(all.map(async ({ near, far }, i) => {
      const got = gather(far), up: Buffer[] = [], down: Buffer[] = [], isReset = i % 10 === 0
      near.stream.resume()
      for (let n = 0; n < 40; n++) {
        const octets = noise(prng, 1 + prng.below(prng.below(8) === 0 ? 20_000 : 200))
        switch (prng.below(5)) {
          case 0: case 1: far.write(octets); up.push(octets); break
          case 2:
            if (near.stream.queuedBytes > 0) break
            near.stream.write(octets, octets.length)
            down.push(octets)
            break
          case 3: near.stream.pause(); setTimeout(() => near.stream.resume(), prng.below(5)); break
          default: await new Promise(resolve => setTimeout(resolve, prng.below(4)))
        }
      }
      near.stream.resume()
      await until(() => near.stream.queuedBytes === 0)
      if (isReset) {
        await until(() => near.octets.length === Buffer.concat(up).length)
        far.resetAndDestroy()
        await until(() => near.events.includes('close'))
        return
      }
      if (i % 2 === 0) far.end()
      near.stream.end()
      await until(() => got.hasEnded)
      if (i % 2 === 1) far.end()
      await until(() => near.events.includes('close'))
      const where = `seed ${SEED}, round ${round}, connection ${i}`
      assert.ok(near.octets.equals(Buffer.concat(up)), where)
      assert.ok(got.octets.equals(Buffer.concat(down)), where)
      assert.deepEqual(near.events, ['end', 'close'], where)
    }))
  }
})

test('a process with a stream lives, and one without ends', { skip }, () => {
  const program = (isKept: boolean) => `
    import { connect, createServer } from 'node:net'
    import { takeStream } from '${new URL('./streams.js', import.meta.url).href}'
    const server = createServer({ pauseOnConnect: true }, accepted => {
      const stream = takeStream(accepted)
      stream.resume()
      server.close()
      setTimeout(() => console.log('still here'), 50).unref()
      if (!${isKept}) stream.destroy()
      else setTimeout(() => stream.destroy(), 150).unref()
    }).listen(0, '127.0.0.1', () => connect(server.address().port, '127.0.0.1').unref())`
  const run = (isKept: boolean) => spawnSync(process.execPath, ['--input-type=module', '-e', program(isKept)], { encoding: 'utf8', timeout: 20_000 })
  const kept = run(true), gone = run(false)
  assert.deepEqual([kept.stdout, kept.status, kept.stderr], ['still here\n', 0, ''])
  assert.deepEqual([gone.stdout, gone.status, gone.stderr], ['', 0, ''])
})

test('in another thread of the process there are no streams, and Node\'s sockets carry its connections', { skip }, () => {
  const url = new URL('./streams.js', import.meta.url).href
  const program = `
    import { Worker } from 'node:worker_threads'
    import { connect, createServer } from 'node:net'
    const take = await import('${url}')
    const server = createServer({ pauseOnConnect: true }, one => { const s = take.takeStream(one); console.log(s !== null); s.destroy(); server.close(); other() })
    server.listen(0, '127.0.0.1', () => connect(server.address().port, '127.0.0.1').on('error', () => {}))
    function other() {
      new Worker(\`
        import { connect, createServer } from 'node:net'
        import { takeStream } from '${url}'
        const server = createServer({ pauseOnConnect: true }, one => { console.log(takeStream(one) === null, one.destroyed); one.destroy(); server.close() })
        server.listen(0, '127.0.0.1', () => connect(server.address().port, '127.0.0.1').on('error', () => {}))\`, { eval: true })
    }`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8', timeout: 20_000 })
  assert.deepEqual([stdout, stderr, status], ['true\ntrue false\n', '', 0])
})
