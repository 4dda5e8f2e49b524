import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSteering } from '../channel/steering.ts'
import { FLOW_BITS, INSIDE, type Flows } from './flows.ts'
import { createPool } from './pool.ts'
import { CLASS_ICMP, CLASS_NONE, CLASS_TCP, CLASS_UDP, CLASSES } from './ports.ts'
import { createShare } from './share.ts'

const SHARED = [0xcb007101 | 0, 0xcb007105 | 0], WHOLE = [0xcb007109 | 0, 0xcb00710a | 0], HOST = 0x0a000005
const WORKERS = 5, SLOT = 3

function setUp(worker: number, bySubnet = false) {
  const steering = createSteering({ workers: WORKERS, stripeBase: 0, stripePorts: 64, bySubnet })
  const portOwner = new Int32Array(4 * CLASSES << 16), addressOwner = new Int32Array(4), F = new Int32Array(8 << FLOW_BITS)
  const bindings = new Set<number>()
  const flows = { F, portOwner, addressOwner, isBinding: (slot: number) => bindings.has(slot) } as unknown as Flows
  const share = createShare({ share: { steering, worker } }, createPool([...SHARED, ...WHOLE], 1, SHARED.length), flows)!
  return { share, steering, portOwner, addressOwner, F, bindings }
}

test('share: with one worker there is none', () => {
  const pool = createPool(SHARED, 1)
  assert.equal(createShare({ share: null }, pool, {} as Flows), null)
  assert.equal(createShare({}, pool, {} as Flows), null)
})

test('share: a port is its stripe\'s, until a binding of that address, class and port leads to a host; a flow that is no binding changes nothing', () => {
  for (const [index, address] of SHARED.entries()) for (const portClass of [CLASS_UDP, CLASS_TCP, CLASS_ICMP]) {
    const { share, steering, portOwner, F, bindings } = setUp(0)
    const port = 1024 + 64 * ((steering.ofAddress4(HOST) + 1) % WORKERS), ofHost = steering.ofAddress4(HOST)
    const of = () => share.ownerOut(address, portClass, port)
    assert.notEqual(steering.ofPort(port), ofHost)
    assert.equal(of(), steering.ofPort(port))
    portOwner[(index * CLASSES + portClass) << 16 | port] = SLOT
    F[(SLOT << FLOW_BITS) + INSIDE] = HOST
    assert.equal(of(), steering.ofPort(port))
    bindings.add(SLOT)
    assert.equal(of(), ofHost)
    for (const other of [port - 1, port + 1]) assert.equal(share.ownerOut(address, portClass, other), steering.ofPort(other))
    assert.equal(share.ownerOut(SHARED[1 - index]!, portClass, port), steering.ofPort(port))
    assert.equal(share.ownerOut(address, (portClass + 1) % 3, port), steering.ofPort(port))
  }
})

test('share: an address that belongs to one host is its worker\'s, whatever the port, and nobody\'s without a host', () => {
  const { share, steering, addressOwner } = setUp(0)
  assert.equal(share.ownerOut(WHOLE[1]!, CLASS_UDP, 2000), -1)
  addressOwner[3] = HOST
  for (const port of [1, 2000, 65_535]) assert.equal(share.ownerOut(WHOLE[1]!, CLASS_TCP, port), steering.ofAddress4(HOST))
  assert.equal(share.ownerOut(WHOLE[0]!, CLASS_TCP, 7), -1)
})

test('share: what has no ports is the first worker\'s; addresses that are not ours are nobody\'s', () => {
  const { share, addressOwner } = setUp(0)
  addressOwner[2] = HOST
  for (const address of [...SHARED, ...WHOLE]) assert.deepEqual([share.ownerOut(address, CLASS_NONE, 0), share.isOurs(address)], [0, true])
  assert.deepEqual([share.ownerOut(0x08080808, CLASS_NONE, 0), share.ownerOut(0x08080808, CLASS_UDP, 64), share.isOurs(0x08080808)], [-1, -1, false])
})

test('share: foreign is what another worker has, and not what nobody has', () => {
  for (let worker = 0; worker < WORKERS; worker++) {
    const { share } = setUp(worker)
    for (let of = 0; of < WORKERS; of++) assert.equal(share.isForeign(SHARED[0]!, CLASS_UDP, 64 * (WORKERS + of)), of !== worker)
    assert.equal(share.isForeign(WHOLE[0]!, CLASS_UDP, 64), false)
    assert.equal(share.isForeign(0x08080808, CLASS_UDP, 64), false)
  }
})

test('share: an IPv6 address is foreign by the sum of its words, of the first four where subnets stay together', () => {
  for (const bySubnet of [false, true]) {
    const words = Int32Array.of(-1, 0x2001_0db8, 0x9abc_def0 | 0, 0x1234_0000, 0x0000_ffff, 7)
    const halves = [0x2001, 0x0db8, 0x9abc, 0xdef0, ...bySubnet ? [] : [0x1234, 0, 0, 0xffff]]
    const { steering } = setUp(0, bySubnet), its = steering.ofSum6(halves.reduce((sum, half) => sum + half))
    for (let worker = 0; worker < WORKERS; worker++) assert.equal(setUp(worker, bySubnet).share.isForeign6(words, 1), worker !== its)
  }
})
