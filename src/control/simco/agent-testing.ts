/** A middlebox that does what a test tells it to, message by message, on loopback. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { createDecoder, createOutput, encode, encodeHeader, MESSAGE } from './codec.ts'
import { patiently } from './testing.ts'
import { CAPABILITIES, createMessage, NEGATIVE_REPLY, SE_REPLY, VERSION_MISMATCH, type Message } from './messages.ts'

/** RFC 4540 4.3.3: a NAPT and packet filter with PDR; IPv4 inside and outside. */
export const FAKE_CAPABILITIES = 0xd1750000

export interface FakeBox {
  readonly port: number
  /** The next connection, in order of arrival. */
  next(): Promise<FakeSession>
  /** So many have come. */
  readonly connections: number
  close(): Promise<void>
}

export interface FakeSession {
  /** The next message, a copy. */
  take(): Promise<Message>
  /** Messages that came and were not taken. */
  readonly untaken: number
  /** Octets of the last message taken. */
  octets(): string
  send(type: number, tid: number, fields?: Partial<Message>): void
  sendOctets(hex: string): void
  /** Takes the SE request and answers it. */
  open(fields?: Partial<Message>): Promise<Message>
  /** Settles when the agent has closed. */
  readonly closed: Promise<void>
  end(): void
  destroy(): void
}

/** @param tls options of a TLS server instead of plain TCP */
export async function createFakeBox(tls: TlsOptions | null = null): Promise<FakeBox> {
  const come: FakeSession[] = [], takers: ((session: FakeSession) => void)[] = []
  const sockets = new Set<Socket>()
  const accept = (socket: Socket) => {
    sockets.add(socket)
    const session = createSession(socket)
    const taker = takers.shift()
    if (taker === undefined) come.push(session)
    else taker(session)
  }
  const server: Server = tls === null ? createServer(accept) : createTlsServer(tls, accept)
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return {
    port: (server.address() as AddressInfo).port,
    get connections() { return sockets.size },
    async next() {
      return come.shift()
        ?? await patiently(new Promise<FakeSession>((resolve) => takers.push(resolve)), () => 'nobody has connected')
    },
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => { server.close(() => resolve()) })
    },
  }
}

function createSession(socket: Socket): FakeSession {
  const decoder = createDecoder()
  const come: Message[] = [], takers: ((message: Message) => void)[] = []
  let last = ''
  socket.on('data', (chunk) => {
    decoder.push(chunk)
    for (let message = createMessage(); decoder.next(message) === MESSAGE; message = createMessage()) {
      message.challenge = message.challenge.slice()
      message.token = message.token.slice()
      const taker = takers.shift()
      if (taker === undefined) come.push(message)
      else taker(message)
    }
  })
  socket.on('error', () => { /* the agent may be gone */ })
  const gone = new Promise<void>((resolve) => { socket.once('close', () => resolve()) })
  const session: FakeSession = {
    get closed() { return patiently(gone, () => 'the agent has not closed') },
    async take() {
      const message = come.shift()
        ?? await patiently(new Promise<Message>((resolve) => takers.push(resolve)), () => `no message has come behind '${last}'`)
      const output = createOutput()
      encode(output, message)
      last = Buffer.from(output.bytes.subarray(0, output.end)).toString('hex')
      return message
    },
    get untaken() { return come.length },
    octets: () => last,
    send(type, tid, fields = {}) {
      const output = createOutput()
      if (type >> 8 === NEGATIVE_REPLY && type !== VERSION_MISMATCH) encodeHeader(output, type, tid)
      else encode(output, { ...createMessage(), ...fields, type, tid })
      socket.write(output.bytes.subarray(0, output.end))
    },
    sendOctets: (hex) => { socket.write(Buffer.from(hex.replace(/\s/g, ''), 'hex')) },
    async open(fields = {}) {
      const request = await session.take()
      session.send(SE_REPLY, request.tid, {
        capabilities: FAKE_CAPABILITIES, maxLifetimeSec: 3600, present: 1 << CAPABILITIES, ...fields,
      })
      return request
    },
    end: () => { socket.end() },
    destroy: () => { socket.destroy() },
  }
  return session
}
