/**
 * Sequence numbers of a flow, as docs/behaviour.md has them under "TCP windows". Numbers are compared by their difference modulo
 * 2^32, of which the upper half is negative.
 */
import { get16, type Packet } from './packet.ts'
import { isLong, type TcpState, type Way } from './tcp.ts'

const FIN = 1, SYN = 2, RST = 4, ACK = 16
const LARGEST = 65535 * 2 ** 14, LAG = 66_000

/** What is known of one end. Numbers are 0 … 2^32-1; null: not known. */
export interface End {
  sent: 'nothing' | 'guessed' | 'seen'
  end: number
  edge: number
  max: number
  acked: number | null
  scale: number
  asksScale: boolean
}
export type Ends = Record<Way, End>
export type Judgement = 'good' | 'aside' | 'tcp-out-of-window' | 'tcp-bad-ack' | 'tcp-rst-out-of-window' | 'tcp-syn-in-window'

const nobody = (): End => ({ sent: 'nothing', end: 0, edge: 0, max: 0, acked: null, scale: 0, asksScale: false })
const plus = (a: number, b: number) => (a + b + 2 ** 33) % 2 ** 32
/** How far a is behind b: negative before it. */
function beyond(a: number, b: number): number {
  const ahead = (a - b + 2 ** 32) % 2 ** 32
  return ahead < 2 ** 31 ? ahead : ahead - 2 ** 32
}
const get32 = (bytes: Uint8Array, at: number) => get16(bytes, at) * 65536 + get16(bytes, at + 2)
export const flip = (way: Way): Way => way === 'out' ? 'in' : 'out'

interface Segment { flags: number; seq: number; ack: number; window: number; length: number; scale: number | null; first: boolean }

function segmentOf(p: Packet): Segment {
  const at = p.l4, flags = p.bytes[at + 13], header = (p.bytes[at + 12] >> 4) * 4
  const data = Math.max(0, p.netBytes - at - header)
  return {
    flags, seq: get32(p.bytes, at + 4), ack: get32(p.bytes, at + 8), window: get16(p.bytes, at + 14),
    length: data + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0), scale: scaleOf(p, at + 20, at + header), first: p.piece !== null,
  }
}

/** The window scale option; null without one; the largest if it may have been there, but was not captured. */
function scaleOf(p: Packet, from: number, end: number): number | null {
  for (let at = from; at < end;) {
    const [kind, length] = [p.bytes[at], p.bytes[at + 1]]
    if (kind === undefined) return 14
    if (kind === 0) return null
    if (kind === 1) { at++; continue }
    if (at + 1 >= end) return null
    if (length === undefined) return 14
    if (length < 2 || at + length > end) return null
    if (kind === 3 && length === 3) return Math.min(p.bytes[at + 2] ?? 14, 14)
    at += length
  }
  return null
}

/** The ends of a connection as its first segment shows them. */
export function begun(p: Packet, way: Way): Ends {
  const s = segmentOf(p), own = nobody(), other = nobody()
  const end = plus(s.seq, s.length + (s.first ? 65535 : 0))
  Object.assign(own, { sent: 'seen', end })
  if (s.flags & SYN && !(s.flags & ACK)) {
    Object.assign(own, { scale: s.scale ?? 0, asksScale: s.scale !== null, max: Math.max(1, s.window), edge: end })
  } else {
    own.scale = other.scale = 14
    own.max = Math.max(1, s.flags & SYN ? s.window : s.window * 2 ** 14)
    other.max = LARGEST
    own.edge = plus(end, LARGEST)
    if (s.flags & ACK) {
      own.acked = s.ack
      Object.assign(other, { sent: 'guessed', end: s.ack, edge: plus(s.ack, own.max) })
    }
  }
  return way === 'out' ? { out: own, in: other } : { out: other, in: own }
}

/** Judges a segment and, unless it stands aside, remembers it in `ends`, which may be replaced. */
export function judged(ends: Ends, p: Packet, way: Way, state: TcpState, strict: boolean): { ends: Ends; is: Judgement } {
  const s = segmentOf(p), isSyn = (s.flags & SYN) !== 0, hasAck = (s.flags & ACK) !== 0
  const opening = way === 'out' ? ['SYN-OUT', 'MID-OUT'] : ['SYN-IN', 'MID-IN']
  if (isSyn && !hasAck && !(s.flags & RST) && [...opening, 'FIN-BOTH', 'RESET'].includes(state)) {
    return { ends: begun(p, way), is: 'good' }
  }
  const own = ends[way], other = ends[flip(way)], say = (is: Judgement) => ({ ends, is })
  const fits = (end: number) => beyond(s.seq, own.edge) <= 0 && beyond(end, own.end) >= -Math.max(1, other.max)
  if (s.flags & RST) {
    if (own.sent === 'nothing') return say(hasAck && s.ack === other.end ? 'good' : 'tcp-rst-out-of-window')
    if (other.acked !== null && beyond(s.seq, other.acked) < 0 || !fits(s.seq)) return say('tcp-rst-out-of-window')
    return say(!strict || s.seq === own.end || s.seq === other.acked ? 'good' : 'aside')
  }
  if (isSyn && isLong(state) && other.acked !== null && own.sent === 'seen') {
    const inside = beyond(s.seq, other.acked) >= 0 && beyond(s.seq, own.edge) < 0
    return say(strict && inside ? 'tcp-syn-in-window' : 'aside')
  }
  const window = isSyn ? s.window : s.window * 2 ** own.scale
  let end = plus(s.seq, s.length)
  if (own.sent !== 'nothing' && !fits(end)) return say(strict ? 'tcp-out-of-window' : 'good')
  if (hasAck && other.sent === 'seen') {
    const ahead = beyond(s.ack, other.end)
    if (ahead > 0 || ahead < -Math.max(own.max, LAG)) return say(strict ? 'tcp-bad-ack' : 'good')
  }
  if (own.sent !== 'seen') {
    if (isSyn) {
      const both = s.scale !== null && other.asksScale
      own.scale = both ? s.scale! : 0
      if (!both) other.scale = 0
      own.max = Math.max(1, s.window)
      own.edge = end
    } else if (own.sent === 'nothing') {
      own.scale = other.scale = 14
      own.max = Math.max(1, s.window * 2 ** 14)
      own.edge = plus(end, LARGEST)
    }
    if (own.sent === 'nothing') own.end = end
    own.sent = 'seen'
  }
  if (s.first && beyond(own.edge, end) > 0) end = own.edge
  if (beyond(end, own.end) > 0) own.end = end
  own.max = Math.max(own.max, window)
  if (!hasAck) return say('good')
  if (own.acked === null || beyond(s.ack, own.acked) > 0) own.acked = s.ack
  if (other.sent !== 'seen') {
    other.end = s.ack
    if (other.sent === 'nothing') Object.assign(other, { edge: s.ack, scale: 14, sent: 'guessed', max: other.max === 0 ? LARGEST : other.max })
  }
  const edge = plus(s.ack, Math.max(1, window))
  if (beyond(edge, other.edge) > 0) other.edge = edge
  return say('good')
}
