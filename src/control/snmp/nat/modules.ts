/**
 * NAT-MIB (RFC 4008), where midcomResourceTable points to, and NATV2-MIB (RFC 7659), both read only. Bindings are those that rules
 * hold; what packets have opened by themselves is counted and not listed, and there is no natSessionTable.
 */
import { withBacklog, type Backlog } from '../backlog.ts'
import { counter64, gauge32, integer, octets, text, timeTicks, unsigned32, type ModuleFactory, type Value } from '../mib.ts'
import { createObjects, scalar, table } from '../objects.ts'
import { compareOids, type Oid } from '../oid.ts'
import { orderedTable } from '../ordered-table.ts'
import { bindIndex, octetsOf, type Bind, type Binds } from './binds.ts'

export const NAT_MIB: Oid = [1, 3, 6, 1, 2, 1, 123]
export const NATV2_MIB: Oid = [1, 3, 6, 1, 2, 1, 234]

/** What the packet path counts, as of now. */
export interface NatFigures {
  /** Packets that were forwarded. */
  translations: number
  /** Mappings at this moment, those of rules too. */
  mappings: number
  mappingCreations: number
  /** Packets dropped because there was no port for them. */
  portFailureDrops: number
  fragmentDrops: number
}

export interface NatSettings {
  udpMs: number
  tcpEstablishedMs: number
  tcpOpeningMs: number
  icmpQueryMs: number
  otherMs: number
  filtering: 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'
  fragmentDatagrams: number
  /** Mappings at most: flows, as each has one. */
  mappingsMost: number
}

const IPV4 = integer(1), ADDRESS_OCTETS = 4
/** NatAssociationType: static(1), as no packet has made them and no idle time ends them. */
const STATIC = integer(1)
/* NatTranslationEntity (BITS): inboundDstEndPoint and outboundSrcEndPoint; inboundSrcEndPoint and outboundDstEndPoint. */
const A0_TO_A2 = octets(Uint8Array.of(0x30)), A3_TO_A1 = octets(Uint8Array.of(0xc0))
const OUTSIDE_IF = 2
const INSIDE_REALM = 'inside', OUTSIDE_REALM = 'outside'
const FILTERING = { 'endpoint-independent': 0, 'address-dependent': 1, 'address-and-port-dependent': 2 }
/** The box is one instance. */
const INSTANCE = 1
const PAIRED = integer(1), OUT_OF_ORDER = integer(2), ENDPOINT_INDEPENDENT = integer(0)

function seconds(ms: number): Value { return unsigned32(Math.round(ms / 1000)) }
function address(word: number): Value { return octets(Uint8Array.from(octetsOf(word))) }
function entity(bind: Bind): Value { return bind.interface === OUTSIDE_IF ? A0_TO_A2 : A3_TO_A1 }
const ZERO = counter64(0)

export function natMib(binds: Binds, backlog: Backlog, settings: NatSettings): ModuleFactory {
  const identity = { oid: NAT_MIB, description: 'NAT-MIB: bindings that rules hold (RFC 4008), read only' }
  const compare = (bind: Bind, index: Oid) => compareOids(bindIndex(bind), index)
  const index = bindIndex
  // Of mappings of rules no idle time runs and no sessions are listed.
  const tail = (bind: Bind, n: number): Value => [
    entity(bind), STATIC, unsigned32(0), gauge32(0), timeTicks(0), timeTicks(0), ZERO, ZERO,
  ][n]!
  const defaults = [0, settings.udpMs, settings.icmpQueryMs, settings.otherMs, settings.tcpEstablishedMs, settings.tcpOpeningMs]
  return () => withBacklog(backlog, createObjects(NAT_MIB, identity, [
    ...defaults.map((ms, i) => scalar([...NAT_MIB, 1, 1, i + 1], () => seconds(ms))),
    scalar([...NAT_MIB, 1, 2, 1], () => integer(0)),
    scalar([...NAT_MIB, 1, 5], () => gauge32(binds.addresses.size)),
    orderedTable<Bind>({
      entry: [...NAT_MIB, 1, 6, 1], columns: [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], rows: binds.addresses, compare, index,
      read: (bind, column) => column === 3 ? IPV4 : column === 4 ? address(bind.global) : column === 5 ? unsigned32(bind.id)
        : tail(bind, column - 6),
    }),
    scalar([...NAT_MIB, 1, 7], () => gauge32(binds.ports.size)),
    orderedTable<Bind>({
      entry: [...NAT_MIB, 1, 8, 1], columns: [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], rows: binds.ports, compare, index,
      read: (bind, column) => column === 5 ? IPV4 : column === 6 ? address(bind.global) : column === 7 ? unsigned32(bind.globalPort)
        : column === 8 ? unsigned32(bind.id) : tail(bind, column - 9),
    }),
  ]))
}

