/**
 * Who is told, as tables: SNMP-TARGET-MIB and SNMP-NOTIFICATION-MIB (RFC 3413 4 and 6). They show the configuration. Of all their
 * objects only snmpNotifyFilterType is written: by it a MIDCOM client begins and ends what RFC 5190 calls its session. What it
 * has written lasts until the box ends.
 */
import { parseAddress } from '../../base/address.ts'
import type { SnmpCounters } from './counters.ts'
import {
  AUTH_PRIV, counter32, NO_CREATION, INTEGER, integer, NOT_WRITABLE, objectId, octets, text, WRONG_TYPE, WRONG_VALUE,
  type MibModule, type SetPlan, type Varbind,
} from './mib.ts'
import { createObjects, inOrder, nameIndex, scalar, table } from './objects.ts'
import { compareOids, startsWith, type Oid } from './oid.ts'
import type { SnmpTarget } from './options.ts'
import { ACTIVE, READ_ONLY } from './security-modules.ts'
import type { Filter, Target } from './targets.ts'

export const TARGET_MIB: Oid = [1, 3, 6, 1, 6, 3, 12], NOTIFICATION_MIB: Oid = [1, 3, 6, 1, 6, 3, 13]
/** The column that a user may change. */
export const FILTER_TYPE: Oid = [...NOTIFICATION_MIB, 1, 3, 1, 3]

/** snmpUDPDomain (RFC 3417) and transportDomainUdpIpv6 (RFC 3419). */
const UDP_IPV4: Oid = [1, 3, 6, 1, 6, 1, 1], UDP_IPV6: Oid = [1, 3, 6, 1, 2, 1, 100, 1, 2]
/** snmpTargetParamsMPModel and SecurityModel: SNMPv3, USM. */
const SNMP_V3 = 3, USM_MODEL = 3
const TRAP = 1, INFORM = 2, INCLUDED = 1, EXCLUDED = 2
/** StorageType: can be changed and not removed. */
const PERMANENT = integer(4)
const NO_MASK = text('')

/** The tag of a target, and the name of the row of snmpNotifyTable that selects it. */
const TAGS = { trap: 'traps', inform: 'informs' } as const

function isIpv6(host: string): boolean { return host.includes(':') }

function transportAddress({ host, port }: SnmpTarget): Uint8Array {
  const parsed = parseAddress(host)
  if (!parsed.ok) throw new Error(`${host} is not an address`)
  const { version, words } = parsed.value, many = version === 6 ? 4 : 1
  const bytes = Buffer.alloc(4 * many + 2)
  for (let i = 0; i < many; i++) bytes.writeInt32BE(words[i]!, 4 * i)
  bytes.writeUInt16BE(port, 4 * many)
  return bytes
}

export function createTargetModule(targets: readonly Target[], counters: SnmpCounters): MibModule {
  const rows = inOrder(targets.map(({ options }) => ({ index: nameIndex(options.name, true), row: options })))
  return createObjects(TARGET_MIB, { oid: TARGET_MIB, description: 'SNMP-TARGET-MIB: receivers of notifications (RFC 3413)' }, [
    scalar([...TARGET_MIB, 1, 1], () => integer(0)),
    table<SnmpTarget>([...TARGET_MIB, 1, 2, 1], {
      2: ({ host }) => objectId(isIpv6(host) ? UDP_IPV6 : UDP_IPV4), 3: (row) => octets(transportAddress(row)),
      4: ({ timeoutMs }) => integer(Math.ceil(timeoutMs / 10)), 5: ({ retries }) => integer(retries),
      6: ({ type }) => text(TAGS[type]),
      7: ({ name }) => text(name), 8: () => READ_ONLY, 9: () => ACTIVE,
    }, () => rows),
    table<SnmpTarget>([...TARGET_MIB, 1, 3, 1], {
      2: () => integer(SNMP_V3), 3: () => integer(USM_MODEL), 4: ({ user }) => text(user), 5: () => integer(AUTH_PRIV),
      6: () => READ_ONLY, 7: () => ACTIVE,
    }, () => rows),
    scalar([...TARGET_MIB, 1, 4], () => counter32(counters.snmpUnavailableContexts)),
    scalar([...TARGET_MIB, 1, 5], () => counter32(counters.snmpUnknownContexts)),
  ])
}

export function createNotificationModule(targets: readonly Target[]): MibModule {
  const types = (['trap', 'inform'] as const).filter((type) => targets.some(({ options }) => options.type === type))
  const kinds = inOrder(types.map((row) => ({ index: nameIndex(TAGS[row], true), row })))
  const profiles = inOrder(targets.map(({ options }) => ({ index: nameIndex(options.name, true), row: options.name })))
  const filters = inOrder(targets.flatMap(({ options, filters: its }) => its.map((row) => ({
    index: [...nameIndex(options.name, false), ...row.subtree], row,
  }))))

  function trySet(_request: unknown, { name, value }: Varbind): SetPlan | number {
    if (!startsWith(name, FILTER_TYPE)) return NOT_WRITABLE
    if (value.tag !== INTEGER) return WRONG_TYPE
    if (value.value !== INCLUDED && value.value !== EXCLUDED) return WRONG_VALUE
    const filter = filters.find(({ index }) => compareOids(index, name.slice(FILTER_TYPE.length)) === 0)?.row
    if (filter === undefined) return NO_CREATION       // Only the configuration makes rows.
    const before = filter.isIncluded
    return {
      commit() {
        filter.isIncluded = value.value === INCLUDED
        return null
      },
      undo() { filter.isIncluded = before },
    }
  }

  const identity = { oid: NOTIFICATION_MIB, description: 'SNMP-NOTIFICATION-MIB: what is told to whom (RFC 3413)' }
  return createObjects(NOTIFICATION_MIB, identity, [
    table<'trap' | 'inform'>([...NOTIFICATION_MIB, 1, 1, 1], {
      2: (type) => text(TAGS[type]), 3: (type) => integer(type === 'trap' ? TRAP : INFORM), 4: () => READ_ONLY, 5: () => ACTIVE,
    }, () => kinds),
    table<string>([...NOTIFICATION_MIB, 1, 2, 1], { 1: text, 2: () => READ_ONLY, 3: () => ACTIVE }, () => profiles),
    table<Filter>([...NOTIFICATION_MIB, 1, 3, 1], {
      2: () => NO_MASK, 3: ({ isIncluded }) => integer(isIncluded ? INCLUDED : EXCLUDED), 4: () => PERMANENT, 5: () => ACTIVE,
    }, () => filters),
  ], trySet)
}
