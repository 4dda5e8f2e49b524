/**
 * Packet headers as ClassBench's trace generator writes them, one a line: source and destination address, source and destination
 * port, protocol, all decimal; what follows (flags, the rule the header was made for) is ignored. They end at the first fault.
 */
import { linesOf, Scanner, type Fault } from './scanner.ts'

export interface Headers {
  count: number
  sources: Int32Array
  destinations: Int32Array
  /** source << 16 | destination */
  ports: Int32Array
  protocols: Uint8Array
  fault: Fault | null
}

export function parseHeaders(bytes: Uint8Array): Headers {
  const scanner = new Scanner(bytes), most = linesOf(bytes)
  const sources = new Int32Array(most), destinations = new Int32Array(most), ports = new Int32Array(most)
  const protocols = new Uint8Array(most)
  let count = 0
  while (scanner.nextRecord()) {
    sources[count] = field(scanner, 'an address', 0xffffffff)
    destinations[count] = field(scanner, 'an address', 0xffffffff)
    const source = field(scanner, 'a port', 0xffff)
    ports[count] = source << 16 | field(scanner, 'a port', 0xffff)
    protocols[count] = field(scanner, 'a protocol', 0xff)
    if (scanner.fault !== null) break
    count++
  }
  return { count, sources, destinations, ports, protocols, fault: scanner.fault }
}

function field(scanner: Scanner, what: string, most: number): number {
  const value = scanner.decimal(what, most)
  scanner.gap()
  return value
}
