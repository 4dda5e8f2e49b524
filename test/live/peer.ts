/**
 * A host of the lab, for `scenes.ts`. Commands:
 *   serve ADDRESS PORT           HTTP: GET /N answers N bytes of a pattern; POST answers the SHA-256 of the body; GET /who the client
 *   fetch URL BYTES              GET, and say the SHA-256 of what came
 *   post URL BYTES               POST a pattern, and say what was answered and what it should be
 *   steady ADDRESS PORT SECONDS [FROM]  one TCP connection that asks 500 times a second, and how many answers came
 *   echo ADDRESS PORT            answers datagrams
 *   ask ADDRESS PORT BYTES [FROM]  one datagram of that size; `answered` or `silence`
 *   dns ADDRESS                  a name server over UDP and TCP: any name has 192.0.2.33 and 2001:db8::33
 *   who ADDRESS PORT             answers datagrams with where they came from
 *   hosts FROM COUNT PORT SERVER…  from so many addresses, one socket each asks all servers twice; what was answered, as JSON
 *   listen ADDRESS PORT          prints each datagram that comes, with its sender
 *   tagged MAC COUNT [HEX]       frames of IPv4 of VLAN 7, or with those octets between addresses and type
 *   flood MAC COUNT              frames of IPv4, with nothing in them
 *   send FROM TO PORT COUNT      datagrams, ten a second
 */
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer, get, request } from 'node:http'
import { connect, createServer as createTcpServer, isIPv6 } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Device } from '../../src/phy/device.ts'
import { openPacketDevices, reservePool, ringBytes } from '../../src/phy/packet.ts'
import { createFrames } from '../../src/wire/frames.ts'

const [command, ...args] = process.argv.slice(2) as [string, ...string[]]
const udp = (address: string) => createSocket(isIPv6(address) ? 'udp6' : 'udp4')

/** Bytes that a shifted or repeated piece would betray. */
function pattern(from: number, bytes: number): Buffer {
  const words = Buffer.alloc((bytes >> 2) + 2 << 2)
  for (let at = 0; at < words.length; at += 4) words.writeUInt32LE(Math.imul((from >> 2) + (at >> 2), 2654435761) >>> 0, at)
  return words.subarray(from & 3, (from & 3) + bytes)
}

function* pieces(bytes: number): Generator<Buffer> {
  for (let at = 0; at < bytes; at += 65_536) yield pattern(at, Math.min(65_536, bytes - at))
}

function hashOf(bytes: number): string {
  const hash = createHash('sha256')
  for (const piece of pieces(bytes)) hash.update(piece)
  return hash.digest('hex')
}

async function write(into: NodeJS.WritableStream, bytes: number): Promise<void> {
  for (const piece of pieces(bytes)) if (!into.write(piece)) await new Promise((resolve) => into.once('drain', resolve))
  into.end()
}

