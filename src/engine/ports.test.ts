/** Ports that wait before they are given again (RFC 6888 REQ-8), and ports that hosts have alone (RFC 6888 REQ-14, RFC 7422). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket, type PacketSpec } from '../wire/build.ts'
import { SIDE_INSIDE, TO_OUTSIDE } from '../wire/frames.ts'
import { plainNat } from './nat-options.ts'
import { FILTER_ENDPOINT_INDEPENDENT, type EngineOptions } from './options.ts'
import { createRig, type Rig } from './testing.ts'

const A = '10.0.0.1', B = '10.0.0.2', X = '198.51.100.1'
const EIF = { filtering: FILTER_ENDPOINT_INDEPENDENT }
const HOLD = { holdMs: 120_000, most: 1000, isAll: false }
type Proto = 'udp' | 'tcp' | 'icmp'

/** The outside port or identifier by which a packet left, or why it did not. */
function port(rig: Rig, nowMs: number, src: string, srcPort: number, proto: Proto = 'udp', more: Partial<PacketSpec> = {}): number | string {
  const spec = { proto, src, dst: X, srcPort, dstPort: 53, tcpFlags: 2, icmpType: 8, icmpId: srcPort, ...more }
  const { verdict, bytes, reason } = rig.send(SIDE_INSIDE, buildPacket(spec), nowMs)
  if (verdict !== TO_OUTSIDE || bytes === null) return reason!
  const at = proto === 'icmp' ? 24 : 20
  return bytes[at] << 8 | bytes[at + 1]
}

// @req RFC6888 REQ-8
test('ports: one that was given up is for no other host until 120 s are over, but for its own at once (RFC 6888 REQ-8)', () => {
  const rig = createRig({ ...EIF, portHold: HOLD })
  assert.equal(port(rig, 0, A, 2000), 2000)
  assert.equal(rig.count('ports-held-current'), 0)
  // It ends at 300 s, and waits until 420 s.
  assert.notEqual(port(rig, 300_000, B, 2000), 2000)
  assert.equal(rig.count('ports-held-current'), 1)
  assert.notEqual(port(rig, 419_999, '10.0.0.3', 2000), 2000)
  assert.equal(port(rig, 420_000, '10.0.0.4', 2000), 2000)
  assert.equal(rig.count('ports-held-current'), 0)
  const again = createRig({ ...EIF, portHold: HOLD })
  assert.equal(port(again, 0, A, 2000), 2000)
  assert.equal(port(again, 300_000, A, 2000), 2000)
  assert.equal(again.count('ports-held-current'), 0)
  // An identifier lives for a minute.
  assert.equal(port(again, 0, A, 7, 'icmp'), 7)
  assert.notEqual(port(again, 361_000, B, 7, 'icmp'), 7)
})

// @req RFC6888 REQ-8a, REQ-8c
test('ports: of TCP, and behind a filter that knows addresses, they wait only if all shall (RFC 6888 REQ-8a, REQ-8c)', () => {
  const free = (changes: Partial<EngineOptions>, proto: Proto) => {
    const rig = createRig({ portHold: HOLD, ...changes })
    assert.equal(port(rig, 0, A, 2000, proto), 2000)
    return port(rig, 300_000, B, 2000, proto) === 2000
  }
  assert.deepEqual([free(EIF, 'udp'), free(EIF, 'icmp'), free(EIF, 'tcp')], [false, false, true])
  assert.deepEqual([free({}, 'udp'), free({}, 'icmp'), free({}, 'tcp')], [true, true, true])
  const all = { portHold: { ...HOLD, isAll: true } }
  assert.deepEqual([free(all, 'udp'), free(all, 'icmp'), free(all, 'tcp')], [false, false, false])
})

// @req RFC6888 REQ-8
test('ports: how many wait is bounded, and the oldest goes first; when all ports wait there is none (RFC 6888 REQ-8)', () => {
  const rig = createRig({ ...EIF, portHold: { ...HOLD, most: 2 } })
  for (const n of [0, 1, 2]) assert.equal(port(rig, n, A, 2000 + n), 2000 + n)
  assert.equal(port(rig, 300_002, B, 2000), 2000)
  assert.deepEqual([rig.count('ports-held-current'), rig.count('ports-held-early')], [2, 1])
  assert.notEqual(port(rig, 300_002, B, 2001), 2001)
  const narrow = createRig({ ...EIF, portHold: HOLD, portLow: 2000, portHigh: 2003 })
  for (const n of [0, 1, 2, 3]) assert.equal(port(narrow, 0, A, 2000 + n), 2000 + n)
  assert.equal(port(narrow, 300_000, B, 2000), 'no-outside-port')
  assert.equal(port(narrow, 300_000, A, 2003), 2003)
  assert.equal(port(narrow, 420_000, B, 2000), 2000)
})

