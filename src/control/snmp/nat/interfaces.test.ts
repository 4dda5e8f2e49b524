import assert from 'node:assert/strict'
import test from 'node:test'
import { NO_SUCH_INSTANCE, counter32, counter64, integer, type Originator, type Request } from '../mib.ts'
import type { Oid } from '../oid.ts'
import { interfacesExtensionMib, interfacesMib, type InterfaceOptions } from './interfaces.ts'

const REQUEST: Request = { securityName: 'u', securityLevel: 3, contextName: '', agent: null, canRead: () => true, canWrite: () => true }
const ORIGINATOR: Originator = { hasTargets: false, notify() { /* nobody listens */ }, upTimeTicks: () => 0 }
const options: InterfaceOptions = {
  sides: [{ name: 'inside', mtu: 9000 }, { name: 'outside', mtu: 1400 }],
  figures: (index) => ({ inPackets: 2 ** 32 + index, inBytes: 2 ** 40, outPackets: 10 * index, outBytes: 0 }),
}

test('IF-MIB: each side has its own MTU and figures, of 32 bits and of 64 (RFC 2863)', () => {
  const module = interfacesMib(options)(ORIGINATOR), more = interfacesExtensionMib(options)(ORIGINATOR)
  const get = (column: number, index: number) => module.get(REQUEST, [1, 3, 6, 1, 2, 1, 2, 2, 1, column, index])
  assert.deepEqual([get(4, 1), get(4, 2), get(4, 3)], [integer(9000), integer(1400), NO_SUCH_INSTANCE])
  assert.deepEqual([get(11, 1), get(10, 1), get(17, 2)], [counter32(1), counter32(0), counter32(20)])
  const high = (column: number): Oid => [1, 3, 6, 1, 2, 1, 31, 1, 1, 1, column, 2]
  assert.deepEqual([7, 6].map((column) => more.get(REQUEST, high(column))), [counter64(2 ** 32 + 2), counter64(2 ** 40)])
})
