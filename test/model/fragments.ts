/**
 * Fragments of the model: a list of datagrams, each with the list of its pieces. Section "Fragments" of
 * docs/behaviour.md (RFC 791 3.2, RFC 1858, RFC 3128, RFC 5722).
 */
import type { DropReason } from '../../src/channel/reasons.ts'
import { TCP, transportBytes, type Addr, type Packet, type Piece } from './packet.ts'

export const MOST_PIECES = 64, MOST_HELD_BYTES = 9216

/** What the first piece had when it left. */
/** `id`: of its own, or null: as it came. */
export interface Leaving { to: 'inside' | 'outside'; src: Addr; dst: Addr; id: number | null }

interface Came { piece: Piece; sent: boolean }
export interface Datagram {
  key: string
  deadline: number
  mark: DropReason | null
  came: Came[]
  held: { packet: Packet; came: Came }[]
  first: Leaving | null
}

type Admitted = { drop: DropReason; overlapped: number } | { drop: null; datagram: Datagram; came: Came }

export interface FragmentsOptions { fragmentDatagrams: number; fragmentHold: number; fragmentMs: number }

export class Fragments {
  private readonly options: FragmentsOptions
  /** In the order in which they became known. */
  known: Datagram[] = []

  constructor(options: FragmentsOptions) { this.options = options }

  heldCount(): number { return this.known.reduce((sum, d) => sum + d.held.length, 0) }

  /** Forgets what has passed its deadline. Returns how many held pieces went with it. */
  expire(nowMs: number): number {
    const passed = this.known.filter(d => ((d.deadline - nowMs) | 0) <= 0)
    this.known = this.known.filter(d => !passed.includes(d))
    return passed.reduce((sum, d) => sum + d.held.length, 0)
  }

  /** At the end of a replay. */
  finish(): number {
    const held = this.heldCount()
    this.known = []
    return held
  }

  /**
   * The checks of a piece in their order. What is admitted has come; `overlapped` held pieces are dropped too.
   * It is then the first one, a later one of which the first was sent, or waits for it.
   */
  admit(p: Packet, side: 'inside' | 'outside', nowMs: number): Admitted {
    const piece = p.piece!
    const refuse = (drop: DropReason, overlapped = 0) => ({ drop, overlapped })
    if (piece.end === piece.start || piece.more && piece.end % 8 !== 0 || piece.end > 65535 - (p.version === 4 ? p.l4 : 0)) {
      return refuse('fragment-bad-length')
    }
    if (p.version === 4 && p.protocol === TCP && piece.start === 8) return refuse('fragment-tiny')
    if (piece.start === 0 && p.l4 + transportBytes(p) > p.netBytes) return refuse('fragment-tiny')
    const key = [side, p.version, p.src, p.dst, piece.id, p.version === 4 ? p.protocol : ''].join('/')
    let datagram = this.known.find(d => d.key === key)
    if (datagram === undefined) {
      if (this.known.length >= this.options.fragmentDatagrams) return refuse('fragment-table-full')
      const deadline = nowMs + this.options.fragmentMs | 0
      datagram = { key, deadline, mark: null, came: [], held: [], first: null }
      this.known.push(datagram)
    }
    if (datagram.mark !== null) return refuse(datagram.mark)
    const others = datagram.came.map(came => came.piece)
    if (others.some(o => o.start === piece.start && o.end === piece.end)) return refuse('fragment-overlap')
    if (others.some(o => o.start < piece.end && piece.start < o.end)) {
      return refuse('fragment-overlap', this.mark(datagram, 'fragment-overlap'))
    }
    if (datagram.came.length >= MOST_PIECES) return refuse('fragment-table-full')
    const came = { piece, sent: false }
    if (piece.start > 0 && datagram.first === null) {
      // A piece that cannot be held has not come.
      const full = this.heldCount() >= this.options.fragmentHold
      if (full || p.netBytes > MOST_HELD_BYTES) return refuse('fragment-hold-full')
      datagram.held.push({ packet: p, came })
    }
    datagram.came.push(came)
    return { drop: null, datagram, came }
  }

  /** Returns how many held pieces are dropped with it. */
  mark(datagram: Datagram, reason: DropReason): number {
    datagram.mark = reason
    const held = datagram.held.length
    datagram.held = []
    return held
  }

  /**
   * The datagram is forgotten when every byte up to the end of its last piece was sent. Reading: when what was sent, which
   * does not overlap, adds up to the end of the latest piece without more to come; a piece beyond that end spoils the sum.
   */
  sent(datagram: Datagram, pieces: Came[]): void {
    for (const came of pieces) came.sent = true
    const last = datagram.came.findLast(c => !c.piece.more)
    const sentBytes = datagram.came.reduce((sum, c) => sum + (c.sent ? c.piece.end - c.piece.start : 0), 0)
    if (sentBytes === last?.piece.end) this.known = this.known.filter(d => d !== datagram)
  }
}