// @req RFC6888 REQ-13, REQ-14
test('ports: with blocks all ports of a host come from blocks that it has alone, and the next block comes when they are used (RFC 6888 REQ-14)', () => {
  const rig = createRig({ portBlocks: { size: 16, perHost: 2 } })
  const block = (n: number | string) => Math.floor((Number(n) - 1024) / 16)
  const ports = Array.from({ length: 16 }, (_, n) => port(rig, 0, A, 5000 + n))
  assert.equal(new Set(ports).size, 16)
  assert.equal(new Set(ports.map(block)).size, 1)
  assert.equal(rig.count('port-blocks-current'), 1)
  // Another protocol uses the same block, and so do ports below 1024.
  for (const proto of ['tcp', 'icmp'] as const) assert.equal(block(port(rig, 0, A, 80, proto)), block(ports[0]))
  const others = Array.from({ length: 16 }, (_, n) => port(rig, 0, B, 5000 + n))
  assert.notEqual(block(others[0]), block(ports[0]))
  const more = Array.from({ length: 16 }, (_, n) => port(rig, 0, A, 6000 + n))
  assert.deepEqual([new Set([...ports, ...more].map(block)).size, rig.count('port-blocks-current')], [2, 3])
  assert.equal(port(rig, 0, A, 7000), 'no-outside-port')
  // A port in a block of its own is kept, one in a block of another is not.
  assert.equal(port(rig, 300_000, A, 5000, 'udp'), port(rig, 300_000, A, Number(port(rig, 300_000, A, 5000)), 'tcp'))
  assert.equal(port(rig, 300_000, B, 5001, 'udp') === 5001, false)
})

test('ports: parity is kept within blocks while it can be, before a block more is taken', () => {
  const rig = createRig({ portBlocks: { size: 16, perHost: 2 } })
  for (let n = 0; n < 8; n++) assert.equal(Number(port(rig, 0, A, 5000 + 2 * n)) % 2, 0)
  for (let n = 0; n < 8; n++) assert.equal(Number(port(rig, 0, A, 6000 + 2 * n)) % 2, 1)
  assert.equal(rig.count('port-blocks-current'), 1)
})

test('ports: a block that no port is used of goes back, and waits as ports do', () => {
  for (const [changes, held] of [[{}, 0], [EIF, 1]] as const) {
    const rig = createRig({ portBlocks: { size: 16, perHost: 2 }, portHold: HOLD, portLow: 1024, portHigh: 1055, ...changes })
    port(rig, 0, A, 5000)
    port(rig, 1, A, 5001, 'icmp')
    port(rig, 59_999, A, 5000)
    assert.equal(rig.count('port-blocks-current'), 1)
    port(rig, 359_998, B, 6000)
    assert.equal(rig.count('port-blocks-current'), 2)
    // Now the block of A is given up.
    port(rig, 359_999, B, 6000)
    assert.deepEqual([rig.count('port-blocks-current'), rig.count('ports-held-current')], [1, held])
    assert.equal(port(rig, 360_000, '10.0.0.3', 7000) === 'no-outside-port', held === 1)
    assert.notEqual(port(rig, 479_999, '10.0.0.3', 7000), 'no-outside-port')
  }
})

test('ports: a block without a port to give, because all are reserved, goes to nobody', () => {
  const nat = { ...plainNat(1), reserved: [{ low: 1030, high: 1055 }] }
  const rig = createRig({ nat, portBlocks: { size: 16, perHost: 4 }, portLow: 1024, portHigh: 1071 })
  const ports = Array.from({ length: 22 }, (_, n) => port(rig, 0, A, 5000 + n))
  assert.deepEqual([...ports].sort(), [...Array.from({ length: 6 }, (_, n) => 1024 + n), ...Array.from({ length: 16 }, (_, n) => 1056 + n)])
  assert.equal(port(rig, 0, A, 6000), 'no-outside-port')
})

// @req RFC6888 REQ-8b
test('ports: hosts that are dealt to addresses have each a fixed part of the ports, which never waits (RFC 7422, RFC 6888 REQ-8b)', () => {
  const pools = [...plainNat(1).pools, { inside: [{ address: 0x0a010000, bits: 24 }], first: 1, size: 4, hostsPerAddress: 64 }]
  const pool = [0xcb007101, 0xcb007102, 0xcb007103, 0xcb007104, 0xcb007105].map((address) => address | 0)
  const rig = createRig({ pool, nat: { ...plainNat(1), pools }, ...EIF, portHold: { ...HOLD, isAll: true } })
  const each = Math.floor(64_512 / 64)
  for (const n of [0, 1, 63, 64, 255]) {
    for (const [proto, at] of [['udp', 5000], ['tcp', 80], ['icmp', 1]] as const) {
      const low = 1024 + n % 64 * each, found = Number(port(rig, 0, `10.1.0.${n}`, at, proto))
      assert.ok(found >= low && found < low + each, `host ${n} ${proto} ${found}`)
      const { bytes } = rig.send(SIDE_INSIDE, buildPacket({ proto, src: `10.1.0.${n}`, dst: X, srcPort: at, dstPort: 53, tcpFlags: 2, icmpType: 8, icmpId: at }), 0)
      assert.equal(bytes![15], 2 + Math.floor(n / 64))
    }
  }
  assert.equal(port(rig, 0, '10.1.0.5', 6064 + 4), 6068, 'a port of its own is kept')
  assert.equal(port(rig, 300_000, '10.1.0.5', 6068), 6068)
  assert.equal(rig.count('ports-held-current'), 0)
})
