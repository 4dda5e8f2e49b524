/**
 * Live interfaces as a source of packets, and where they go: the devices, what the box answers itself, neighbours, and the turn that
 * has them meet the packet path. While frames come the turn polls; then it sleeps until the system has some.
 */
import { performance } from 'node:perf_hooks'
import { createPrefixSet, printAddress, print4, type Address, type Prefix } from '../../base/address.ts'
import { openPacketDevices, reservePool, ringBytes } from '../../phy/packet.ts'
import { DEVICE_COUNTERS, DeviceError, type Device, type DeviceCounter } from '../../phy/device.ts'
import { createIcmpErrors, ERROR_BYTES } from '../../plane/errors.ts'
import { createLiveCounters, LIVE_COUNTERS, liveCounterIndex, type LiveCounter } from '../../plane/live-counters.ts'
import { createNeighbours, NEIGHBOUR_SCRATCH_BYTES, type LinkEnd, type Neighbours } from '../../plane/neighbours.ts'
import { createOwn, OWN_SCRATCH_BYTES, type OwnAddress } from '../../plane/own.ts'
import { createRoutes, type Route } from '../../plane/routes.ts'
import { createTokenBucket } from '../../storage/token-bucket.ts'
import { LINK_ETHERNET, SIDE_INSIDE, SIDE_OUTSIDE, type Frames } from '../../wire/frames.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import { Failure, STATUS } from '../cli/status.ts'
import type { LiveFrames, Machine } from '../compose.ts'
import { sharedPool } from '../config/assemble-nat.ts'
import type { Config } from '../config/config.ts'
import { holds, insideOf, isLinkLocal, linkOf, prefixOf, type InterfacesConfig } from '../config/interfaces.ts'
import { checkSystem, type SystemLink } from './live-system.ts'
import type { Traffic } from './turns.ts'

/** Neighbours known at once, and packets that wait for them. */
const NEIGHBOURS = 4096, WAITING_FRAMES = 256
/** The turn polls so long after the last frame: to be woken takes about as much. */
const POLL_MS = 0.05
/** SYNs that wait for their answer are looked at so often. */
const LATE_MS = 50
/** RFC 5227 2.3: twice, two seconds apart. */
const ANNOUNCEMENTS = 2, ANNOUNCE_MS = 2000
/** An interface that failed is tried again after that. */
const RETRY_MS = 250
/** ICMP errors about undelivered packets in one turn. */
const ERRORS_PER_TURN = 8
const HOST_UNREACHABLE = 1, NET_UNREACHABLE = 0, V6_NO_ROUTE = 0, V6_ADDRESS_UNREACHABLE = 3
/** RFC 7600: for who has no other; the engine knows no packet of an outside address that comes from outside. */
const DUMMY = 0xc0000008 | 0
const ETHERNET_BYTES = 14
/** Of IP. */
const MOST_MTU = 65_535
const EXTRA_BYTES = NEIGHBOUR_SCRATCH_BYTES + OWN_SCRATCH_BYTES + ETHERNET_BYTES + ERROR_BYTES + 64

export interface LiveTraffic extends Traffic {
  packets(): number
}

export interface LiveReport {
  links: { name: string; counters: Record<DeviceCounter, number> }[]
  counters: Record<LiveCounter, number>
}

export interface LiveContext {
  machine: Machine
  /** Has the turn come. */
  wake: () => void
  log: (line: string) => void
}

export interface Live {
  readonly config: Config
  /** By SIDE_ constant. */
  readonly names: readonly [string, string]
  readonly inside: readonly Prefix[]
  readonly frames: LiveFrames
  open(frames: Frames, poolStart: number): void
  traffic(context: LiveContext): LiveTraffic
  report(): LiveReport
  close(): void
}

/**
 * Looks at the interfaces and at the system, and says what is wrong with them before anything is opened. `given` names interfaces;
 * what else it leaves open, and they have, is in the settings that the box is to have.
 * @throws Failure
 */
