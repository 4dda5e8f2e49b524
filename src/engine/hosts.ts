/**
 * Inside hosts that have flows, and what one of them may have (RFC 6888 REQ-4, REQ-5): flows, outside ports of each class, new
 * flows a second. A record comes with the first flow of a host and goes with the last; with no bound and no blocks there are none.
 * An IPv6 host is its /64. Everything here is off the path of a known flow.
 */
import { reasonIndex } from '../channel/reasons.ts'
import { TOKEN, refill } from '../storage/token-bucket.ts'
import type { EngineOptions, HostLimits } from './options.ts'
import { DIR_OUT } from './tcp-state.ts'

const HOST_FLOWS = reasonIndex('host-flows'), HOST_RATE = reasonIndex('host-rate')

// A record is 16 words.
const HOST_BITS = 4
const VERSION = 0, WORD0 = 1, WORD1 = 2, BUCKET = 3, CHAIN = 4
const FLOWS = 5
/** Outside ports by class, three words. */
const PORTS = 6
/** Tokens as a bucket counts them (token-bucket.ts), and when that was. */
const CREDIT = 9, FILLED_MS = 10
/** Its first block of ports + 1 (port-blocks.ts). */
const FIRST_BLOCK = 11

/** A host may have any number of everything. */
export const NO_LIMITS: HostLimits = { flows: 0, flowsPerSecond: 0, ports: 0, udpPorts: 0, tcpPorts: 0, identifiers: 0 }

export type Hosts = ReturnType<typeof createHosts>

export function createHosts(options: Pick<EngineOptions, 'perHost' | 'portBlocks' | 'flows' | 'seed'>) {
  const limits = options.perHost ?? NO_LIMITS
  const perClass = Int32Array.of(limits.udpPorts, limits.tcpPorts, limits.identifiers)
  const isOn = Object.values(limits).some((limit) => limit > 0) || (options.portBlocks?.perHost ?? 0) > 0
  const most = isOn ? options.flows : 0
  const H = new Int32Array((most + 1) << HOST_BITS)
  const mask = Math.max(16, 1 << (32 - Math.clz32(Math.max(most - 1, 1)))) - 1
  const buckets = new Int32Array(isOn ? mask + 1 : 1)
  const full = limits.flowsPerSecond * TOKEN
  let freed = 0, fresh = 1, count = 0

  function bucketOf(version: number, word0: number, word1: number): number {
    let h = Math.imul(word0 ^ options.seed, 0x85ebca6b) ^ Math.imul(word1 ^ version, 0x9e3779b1)
    h = Math.imul(h ^ (h >>> 15), 0x27d4eb2f)
    return (h ^ (h >>> 13)) & mask
  }

  /** Offset of the record of a host, or 0. */
  function find(version: number, word0: number, word1: number): number {
    let host = buckets[bucketOf(version, word0, word1)]
    while (host !== 0) {
      const base = host << HOST_BITS
      if (H[base + WORD0] === word0 && H[base + WORD1] === word1 && H[base + VERSION] === version) return base
      host = H[base + CHAIN]
    }
    return 0
  }

  /** A host opens a flow, or is about to. */
  function enter(version: number, word0: number, word1: number, nowMs: number): void {
    let base = find(version, word0, word1)
    if (base === 0) {
      const host = freed !== 0 ? freed : fresh++
      base = host << HOST_BITS
      if (host === freed) freed = H[base + CHAIN]
      const bucket = bucketOf(version, word0, word1)
      H.fill(0, base, base + (1 << HOST_BITS))
      H[base + VERSION] = version
      H[base + WORD0] = word0
      H[base + WORD1] = word1
      H[base + BUCKET] = bucket
      H[base + CHAIN] = buckets[bucket]
      H[base + CREDIT] = full
      H[base + FILLED_MS] = nowMs
      buckets[bucket] = host
      count++
    }
    H[base + FLOWS]++
  }

  /** A flow of a host ends, or was not opened after all. */
  function leave(version: number, word0: number, word1: number): void {
    const base = find(version, word0, word1)
    if (--H[base + FLOWS] > 0) return
    const host = base >>> HOST_BITS, bucket = H[base + BUCKET]
    if (buckets[bucket] === host) buckets[bucket] = H[base + CHAIN]
    else {
      let at = buckets[bucket]
      while (H[(at << HOST_BITS) + CHAIN] !== host) at = H[(at << HOST_BITS) + CHAIN]
      H[(at << HOST_BITS) + CHAIN] = H[base + CHAIN]
    }
    H[base + CHAIN] = freed
    freed = host
    count--
  }

  /** Why this host may not have another flow, opened in that direction, or -1. */
  function refusal(version: number, word0: number, word1: number, dir: number, nowMs: number): number {
    const base = find(version, word0, word1)
    if (base === 0) return -1
    // @req RFC6888 REQ-5, REQ-5a
    if (limits.flows > 0 && H[base + FLOWS] >= limits.flows) return HOST_FLOWS
    // @req RFC6888 REQ-4c, REQ-5b
    if (full === 0 || dir !== DIR_OUT) return -1
    H[base + CREDIT] = refill(H[base + CREDIT], (nowMs - H[base + FILLED_MS]) >>> 0, limits.flowsPerSecond)
    H[base + FILLED_MS] = nowMs
    return H[base + CREDIT] < TOKEN ? HOST_RATE : -1
  }

  /** This host has opened a flow from inside. */
  function charge(version: number, word0: number, word1: number): void {
    if (full > 0) H[find(version, word0, word1) + CREDIT] -= TOKEN
  }

  /** May this host have another outside port of a class? It has entered. */
  function mayMap(inside: number, portClass: number): boolean {
    const base = find(4, inside, 0)
    // @req RFC6888 REQ-4, REQ-4a, REQ-4b
    const all = H[base + PORTS] + H[base + PORTS + 1] + H[base + PORTS + 2]
    if (limits.ports > 0 && all >= limits.ports) return false
    return perClass[portClass] === 0 || H[base + PORTS + portClass] < perClass[portClass]
  }

  /** A host has got an outside port by a mapping of its own (`by` 1), or its mapping is over (-1). */
  function countPort(inside: number, portClass: number, by: number): void {
    H[find(4, inside, 0) + PORTS + portClass] += by
  }

  return {
    /** A block of ports of a host that has entered, or -1. */
    firstBlock: (inside: number) => H[find(4, inside, 0) + FIRST_BLOCK] - 1,
    setFirstBlock(inside: number, block: number) { H[find(4, inside, 0) + FIRST_BLOCK] = block + 1 },
    isOn, enter, leave, refusal, charge, mayMap, countPort, count: () => count, bytes: isOn ? 4 * (H.length + buckets.length) : 0,
  }
}
