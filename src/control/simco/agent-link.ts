/**
 * One connection with one session of SIMCO in it (RFC 4540 7): opens it, in as many rounds as it takes, then carries messages
 * both ways. It knows nothing of requests and their fate.
 */
import { randomBytes } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls'
import { MidcomError, type LocalReason } from './agent-error.ts'
import { readCapabilities, type Capabilities } from './agent-messages.ts'
import { composeChallenge, composeToken, MAX_NAME_BYTES, NONCE_BYTES, verifyToken } from './authentication.ts'
import { BAD, BROKEN, createDecoder, createOutput, encode, MESSAGE, type Fault } from './codec.ts'
import {
  AST, BFM, CHALLENGE, createMessage, MAX_CHALLENGE_BYTES, MAX_PAYLOAD_BYTES, NEGATIVE_REPLY, SA_REPLY, SA_REQUEST, SE_REPLY,
  SE_REQUEST, TOKEN, VERSION_3_0, VERSION_MISMATCH, type Message,
} from './messages.ts'

/** A key that agent and middlebox share: each proves to the other that it has it. */
export interface SharedKey {
  /** Who the agent is: 1 … 255 bytes of UTF-8. */
  name: string
  /** At least 16 bytes. */
  key: Uint8Array
}

export interface TlsOptions {
  /** PEM: trusted authorities instead of those that Node trusts. */
  ca?: string | Uint8Array
  /** PEM: the agent's certificate and its key. */
  cert?: string | Uint8Array
  key?: string | Uint8Array
  /** Name that the middlebox's certificate must have, if it is not `host`. */
  serverName?: string
}

export interface LinkOptions {
  host: string
  port: number
  tls: TlsOptions | null
  sharedKey: SharedKey | null
  /** For TCP, TLS and the rounds of the session together, in milliseconds. */
  connectTimeoutMs: number
  /** Idle time after which TCP asks whether the other side is still there, in milliseconds. */
  keepAliveMs: number
}

export interface LinkHandlers {
  /** The session is open. What came behind the reply in the same segment follows as messages. */
  opened(link: Link): void
  /** Lent. Replies and notifications. */
  message(message: Message): void
  /** A message that could not be read; `message` has its type and TID. */
  bad(message: Message, fault: Fault): void
  /** The end, once: it could not be opened, or was lost, or was closed. */
  closed(error: MidcomError): void
}

export interface Link {
  readonly capabilities: Capabilities
  /** Sends with the next TID, which it returns; 0 when all 2^32 - 1 are used up (RFC 4540 4.2.5 forbids to use one again). */
  send(message: Message): number
  /** Closes once all is sent. */
  end(): void
  destroy(): void
}

/** Two challenges' worth: longer is no SA reply, and probably no SIMCO. */
const OPENING_BYTES = 2 * (MAX_CHALLENGE_BYTES + 4)
const MOST_TID = 0xffffffff
const NOTHING = new Uint8Array(0)

/** @throws {RangeError} for a key or a name that cannot be used */
export function checkSharedKey({ name, key }: SharedKey): void {
  const bytes = Buffer.byteLength(name)
  if (bytes < 1 || bytes > MAX_NAME_BYTES) throw new RangeError('the name of a shared key has 1 to 255 bytes of UTF-8')
  if (key.length < 16) throw new RangeError('a shared key has at least 16 bytes')
}

/** @throws {MidcomError} for certificates that cannot be used */
export function checkTls(tls: TlsOptions): void {
  try {
    createSecureContext(secureContext(tls))
  } catch (error) {
    const detail = `certificates cannot be used: ${(error as Error).message}`
    throw new MidcomError('tls-failed', 'connect', false, detail, { cause: error })
  }
}

