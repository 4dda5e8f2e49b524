/**
 * Plain TCP connections that native/streams.c reads and writes, where it was compiled: those of all sessions in one call a look.
 * Node accepts them, and hands over the descriptor. Their events are those of Node's sockets, `end` and `close`, as is what may
 * still be sent after the other end has closed its half.
 */
import { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { isMainThread } from 'node:worker_threads'
import type { Connection, SimcoSession } from './session.ts'

/** What the addon can do; native/streams.c describes it. */
interface Addon {
  begin(room: Uint8Array, rows: Int32Array, look: (rows: number) => void): void
  take(fd: number): number
  send(number: number, bytes: Uint8Array, from: number, to: number): number
  want(number: number, what: number): void
  finish(number: number): void
  close(number: number): void
}

/* As in native/streams.c. */
const ROW_NUMBER = 0, ROW_KIND = 1, ROW_OFF = 2, ROW_BYTES = 3, ROW_WORDS = 4
const OCTETS = 0, END = 1, SENDABLE = 3
const WANT_OCTETS = 1, WANT_SENDABLE = 2
const MOST_ROWS = 2048
/** Stays in the cache beside the rules; fifty connections with sixteen requests each fill a sixth. */
const ROOM_BYTES = 262_144

const NOTHING: Uint8Array = new Uint8Array(0)
const room = Buffer.allocUnsafeSlow(ROOM_BYTES), rows = new Int32Array(MOST_ROWS * ROW_WORDS)
const byNumber: (Stream | undefined)[] = []
let addon: Addon | null | undefined

function load(): Addon | null {
  // A thread that ends would take the addon's handle in the loop with it.
  if (process.platform !== 'linux' || !isMainThread) return null
  try {
    // Where the package has it, whether this file is compiled or bundled.
    const loaded = createRequire(import.meta.url)('#native/streams.node') as Addon
    loaded.begin(room, rows, look)
    return loaded
  } catch {
    return null
  }
}

/** Something has come on so many streams, and lies in `rows`. */
function look(count: number): void {
  for (let i = 0, row = 0; i < count; i++, row += ROW_WORDS) {
    // Whoever came before may have closed it.
    const stream = byNumber[rows[row + ROW_NUMBER]!]
    if (stream === undefined) continue
    switch (rows[row + ROW_KIND]) {
      case OCTETS: {
        const off = rows[row + ROW_OFF]!
        stream.session?.receiveLent(room, off, off + rows[row + ROW_BYTES]!)
        break
      }
      case END: stream.ended(); break
      case SENDABLE: stream.sendable(); break
      default: stream.destroy()
    }
  }
}

/** The descriptor of a socket, which Node does not document, so it may be missing. */
interface HandleOwner { _handle?: { fd?: unknown } | null }

/**
 * The same connection as a stream, and the socket is no more. Null: there is no addon, or it has no room; the socket is as it was.
 *
 * @param accepted by a server with `pauseOnConnect`
 */
export function takeStream(accepted: Socket): Stream | null {
  if (addon === undefined) addon = load()
  const fd = (accepted as HandleOwner)._handle?.fd
  if (addon === null || typeof fd !== 'number' || fd < 0) return null
  let number
  try {
    number = addon.take(fd)
  } catch {
    return null
  }
  const stream = new Stream(addon, number, accepted)
  byNumber[number] = stream
  accepted.destroy()
  return stream
}

/** A connection, which is not read before `resume`; to its session, and to the server before there is one. */
export class Stream extends EventEmitter implements Connection {
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  session: SimcoSession | null = null
  destroyed = false
  private readonly addon: Addon
  private readonly number: number
  /** What the system has not taken: octets `sent`..`pendingBytes`. */
  private pending: Uint8Array = NOTHING
  private pendingBytes = 0
  private sent = 0
  private wants = 0
  private hasEnded = false
  private isFinished = false

  constructor(addon: Addon, number: number, { remoteAddress, remotePort }: Socket) {
    super()
    this.addon = addon
    this.number = number
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
  }

  get queuedBytes(): number { return this.pendingBytes - this.sent }

  write(buffer: Uint8Array, bytes: number): void {
    if (this.destroyed) return
    this.pending = buffer
    this.pendingBytes = bytes
    this.push()
    if (this.queuedBytes > 0) this.want(this.wants | WANT_SENDABLE)
  }

  pause(): void { this.want(this.wants & ~WANT_OCTETS) }
  resume(): void { if (!this.hasEnded) this.want(this.wants | WANT_OCTETS) }

  end(): void {
    if (this.isFinished || this.destroyed) return
    this.isFinished = true
    if (this.hasEnded) return this.destroy()
    this.addon.finish(this.number)
  }

  destroy(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.forget()
    byNumber[this.number] = undefined
    this.addon.close(this.number)
    process.nextTick(() => this.emit('close'))
  }

  /** The other end has closed its half. */
  ended(): void {
    this.hasEnded = true
    this.wants &= ~WANT_OCTETS
    this.emit('end')
    if (this.isFinished) this.destroy()
  }

  /** The system takes more. */
  sendable(): void {
    this.push()
    if (this.queuedBytes > 0 || this.destroyed) return
    this.want(this.wants & ~WANT_SENDABLE)
    this.session?.written()
  }

  private push(): void {
    const taken = this.addon.send(this.number, this.pending, this.sent, this.pendingBytes)
    if (taken < 0) return this.destroy()
    this.sent += taken
    if (this.sent === this.pendingBytes) this.forget()
  }

  private forget(): void {
    this.pending = NOTHING
    this.pendingBytes = this.sent = 0
  }

  private want(what: number): void {
    if (what === this.wants || this.destroyed) return
    this.wants = what
    this.addon.want(this.number, what)
  }
}
