/** Runs a case through a box, and says in a line a step what left it, so that two boxes can be compared. */
import type { Box } from '../conformance/box.ts'
import { buildPacket, verify } from '../../src/wire/build.ts'
import { TO_INSIDE } from '../../src/wire/frames.ts'
import { printBytes } from '../../src/wire/print.ts'
import type { Case, Seen } from './cases.ts'
import type { Left } from './linux.ts'

const ICMP = 1, TCP = 6, UDP = 17, FRAGMENT = 44, ICMP6 = 58

export type Send = (fromInside: boolean, packet: Uint8Array) => Promise<Left[]> | Left[]
/** What left the box because of a packet: a line to read, and one that tells every byte that counts. */
export interface Answer { text: string; bytes: string }

/** The answers of a box to the packets of a case, or one to all of them. */
export async function run({ steps, together }: Case, send: Send): Promise<Answer[]> {
  const seen: Seen = { outside: new Uint8Array(0), inside: new Uint8Array(0) }
  const answers: Answer[] = [], all: Answer[] = []
  for (const [from, make] of steps) {
    const spec = typeof make === 'function' ? make(seen) : make
    const packet = spec instanceof Uint8Array ? spec : buildPacket(spec)
    const left = await send(from === 'in', packet)
    for (const { toInside, bytes } of left) {
      if (toInside) seen.inside = bytes
      else seen.outside = bytes
    }
    const parts = left.map(one => describe(packet, from === 'in', one, together === true))
    answers.push(join(parts))
    all.push(...parts)
  }
  return together === true ? [join(all.sort((p, q) => p.text < q.text ? -1 : 1))] : answers
}

function join(parts: Answer[]): Answer {
  if (parts.length === 0) return { text: 'nothing', bytes: '' }
  return { text: parts.map(({ text }) => text).join('; '), bytes: parts.map(({ bytes }) => bytes).join(' ') }
}

/** The two answers as a reader is told them, or null if they are the same. */
export function difference(linux: Answer, ours: Answer): [linux: string, ours: string] | null {
  if (linux.text !== ours.text) return [linux.text, ours.text]
  if (linux.bytes === ours.bytes) return null
  const pairs = (answer: Answer) => answer.bytes.match(/../g) ?? []
  const differs = (pair: string, at: number) => pair !== pairs(ours)[at]
  const first = pairs(linux).findIndex(differs), last = pairs(linux).findLastIndex(differs)
  const shown = (answer: Answer) => `${answer.text}, bytes ${first}-${last}: ${pairs(answer).slice(first, last + 1).join('')}`
  return [shown(linux), shown(ours)]
}

/** The engine as such a box. */
export function sendTo(box: Box): Send {
  return (fromInside, packet) => {
    box.nowMs += 10
    const { verdict, bytes, extras } = fromInside ? box.in(packet) : box.out(packet)
    const own = bytes === null ? [] : [{ toInside: verdict === TO_INSIDE, bytes }]
    return [...own, ...extras.map(extra => ({ toInside: extra.verdict === TO_INSIDE, bytes: extra.bytes }))]
  }
}

/**
 * What one packet became. A port or an identification that the box drew is "another" one, whichever it is. Of an error of its own, type,
 * ends and the first of the quoted packet count, not identification, DF, class and TTL, nor how much is quoted.
 */
function describe(packet: Uint8Array, fromInside: boolean, { toInside, bytes }: Left, isWhole: boolean): Answer {
  const way = toInside ? 'in' : 'out'
  if (fromInside === toInside && isError(bytes)) {
    const text = `${way} ${printBytes(bytes).replace(/: (UDP|ESP|Flags|ICMP6? echo).*$/, ')')}`
    return { text, bytes: text }
  }
  const before = verify(packet), faults = verify(bytes).filter(fault => !before.includes(fault))
  const copy = bytes.slice()
  const drawn = !toInside && fromInside && !isWhole ? withoutDrawnPort(packet, copy) : ''
  const other = withoutOtherId(packet, copy)
  const text = `${way} ${printBytes(copy)}${drawn}${other}${faults.map(fault => `, ${fault}`).join('')}`
  return { text, bytes: [...copy].map((byte, at) => isChecksum(copy, at) ? '--' : byte.toString(16).padStart(2, '0')).join('') }
}

function isError(bytes: Uint8Array): boolean {
  if (bytes[0] >> 4 === 6) return bytes[6] === ICMP6 && bytes[40] < 128
  return bytes[9] === ICMP && [3, 4, 5, 11, 12].includes(bytes[(bytes[0] & 15) * 4])
}

function isFirstPiece(bytes: Uint8Array): boolean {
  return (bytes[6] & 31) === 0 && bytes[7] === 0
}

/** Puts 0 in the place of an IPv4 source port or identifier that is not the one that came. */
function withoutDrawnPort(packet: Uint8Array, copy: Uint8Array): string {
  if (copy[0] >> 4 !== 4 || copy.length < 28 || !isFirstPiece(copy)) return ''
  const l4 = (copy[0] & 15) * 4, was = (packet[0] & 15) * 4
  const at = [TCP, UDP].includes(copy[9]) ? 0 : copy[9] === ICMP && !isError(copy) ? 4 : -1
  if (at < 0 || (copy[l4 + at] === packet[was + at] && copy[l4 + at + 1] === packet[was + at + 1])) return ''
  copy[l4 + at] = copy[l4 + at + 1] = 0
  return at === 0 ? ', another port' : ', another identifier'
}

/** The same for the identification of an IPv6 fragment. */
function withoutOtherId(packet: Uint8Array, copy: Uint8Array): string {
  if (copy[0] >> 4 !== 6 || copy[6] !== FRAGMENT || packet[6] !== FRAGMENT) return ''
  if (copy.slice(44, 48).join() === packet.slice(44, 48).join()) return ''
  copy.fill(0, 44, 48)
  return ', another identification'
}

/** Sums were judged by themselves; they differ where a drawn port does. */
function isChecksum(bytes: Uint8Array, at: number): boolean {
  if (bytes[0] >> 4 !== 4 || !isFirstPiece(bytes)) return false
  const l4 = (bytes[0] & 15) * 4, place = bytes[9] === TCP ? 16 : bytes[9] === UDP ? 6 : bytes[9] === ICMP ? 2 : -1
  return place >= 0 && (at === l4 + place || at === l4 + place + 1)
}