export function prepareLive(given: Config, options: { fixOffload: boolean; log: (line: string) => void }): Live {
  const interfaces = given.interfaces!
  const links = asUsage(() => checkSystem(given, options))
  const config = filledIn(given, links)
  const rings = links.map(({ name, state }) => ({ name, mtu: state.mtu }))
  const ringsBytes = ringBytes(rings)
  const queueBytes = 64 * Math.ceil((Math.max(...rings.map(({ mtu }) => mtu)) + ETHERNET_BYTES) / 64)
  const counters = createLiveCounters()
  let devices: Device[] = []
  let poolStart = 0
  let sendOn: Neighbours['send'] = () => { /* nothing leaves before all is open */ }

  const outlet = (side: number): LiveFrames['inside'] => ({
    room: () => true,
    write(...[off, capBytes, , , , , l3]) {
      sendOn(side, l3, off + capBytes - l3)
      return true
    },
  })

  return {
    config,
    names: [interfaces.inside.name, interfaces.outside.name],
    inside: insideOf(interfaces),
    frames: {
      shareBytes: ringsBytes + WAITING_FRAMES * queueBytes + EXTRA_BYTES,
      reserve: (poolBytes) => asUsage(() => reservePool(poolBytes)),
      inside: outlet(SIDE_INSIDE), outside: outlet(SIDE_OUTSIDE),
    },
    open(frames, start) {
      poolStart = start
      devices = asUsage(() => openPacketDevices(rings, frames, start))
    },
    traffic({ machine, wake, log }) {
      const { frames, plane, engine } = machine
      const { sec, nsec, capacity } = frames
      const [inside, outside] = devices as [Device, Device]
      const ends = [SIDE_INSIDE, SIDE_OUTSIDE].map((side) => linkEnd(interfaces, side, devices[side], links[side])) as [LinkEnd, LinkEnd]
      const routes = createRoutes(routesOf(interfaces))
      const queueStart = poolStart + ringsBytes, scratchStart = queueStart + WAITING_FRAMES * queueBytes
      const neighbours = createNeighbours({
        frames, counters, routes, ends, most: NEIGHBOURS, queueFrames: WAITING_FRAMES, queueBytes, queueStart, scratchStart,
      })
      const ownStart = scratchStart + NEIGHBOUR_SCRATCH_BYTES, errorStart = ownStart + OWN_SCRATCH_BYTES + ETHERNET_BYTES
      const errors = createIcmpErrors(frames, createTokenBucket(config.limits.icmpErrorsPerSecond).take)
      const addresses = ownAddresses(config, links)
      const { take, announce } = createOwn({
        frames, counters, ends, neighbours, routes, addresses, shown: shownAddresses(config), inside: createPrefixSet(insideOf(interfaces)), errors,
        scratchStart: ownStart,
        onConflict: (address, side) => { log(`${devices[side].name}: somebody else says that it has ${print4(address)}`) },
      })
      const { send, advance, nextMs, undelivered } = neighbours
      const UNREACHABLE = liveCounterIndex('unreachable-errors')
      let packets = 0
      let pollUntilMs = 0
      let latestMs = -1
      let announced = 0
      // The injected error about a packet that nobody took, while it passes the engine.
      let isInjecting = false

      sendOn = (side, p, bytes) => {
        if (isInjecting && side === SIDE_INSIDE && frames.view.getInt32(p + ipv4.SRC) === DUMMY) speakAsBox(p)
        send(side, p, bytes)
      }

      /** The error comes from the box, which inside has an address. */
      function speakAsBox(p: number): void {
        ipv4.setSrc(frames.view, p, config.box.insideAddress)
        ipv4.setChecksum(frames.view, p, 0)
        ipv4.setChecksum(frames.view, p, ~ipv4.headerSum(frames.view, p) & 0xffff)
      }

      /** Tells senders of packets that had no route or no neighbour, by an error that comes from the far side of the engine. */
      function tellUndelivered(nowMs: number): void {
        for (let n = 0; n < ERRORS_PER_TURN; n++) {
          const one = undelivered()
          if (one === null) return
          const { side, p, bytes, hadRoute } = one
          const to = errorStart + ETHERNET_BYTES, isFour = frames.view.getUint8(p) >>> 4 === 4
          const written = isFour
            ? errors.write4(p, bytes, side === SIDE_INSIDE ? config.box.insideAddress : DUMMY, icmp.UNREACHABLE,
              hadRoute ? HOST_UNREACHABLE : NET_UNREACHABLE, to, nowMs)
            : errors.write6(p, bytes, config.box.address6, icmp.V6_UNREACHABLE, hadRoute ? V6_ADDRESS_UNREACHABLE : V6_NO_ROUTE, to, nowMs)
          if (written === 0 || addresses.some((own) => isSourceOf(frames, p, own))) continue
          counters[UNREACHABLE]++
          frames.view.setUint16(to - 2, isFour ? 0x0800 : 0x86dd)
          frames.view.setUint8(errorStart, 0)
          frames.off[0] = errorStart
          frames.capBytes[0] = frames.wireBytes[0] = ETHERNET_BYTES + written
          frames.link[0] = LINK_ETHERNET
          frames.iface[0] = side
          sec[0] = Math.floor(nowMs / 1000)
          nsec[0] = nowMs % 1000 * 1e6
          isInjecting = true
          plane.begin(1)
          plane.run(0, 1)
          isInjecting = false
        }
      }

      function turn(clock: () => number): boolean {
        const nowMs = clock()
        const seconds = Math.floor(nowMs / 1000), nanos = nowMs % 1000 * 1e6
        if (nowMs !== latestMs) {
          latestMs = nowMs
          plane.advance(seconds, nanos)
          advance(nowMs)
        }
        tellUndelivered(nowMs)
        if (announced < ANNOUNCEMENTS && nowMs >= announced * ANNOUNCE_MS) {
          announced++
          announce()
        }
        // Neither side starves the other.
        const fromInside = inside.receive(0, capacity >> 1)
        const count = fromInside + outside.receive(fromInside, capacity - fromInside)
        if (count > 0) {
          packets += count
          const rows = take(count, nowMs)
          for (let i = 0; i < rows; i++) {
            sec[i] = seconds
            nsec[i] = nanos
          }
          plane.begin(rows)
          plane.run(0, rows)
        }
        inside.flush()
        outside.flush()
        if (count > 0) {
          inside.release()
          outside.release()
        }
        const isInsidePending = inside.kick(), isPending = outside.kick() || isInsidePending
        if (count > 0) {
          pollUntilMs = performance.now() + POLL_MS
          return true
        }
        if (isPending || performance.now() < pollUntilMs) return true
        inside.arm()
        outside.arm()
        return false
      }

      for (const device of devices) {
        device.onWake((hasFailed) => {
          if (!hasFailed) return wake()
          log(`${device.name}: ${device.failure() ?? 'failed'}; trying again`)
          setTimeout(wake, RETRY_MS).unref()
        })
      }

      return {
        turn, packets: () => packets,
        nextMs() {
          const announceMs = announced < ANNOUNCEMENTS ? announced * ANNOUNCE_MS : Infinity
          return Math.min(nextMs(), announceMs, engine.heldSyns() > 0 ? plane.virtualMs() + LATE_MS : Infinity)
        },
      }
    },
    report() {
      return {
        links: devices.map((device) => ({
          name: device.name,
          counters: Object.fromEntries(Array.from(device.counters(), (value, i) => [DEVICE_COUNTERS[i], value])) as Record<DeviceCounter, number>,
        })),
        counters: Object.fromEntries(LIVE_COUNTERS.map((name, i) => [name, counters[i]])) as Record<LiveCounter, number>,
      }
    },
    close() {
      for (const device of devices) device.close()
    },
  }
}

