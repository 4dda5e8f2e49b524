/** Which mappings and bindings come and go, told to whoever logs them (channel/mapping-log.ts); nothing is done if nobody does. */
import { ADDRESS_CLOSED, ADDRESS_OPENED, MAPPING_CLOSED, MAPPING_OPENED } from '../channel/mapping-log.ts'
import { FLOW_BITS, INSIDE, KIND, OUTSIDE, OUTSIDE_PORTS, PORTS } from './flow-record.ts'
import type { EngineOptions } from './options.ts'
import type { Pool } from './pool.ts'
import { CLASS_NONE, CLASS_OF, type Ports } from './ports.ts'

export type MappingRecords = ReturnType<typeof createMappingRecords>

/** @param records of flows and port bindings */
export function createMappingRecords(
  options: Pick<EngineOptions, 'mappingLog' | 'midcom' | 'share'>, pool: Pool, ports: Pick<Ports, 'isAttributed' | 'nowMs'>,
  records: Int32Array,
) {
  const log = options.mappingLog ?? null
  const { isAttributed, nowMs } = ports
  // Whole addresses of agents come before those of the configuration.
  const agentAddresses = pool.shared + (options.midcom?.addresses.length ?? 0)

  function write(op: number, base: number): void {
    const outsidePort = records[base + OUTSIDE_PORTS] >>> 16
    log!.write(op, nowMs(), (records[base + KIND] >>> 16) & 255, records[base + INSIDE], records[base + PORTS] >>> 16,
      records[base + OUTSIDE], outsidePort, outsidePort)
  }

  /**
   * The mapping that the record at `base` belongs to comes or goes. Not told: those of whole addresses, and of ports that are their
   * host's in blocks or by a fixed part.
   */
  function mapping(base: number, isOpen: boolean): void {
    // @req RFC6888 REQ-12, REQ-14
    if (log === null || pool.indexOf(records[base + OUTSIDE]) >= pool.shared) return
    const protocol = (records[base + KIND] >>> 16) & 255
    if (CLASS_OF[protocol] !== CLASS_NONE && isAttributed(records[base + INSIDE])) return
    write(isOpen ? MAPPING_OPENED : MAPPING_CLOSED, base)
  }

  /** Of several workers, all of which know the bindings of agents, that of the host tells of them. */
  function isTold(inside: number): boolean {
    return log !== null && (!options.share || options.share.steering.ofAddress4(inside) === options.share.worker)
  }

  /** An agent binds a port, or unbinds it. */
  function port(slot: number, isOpen: boolean): void {
    if (isTold(records[(slot << FLOW_BITS) + INSIDE])) write(isOpen ? MAPPING_OPENED : MAPPING_CLOSED, slot << FLOW_BITS)
  }

  /** A whole address is bound or unbound: told if an agent did it. */
  function address(inside: number, outside: number, isOpen: boolean): void {
    if (!isTold(inside) || pool.indexOf(outside) >= agentAddresses) return
    log!.write(isOpen ? ADDRESS_OPENED : ADDRESS_CLOSED, nowMs(), 0, inside, 0, outside, 0, 0)
  }

  return { mapping, port, address }
}
