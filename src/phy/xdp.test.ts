import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress, type Address } from '../base/address.ts'
import { DEVICE_COUNTERS, DeviceError, type Device } from './device.ts'
import { umemBytes, withSide } from './xdp.ts'

const address = (text: string): Address => (parseAddress(text) as { ok: true; value: Address }).value
const many = (count: number, of: (n: number) => string) => Array.from({ length: count }, (_, n) => address(of(n + 1)))
const four = (count: number) => many(count, (n) => `10.0.0.${n}`), six = (count: number) => many(count, (n) => `2001:db8::${n.toString(16)}`)
const PLAIN = { name: 'in0', mtu: 1500, queues: 1, kernel: [] }
const isRefused = (wanted: RegExp) => (error: unknown) => error instanceof DeviceError && wanted.test(error.message)

test('AF_XDP: an interface is taken up to its bounds, and one beyond them is refused with what to do', () => {
  const other = { ...PLAIN, name: 'out0' }
  const most = { ...PLAIN, mtu: 3822, queues: 16, kernel: [...four(128), ...six(128)] }
  assert.equal(umemBytes([most, other]) % 4096, 0)
  assert.throws(() => umemBytes([other, { ...most, mtu: 3823 }]), isRefused(/^in0: .*an MTU of 3823 is too much for it: ip link set in0 mtu 3822, or --driver packet$/))
  assert.throws(() => umemBytes([other, { ...most, queues: 17 }]), isRefused(/^in0: 17 queues receive, and a box looks at 16 at most: ethtool -L in0 combined 1$/))
  for (const kernel of [four(129), [...four(9), ...six(129)]]) {
    assert.throws(() => umemBytes([{ ...PLAIN, kernel }, other]), isRefused(/^in0: the kernel has 129 IPv[46] addresses there, and AF_XDP leaves it 128 at most: --driver packet$/))
  }
  assert.throws(() => umemBytes([7, 9].map((vlan) => ({ ...PLAIN, vlan }))), isRefused(/has all of an interface for one side/))
})

/** One that has so many frames to give, and says what it is told. */
function fake(name: string, waiting: number, told: string[]) {
  const wakes: ((hasFailed: boolean) => void)[] = []
  const failures: string[] = []
  const device = {
    name, mac: [], mtu: 1500,
    receive(from: number, most: number) {
      const rows = Math.min(waiting, most)
      told.push(`${name}: ${rows} from ${from}`)
      waiting -= rows
      return rows
    },
    ...Object.fromEntries(['release', 'arm', 'disarm', 'close'].map((what) => [what, () => told.push(`${name}: ${what}`)])),
    onWake: (wake: (hasFailed: boolean) => void) => wakes.push(wake),
    failure: () => failures.shift(), oversized: () => name === 'side' ? 4 : 0,
    counters: () => Float64Array.from(DEVICE_COUNTERS, (_, i) => name === 'side' ? 1000 : i),
  } as unknown as Device
  return { device, wakes, failures }
}

test('AF_XDP: what comes beside the sockets comes first, a few at a time, and no row is written twice or beyond the last', () => {
  const told: string[] = []
  const both = withSide(fake('main', 300, told).device, fake('side', 40, told).device, () => true)
  assert.deepEqual([both.receive(5, 128), both.receive(0, 128), both.receive(0, 3)], [128, 128, 3])
  assert.deepEqual(told, ['side: 32 from 5', 'main: 96 from 37', 'side: 8 from 0', 'main: 120 from 8', 'side: 0 from 0', 'main: 3 from 0'])
  const few: string[] = []
  assert.equal(withSide(fake('main', 9, few).device, fake('side', 9, few).device, () => true).receive(7, 5), 5)
  assert.deepEqual(few, ['side: 5 from 7', 'main: 0 from 12'])
})

test('AF_XDP: what is beside the sockets is looked at, and given back, when there is something only', () => {
  const told: string[] = []
  let hasBeside = false
  const both = withSide(fake('main', 9, told).device, fake('side', 9, told).device, () => hasBeside)
  assert.equal(both.receive(2, 5), 5)
  both.release()
  hasBeside = true
  assert.equal(both.receive(0, 9), 9)
  hasBeside = false
  both.release()
  both.release()
  assert.deepEqual(told, ['main: 5 from 2', 'main: release', 'side: 9 from 0', 'main: 0 from 9', 'main: release', 'side: release', 'main: release'])
})

test('AF_XDP: sockets and what is beside them are given back, armed, disarmed and closed together, and counted as one', () => {
  const told: string[] = [], woken: boolean[] = []
  const main = fake('main', 0, told), side = fake('side', 0, told), both = withSide(main.device, side.device, () => true)
  both.receive(0, 9)
  told.splice(0)
  for (const what of ['release', 'arm', 'disarm', 'close'] as const) {
    both[what]()
    assert.deepEqual(told.splice(0).sort(), [`main: ${what}`, `side: ${what}`])
  }
  both.onWake((hasFailed) => woken.push(hasFailed))
  for (const { wakes } of [main, side]) wakes[0]!(true)
  assert.deepEqual(woken, [true, true])
  side.failures.push('of the side')
  main.failures.push('of the sockets')
  assert.deepEqual([both.failure(), both.failure(), both.failure()], ['of the side', 'of the sockets', undefined])
  assert.deepEqual([...both.counters()], DEVICE_COUNTERS.map((_, i) => 1000 + i))
  assert.equal(both.oversized(), 4)
})
