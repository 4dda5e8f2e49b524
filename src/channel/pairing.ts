/**
 * Which outside address an inside host gets (RFC 4787 REQ-2), as docs/behaviour.md says under Ports. The engine pairs hosts so when
 * it maps them, and policy when it looks for ports to bind: both must arrive at one address without asking each other.
 *
 * @param insideAddr host-order int32
 * @param size outside addresses, at least 1
 * @returns 0 … size - 1, a function of the arguments alone: nothing to keep, nothing to lose
 */
export function pairedIndex(insideAddr: number, seed: number, size: number): number {
  let h = Math.imul(insideAddr ^ seed, 0x9e3779b1)
  h ^= h >>> 15
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  return (h >>> 0) % size
}
