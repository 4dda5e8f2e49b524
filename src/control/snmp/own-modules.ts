/**
 * The MIBs that every SNMP engine has: SNMPv2-MIB (RFC 3418), SNMP-FRAMEWORK-MIB (RFC 3411) and SNMP-MPD-MIB (RFC 3412). Their
 * objects are read; snmpSetSerialNo is also written, to keep two managers' SETs apart.
 */
import type { SnmpCounter, SnmpCounters } from './counters.ts'
import type { LocalEngine } from './local-engine.ts'
import {
  counter32, INCONSISTENT_VALUE, INTEGER, integer, NOT_WRITABLE, objectId, octets, text, timeTicks, WRONG_TYPE, WRONG_VALUE,
  type MibModule, type SetPlan,
} from './mib.ts'
import { createObjects, scalar, table } from './objects.ts'
import { compareOids, type Oid } from './oid.ts'
import type { SystemTexts } from './options.ts'

const SYSTEM: Oid = [1, 3, 6, 1, 2, 1, 1], SNMP: Oid = [1, 3, 6, 1, 2, 1, 11]
const SNMP_MODULES: Oid = [1, 3, 6, 1, 6, 3]
const SNMP_MIB: Oid = [...SNMP_MODULES, 1], FRAMEWORK: Oid = [...SNMP_MODULES, 10], MPD: Oid = [...SNMP_MODULES, 11]
const SET_SERIAL: Oid = [...SNMP_MIB, 1, 6, 1]
/** zeroDotZero: the project has no enterprise number of its own to say what it is. */
const NO_OBJECT_ID: Oid = [0, 0]
/** sysServices: 2 ^ (3 - 1), it forwards by network addresses. */
const INTERNET = 4
/** snmpEnableAuthenTraps. */
const DISABLED = 2
const LAST_SERIAL = 0x7fff_ffff

const IDENTITY = { oid: SNMP_MIB, description: 'SNMPv2-MIB: the system and the SNMP entity (RFC 3418)' }

/** `modules` are all that are served, this one included; they do not change. */
export function createSystem(texts: SystemTexts, upTimeTicks: () => number, modules: () => readonly MibModule[]): MibModule {
  const entry: Oid = [...SYSTEM, 9, 1]
  let rows: { index: Oid; row: MibModule }[] | null = null
  /** Several modules may belong to one MIB. */
  const identities = () => rows ??= modules().filter(({ identity }, i, all) => {
    return all.findIndex((other) => compareOids(other.identity.oid, identity.oid) === 0) === i
  }).map((row, i) => ({ index: [i + 1], row }))
  return createObjects(SYSTEM, IDENTITY, [
    scalar([...SYSTEM, 1], () => text(texts.description)), scalar([...SYSTEM, 2], () => objectId(NO_OBJECT_ID)),
    scalar([...SYSTEM, 3], () => timeTicks(upTimeTicks())), scalar([...SYSTEM, 4], () => text(texts.contact)),
    scalar([...SYSTEM, 5], () => text(texts.name)), scalar([...SYSTEM, 6], () => text(texts.location)),
    scalar([...SYSTEM, 7], () => integer(INTERNET)), scalar([...SYSTEM, 8], () => timeTicks(0)),
    table<MibModule>(entry, {
      2: ({ identity }) => objectId(identity.oid), 3: ({ identity }) => text(identity.description), 4: () => timeTicks(0),
    }, identities),
  ])
}

export function createSnmpGroup(counters: SnmpCounters): MibModule {
  const one = (number: number, name: SnmpCounter) => scalar([...SNMP, number], () => counter32(counters[name]))
  return createObjects(SNMP, IDENTITY, [
    one(1, 'in-messages'), one(3, 'snmpInBadVersions'), one(4, 'snmpInBadCommunityNames'), one(5, 'snmpInBadCommunityUses'),
    one(6, 'snmpInASNParseErrs'), scalar([...SNMP, 30], () => integer(DISABLED)), one(31, 'snmpSilentDrops'),
    one(32, 'snmpProxyDrops'),
  ])
}

/** snmpSetSerialNo (RFC 3418, TestAndIncr of RFC 2579): a SET that names its value goes through if nobody was faster. */
export function createSetSerial(): MibModule {
  let serial = 0
  const parts = [scalar(SET_SERIAL, () => integer(serial))]
  return createObjects(SNMP_MIB, IDENTITY, parts, (_request, { name, value }): SetPlan | number => {
    if (compareOids(name, [...SET_SERIAL, 0]) !== 0) return NOT_WRITABLE
    if (value.tag !== INTEGER) return WRONG_TYPE
    if (value.value < 0) return WRONG_VALUE
    if (value.value !== serial) return INCONSISTENT_VALUE
    const before = serial
    return {
      commit() {
        serial = before === LAST_SERIAL ? 0 : before + 1
        return null
      },
      undo() { serial = before },
    }
  })
}

export function createFramework(engine: LocalEngine, messageBytes: number): MibModule {
  const group: Oid = [...FRAMEWORK, 2, 1]
  return createObjects(FRAMEWORK, { oid: FRAMEWORK, description: 'SNMP-FRAMEWORK-MIB: the SNMP engine (RFC 3411)' }, [
    scalar([...group, 1], () => octets(engine.id)), scalar([...group, 2], () => integer(engine.boots)),
    scalar([...group, 3], () => integer(engine.time)), scalar([...group, 4], () => integer(messageBytes)),
  ])
}

export function createMpd(counters: SnmpCounters): MibModule {
  const group: Oid = [...MPD, 2, 1]
  const one = (number: number, name: SnmpCounter) => scalar([...group, number], () => counter32(counters[name]))
  return createObjects(MPD, { oid: MPD, description: 'SNMP-MPD-MIB: message processing (RFC 3412)' }, [
    one(1, 'snmpUnknownSecurityModels'), one(2, 'snmpInvalidMsgs'), one(3, 'snmpUnknownPDUHandlers'),
  ])
}
