/** A socket of Node's as its session sees it: TLS, and plain TCP where streams.ts has no addon. */
import type { Socket } from 'node:net'
import type { Connection, SimcoSession } from './session.ts'

const NOTHING = new Uint8Array(0)

export class SocketConnection implements Connection {
  session: SimcoSession | null = null
  private readonly socket: Socket
  private isWaiting = false
  private readonly onWritten = (): void => {
    this.isWaiting = false
    this.session?.written()
  }

  constructor(socket: Socket) { this.socket = socket }

  get queuedBytes(): number { return this.socket.writableLength }

  write(buffer: Uint8Array, bytes: number): void {
    const { socket } = this
    socket.write(buffer.subarray(0, bytes))
    if (socket.writableLength === 0 || this.isWaiting) return
    this.isWaiting = true
    // What stands behind the octets has gone when they have.
    socket.write(NOTHING, this.onWritten)
  }

  pause(): void { this.socket.pause() }
  resume(): void { this.socket.resume() }
  end(): void { if (!this.socket.writableEnded) this.socket.end() }
  destroy(): void { this.socket.destroy() }
}
