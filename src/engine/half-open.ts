/**
 * TCP flows that were never open: a bound for each source and one for all of them (docs/behaviour.md, Half-open TCP), so that a
 * flood of SYNs takes a part of the table and of the ports and no more. A queue in order of opening tells which is the oldest;
 * sources are counted in a hash table whose records cannot run out. Everything here is off the path of a known flow.
 */
import type { EngineOptions } from './options.ts'

/** Words of a source record: version and two words of the address (IPv6: the /64, which one host has to itself), flows, chain. */
const VERSION = 0, WORD0 = 1, WORD1 = 2, COUNT = 3, CHAIN = 4, BUCKET = 5
const SOURCE_WORDS = 6
/** Words of a node of the queue: the flow, its neighbours, its source or 0. */
const SLOT = 0, NEXT = 1, PREV = 2, SOURCE = 3
const NODE_BITS = 2

export type HalfOpen = ReturnType<typeof createHalfOpen>

/** Flows that may be half-open at once; 0: any number. Half the table at the most, so that the rest is for others. */
export function halfOpenLimit({ halfOpen, flows }: Pick<EngineOptions, 'halfOpen' | 'flows'>): number {
  return Math.min(halfOpen, flows >>> 1)
}

export function createHalfOpen(options: Pick<EngineOptions, 'halfOpen' | 'halfOpenPerSource' | 'flows' | 'seed'>) {
  const limit = halfOpenLimit(options), perSource = options.halfOpenPerSource
  const isOn = limit > 0 || perSource > 0
  // No more of them than the limit, but that a connection which turns round has two in any case; and no more sources than that.
  const most = !isOn ? 0 : limit > 0 ? Math.max(limit, 2) : options.flows
  const N = new Int32Array((most + 1) << NODE_BITS)
  // By slot: open addressing, at most half full.
  const nodeMask = Math.max(16, 1 << (32 - Math.clz32(Math.max(most * 2 - 1, 1)))) - 1
  const nodes = new Int32Array(isOn ? nodeMask + 1 : 1)
  const mostSources = perSource === 0 ? 0 : most
  const S = new Int32Array((mostSources + 1) * SOURCE_WORDS)
  const mask = Math.max(16, 1 << (32 - Math.clz32(Math.max(mostSources - 1, 1)))) - 1
  const buckets = new Int32Array(mask + 1)
  let freed = 0, fresh = 1
  let freedNode = 0, freshNode = 1
  let oldest = 0, newest = 0, count = 0

  function home(slot: number): number {
    const h = Math.imul(slot, 0x9e3779b1)
    return (h ^ (h >>> 15)) & nodeMask
  }

  /** Where in `nodes` the node of a flow stands, or would. */
  function place(slot: number): number {
    let at = home(slot)
    while (nodes[at] !== 0 && N[(nodes[at] << NODE_BITS) + SLOT] !== slot) at = (at + 1) & nodeMask
    return at
  }

  function removeAt(at: number): void {
    for (let next = (at + 1) & nodeMask; nodes[next] !== 0; next = (next + 1) & nodeMask) {
      const from = home(N[(nodes[next] << NODE_BITS) + SLOT])
      if (((next - from) & nodeMask) < ((next - at) & nodeMask)) continue
      nodes[at] = nodes[next]
      at = next
    }
    nodes[at] = 0
  }

  function bucketOf(version: number, word0: number, word1: number): number {
    let h = Math.imul(word0 ^ options.seed, 0x9e3779b1) ^ Math.imul(word1 ^ version, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x27d4eb2f)
    return (h ^ (h >>> 13)) & mask
  }

  function find(version: number, word0: number, word1: number): number {
    let source = buckets[bucketOf(version, word0, word1)]
    while (source !== 0) {
      const base = source * SOURCE_WORDS
      if (S[base + WORD0] === word0 && S[base + WORD1] === word1 && S[base + VERSION] === version) return source
      source = S[base + CHAIN]
    }
    return 0
  }

  /** Has this source as many half-open flows as it may? */
  function isSourceFull(version: number, word0: number, word1: number): boolean {
    if (perSource === 0) return false
    const source = find(version, word0, word1)
    return source !== 0 && S[source * SOURCE_WORDS + COUNT] >= perSource
  }

  /** Are there as many as may be? */
  function isFull(): boolean {
    return limit > 0 && count >= limit
  }

  /** The oldest but for `keep`, or 0: there is no other. */
  function victim(keep: number): number {
    const slot = N[(oldest << NODE_BITS) + SLOT]
    return slot === keep ? N[(N[(oldest << NODE_BITS) + NEXT] << NODE_BITS) + SLOT] : slot
  }

  function countSource(version: number, word0: number, word1: number): number {
    let source = find(version, word0, word1)
    if (source === 0) {
      source = freed !== 0 ? freed : fresh++
      const base = source * SOURCE_WORDS
      if (source === freed) freed = S[base + CHAIN]
      const bucket = bucketOf(version, word0, word1)
      S[base + VERSION] = version
      S[base + WORD0] = word0
      S[base + WORD1] = word1
      S[base + COUNT] = 0
      S[base + BUCKET] = bucket
      S[base + CHAIN] = buckets[bucket]
      buckets[bucket] = source
    }
    S[source * SOURCE_WORDS + COUNT]++
    return source
  }

  /** A flow was opened, and is half-open. `version` 0: its source is not counted. The caller has made room. */
  function enter(slot: number, version: number, word0: number, word1: number): void {
    const node = freedNode !== 0 ? freedNode : freshNode++
    const base = node << NODE_BITS
    if (node === freedNode) freedNode = N[base + NEXT]
    N[base + SLOT] = slot
    N[base + SOURCE] = version === 0 || perSource === 0 ? 0 : countSource(version, word0, word1)
    N[base + NEXT] = 0
    N[base + PREV] = newest
    if (newest !== 0) N[(newest << NODE_BITS) + NEXT] = node
    else oldest = node
    newest = node
    nodes[place(slot)] = node
    count++
  }

  /** A flow is open now, or ends. Nothing if it is not one of these. */
  function leave(slot: number): void {
    const at = place(slot)
    const node = nodes[at]
    if (node === 0) return
    removeAt(at)
    const base = node << NODE_BITS
    const next = N[base + NEXT], prev = N[base + PREV]
    if (prev !== 0) N[(prev << NODE_BITS) + NEXT] = next
    else oldest = next
    if (next !== 0) N[(next << NODE_BITS) + PREV] = prev
    else newest = prev
    N[base + SLOT] = 0
    N[base + NEXT] = freedNode
    freedNode = node
    count--
    if (N[base + SOURCE] !== 0) release(N[base + SOURCE])
  }

  /** A flow of that source less. */
  function release(source: number): void {
    const base = source * SOURCE_WORDS
    if (--S[base + COUNT] > 0) return
    const bucket = S[base + BUCKET]
    if (buckets[bucket] === source) buckets[bucket] = S[base + CHAIN]
    else {
      let at = buckets[bucket]
      while (S[at * SOURCE_WORDS + CHAIN] !== source) at = S[at * SOURCE_WORDS + CHAIN]
      S[at * SOURCE_WORDS + CHAIN] = S[base + CHAIN]
    }
    S[base + CHAIN] = freed
    freed = source
  }

  return {
    isOn, isSourceFull, isFull, victim, enter, leave, count: () => count,
    bytes: isOn ? 4 * (N.length + nodes.length + S.length + buckets.length) : 0,
  }
}
