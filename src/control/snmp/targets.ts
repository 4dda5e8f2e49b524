/**
 * Who is told of what (RFC 3413 3.3 and 6): the rows of the target and notification tables, made from the configuration. The only
 * thing that a user may change is the type of its filter, which turns the events of MIDCOM on and off (RFC 5190 7.1, 7.2).
 */
import type { Notification } from './mib.ts'
import type { Oid } from './oid.ts'
import type { SnmpTarget } from './options.ts'
import { byPrecedence, isInFamily, NO_MASK, type View } from './vacm.ts'

/** Events of MIDCOM-MIB; and coldStart and its like (RFC 3418). */
export const MIDCOM_EVENTS: Oid = [1, 3, 6, 1, 2, 1, 171, 0], SNMP_TRAPS: Oid = [1, 3, 6, 1, 6, 3, 1, 1, 5]

export const SYS_UP_TIME: Oid = [1, 3, 6, 1, 2, 1, 1, 3, 0], SNMP_TRAP_OID: Oid = [1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0]

export interface Filter { readonly subtree: Oid; isIncluded: boolean }

export interface Target { readonly options: SnmpTarget; readonly filters: readonly Filter[] }

export function createTarget(options: SnmpTarget): Target {
  return { options, filters: [{ subtree: MIDCOM_EVENTS, isIncluded: options.isOn }, { subtree: SNMP_TRAPS, isIncluded: true }] }
}

/** RFC 3413 6: the notification's name must be in something included, and no object in something excluded. */
export function isWanted({ filters }: Target, { name, varbinds }: Notification): boolean {
  return isIncluded(filters, name) === true && varbinds.every((varbind) => isIncluded(filters, varbind.name) !== false)
}

/** undefined: no filter says anything about it. */
function isIncluded(filters: readonly Filter[], name: Oid): boolean | undefined {
  return filters.filter(({ subtree }) => isInFamily({ subtree, mask: NO_MASK }, name)).sort(byPrecedence)[0]?.isIncluded
}

/** RFC 3413 3.3 (3): everything that would be sent is in the notify view. */
export function isVisible(view: View, { name, varbinds }: Notification): boolean {
  return view.contains(name) && view.contains(SYS_UP_TIME) && view.contains(SNMP_TRAP_OID)
    && varbinds.every((varbind) => view.contains(varbind.name))
}
