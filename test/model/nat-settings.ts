/** Settings of translation drawn at random, for the universe of traffic.ts: few addresses, so that packets meet them. */
import fc from 'fast-check'
import type { Npt6Pair } from '../../src/channel/npt6.ts'
import type { NatOptions, PeerAlias, PortRange } from '../../src/engine/nat-options.ts'
import type { EgressOptions } from './egress.ts'
import { int32, prefix } from './setup.ts'

const p4 = (text: string) => { const { words, prefixBits } = prefix(text); return { address: words[0], bits: prefixBits } }
const ANYBODY = [p4('0.0.0.0/0')], SOME = [p4('198.51.100.1/32'), p4('192.0.2.0/24')]
const UDP = 17, TCP = 6

/** Outside addresses of its own, beside the pool's 203.0.113.1 and .2. */
const PORTED = '203.0.113.20', WHOLE = '203.0.113.18'

const maybe = <T>(arbitrary: fc.Arbitrary<T[]>): fc.Arbitrary<T[]> => fc.oneof(fc.constant<T[]>([]), arbitrary, arbitrary)
const from = fc.constantFrom(ANYBODY, ANYBODY, SOME, [])

/** Hosts .2 and .3 may have whole addresses, .1 forwarded ports: no host has both. */
const statics = maybe(fc.record({ bits: fc.constantFrom(31, 32), from }).map(({ bits, from }) =>
  [{ inside: int32('10.0.0.2'), outside: int32(WHOLE), bits, from }]))
const forward = fc.record({
  protocol: fc.constantFrom(UDP, TCP), outside: fc.constantFrom('203.0.113.1', '203.0.113.2', PORTED).map(int32),
  outsidePort: fc.constantFrom(1000, 1023), inside: fc.constant(int32('10.0.0.1')),
  insidePort: fc.constantFrom(80, 1000, 1024, 5000), count: fc.constantFrom(1, 2, 3), from,
})
const forwards = maybe(fc.array(forward, { minLength: 1, maxLength: 3 })).map(list => list.filter((one, i) =>
  !list.slice(0, i).some(other => other.protocol === one.protocol && other.outside === one.outside
    && other.outsidePort < one.outsidePort + one.count && one.outsidePort < other.outsidePort + other.count)))
const untranslated = maybe(fc.array(fc.record({
  inside: fc.constantFrom(p4('10.0.0.0/8'), p4('10.0.0.1/32'), p4('10.0.0.2/31')),
  peer: fc.constantFrom(p4('192.0.2.0/24'), p4('198.51.100.1/32'), p4('203.0.113.0/24')),
  protocol: fc.constantFrom(-1, UDP, TCP, 1, 47),
  peerPorts: fc.constantFrom({ low: 0, high: 65535 }, { low: 80, high: 81 }, { low: 1024, high: 65535 }),
}), { minLength: 1, maxLength: 2 }))
const aliases = maybe(fc.constantFrom<PeerAlias[][]>(
  [{ protocol: 0, alias: int32('10.8.8.1'), aliasPort: 0, peer: int32('198.51.100.2'), peerPort: 0, count: 0 }],
  [
    { protocol: UDP, alias: int32('192.168.88.1'), aliasPort: 80, peer: int32('198.51.100.1'), peerPort: 80, count: 2 },
    { protocol: TCP, alias: int32('192.168.88.1'), aliasPort: 1024, peer: int32('198.51.100.1'), peerPort: 80, count: 1 },
  ],
))
const reserved = maybe(fc.constantFrom<PortRange[][]>([{ low: 1025, high: 1026 }],
  [{ low: 80, high: 80 }, { low: 5000, high: 5001 }]))

/** MTUs around the lengths that `egress` steps send. */
export const egressSettings: fc.Arbitrary<EgressOptions> = fc.record({
  mtuInside: fc.constantFrom(0, 1280, 1281, 1287, 1500), mtuOutside: fc.constantFrom(0, 1280, 1286, 1400),
  mss: fc.constantFrom(0, 0, -1, 536, 1220), identification: fc.constantFrom('keep', 'fragments', 'fragments', 'all'),
})

const w = (text: string): [number, number] => { const { words } = prefix(text); return [words[0], words[1]] }
const pair = (inside: string, insideBits: number, outside: string, outsideBits: number): Npt6Pair =>
  ({ inside: w(inside), insideBits, outside: w(outside), outsideBits })

/** Prefixes for fd00::1 and fd00::2: by subnet, by identifier, of two lengths, one of them alone, and two pairs. */
export const npt6Settings = fc.constantFrom<Npt6Pair[]>(
  [pair('fd00::', 48, '2001:db8:1::', 48)], [pair('fd00::', 64, '2001:db8:1:2::', 64)], [pair('fd00::', 60, '2001:db8:100::', 40)],
  [pair('fd00::', 40, '2001:db8:1:300::', 56)],
  [pair('fd00::', 56, '2001:db8:1:300::', 56), pair('fd00:0:0:ffff::', 64, '2001:db8:1:ffff::', 64)],
)

/** For a pool of `size` addresses. */
export function natSettings(size: number): fc.Arbitrary<NatOptions> {
  const parted = [
    { inside: [], first: 0, size: 1, hostsPerAddress: 0 },
    { inside: [p4('10.0.0.2/31'), p4('10.0.0.1/32')], first: size - 1, size: 1, hostsPerAddress: 0 },
    { inside: [p4('10.0.0.3/32')], first: 0, size, hostsPerAddress: 0 },
  ]
  const dealt = [{ inside: [p4('10.0.0.2/31'), p4('10.0.0.0/31')], first: 0, size, hostsPerAddress: 2 }]
  const whole = [{ inside: [], first: 0, size, hostsPerAddress: 0 }]
  return fc.record({
    pools: fc.constantFrom(whole, parted, dealt), reserved, statics, forwards, untranslated, aliases,
  })
}
