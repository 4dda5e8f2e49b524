import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildPacket } from '../wire/build.ts'
import { LINK_ETHERNET, SIDE_INSIDE, SIDE_OUTSIDE } from '../wire/frames.ts'
import { sidesByInterface } from './sides.ts'
import { createPlaneRig, type FrameIn } from './testing.ts'

const udp = { proto: 'udp', srcPort: 1, dstPort: 2 } as const
const from4 = (src: string, dst = '198.51.100.1') => buildPacket({ ...udp, src, dst })
const from6 = (src: string, dst = '2001:db8::1') => buildPacket({ ...udp, src, dst })

function sidesOf(batch: FrameIn[], options: Parameters<typeof createPlaneRig>[0] = {}): number[] {
  const { frames, load, plane } = createPlaneRig(options)
  frames.side.fill(7)
  load(batch)
  plane.begin(batch.length)
  return [...frames.side.slice(0, batch.length)]
}

test('sides: an inside source is inside, whatever the destination', () => {
  const batch = [
    from4('10.0.0.1'), from4('10.255.255.255', '10.0.0.1'), from4('9.255.255.255', '10.0.0.1'), from4('11.0.0.0', '10.0.0.1'),
    from6('fd00::1'), from6('fdff::1', 'fd00::1'), from6('fc00::1', 'fd00::1'), from6('2001:db8::1', 'fd00::1'),
  ].map((data) => ({ data }))
  assert.deepEqual(sidesOf(batch), [
    SIDE_INSIDE, SIDE_INSIDE, SIDE_OUTSIDE, SIDE_OUTSIDE, SIDE_INSIDE, SIDE_INSIDE, SIDE_OUTSIDE, SIDE_OUTSIDE,
  ])
})

test('sides: what has no whole address came from outside, and no byte behind it is read for one', () => {
  const cut4 = from4('10.0.0.1').slice(0, 19), cut6 = from6('fd00::1').slice(0, 39)
  const arp = new Uint8Array(42)
  arp.set([8, 6], 12)
  // An inside packet lies right behind each of them.
  const inside = { data: from4('10.0.0.1') }
  const batch = [
    { data: cut4, wireBytes: 28 }, inside, { data: cut6, wireBytes: 48 }, inside, { data: arp, link: LINK_ETHERNET }, inside,
    { data: new Uint8Array(0), wireBytes: 40 }, inside, { data: new Uint8Array(5), link: LINK_ETHERNET, wireBytes: 60 }, inside,
  ]
  assert.deepEqual(sidesOf(batch), batch.map((one) => one === inside ? SIDE_INSIDE : SIDE_OUTSIDE))
})

test('sides: by interface, sources do not matter, and each interface is asked for once', () => {
  const asked: number[] = []
  const isInside = (id: number) => { asked.push(id); return id === 2 }
  const batch = [2, 0, 2, 1, 0, 300, 2].map((iface) => ({ data: from4(iface === 2 ? '198.51.100.7' : '10.0.0.1'), iface }))
  const sides = sidesOf(batch, { sides: (frames) => sidesByInterface(frames, isInside) })
  assert.deepEqual(sides, [2, 0, 2, 1, 0, 300, 2].map((iface) => iface === 2 ? SIDE_INSIDE : SIDE_OUTSIDE))
  assert.deepEqual(asked, [2, 0, 1, 300])
})
