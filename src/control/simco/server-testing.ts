/** For tests of the server: one with a policy that grants everything, and clients that count octets, on loopback. */
import type { TestContext } from 'node:test'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { createSimcoServer, type SimcoServer, type SimcoServerOptions } from './server.ts'
import { bytesOf, createFakePolicy, patiently, type FakePolicy } from './testing.ts'

interface Pem { cert: string; key: string }
export const pems = JSON.parse(readFileSync('src/control/simco/testing-certificates.json', 'utf8')) as Record<string, Pem>
export const SE = '01010008000000010001000403000000', KEY = Buffer.alloc(32, 7)
export const PLAIN = { host: '127.0.0.1', port: 0, challenge: false, loopbackAgent: 'tester' }

/** What carries plain connections: `server.sockets.test.ts` runs the same tests over Node's. */
export const carrier = { streams: true }

/** Clients of the test that runs. */
const dialled: Socket[] = []

export interface Box { server: SimcoServer; port: number; policy: FakePolicy }
export async function box(t: TestContext, options: Partial<SimcoServerOptions> = {}): Promise<Box> {
  const policy = createFakePolicy()
  const limits = { drainMs: 300, ...options.limits }
  const server = createSimcoServer({ policy, agents: [], listeners: [PLAIN], ...carrier, ...options, limits })
  const [address] = await server.listen()
  t.after(() => {
    // With a clock that stands still, a client that does not close would never be closed.
    for (const socket of dialled.splice(0)) socket.destroy()
    return server.close()
  })
  return { server, port: address!.port, policy }
}

/**
 * A client that counts octets: `take(n)` resolves with the next n messages, or with less if the connection ends before. It fails
 * when nothing comes.
 */
export class Client {
  readonly socket: Socket
  closed = false
  private bytes = Buffer.alloc(0)
  private wake = (): void => { /* nobody waits */ }
  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.bytes = Buffer.concat([this.bytes, chunk])
      this.wake()
    })
    socket.on('error', () => { /* 'close' follows */ })
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.closed = true
        this.wake()
      })
    }
  }
  send(...hex: (string | Uint8Array)[]): this {
    this.socket.write(Buffer.concat(hex.map(one => typeof one === 'string' ? bytesOf(one) : one)))
    return this
  }
  async take(messages = 1): Promise<string[]> {
    const found: string[] = []
    while (found.length < messages) {
      const end = this.bytes.length < 4 ? Infinity : 8 + this.bytes.readUInt16BE(2)
      if (this.bytes.length >= end) {
        found.push(this.bytes.toString('hex', 0, end))
        this.bytes = this.bytes.subarray(end)
      } else if (this.closed) break
      else {
        const more = new Promise<void>(resolve => { this.wake = resolve }), last = found.at(-1) ?? 'none'
        await patiently(more, () => `nothing more has come: ${found.length} of ${messages} messages, the last one ${last}`)
      }
    }
    return found
  }
  /** Everything up to the end. */
  rest(): Promise<string[]> { return this.take(Infinity) }
}

export async function dial(port: number, localAddress = '127.0.0.1'): Promise<Client> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  dialled.push(socket)
  await once(socket, 'connect')
  return new Client(socket)
}
export async function dialTls(port: number, options: ConnectionOptions = {}): Promise<Client> {
  const socket: TLSSocket = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: pems['ca']!.cert, ...options })
  dialled.push(socket)
  const client = new Client(socket)
  await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => { /* the client has heard it */ })
  return client
}
export async function until(condition: () => boolean): Promise<void> {
  let isOver = false
  const come = async () => { while (!isOver && !condition()) await new Promise(resolve => setTimeout(resolve, 2)) }
  await patiently(come(), () => `this is not so: ${String(condition)}`).finally(() => { isOver = true })
}
export function per(tid: number): Buffer {
  const bytes = bytesOf('0112003000000011 000b000403010000 0009000c01201100138c0002c000020a'
    + '0009000c0100110300000002 00000000 000700040000012c')
  bytes.writeUInt32BE(tid, 4)
  return bytes
}
