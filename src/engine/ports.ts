/**
 * Outside ports: which are free on each outside address, and which one a new mapping gets (RFC 4787 REQ-3, REQ-4;
 * docs/behaviour.md, Ports). UDP, TCP and ICMP identifiers are apart. A port that was given up may have to wait before another host
 * gets it (RFC 6888 REQ-8), and hosts may have ports that are theirs alone: in blocks (port-blocks.ts), or by a fixed share.
 */
import { createPrng } from '../base/prng.ts'
import { type Counters, counterIndex } from '../channel/counters.ts'
import { BLOCK_CLOSED, BLOCK_OPENED } from '../channel/mapping-log.ts'
import { createHoldQueue } from '../storage/hold-queue.ts'
import { createPortSets } from '../storage/port-set.ts'
import type { Hosts } from './hosts.ts'
import { type EngineOptions, FILTER_ENDPOINT_INDEPENDENT } from './options.ts'
import type { Pool } from './pool.ts'
import { createPortBlocks } from './port-blocks.ts'

export const CLASS_UDP = 0, CLASS_TCP = 1, CLASS_ICMP = 2, CLASS_NONE = 3
export const CLASSES = 3

/** Port class by IPv4 protocol. */
export const CLASS_OF = new Uint8Array(256).fill(CLASS_NONE)
CLASS_OF[17] = CLASS_UDP
CLASS_OF[6] = CLASS_TCP
CLASS_OF[1] = CLASS_ICMP

export type Ports = ReturnType<typeof createPorts>

