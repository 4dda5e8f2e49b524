/**
 * Who may come in and what they see, as tables: SNMP-USER-BASED-SM-MIB (RFC 3414) and SNMP-VIEW-BASED-ACM-MIB (RFC 3415). They
 * show the configuration and are not written; keys are never shown.
 */
import type { SnmpCounters } from './counters.ts'
import { NO_PRIV_OID } from './keys.ts'
import { counter32, integer, objectId, octets, text, type MibModule } from './mib.ts'
import { createObjects, inOrder, nameIndex, scalar, table } from './objects.ts'
import type { Oid } from './oid.ts'
import { USM_COUNTERS, type LocalUser } from './usm.ts'
import type { AccessEntry, Vacm, ViewFamily } from './vacm.ts'

const USM_MIB: Oid = [1, 3, 6, 1, 6, 3, 15], VACM_MIB: Oid = [1, 3, 6, 1, 6, 3, 16]
/** StorageType readOnly(5), RowStatus active(1). */
export const READ_ONLY = integer(5), ACTIVE = integer(1)
const NOTHING = text(''), ZERO_DOT_ZERO = objectId([0, 0])
const USM_MODEL = 3
const EXACT = 1, PREFIX = 2, INCLUDED = 1, EXCLUDED = 2

export function createUsmModule(engineId: Uint8Array, users: readonly LocalUser[], counters: SnmpCounters): MibModule {
  const rows = inOrder(users.map((row) => ({ index: [engineId.length, ...engineId, ...nameIndex(row.name, false)], row })))
  return createObjects(USM_MIB, { oid: USM_MIB, description: 'SNMP-USER-BASED-SM-MIB: users (RFC 3414)' }, [
    ...USM_COUNTERS.map((name, i) => scalar([...USM_MIB, 1, 1, i + 1], () => counter32(counters[name]))),
    scalar([...USM_MIB, 1, 2, 1], () => integer(0)),
    table<LocalUser>([...USM_MIB, 1, 2, 2, 1], {
      3: ({ name }) => text(name), 4: () => ZERO_DOT_ZERO, 5: ({ keys }) => objectId(keys.auth.oid),
      6: () => NOTHING, 7: () => NOTHING,
      8: ({ keys }) => objectId(keys.priv?.oid ?? NO_PRIV_OID), 9: () => NOTHING, 10: () => NOTHING, 11: () => NOTHING,
      12: () => READ_ONLY, 13: () => ACTIVE,
    }, () => rows),
  ])
}

/** `vacm` is asked each time: who may what may change while the engine runs. */
export function createVacmModule(vacm: () => Vacm): MibModule {
  let shown: Vacm | null = null
  let tables = tablesOf({ contexts: [], groups: new Map(), access: [], views: [] })
  const current = () => {
    const now = vacm()
    if (now !== shown) tables = tablesOf(now.options)
    shown = now
    return tables
  }
  return createObjects(VACM_MIB, { oid: VACM_MIB, description: 'SNMP-VIEW-BASED-ACM-MIB: views (RFC 3415)' }, [
    table<string>([...VACM_MIB, 1, 1, 1], { 1: text }, () => current().contexts),
    table<string>([...VACM_MIB, 1, 2, 1], { 3: text, 4: () => READ_ONLY, 5: () => ACTIVE }, () => current().groups),
    table<AccessEntry>([...VACM_MIB, 1, 4, 1], {
      4: ({ isExact }) => integer(isExact ? EXACT : PREFIX), 5: ({ read }) => text(read), 6: ({ write }) => text(write),
      7: ({ notify }) => text(notify), 8: () => READ_ONLY, 9: () => ACTIVE,
    }, () => current().access),
    scalar([...VACM_MIB, 1, 5, 1], () => integer(0)),
    table<ViewFamily>([...VACM_MIB, 1, 5, 2, 1], {
      3: ({ mask }) => octets(mask), 4: ({ included }) => integer(included ? INCLUDED : EXCLUDED),
      5: () => READ_ONLY, 6: () => ACTIVE,
    }, () => current().families),
  ])
}

function tablesOf({ contexts, groups, access, views }: Vacm['options']) {
  return {
    contexts: inOrder(contexts.map((row) => ({ index: nameIndex(row, false), row }))),
    groups: inOrder([...groups].map(([user, row]) => ({ index: [USM_MODEL, ...nameIndex(user, false)], row }))),
    access: inOrder(access.map((row) => ({
      index: [...nameIndex(row.group, false), ...nameIndex(row.contextPrefix, false), row.securityModel, row.level], row,
    }))),
    families: inOrder(views.flatMap(({ name, families }) => families.map((row) => ({
      index: [...nameIndex(name, false), row.subtree.length, ...row.subtree], row,
    })))),
  }
}