export function natv2Mib(
  binds: Binds, backlog: Backlog, settings: NatSettings, figures: () => NatFigures,
): ModuleFactory {
  const identity = { oid: NATV2_MIB, description: 'NATV2-MIB: the box as one NAT instance (RFC 7659), read only' }
  const realm = (name: string) => [name.length, ...Buffer.from(name)]
  const portIndex = ({ protocol, global, globalPort }: Bind) =>
    [INSTANCE, protocol, ...realm(OUTSIDE_REALM), 1, ADDRESS_OCTETS, ...octetsOf(global), globalPort]
  const addressIndex = ({ local }: Bind) => [INSTANCE, ...realm(INSIDE_REALM), 1, ADDRESS_OCTETS, ...octetsOf(local), 1]
  // Bindings are not sorted as these tables are: they are put in order when they are asked for and have changed.
  const byIndex = (all: Iterable<Bind>, indexOf: (bind: Bind) => number[]) => {
    let sorted: { index: number[]; row: Bind }[] = [], sortedAt = -1
    return () => {
      if (sortedAt === binds.changes()) return sorted
      sortedAt = binds.changes()
      return sorted = [...all].filter((bind) => bind.interface === OUTSIDE_IF).map((row) => ({ index: indexOf(row), row }))
        .sort((a, b) => compareOids(a.index, b.index))
    }
  }
  const instance = (): Record<number, Value> => {
    const f = figures()
    return {
      2: text('pinhole'), 3: ENDPOINT_INDEPENDENT, 4: integer(FILTERING[settings.filtering]), 5: PAIRED, 6: OUT_OF_ORDER,
      7: unsigned32(binds.addresses.size), 8: unsigned32(f.mappings), 9: counter64(f.translations), 10: counter64(0),
      11: counter64(f.mappingCreations), 12: ZERO, 13: ZERO, 14: ZERO, 15: ZERO, 16: counter64(f.portFailureDrops),
      17: counter64(f.fragmentDrops), 18: ZERO, 19: timeTicks(0), 20: integer(-1), 21: integer(-1), 22: unsigned32(10),
      23: unsigned32(0),
      24: unsigned32(settings.mappingsMost), 25: unsigned32(settings.fragmentDatagrams), 26: unsigned32(0),
    }
  }
  const columns = Array.from({ length: 25 }, (_, i) => i + 2)
  return () => withBacklog(backlog, createObjects(NATV2_MIB, identity, [
    table<null>([...NATV2_MIB, 2, 1, 1], Object.fromEntries(columns.map((column) => [column, () => instance()[column]!])),
      () => [{ index: [INSTANCE], row: null }]),
    table<Bind>([...NATV2_MIB, 2, 5, 1], {
      6: () => IPV4, 7: ({ local }) => address(local), 8: () => text(OUTSIDE_REALM), 9: () => IPV4,
      10: ({ global }) => address(global),
      11: () => unsigned32(0), 12: () => unsigned32(0),
    }, byIndex(binds.addresses, addressIndex)),
    table<Bind>([...NATV2_MIB, 2, 6, 1], {
      7: () => text(INSIDE_REALM), 8: () => IPV4, 9: ({ local }) => address(local), 10: () => IPV4,
      11: ({ local }) => address(local),
      12: ({ localPort }) => unsigned32(localPort), 13: () => unsigned32(0), 14: () => unsigned32(0),
    }, byIndex(binds.ports, portIndex)),
  ]))
}