/** The set of a class on an address is `pool index * CLASSES + class`. */
// @req RFC7857 5a, 5b
export function createPorts(options: EngineOptions, pool: Pool, counters: Counters, hosts: Hosts) {
  const { isFree, take, release: free, firstFree } = createPortSets(options.nat44 ? pool.shared * CLASSES : 1)
  const { below } = createPrng(options.seed | 0)
  const { poolOf, hostNumber } = pool.pairing
  const hasShares = options.nat44 && (options.nat?.pools ?? []).some(({ hostsPerAddress }) => hostsPerAddress > 0)

  /** UDP or TCP ports that are never free to a dynamic mapping. */
  function keep(portClass: number, low: number, high: number, first = 0, last = options.pool.length - 1): void {
    for (let index = first; index <= last; index++) {
      for (let port = low; port <= high; port++) take(index * CLASSES + portClass, port)
    }
  }

  if (options.nat44) {
    const { midcom, nat } = options
    const reserved = [...nat?.reserved ?? [], ...midcom ? [{ low: midcom.portLow, high: midcom.portHigh }] : []]
    for (const { low, high } of reserved) {
      keep(CLASS_UDP, low, high)
      keep(CLASS_TCP, low, high)
    }
    for (const { protocol, outside, outsidePort, count } of nat?.forwards ?? []) {
      const index = pool.indexOf(outside)
      keep(CLASS_OF[protocol], outsidePort, outsidePort + count - 1, index, index)
    }
  }

  // Ports of other workers are never free here.
  if (options.nat44 && options.share) {
    const { steering: { ofPort }, worker } = options.share
    for (let port = 0; port <= 0xffff; port++) {
      if (ofPort(port) === worker) continue
      for (let set = 0; set < options.pool.length * CLASSES; set++) take(set, port)
    }
  }

  const blocks = createPortBlocks(options.nat44 ? options : { ...options, portBlocks: null }, options.pool.length, hosts,
    (index, low, high) => [CLASS_UDP, CLASS_TCP].every((portClass) =>
      [0, 1].some((parity) => firstFree(index * CLASSES + portClass, low, high, parity) >= 0)))

  // @req RFC6888 REQ-8a, REQ-8c
  const { holdMs, most, isAll } = options.portHold ?? { holdMs: 0, most: 0, isAll: false }
  const isExposed = options.filtering === FILTER_ENDPOINT_INDEPENDENT
  /** By class: do ports wait? TCP's need not, as connections are tracked, nor those whose filter lets only acquaintances in. */
  const waits = [CLASS_UDP, CLASS_TCP, CLASS_ICMP].map((portClass) => most > 0 && (isAll || isExposed && portClass !== CLASS_TCP))
  const isHolding = options.nat44 && waits.some(Boolean)
  const held = createHoldQueue(isHolding ? most : 1, options.seed)
  const HELD = counterIndex('ports-held-current'), EARLY = counterIndex('ports-held-early')
  const BLOCKS = counterIndex('port-blocks-current')
  const log = options.mappingLog ?? null
  // The time of the box, and of what is happening: a flow that is over ended at its own time.
  const $now = new Int32Array(2)
  const NOW = 0, EVENT = 1

  /** What has waited long enough can be had again: a port by its set and number, or a block. */
  function letGo(key: number): void {
    if (blocks.isOn) blocks.giveBack(key)
    else free(key >>> 16, key & 0xffff)
  }

  function expire(nowMs: number): void {
    $now[NOW] = $now[EVENT] = nowMs
    if (!isHolding) return
    for (let key = held.takeDue(nowMs); key >= 0; key = held.takeDue(nowMs)) letGo(key)
    counters[HELD] = held.count()
  }

  // @req RFC6888 REQ-8 partly[a box that starts anew knows nothing of the ports that it had in use]
  function hold(key: number, owner: number): void {
    if (held.count() === most) {
      letGo(held.takeOldest())
      counters[EARLY]++
    }
    held.add(key, owner, $now[NOW] + holdMs)
    counters[HELD] = held.count()
  }

  /** A mapping of `inside` is over. */
  function release(set: number, port: number, inside: number): void {
    if (blocks.isOn) {
      free(set, port)
      releaseOfBlock(blocks.blockOf(Math.floor(set / CLASSES), port), inside)
    } else if (!isHolding || !waits[set % CLASSES] || shareOf(inside) > 0) free(set, port)
    else hold((set << 16) | port, inside)
  }

  function releaseOfBlock(block: number, inside: number): void {
    if (!blocks.release(block)) return
    counters[BLOCKS] = blocks.count()
    if (log !== null) logBlock(BLOCK_CLOSED, block, inside)
    if (isHolding) hold(block, inside)
    else blocks.giveBack(block)
  }

  function logBlock(op: number, block: number, inside: number): void {
    const low = blocks.lowOf(block)
    log!.write(op, $now[EVENT], 0, inside, 0, pool.addressAt(blocks.indexOf(block)), low, low + blocks.size - 1)
  }

  /** How many hosts an address has that are dealt to it in order (RFC 7422); 0: it is shared by all. */
  function shareOf(inside: number): number {
    return hasShares ? poolOf(inside).hostsPerAddress : 0
  }

  /** Outside port for a new mapping of `inside`, or -1 (docs/behaviour.md, Ports). Takes it. */
  function choose(poolIndex: number, portClass: number, insidePort: number, inside: number): number {
    if (blocks.isOn) return chooseOfBlocks(poolIndex, portClass, insidePort, inside)
    const set = poolIndex * CLASSES + portClass
    let low = options.portLow
    let high = options.portHigh
    const share = shareOf(inside)
    if (share > 0) {
      // @req RFC6888 REQ-8b
      const each = Math.floor((high - low + 1) / share)
      low += Math.max(hostNumber(inside), 0) % share * each
      high = low + each - 1
    } else if (portClass === CLASS_ICMP) {
      low = 0
      high = 0xffff
    } else if (insidePort < 1024) {
      // @req RFC4787 REQ-3a
      // RFC 4787 REQ-3a: well-known ports stay among themselves.
      low = 1
      high = 1023
    }
    // @req RFC7857 9a, 9b, 9c
    // @req RFC6888 REQ-15
    if (options.portPreservation && insidePort >= low && insidePort <= high && takeOwn(set, insidePort, inside)) return insidePort
    return firstOf(set, low, high, low + below(high - low + 1), insidePort & 1)
  }

  /** Takes a port that is free, or waits for its host to come again. */
  function takeOwn(set: number, port: number, inside: number): boolean {
    if (isFree(set, port)) {
      take(set, port)
      return true
    }
    const key = (set << 16) | port
    if (!isHolding || held.ownerOf(key) !== inside) return false
    held.remove(key)
    counters[HELD] = held.count()
    return true
  }

  /** The first free port from `start` on, around the end, of that parity or else of the other one; or -1. Takes it. */
  function firstOf(set: number, low: number, high: number, start: number, parity: number): number {
    // @req RFC4787 REQ-4
    // @req RFC7857 8a
    let port = firstAround(set, low, high, start, parity)
    if (port < 0) port = firstAround(set, low, high, start, parity ^ 1)
    if (port < 0) return -1
    // @req RFC4787 REQ-3
    // @req RFC5382 REQ-7
    // @req RFC7857 3
    // @req RFC6888 REQ-13
    take(set, port)
    return port
  }

  function firstAround(set: number, low: number, high: number, start: number, parity: number): number {
    const port = firstFree(set, start, high, parity)
    return port >= 0 ? port : firstFree(set, low, start - 1, parity)
  }

  /** The same of the blocks of a host, or of one that it gets for this. */
  function chooseOfBlocks(poolIndex: number, portClass: number, insidePort: number, inside: number): number {
    const set = poolIndex * CLASSES + portClass
    const own = blocks.blockOf(poolIndex, insidePort)
    if (options.portPreservation && blocks.isOf(own, inside) && isFree(set, insidePort)) {
      take(set, insidePort)
      blocks.use(own)
      return insidePort
    }
    const offset = below(blocks.size)
    for (let turn = 0; turn < 2; turn++) {
      for (let block = blocks.first(inside); block >= 0; block = blocks.after(block)) {
        const low = blocks.lowOf(block)
        const port = firstAround(set, low, low + blocks.size - 1, low + offset, (insidePort & 1) ^ turn)
        if (port < 0) continue
        take(set, port)
        blocks.use(block)
        return port
      }
    }
    // @req RFC6888 REQ-14
    if (!blocks.mayOpen(inside)) return -1
    const block = blocks.open(poolIndex, inside, below(blocks.each))
    if (block < 0) return -1
    counters[BLOCKS] = blocks.count()
    if (log !== null) logBlock(BLOCK_OPENED, block, inside)
    blocks.use(block)
    const low = blocks.lowOf(block)
    return firstOf(set, low, low + blocks.size - 1, low + offset, insidePort & 1)
  }

  return {
    choose, release, expire,
    /** Does the outside port of a mapping of this host say by itself, or by its block, whose it is? */
    isAttributed: (inside: number) => blocks.isOn || shareOf(inside) > 0,
    /** What happens now ends at `nowMs`. */
    setTime(nowMs: number) { $now[EVENT] = nowMs },
    nowMs: () => $now[EVENT],
    bytes: (isHolding ? held.bytes : 0) + blocks.bytes,
  }
}