/** Begins at once. `abort` gives up, with `closed`; after `opened` it does nothing. */
export function openLink(options: LinkOptions, handlers: LinkHandlers): { abort(error: MidcomError): void } {
  let attempt = 0, over = false, open = false
  let socket: Socket | null = null
  const timer = setTimeout(() => {
    finish(new MidcomError('timed-out', 'connect', false, `${options.connectTimeoutMs} ms`))
  }, options.connectTimeoutMs)
  begin(VERSION_3_0)
  return { abort(error) { if (!open) finish(error) } }

  function finish(error: MidcomError): void {
    if (over) return
    over = true
    clearTimeout(timer)
    socket?.destroy()
    handlers.closed(error)
  }

  function begin(version: number): void {
    const mine = dial(options)
    socket = mine
    const decoder = createDecoder(OPENING_BYTES), output = createOutput(), inbound = createMessage()
    const { sharedKey } = options
    const challenge = sharedKey === null ? NOTHING : composeChallenge(sharedKey.name, randomBytes(NONCE_BYTES))
    let lastTid = 0, expected = 0, connected = false, rounds = 0, flushing = false
    let lost: Error | null = null
    const current = () => !over && socket === mine
    const failure = (reason: LocalReason | number, detail = '', options?: ErrorOptions) =>
      new MidcomError(reason, open ? 'session' : 'connect', false, detail, options)
    const give = (reason: LocalReason | number, detail = '') => finish(failure(reason, detail))

    function send(message: Message): number {
      if (lastTid === MOST_TID) return 0
      message.tid = ++lastTid
      encode(output, message)
      // What is asked for in one turn leaves in one piece.
      if (!flushing) {
        flushing = true
        queueMicrotask(flush)
      }
      return lastTid
    }
    function flush(): void {
      flushing = false
      if (output.end > 0 && !mine.destroyed) mine.write(Uint8Array.prototype.slice.call(output.bytes, 0, output.end))
      output.end = 0
    }

    function establish(): void {
      connected = true
      const request = createMessage()
      request.type = SE_REQUEST
      request.version = version
      if (sharedKey !== null) {
        request.challenge = challenge
        request.present = 1 << CHALLENGE
      }
      expected = send(request)
    }

    /** A message before the session is open. */
    function opening(message: Message): void {
      if (message.type === BFM || message.type === AST) return give('session-terminated', 'before it was open')
      if (message.tid !== expected) return give('protocol-error', `a message of type ${hex(message.type)} that answers nothing`)
      if (message.type === VERSION_MISMATCH) return otherVersion(message.version)
      if (message.type >> 8 === NEGATIVE_REPLY) return give(message.type)
      if (message.type === SE_REPLY) {
        // One round is enough where the layer below has shown who the middlebox is (RFC 5189 2.2.1).
        if (sharedKey !== null && rounds === 0 && !isVerified(mine)) return give('not-authenticated', 'it left our challenge out')
        open = true
        decoder.maxPayloadBytes = MAX_PAYLOAD_BYTES
        clearTimeout(timer)
        return handlers.opened({
          capabilities: readCapabilities(message), send, end: () => { flush(); mine.destroySoon() }, destroy: () => mine.destroy(),
        })
      }
      if (message.type !== SA_REPLY || rounds > 0) return give('protocol-error', `a message of type ${hex(message.type)}`)
      answer(message)
    }

    /** Checks the middlebox's token and answers its challenge; either may be absent (RFC 4540 7.2). */
    function answer(message: Message): void {
      rounds++
      const wanted = (message.present & 1 << CHALLENGE) !== 0
      const theirs = wanted ? message.challenge : NOTHING
      const token = (message.present & 1 << TOKEN) !== 0 ? message.token : NOTHING
      const request = createMessage()
      request.type = SA_REQUEST
      if (sharedKey === null) {
        if (wanted) return give('authentication-required')
      } else {
        if (token.length === 0 && !isVerified(mine)) return give('not-authenticated', 'it cannot answer our challenge')
        if (token.length > 0 && !verifyToken(token, sharedKey.key, 'mbox', theirs, challenge)) {
          return give('not-authenticated', 'its token is not made with our key')
        }
        if (wanted) {
          request.token = composeToken(sharedKey.name, sharedKey.key, 'agent', challenge, theirs)
          request.present = 1 << TOKEN
        }
      }
      expected = send(request)
    }

    /** Within 3.x the octets are the same; we say what the middlebox wants to hear, once (RFC 4540 7.2). */
    function otherVersion(offered: number): void {
      const text = `it speaks ${offered >>> 24}.${offered >>> 16 & 255}`
      const same = offered >>> 16 === version >>> 16, ours = offered >>> 24 === VERSION_3_0 >>> 24
      if (attempt > 0 || same || !ours) return give(VERSION_MISMATCH, text)
      attempt++
      mine.destroy()
      begin((offered & 0xffff0000) >>> 0)
    }

    mine.once(options.tls === null ? 'connect' : 'secureConnect', establish)
    mine.on('data', (chunk: Buffer) => {
      decoder.push(chunk)
      while (current()) {
        const answered = decoder.next(inbound)
        if (answered === MESSAGE) {
          if (open) handlers.message(inbound)
          else opening(inbound)
        } else if (answered === BAD && open) handlers.bad(inbound, decoder.fault)
        else if (answered === BAD || answered === BROKEN) {
          return give('protocol-error', `${decoder.fault.reason} at octet ${decoder.fault.position}`)
        } else return
      }
    })
    // An end without an error is an end all the same; a half-open connection is of no use to us.
    mine.on('error', (error) => { lost = error })
    mine.on('close', () => {
      if (!current()) return
      const cause = lost === null ? undefined : { cause: lost }
      finish(failure(reasonFor(lost, connected), lost === null ? '' : systemText(lost), cause))
    })
  }
}

function dial({ host, port, tls, keepAliveMs }: LinkOptions): Socket {
  const timing = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }
  if (tls === null) return connectTcp(timing)
  const { serverName } = tls
  // An address is no server name (RFC 6066 3); the certificate is checked against it all the same.
  const name = serverName ?? (isIP(host) === 0 ? host : undefined)
  return connectTls({
    ...timing, ...secureContext(tls), ...name === undefined ? {} : { servername: name },
  })
}

/** For Node: any bytes will do, though its types say Buffer. TLS 1.0 and 1.1 are gone (RFC 8996). */
function secureContext({ ca, cert, key }: TlsOptions): SecureContextOptions {
  return { minVersion: 'TLSv1.2', ca, cert, key } as SecureContextOptions
}

function isVerified(socket: Socket): boolean {
  return (socket as Partial<TLSSocket>).authorized === true
}

function reasonFor(error: Error | null, connected: boolean): LocalReason {
  const code = (error as NodeJS.ErrnoException | null)?.code ?? ''
  // The alert about our certificate comes after the handshake in TLS 1.3.
  if (/^(ERR_SSL|ERR_TLS|CERT_|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|EPROTO)/.test(code)) return 'tls-failed'
  return connected ? 'connection-lost' : 'unreachable'
}

/** What the system says, without the numbers of OpenSSL's sources. */
function systemText(error: Error): string {
  const text = /error:[0-9A-F]+:[^:]*:[^:]*:([^:]+)/.exec(error.message)?.[1] ?? error.message
  return text === '' ? (error as NodeJS.ErrnoException).code ?? error.name : text
}

function hex(type: number): string { return `0x${type.toString(16).padStart(4, '0')}` }