function asUsage<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof DeviceError) throw new Failure(STATUS.usage, error.message, { cause: error })
    throw error
  }
}

/** Settings that nobody has set: the box speaks from its own addresses, and knows how long a packet its links take. */
function filledIn(config: Config, links: readonly SystemLink[]): Config {
  const { box } = config
  const { inside, outside } = config.interfaces!
  const first4 = inside.addresses.find(({ version }) => version === 4)
  const isGlobal = (one: Address) => one.version === 6 && !isLinkLocal(one)
  const first6 = outside.addresses.find(isGlobal) ?? inside.addresses.find(isGlobal)
  const isUnset6 = printAddress({ version: 6, words: box.address6 }) === 'fe80::1'
  const limit = (set: number, mtu: number) => Math.min(set || MOST_MTU, mtu, MOST_MTU)
  return {
    ...config,
    box: {
      ...box,
      insideAddress: box.insideAddress === DUMMY ? first4?.words[0] ?? DUMMY : box.insideAddress,
      address6: isUnset6 && first6 !== undefined ? first6.words : box.address6,
      mtuInside: limit(box.mtuInside, links[SIDE_INSIDE].state.mtu), mtuOutside: limit(box.mtuOutside, links[SIDE_OUTSIDE].state.mtu),
    },
  }
}

