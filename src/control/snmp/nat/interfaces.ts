/** IF-MIB (RFC 2863): the two interfaces that midcomConfigIfTable speaks of, and what crossed them. Read only. */
import { counter32, counter64, gauge32, integer, objectId, octets, text, timeTicks, truth, type ModuleFactory,
  type Value } from '../mib.ts'
import { createObjects, scalar, table } from '../objects.ts'
import type { Oid } from '../oid.ts'

const INTERFACES: Oid = [1, 3, 6, 1, 2, 1, 2], IF_MIB: Oid = [1, 3, 6, 1, 2, 1, 31]

export interface InterfaceFigures { inPackets: number; inBytes: number; outPackets: number; outBytes: number }
export interface Side {
  readonly name: string
  /** ifMtu: the longest datagram that leaves by it, in octets. */
  readonly mtu: number
}
export interface InterfaceOptions {
  /** By index, from 1 on. */
  sides: readonly Side[]
  figures(index: number): InterfaceFigures
}

/** IANAifType other(1): what stands behind a box without interfaces of its own. */
const OTHER = 1, UP = 1, NO_SPEED = 0
const NONE = octets(new Uint8Array(0))

type Row = Side & { index: number }

function rowsOf({ sides }: InterfaceOptions) {
  return sides.map((side, i) => ({ index: [i + 1], row: { ...side, index: i + 1 } }))
}

export function interfacesMib(options: InterfaceOptions): ModuleFactory {
  const rows = rowsOf(options)
  const of = ({ index }: Row) => options.figures(index)
  const zero = () => counter32(0)
  return () => createObjects(INTERFACES, { oid: IF_MIB, description: 'IF-MIB: the sides of the box (RFC 2863)' }, [
    scalar([...INTERFACES, 1], () => integer(rows.length)),
    table<Row>([...INTERFACES, 2, 1], {
      1: ({ index }) => integer(index), 2: ({ name }) => text(name), 3: () => integer(OTHER), 4: ({ mtu }) => integer(mtu),
      5: () => gauge32(NO_SPEED),
      6: () => NONE, 7: () => integer(UP), 8: () => integer(UP), 9: () => timeTicks(0),
      10: (row) => counter32(of(row).inBytes), 11: (row) => counter32(of(row).inPackets), 13: zero, 14: zero, 15: zero,
      16: (row) => counter32(of(row).outBytes), 17: (row) => counter32(of(row).outPackets), 19: zero, 20: zero,
      22: (): Value => objectId([0, 0]),
    }, () => rows),
  ])
}

export function interfacesExtensionMib(options: InterfaceOptions): ModuleFactory {
  const rows = rowsOf(options)
  const of = ({ index }: Row) => options.figures(index)
  return () => createObjects(IF_MIB, { oid: IF_MIB, description: 'IF-MIB: ifXTable (RFC 2863)' }, [
    table<Row>([...IF_MIB, 1, 1, 1], {
      1: ({ name }) => text(name), 2: () => counter32(0), 3: () => counter32(0), 4: () => counter32(0), 5: () => counter32(0),
      6: (row) => counter64(of(row).inBytes), 7: (row) => counter64(of(row).inPackets), 8: () => counter64(0),
      9: () => counter64(0),
      10: (row) => counter64(of(row).outBytes), 11: (row) => counter64(of(row).outPackets), 12: () => counter64(0),
      13: () => counter64(0),
      14: () => integer(2), 15: () => gauge32(NO_SPEED), 16: () => truth(false), 17: () => truth(false),
      18: ({ name }) => text(name),
      19: () => timeTicks(0),
    }, () => rows),
    scalar([...IF_MIB, 1, 5], () => timeTicks(0)),
  ])
}
