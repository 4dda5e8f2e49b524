import assert from 'node:assert/strict'
import test from 'node:test'
import { createOrdered } from '../../../storage/ordered.ts'
import type { Backlog } from '../backlog.ts'
import type { MibModule, Originator, Request } from '../mib.ts'
import type { Oid } from '../oid.ts'
import { ADDRESS_BIND, ADDRESS_PORT_BIND, type Bind, type Binds } from './binds.ts'
import { NATV2_MIB, natv2Mib, type NatFigures, type NatSettings } from './modules.ts'

const REQUEST: Request = { securityName: 'u', securityLevel: 3, contextName: '', agent: null, canRead: () => true, canWrite: () => true }
const ORIGINATOR: Originator = { hasTargets: false, notify() { /* nobody listens */ }, upTimeTicks: () => 0 }
const SETTINGS: NatSettings = {
  udpMs: 0, tcpEstablishedMs: 0, tcpOpeningMs: 0, icmpQueryMs: 0, otherMs: 0, filtering: 'endpoint-independent', fragmentDatagrams: 0, mappingsMost: 0,
}
const FIGURES: NatFigures = { translations: 0, mappings: 0, mappingCreations: 0, portFailureDrops: 0, fragmentDrops: 0 }
const MANY = 300

/** As many bindings of addresses and of ports at the outside, and how often either have been gone through. */
function rig(): { module: MibModule; passes: () => number; change: () => void } {
  let passes = 0, changes = 0
  const of = (mode: number) => {
    const all = createOrdered<Bind>((a, b) => a.local - b.local)
    for (let n = 0; n < MANY; n++) {
      all.add({ id: n + 1, mode, interface: 2, local: 0x0a00_0000 + n, localPort: n, protocol: 17, global: 0xcb00_7100 + (MANY - n), globalPort: n, holders: 1 })
    }
    return { ...all, size: MANY, [Symbol.iterator]: () => (passes++, all[Symbol.iterator]()) }
  }
  const binds: Binds = {
    addresses: of(ADDRESS_BIND), ports: of(ADDRESS_PORT_BIND), outsideOf: () => undefined, insideOf: () => undefined, changes: () => changes,
  }
  const backlog = { size: 0, add() { /* no rules */ }, catchUp() { /* none wait */ } } as unknown as Backlog
  return { module: natv2Mib(binds, backlog, SETTINGS, () => FIGURES)(ORIGINATOR), passes: () => passes, change: () => { changes++ } }
}

for (const [table, columns, number] of [['natv2AddressMapTable', 7, 5], ['natv2PortMapTable', 8, 6]] as const) {
  test(`NATV2-MIB: ${table} is put in order once for a walk and its GETs, and again when bindings change (RFC 7659)`, () => {
    const { module, passes, change } = rig()
    const root: Oid = [...NATV2_MIB, 2, number]
    const names: Oid[] = []
    for (let at = module.next(REQUEST, root, false); at !== null && at.name[root.length - 1] === number; at = module.next(REQUEST, at.name, false)) {
      names.push(at.name)
      assert.deepEqual(module.get(REQUEST, at.name), at.value)
    }
    assert.equal(names.length, columns * MANY)
    assert.ok(passes() <= 2, `${passes()} passes`)
    change()
    module.get(REQUEST, names[0]!)
    assert.ok(passes() <= 4)
  })
}