switch (command) {
  case 'serve':
    createServer((asked, answer) => {
      if (asked.method === 'POST') {
        const hash = createHash('sha256')
        asked.on('data', (piece: Buffer) => hash.update(piece)).on('end', () => answer.end(hash.digest('hex')))
      } else if (asked.url === '/who') answer.end(asked.socket.remoteAddress)
      else void write(answer, Number(asked.url!.slice(1)))
    }).listen(Number(args[1]), args[0], () => console.log('ready'))
    break
  case 'fetch':
    get(args[0]!, (answer) => {
      const hash = createHash('sha256')
      answer.on('data', (piece: Buffer) => hash.update(piece)).on('end', () => console.log(hash.digest('hex') === hashOf(Number(args[1])) ? 'same' : 'different'))
    })
    break
  case 'post': {
    const asked = request(args[0]!, { method: 'POST' }, (answer) => {
      let said = ''
      answer.setEncoding('utf8').on('data', (text: string) => { said += text }).on('end', () => console.log(said === hashOf(Number(args[1])) ? 'same' : 'different'))
    })
    await write(asked, Number(args[1]))
    break
  }
  case 'mirror':
    createTcpServer((socket) => { socket.pipe(socket) }).listen(Number(args[1]), args[0], () => console.log('ready'))
    break
  case 'steady': {
    const socket = connect({ port: Number(args[1]), host: args[0]!, ...args[3] !== undefined && { localAddress: args[3] } })
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.setNoDelay(true)
    let asked = 0, answered = 0, longestMs = 0, since = performance.now()
    socket.on('data', (piece) => {
      answered += piece.length
      longestMs = Math.max(longestMs, performance.now() - since)
      since = performance.now()
    })
    const endMs = performance.now() + Number(args[2]) * 1000
    while (performance.now() < endMs) {
      socket.write(Buffer.alloc(1))
      asked++
      await sleep(2)
    }
    await sleep(500)
    console.log(JSON.stringify({ asked, answered, longestMs: Math.round(longestMs) }))
    socket.destroy()
    break
  }
  case 'echo': {
    const socket = udp(args[0]!)
    socket.on('message', (message, { port, address }) => socket.send(message, port, address))
    socket.bind(Number(args[1]), args[0], () => console.log('ready'))
    break
  }
  case 'ask': {
    const socket = udp(args[0]!), asked = pattern(0, Number(args[2]))
    const timer = setTimeout(() => { console.log('silence'); socket.close() }, 2000)
    socket.on('error', (error) => { console.log((error as NodeJS.ErrnoException).code); clearTimeout(timer); socket.close() })
    socket.on('message', (message) => { console.log(message.equals(asked) ? 'answered' : 'different'); clearTimeout(timer); socket.close() })
    const ask = () => socket.connect(Number(args[1]), args[0], () => socket.send(asked, (error) => { if (error !== null) socket.emit('error', error) }))
    if (args[3] === undefined) ask()
    else socket.bind(0, args[3], ask)
    break
  }
  case 'who': {
    const socket = udp(args[0]!)
    socket.on('message', (_, { port, address }) => socket.send(`${address} ${port}`, port, address))
    socket.bind(Number(args[1]), args[0], () => console.log('ready'))
    break
  }
  case 'hosts': {
    const [first, count, port, ...servers] = args as [string, string, string, ...string[]]
    const answers: Record<string, string[]> = {}
    const sockets = Array.from({ length: Number(count) }, (_, n) => {
      const host = first.replace(/\d+$/, (last) => String(Number(last) + n)), socket = udp(host)
      answers[host] = []
      socket.on('message', (said) => answers[host]!.push(said.toString()))
      socket.bind(0, host, () => { for (const server of [...servers, ...servers]) socket.send('who', Number(port), server) })
      return socket
    })
    const isThere = () => Object.values(answers).every((said) => said.length === 2 * servers.length)
    for (let n = 0; n < 40 && !isThere(); n++) await sleep(50)
    console.log(JSON.stringify(answers))
    for (const socket of sockets) socket.close()
    break
  }
  case 'dns': {
    // RFC 1035 4.1: the question comes back, with one answer that points to its name.
    const answerTo = (asked: Buffer) => {
      let end = 12
      while (asked[end] !== 0) end += asked[end]! + 1
      const type = asked.readUInt16BE(end + 1)
      const data = type === 1 ? [192, 0, 2, 33] : type === 28 ? [0x20, 1, 0xd, 0xb8, ...Array.from({ length: 11 }, () => 0), 0x33] : []
      const head = Buffer.from([...asked.subarray(0, 2), 0x81, 0x80, 0, 1, 0, data.length > 0 ? 1 : 0, 0, 0, 0, 0])
      const record = data.length > 0 ? Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length, ...data]) : Buffer.alloc(0)
      return Buffer.concat([head, asked.subarray(12, end + 5), record])
    }
    const socket = udp(args[0]!)
    socket.on('message', (message, { port, address }) => socket.send(answerTo(message), port, address))
    createTcpServer((client) => {
      client.on('error', () => client.destroy())
      client.on('data', (piece) => {
        // One query may come with the next right behind it.
        for (let at = 0; at + 2 <= piece.length; at += 2 + piece.readUInt16BE(at)) {
          const answer = answerTo(piece.subarray(at + 2, at + 2 + piece.readUInt16BE(at)))
          client.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]))
        }
      })
    }).listen(53, args[0], () => socket.bind(53, args[0], () => console.log('ready')))
    break
  }
  case 'listen': {
    const socket = udp(args[0]!)
    socket.on('message', (message, { port, address }) => console.log(`${message.toString()} ${address} ${port}`))
    socket.bind(Number(args[1]), args[0], () => console.log('ready'))
    break
  }
  case 'send': {
    const socket = udp(args[1]!)
    socket.bind(6000, args[0])
    for (let n = 0; n < Number(args[3]); n++) {
      socket.send(String(n), Number(args[2]), args[1])
      await sleep(100)
    }
    socket.close()
    break
  }
  case 'tagged': {
    await send(args[0]!, Number(args[1]), [...Buffer.from(args[2] ?? '81000007', 'hex'), 0x08, 0, 0x45])
    break
  }
  case 'flood': {
    // IPv4 as far as a driver looks.
    await send(args[0]!, Number(args[1]), [0x08, 0, 0x45])
    break
  }
}

/** Frames of 64 bytes to an Ethernet address, as fast as they go: those begin with what is given, after the addresses. */
async function send(mac: string, count: number, bytes: number[]): Promise<void> {
  const frames = createFrames({ capacity: 256, poolBytes: ringBytes([{ name: 'eth0', mtu: 1500 }]), buffer: reservePool(ringBytes([{ name: 'eth0', mtu: 1500 }])) })
  const [device] = openPacketDevices([{ name: 'eth0', mtu: 1500 }], frames, 0) as [Device]
  frames.pool.set([...mac.split(':').map((octet) => parseInt(octet, 16)), ...device.mac, ...bytes], 0)
  for (let sent = 0; sent < count; sent++) {
    device.send(0, 64)
    if (sent % 64 !== 63) continue
    device.flush()
    while (device.kick()) await sleep(1)
  }
  device.flush()
  device.kick()
  device.close()
}
