/** SYNs that are answered some seconds after they came: which packet that was, and the time of the answer. */
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import type { Explanation } from './explanation.ts'

/** More than wait at once; those whose connection was opened from inside are never answered, and go when there are as many. */
const MOST = 4096

/** What was explained about SYNs that wait, found again by their headers: the box remembers each connection once. */
export function createHeldNames(view: DataView) {
  const known = new Map<string, Explanation>()

  /** Addresses and ports of the SYN at `p`. */
  function nameOf(p: number): string {
    const isFour = view.getUint8(p) >>> 4 === 4
    const walk = ipv6.createWalk()
    if (!isFour) ipv6.walk(view, p, p + ipv6.HEADER_BYTES + ipv6.payloadLength(view, p), Infinity, walk)
    const l4 = isFour ? p + ipv4.headerBytes(view, p) : walk.at[ipv6.WALK_L4]
    const from = isFour ? p + ipv4.SRC : p + ipv6.SRC, words = isFour ? 2 : 8
    return [...Array.from({ length: words }, (_, word) => view.getInt32(from + 4 * word)), view.getInt32(l4)].join(' ')
  }

  return {
    add(p: number, explanation: Explanation): void {
      if (known.size === MOST) known.delete(known.keys().next().value!)
      const name = nameOf(p)
      // At the end of the list, where the latest are.
      known.delete(name)
      known.set(name, explanation)
    },
    /** What was said of the SYN at `p`, or null; it is forgotten. */
    take(p: number): Explanation | null {
      const name = nameOf(p), found = known.get(name) ?? null
      known.delete(name)
      return found
    },
    clear(): void { known.clear() },
  }
}

const NS = 1_000_000_000n

/** Stamps of virtual milliseconds, which count modulo 2^32 from the first packet on. */
export function createClock() {
  let firstNs: bigint | null = null
  let latestMs = 0
  const unwrapped = (ms: number) => latestMs + ((ms - (latestMs | 0)) | 0)
  return {
    /** The first packet; those after it change nothing. */
    start(sec: number, nsec: number): void { firstNs ??= BigInt(sec) * NS + BigInt(nsec) },
    tick(nowMs: number): void { latestMs = unwrapped(nowMs) },
    /** Seconds since 1970 with nine decimals. */
    textOf(ms: number): string {
      const ns = (firstNs ?? 0n) + BigInt(unwrapped(ms)) * 1_000_000n
      const sec = ns >= 0n ? ns / NS : (ns - NS + 1n) / NS
      return `${sec}.${String(ns - sec * NS).padStart(9, '0')}`
    },
  }
}
