import assert from 'node:assert/strict'
import { mock, test, type TestContext } from 'node:test'
import { DeviceError, type Device } from '../../phy/device.ts'
import { Failure, STATUS } from '../cli/status.ts'
import { LOOK_MS, watchLinks } from './link-watch.ts'

const MAC = [2, 0, 0, 0, 0, 0x5a]
const UP = { index: 7, mtu: 1500, isUp: 1, isEthernet: 1, queues: 1, driver: 'veth', mac: MAC }

function setUp(t: TestContext, canRenew = true) {
  mock.timers.enable({ apis: ['setInterval'] })
  t.after(() => mock.timers.reset())
  const log: string[] = [], did: string[] = []
  const sides = ['in0:7', 'out0'].map((name, side) => ({
    isRemoved: false, found: () => ({ name: name.split(':')[0]!, state: UP }),
    device: {
      name, mtu: 1500, isRemoved: () => sides[side]!.isRemoved,
      ...canRenew && { renew() {
        did.push(`renew ${side}`)
        sides[side]!.isRemoved = false
      } },
    } as Device,
  })) as { isRemoved: boolean; found: () => { name: string; state: typeof UP }; device: Device }[]
  const watch = watchLinks({
    devices: sides.map(({ device }) => device), find: (side) => sides[side]!.found(),
    onRenewed: (side, mac) => did.push(`renewed ${side} ${mac.join(' ')}`), log: (line) => log.push(line),
  })
  const look = (times = 1) => { for (let n = 0; n < times; n++) mock.timers.tick(LOOK_MS) }
  const told = () => log.splice(0)
  return { sides, did, watch, look, told }
}

const none = (): never => { throw new DeviceError('no-interface', 'there is no interface out0') }

test('an interface that is removed is said so once, and the box goes on with the next one of its name, however often', (t) => {
  const { sides, did, look, told } = setUp(t)
  look(3)
  assert.deepEqual([did, told()], [[], []])
  const [, outside] = sides, found = outside!.found
  for (let n = 0; n < 2; n++) {
    outside!.isRemoved = true
    outside!.found = none
    look(3)
    assert.deepEqual([did.splice(0), told()], [[], ['out0: the interface was removed; the box waits for one of that name']])
    outside!.found = found
    look(3)
    assert.deepEqual(did.splice(0), ['renew 1', 'renewed 1 2 0 0 0 0 90'])
    assert.deepEqual(told(), ['out0 is there again, with the Ethernet address 02:00:00:00:00:5a'])
  }
})

test('both sides may go at once, as VLANs of one interface do, and each has its own say', (t) => {
  const { sides, did, look, told } = setUp(t)
  for (const one of sides) one.isRemoved = true
  sides[0]!.found = none
  look()
  assert.deepEqual(did.splice(0), ['renew 1', 'renewed 1 2 0 0 0 0 90'])
  assert.deepEqual(told(), [
    'in0:7: the interface was removed; the box waits for one of that name',
    'out0: the interface was removed; the box waits for one of that name',
    'out0 is there again, with the Ethernet address 02:00:00:00:00:5a',
  ])
})

test('one that is not as it has to be at the start is not taken, and why is said once each', (t) => {
  const { sides, did, look, told } = setUp(t)
  const [inside] = sides, found = inside!.found
  inside!.isRemoved = true
  inside!.found = none
  look()
  told()
  const forwards = 'the kernel itself forwards IPv4 packets of in0: sysctl -w net.ipv4.conf.in0.forwarding=0'
  for (const error of [new DeviceError('interface-down', 'in0 is down: ip link set in0 up'), new Failure(STATUS.usage, forwards)]) {
    inside!.found = () => { throw error }
    look(3)
    assert.deepEqual(told(), [error.message])
  }
  inside!.found = () => ({ name: 'in0', state: { ...UP, mtu: 1499 } })
  look(3)
  assert.deepEqual(told(), ['in0:7 is there again with an MTU of 1499: ip link set in0 mtu 1500'])
  assert.deepEqual(did, [])
  inside!.found = () => ({ name: 'in0', state: { ...UP, mtu: 9000 } })
  look()
  assert.deepEqual(did, ['renew 0', 'renewed 0 2 0 0 0 0 90'])
  assert.deepEqual(found().state.mac, MAC)
})

test('one that goes again while it is taken is waited for; what is no fault of an interface is thrown', (t) => {
  const { sides, did, look, told } = setUp(t)
  const [inside] = sides
  inside!.isRemoved = true
  inside!.device.renew = none
  look(2)
  assert.deepEqual([did, told()], [[], ['in0:7: the interface was removed; the box waits for one of that name']])
  inside!.device.renew = () => { throw new TypeError('a fault of ours') }
  assert.throws(() => { look() }, TypeError)
})

test('where a driver cannot go on with another one, that is said once', (t) => {
  const { sides, did, look, told } = setUp(t, false)
  sides[1]!.isRemoved = true
  look(3)
  assert.deepEqual([did, told()], [[], ['out0: the interface was removed; one of that name counts from the next start']])
})

test('nobody is asked after the end', (t) => {
  const { sides, watch, look, told } = setUp(t)
  watch.stop()
  sides[1]!.isRemoved = true
  look()
  assert.deepEqual(told(), [])
})
