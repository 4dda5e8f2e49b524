/** How many records of mappings find room: all that can come between two batches of packets, which is when they are taken out. */
import type { Config } from '../config/config.ts'

/** What a batch of packets opens and closes beside what was there. */
const OF_BATCH = 4096

/** A power of two. */
export function logRecords({ limits, midcom }: Config): number {
  return 2 ** Math.ceil(Math.log2(limits.flows + (midcom.enabled ? midcom.limits.boundPorts : 0) + OF_BATCH))
}
