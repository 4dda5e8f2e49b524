/**
 * Who sees what over SNMP (RFC 3415), from the configuration. A user without a group of its own is in that of its agent, whose
 * views hold what RFC 5190 10 has in mind: the box, and the rules of the agent and of those that it acts for.
 */
import { FILTER_TYPE, NOTIFICATION_MIB, TARGET_MIB } from '../../control/snmp/target-modules.ts'
import { nameIndex } from '../../control/snmp/objects.ts'
import type { Oid } from '../../control/snmp/oid.ts'
import { NO_MASK, View, type AccessEntry, type AccessOptions, type ViewFamily } from '../../control/snmp/vacm.ts'
import type { AgentConfig, MidcomConfig } from '../config/config.ts'
import type { Subtree } from '../config/snmp-values.ts'

const MIB_2: Oid = [1, 3, 6, 1, 2, 1], SNMP_MODULES: Oid = [1, 3, 6, 1, 6, 3]
const MIDCOM: Oid = [...MIB_2, 171]
/** Entries of midcomRuleTable, midcomGroupTable and midcomResourceTable: their indices begin with the owner. */
const RULES: Oid = [...MIDCOM, 1, 1, 3, 1], GROUPS: Oid = [...MIDCOM, 1, 1, 4, 1], RESOURCES: Oid = [...MIDCOM, 1, 3, 1, 1]
const SET_SERIAL: Oid = [...SNMP_MODULES, 1, 1, 6, 1]
/** The box itself: system, interfaces, SNMP, NAT, capabilities and statistics, the SNMP engine. */
const BOX: readonly Oid[] = [
  ...[1, 2, 11, 31, 123, 234].map((group) => [...MIB_2, group]), [...MIDCOM, 1, 2], [...MIDCOM, 1, 3, 2],
  [...SNMP_MODULES, 1], [...SNMP_MODULES, 10], [...SNMP_MODULES, 11], [...SNMP_MODULES, 15, 1, 1],
]
/** What every notification holds, and coldStart. */
const NOTICES: readonly Oid[] = [[...MIDCOM, 0], [...MIB_2, 1, 3], [...SNMP_MODULES, 1, 1, 4, 1], [...SNMP_MODULES, 1, 1, 5]]
const EVERYTHING: Oid = [1, 3, 6, 1]

const USM = 3, AUTH_PRIV = 3

function included(subtree: Oid, mask: Uint8Array = NO_MASK): ViewFamily { return { subtree, mask, included: true } }

/** All bits 1 but those of the wildcards. */
function maskOf(wildcards: readonly number[]): Uint8Array {
  const mask = new Uint8Array(wildcards.length === 0 ? 0 : (Math.max(...wildcards) >> 3) + 1).fill(0xff)
  for (const i of wildcards) mask[i >> 3]! &= ~(0x80 >> (i & 7))
  return mask
}

/** All columns of a table in the rows whose index begins so. */
function rows(entry: Oid, index: Oid): ViewFamily { return included([...entry, 0, ...index], maskOf([entry.length])) }

/** Of one owner; resources are never written. */
function rulesOf(owner: string, tables: readonly Oid[]): ViewFamily[] {
  return tables.map((entry) => rows(entry, nameIndex(owner, false)))
}

function families(subtree: Subtree, isIncluded: boolean): ViewFamily[] {
  if ('rulesOf' in subtree) {
    return rulesOf(subtree.rulesOf, [RULES, GROUPS, RESOURCES]).map((family) => ({ ...family, included: isIncluded }))
  }
  return [{ subtree: subtree.subtree, mask: maskOf(subtree.wildcards), included: isIncluded }]
}

function accessEntry(group: string, read: string, write: string, notify: string): AccessEntry {
  return { group, contextPrefix: '', isExact: true, securityModel: USM, level: AUTH_PRIV, read, write, notify }
}

export function composeSnmpAccess({ agents, snmp }: MidcomConfig): AccessOptions {
  const groups = new Map<string, string>()
  const access: AccessEntry[] = [], views: View[] = []
  for (const { name, read, write, notify } of snmp.groups) access.push(accessEntry(name, read ?? '', write ?? '', notify ?? ''))
  for (const { name, include, exclude } of snmp.views) {
    const its = [...include.flatMap((one) => families(one, true)), ...exclude.flatMap((one) => families(one, false))]
    views.push(new View(name, its))
  }
  for (const [number, agent] of agents.entries()) {
    const users = snmp.users.filter((user) => user.group === null && user.agent === agent.name).map(({ name }) => name)
    if (users.length === 0) continue
    const its = viewsOf(agent, snmp.targets.filter(({ user }) => users.includes(user)).map(({ name }) => name))
    // Names of views have at most 32 octets, and so have those of agents.
    const named = (kind: 'read' | 'write' | 'notify') => `agent-${number + 1}-${kind}`
    for (const kind of ['read', 'write', 'notify'] as const) views.push(new View(named(kind), its[kind]))
    access.push(accessEntry(agent.name, named('read'), named('write'), named('notify')))
    for (const user of users) groups.set(user, agent.name)
  }
  for (const { name, group } of snmp.users) if (group !== null) groups.set(name, group)
  return { contexts: [''], groups, access, views }
}

function viewsOf({ name, actsFor }: AgentConfig, targets: readonly string[]) {
  const everybody = actsFor.includes('*'), owners = [...new Set([name, ...actsFor])]
  const switches = targets.map((target) => included([...FILTER_TYPE, ...nameIndex(target, false)]))
  const write = [included(SET_SERIAL), ...switches]
  if (everybody) {
    return { read: [included(EVERYTHING)], write: [included(RULES), included(GROUPS), ...write], notify: [included(EVERYTHING)] }
  }
  const own = owners.flatMap((owner) => rulesOf(owner, [RULES, GROUPS]))
  return {
    read: [
      ...own, ...owners.flatMap((owner) => rulesOf(owner, [RESOURCES])), ...BOX.map((subtree) => included(subtree)),
      ...targets.flatMap(targetRows),
    ],
    write: [...own, ...write],
    notify: [...own, ...NOTICES.map((subtree) => included(subtree))],
  }
}

/** Of snmpTargetAddrTable, snmpTargetParamsTable, snmpNotifyFilterProfileTable and snmpNotifyFilterTable. */
function targetRows(target: string): ViewFamily[] {
  const name = nameIndex(target, true)
  return [
    rows([...TARGET_MIB, 1, 2, 1], name), rows([...TARGET_MIB, 1, 3, 1], name), rows([...NOTIFICATION_MIB, 1, 2, 1], name),
    rows([...NOTIFICATION_MIB, 1, 3, 1], nameIndex(target, false)),
  ]
}
