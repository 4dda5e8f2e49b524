/** Sets of ports the plain way. */
export interface PortSetModel {
  isFree(set: number, port: number): boolean
  take(set: number, port: number): void
  release(set: number, port: number): void
  firstFree(set: number, lo: number, hi: number, parity: number): number
  firstFreeRun(set: number, lo: number, hi: number, count: number, parity: number): number
}

export function createPortSetModel(count: number): PortSetModel {
  const sets = Array.from({ length: count }, () => new Set<number>())
  return {
    isFree: (set, port) => !sets[set].has(port),
    take: (set, port) => { sets[set].add(port) },
    release: (set, port) => { sets[set].delete(port) },
    firstFree(set, lo, hi, parity) {
      for (let port = lo; port <= hi; port++) if (port % 2 === parity && !sets[set].has(port)) return port
      return -1
    },
    firstFreeRun(set, lo, hi, count, parity) {
      for (let start = lo; start <= hi; start++) {
        let length = 0
        while (length < count && !sets[set].has(start + length)) length++
        if (length === count && (parity < 0 || start % 2 === parity)) return start
      }
      return -1
    },
  }
}
