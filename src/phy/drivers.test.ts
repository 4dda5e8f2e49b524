import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { DeviceError } from './device.ts'
import { chooseDriver, DRIVER_CHOICES, DRIVERS, type DriverName } from './drivers.ts'

/** Of these drivers it is known what their check does, in this test. */
function checks(t: TestContext, known: Partial<Record<DriverName, () => void>>): void {
  for (const [name, check] of Object.entries(known)) t.mock.method(DRIVERS[name as DriverName], 'check', check)
}

const here = () => { /* it is here */ }
const absent = (name: string) => () => { throw new DeviceError('driver-absent', `${name} is not here`) }

test('drivers: auto takes the first that is here, and says why it passes over one', (t) => {
  checks(t, { packet: absent('packet'), libpcap: here })
  const log: string[] = []
  const { name, driver } = chooseDriver('auto', (line) => log.push(line))
  assert.equal(name, 'libpcap')
  assert.equal(driver, DRIVERS.libpcap)
  assert.deepEqual(log, ['driver packet: packet is not here; trying libpcap'])
  checks(t, { packet: here, libpcap: absent('libpcap') })
  assert.equal(chooseDriver('auto', (line) => log.push(line)).name, 'packet')
  assert.equal(log.length, 1)
})

test('drivers: of none that is here the last one says why; who asks for one gets no other', (t) => {
  checks(t, { packet: absent('packet'), libpcap: absent('libpcap'), xdp: absent('xdp') })
  const log: string[] = []
  assert.throws(() => chooseDriver('auto', (line) => log.push(line)), { code: 'driver-absent', message: 'libpcap is not here' })
  assert.equal(log.length, 1)
  for (const name of ['packet', 'xdp'] as const) {
    assert.throws(() => chooseDriver(name, (line) => log.push(line)), { message: `${name} is not here` })
  }
  assert.equal(log.length, 1)
})

test('drivers: a fault of ours is no reason to try another one', (t) => {
  checks(t, { packet: () => { throw new TypeError('a fault') }, libpcap: here })
  assert.throws(() => chooseDriver('auto', () => assert.fail('nothing is tried')), TypeError)
})

test('drivers: every name can be chosen', (t) => {
  checks(t, Object.fromEntries(DRIVER_CHOICES.filter((name) => name !== 'auto').map((name) => [name, here])))
  for (const wanted of DRIVER_CHOICES) assert.equal(chooseDriver(wanted, () => assert.fail()).name, wanted === 'auto' ? 'packet' : wanted)
})
