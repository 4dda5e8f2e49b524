/**
 * What neighbours.ts does, without its tables: a map by address, arrays of packets, and every neighbour looked at whenever time
 * moves. What leaves is told as text.
 */
import { ANSWERS, ASKS, groupMac } from './neighbours.ts'
import { solicitedNode } from '../wire/ndp.ts'

const TRIES = 3, RETRY_MS = 1000, REACHABLE_MS = 30_000, DELAY_MS = 5000, IDLE_MS = 600_000, PER_NEIGHBOUR = 16, UNROUTED = 16

type State = 'incomplete' | 'reachable' | 'stale' | 'probe'
interface Neighbour {
  side: number
  words: Int32Array
  version: number
  state: State
  mac: string
  tries: number
  isUsed: boolean
  usedMs: number
  dueMs: number
  queue: string[]
}

export interface NeighboursModel {
  /** `hop` null: there is no route. */
  send(side: number, version: number, hop: Int32Array | null, packet: string): void
  learn(side: number, version: number, words: Int32Array, mac: string, why: number, nowMs: number): void
  advertised(side: number, words: Int32Array, mac: string | null, isSolicited: boolean, isOverride: boolean, nowMs: number): void
  advance(nowMs: number): void
  macOf(side: number, version: number, words: Int32Array): string | null
  count(): number
  /** Since the last look: what has left, which packets came back, and how many packets and neighbours found no room. */
  take(): { sent: string[]; back: string[]; drops: number; full: number }
}

const isGroup = (mac: string) => (parseInt(mac.slice(0, 2), 16) & 1) !== 0
export const hexOf = (octets: readonly number[]) => octets.map((octet) => octet.toString(16).padStart(2, '0')).join('')
export const askText = (version: number, words: Int32Array, to: string) => `ask ${version} ${[...words].join(',')} at ${to}`

export function createNeighboursModel(most: number, queueFrames: number): NeighboursModel {
  const all = new Map<string, Neighbour>()
  let sent: string[] = [], back: string[] = [], drops = 0, full = 0, now = 0
  const keyOf = (side: number, version: number, words: Int32Array) => `${side} ${version} ${[...words].join(',')}`
  const waiting = () => [...all.values()].reduce((sum, { queue }) => sum + queue.length, 0) + back.length

  function leave(n: Neighbour, packet: string): void {
    n.isUsed = true
    sent.push(`${n.side}: ${packet} to ${n.mac}`)
  }

  function ask(n: Neighbour, isProbe: boolean): void {
    n.tries++
    n.dueMs = now + RETRY_MS
    const group = n.version === 4 ? 'ffffffffffff' : hexOf(groupMac(solicitedNode(n.words)))
    sent.push(`${n.side}: ${askText(n.version, n.words, isProbe ? n.mac : group)}`)
  }

  function add(side: number, version: number, words: Int32Array): Neighbour | null {
    if (all.size === most) {
      const idle = [...all].filter(([, { state, isUsed }]) => state === 'stale' && !isUsed).sort(([, a], [, b]) => a.usedMs - b.usedMs)
      if (idle.length > 0) all.delete(idle[0]![0])
    }
    if (all.size === most) {
      full++
      return null
    }
    const n: Neighbour = {
      side, version, words: words.slice(), state: 'incomplete', mac: '', tries: 0, isUsed: false, usedMs: now, dueMs: Infinity, queue: [],
    }
    all.set(keyOf(side, version, words), n)
    return n
  }

  function become(n: Neighbour, next: State): void {
    n.state = next
    for (const packet of n.queue.splice(0)) leave(n, packet)
    n.tries = 0
    n.isUsed = false
    n.usedMs = now
    n.dueMs = now + (next === 'reachable' ? REACHABLE_MS : DELAY_MS)
  }

  function grow(key: string, n: Neighbour): void {
    if (n.isUsed) n.usedMs = now
    if (n.state === 'incomplete') {
      if (n.tries < TRIES) return ask(n, false)
      back.push(...n.queue)
      all.delete(key)
    } else if (n.state === 'probe') {
      if (n.tries < TRIES) return ask(n, true)
      n.state = 'incomplete'
      n.tries = 0
      ask(n, false)
    } else if (n.isUsed) {
      n.state = 'probe'
      n.tries = 0
      n.isUsed = false
      ask(n, true)
    } else if (now - n.usedMs >= IDLE_MS) all.delete(key)
    else {
      n.state = 'stale'
      n.dueMs = now + DELAY_MS
    }
  }

  return {
    send(side, version, hop, packet) {
      if (hop === null) {
        if (back.length < UNROUTED && waiting() < queueFrames) back.push(packet)
        return
      }
      let n = all.get(keyOf(side, version, hop)) ?? null
      if (n === null) {
        n = add(side, version, hop)
        if (n === null) return
        ask(n, false)
      }
      if (n.state !== 'incomplete') return leave(n, packet)
      if (n.queue.length === PER_NEIGHBOUR) {
        n.queue.shift()
        drops++
      }
      if (waiting() < queueFrames) n.queue.push(packet)
      else drops++
    },
    learn(side, version, words, mac, why, nowMs) {
      now = nowMs
      if (isGroup(mac)) return
      const there = all.get(keyOf(side, version, words))
      if (there === undefined) {
        const n = why !== ASKS ? null : add(side, version, words)
        if (n === null) return
        n.mac = mac
        return become(n, 'stale')
      }
      const isNew = there.state === 'incomplete' || there.mac !== mac
      there.mac = mac
      if (why === ANSWERS) become(there, 'reachable')
      else if (isNew) become(there, 'stale')
    },
    advertised(side, words, mac, isSolicited, isOverride, nowMs) {
      now = nowMs
      const n = all.get(keyOf(side, 6, words))
      if (n === undefined || (mac !== null && isGroup(mac))) return
      if (n.state === 'incomplete') {
        if (mac === null) return
        n.mac = mac
        return become(n, isSolicited ? 'reachable' : 'stale')
      }
      const isOther = mac !== null && mac !== n.mac
      if (isOther && !isOverride) {
        if (n.state === 'reachable') become(n, 'stale')
        return
      }
      if (isOther) n.mac = mac
      if (isSolicited) become(n, 'reachable')
      else if (isOther) become(n, 'stale')
    },
    advance(nowMs) {
      now = nowMs
      for (const [key, n] of [...all]) if (n.dueMs <= nowMs) grow(key, n)
    },
    macOf(side, version, words) {
      const n = all.get(keyOf(side, version, words))
      return n === undefined || n.state === 'incomplete' ? null : n.mac
    },
    count: () => all.size,
    take() {
      const found = { sent, back, drops, full }
      sent = []
      back = []
      drops = full = 0
      return found
    },
  }
}