function routesOf(interfaces: InterfacesConfig): Route[] {
  const side = (name: 'inside' | 'outside' | null) => name === 'inside' ? SIDE_INSIDE : SIDE_OUTSIDE
  const links = (['inside', 'outside'] as const).flatMap((name) => interfaces[name].addresses.map((own): Route =>
    ({ ...prefixOf(own), side: side(name), via: null })))
  const behind = interfaces.routes.map(({ to, via }): Route => ({ ...to, side: side(linkOf(interfaces, via)), via: via.words }))
  const rest = interfaces.gateways.map(({ version, words }): Route =>
    ({ side: SIDE_OUTSIDE, version, words: new Int32Array(words.length), prefixBits: 0, via: words }))
  return [...links, ...behind, ...rest]
}

/** RFC 4291 appendix A: the link-local address that an Ethernet address makes. */
export function linkLocalOf(mac: readonly number[]): Int32Array {
  return Int32Array.of(0xfe800000 | 0, 0, (mac[0] ^ 2) << 24 | mac[1] << 16 | mac[2] << 8 | 0xff,
    0xfe << 24 | mac[3] << 16 | mac[4] << 8 | mac[5])
}

function linkEnd(interfaces: InterfacesConfig, side: number, device: Device, link: SystemLink): LinkEnd {
  const { addresses } = side === SIDE_INSIDE ? interfaces.inside : interfaces.outside
  const own4 = addresses.filter(({ version }) => version === 4), own6 = addresses.filter(({ version }) => version === 6)
  return {
    mac: link.state.mac,
    source4(target) {
      const address = { version: 4 as const, words: Int32Array.of(target) }
      return (own4.find((own) => holds(own, address)) ?? own4[0])?.words[0] ?? 0
    },
    source6: own6.length === 0 ? null : own6.find(isLinkLocal)?.words ?? linkLocalOf(link.state.mac),
    send: device.send,
  }
}

function ownAddresses({ nat, interfaces, midcom }: Config, links: readonly SystemLink[]): OwnAddress[] {
  const shared = new Set(nat.nat44 ? [...sharedPool(nat), ...midcom.addresses, ...nat.forwards.map(({ outside }) => outside)] : [])
  return [SIDE_INSIDE, SIDE_OUTSIDE].flatMap((side) => {
    const { addresses } = side === SIDE_INSIDE ? interfaces!.inside : interfaces!.outside
    const { kernel, state } = links[side]
    const all = addresses.some(({ version }) => version === 6) && !addresses.some(isLinkLocal)
      ? [...addresses, { version: 6 as const, words: linkLocalOf(state.mac), prefixBits: 64 }] : addresses
    return all.map(({ version, words }): OwnAddress => ({
      side, version, words, isKernels: kernel.has(printAddress({ version, words })), isShared: version === 4 && shared.has(words[0]),
    }))
  })
}

/** What the NAT shows: outside, all of its addresses; inside, those that stand for outside hosts. */
function shownAddresses({ nat, midcom }: Config): [number[], number[]] {
  if (!nat.nat44) return [[], []]
  const statics = nat.statics.flatMap(({ outside, bits }) => Array.from({ length: 2 ** (32 - bits) }, (_, n) => outside + n | 0))
  const aliases = nat.aliases.map(({ alias }) => alias)
  return [[...midcom.insidePool, ...aliases], [...sharedPool(nat), ...statics, ...nat.forwards.map(({ outside }) => outside), ...midcom.addresses]]
}

function isSourceOf({ view }: Frames, p: number, { version, words }: OwnAddress): boolean {
  return view.getUint8(p) >>> 4 === version && words.every((word, i) => view.getInt32(p + (version === 4 ? ipv4.SRC : 8) + 4 * i) === word)
}
