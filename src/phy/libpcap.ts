/**
 * Live interfaces by libpcap, through the package `cap`: works without a driver of ours, and slower. `cap` gives each packet to an
 * event, in one buffer, and comes back to the event loop only when its ring is empty. So frames are copied into a queue in the
 * pool; when enough wait in the middle of such a run, the turn of the box comes there and then, and after a while of that frames
 * are dropped, which is quicker than they come, so that whoever else waits on the loop has its turn as well.
 *
 * When an interface goes down, `cap` ends the process by an assertion, or, compiled without those, has no more events from it and
 * says nothing. So the link is looked at, and a session that it went away under is followed by another one.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'
import { POOL_SLACK_BYTES, LINK_ETHERNET, type Frames } from '../wire/frames.ts'
import * as ethernet from '../wire/ethernet.ts'
import { DEVICE_COUNTERS, DeviceError, type Device, type DeviceCounter } from './device.ts'
import type { LinkState } from './addon.ts'
import { linkState } from './link-state.ts'
import type { PacketOptions } from './packet.ts'
import { completeChecksum } from './partial-checksum.ts'
import { besideOf, linkName, type Beside } from './vlan.ts'

/** Frames that wait for the box, and bytes that wait for us in the system. */
const QUEUE_FRAMES = 1024, SYSTEM_BYTES = 32 << 20
/** The turn comes when so many wait. */
const TURN_FRAMES = 256
/** `cap` may keep the loop to itself so long; then its ring is emptied. */
const RUN_MS = 50
const CAPTURED_BYTES = 65_536
const LEAST_SLOT_BYTES = 2048, PAGE_BYTES = 65_536
const GROUP_BIT = 1, TAG_ID_MASK = 0xfff
/** How often the link is looked at. */
const LOOK_MS = 500

/** What `cap` calls `Cap`, as far as we use it. */
export interface Session {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string
  send(buffer: Buffer, bytes: number): void
  close(): boolean
}
export type SessionClass = new () => Session & { emit(event: string, bytes: number): boolean }

/** `cap`, and the system as far as sessions depend on it. */
export interface Libpcap {
  /** @throws DeviceError */
  load(): SessionClass
  /** Does it end the process when an interface goes down? */
  isAbrupt(): boolean
  /** A clock that never goes back, in milliseconds. */
  nowMs(): number
  /** @throws DeviceError */
  linkOf(name: string): Pick<LinkState, 'mac' | 'isUp'>
  /** How often the interface came and went, or a constant where nobody knows. */
  changesOf(name: string): number
}

const MODULE = createRequire(import.meta.url)
let loaded: SessionClass | null = null

function loadCap(): SessionClass {
  if (loaded !== null) return loaded
  if (!isMainThread) throw new DeviceError('driver-absent', 'the package cap works on the first thread of a process only')
  try {
    // Where `cap` was not built there is nothing to load.
    loaded = (MODULE('cap') as { Cap: SessionClass }).Cap
  } catch (error) {
    throw new DeviceError('driver-absent', 'the package cap is not installed: it takes libpcap\'s headers, a C++ compiler, make '
      + 'and python3 (Debian: apt-get install libpcap-dev g++ make python3; then npm install cap@0.2.1)', error)
  }
  return loaded
}

function slotBytes(mtu: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(LEAST_SLOT_BYTES, mtu + ethernet.HEADER_BYTES + ethernet.TAG_BYTES)))
}

function linkBytes(mtu: number): number {
  return Math.ceil((QUEUE_FRAMES * slotBytes(mtu) + 2 * CAPTURED_BYTES) / PAGE_BYTES) * PAGE_BYTES
}

export function createLibpcapDriver(libpcap: Libpcap) {
  const { load, linkOf } = libpcap
  return {
    isBesideKernel: true,
    check() { load() },
    shareBytes: (links: readonly PacketOptions[]) => links.reduce((bytes, { mtu }) => bytes + linkBytes(mtu), 0),
    reserve: (poolBytes: number) => new ArrayBuffer(poolBytes + POOL_SLACK_BYTES),
    open(links: readonly PacketOptions[], frames: Frames, start: number, log: (line: string) => void): Device[] {
      const devices: Device[] = []
      let at = start
      try {
        for (const [number, link] of links.entries()) {
          const { mac } = linkOf(link.name)
          devices.push(openDevice(libpcap, mac, number, link, besideOf(links, number), frames, at))
          at += linkBytes(link.mtu)
        }
      } catch (error) {
        for (const device of devices) device.close()
        throw error
      }
      if (libpcap.isAbrupt()) {
        const names = links.map(({ name }) => name).join(', ')
        log(`${names}: the package cap, as it was compiled, ends the box if one of them goes down; `
          + 'CXXFLAGS=-DNDEBUG npm rebuild cap makes it one that does not')
      }
      return devices
    },
  }
}

export const libpcapDriver = createLibpcapDriver({
  load: loadCap, nowMs: () => performance.now(), linkOf: linkState,
  isAbrupt() {
    try {
      return readFileSync(MODULE.resolve('cap/build/Release/cap.node')).includes('__assert_fail')
    } catch {
      // It lies elsewhere.
      return true
    }
  },
  changesOf(name) {
    try {
      return Number(readFileSync(`/sys/class/net/${name}/carrier_changes`, 'utf8'))
    } catch {
      return 0
    }
  },
})

function openDevice(
  { load, nowMs, linkOf, changesOf }: Libpcap, mac: readonly number[], number: number, one: PacketOptions, beside: Beside,
  frames: Frames, start: number,
): Device {
  const { name: device, mtu, vlan = 0 } = one, name = linkName(one)
  const Cap = load()
  const { pool, view, off, capBytes, wireBytes, link, iface } = frames
  const slot = slotBytes(mtu), most = mtu + ethernet.HEADER_BYTES
  const counters = new Float64Array(DEVICE_COUNTERS.length)
  const indexOf = (counter: DeviceCounter) => DEVICE_COUNTERS.indexOf(counter)
  const RECEIVED = indexOf('received-frames'), BYTES = indexOf('received-bytes'), TAGGED = indexOf('tagged-frames')
  const UNTAGGED = indexOf('untagged-frames'), PRIORITY = indexOf('priority-tagged-frames')
  const SERVICE = indexOf('service-tagged-frames')
  const OVERSIZED = indexOf('oversized-frames'), COMPLETED = indexOf('completed-checksums'), FULL = indexOf('ring-full-frames')
  const SENT = indexOf('sent-frames'), SENT_BYTES = indexOf('sent-bytes')
  const SEND_FULL = indexOf('send-full-frames'), SEND_ERRORS = indexOf('send-errors')
  /** Where the next frame goes, which `receive` looks at next, and the first that is not given back. */
  let head = 0, next = 0, tail = 0
  const queuedOff = new Int32Array(QUEUE_FRAMES), queuedBytes = new Int32Array(QUEUE_FRAMES)
  const $sent = new Int32Array(2)
  let see: ((list: Int32Array, frames: number) => void) | null = null
  let wake: ((hasFailed: boolean) => void) | null = null
  let turn: (() => void) | null = null
  let isArmed = false, isClosed = false
  let failed: string | undefined
  /** When this run of events began, and whether a loop has come round since. */
  let runMs = 0
  let isRunning = false
  // What `cap` writes to and reads from lies in the pool too, where bytes are copied without a view of them.
  const sendingAt = start + QUEUE_FRAMES * slot, capturedAt = sendingAt + CAPTURED_BYTES
  const inPool = (at: number) => Buffer.from(pool.buffer as ArrayBuffer, pool.byteOffset + at, CAPTURED_BYTES)
  const sending = inPool(sendingAt), captured = inPool(capturedAt)

  function came(bytes: number): void {
    if (isClosed) return
    if (isArmed) {
      isArmed = false
      wake?.(false)
    }
    const type = bytes >= ethernet.HEADER_BYTES ? view.getUint16(capturedAt + ethernet.TYPE) : 0
    // libpcap puts a tag back that the system has taken off. One without a number is a priority only.
    const isTagged = ethernet.isTag(type) && bytes >= ethernet.HEADER_BYTES + ethernet.TAG_BYTES
    if ((isTagged || vlan !== 0) && !isMine(isTagged ? type : 0)) return
    const skipped = isTagged ? ethernet.TAG_BYTES : 0
    if (bytes - skipped > most) return void counters[OVERSIZED]++
    if (head - tail === QUEUE_FRAMES) return void counters[FULL]++
    const at = start + head % QUEUE_FRAMES * slot
    pool.copyWithin(at, capturedAt, capturedAt + bytes)
    if (isTagged) pool.copyWithin(at + ethernet.TAG_BYTES, at, at + 2 * ethernet.ADDRESS_BYTES)
    if (completeChecksum(view, at + skipped, at + bytes)) counters[COMPLETED]++
    queuedOff[head % QUEUE_FRAMES] = at + skipped
    queuedBytes[head % QUEUE_FRAMES] = bytes - skipped
    head++
    if (head - next >= TURN_FRAMES && turn !== null) turnNow()
  }

  /** Of our VLAN, or of none? Else it is counted, by the first of an interface, if it is nobody's. */
  function isMine(type: number): boolean {
    const id = type === 0 ? 0 : view.getUint16(capturedAt + ethernet.HEADER_BYTES) & TAG_ID_MASK
    const isPlain = type === ethernet.TYPE_VLAN
    if (type === 0 ? vlan === 0 : isPlain && id === vlan) return true
    if (!beside.counts || (isPlain && id !== 0 && id === beside.other)) return false
    counters[type === 0 ? UNTAGGED : !isPlain ? SERVICE : id === 0 ? PRIORITY : TAGGED]++
    return false
  }

  /** In the middle of a run: the loop does not come to it. */
  function turnNow(): void {
    const now = nowMs()
    if (!isRunning) {
      isRunning = true
      runMs = now
      setImmediate(() => { isRunning = false })
    }
    // Then the queue fills, and frames are dropped until there are no more.
    if (now - runMs < RUN_MS) turn!()
  }

  /** One call of the system a frame: nothing is gained by waiting for more. */
  function send(at: number, bytes: number): void {
    if (see !== null) {
      $sent[0] = at
      $sent[1] = bytes
      see($sent, 1)
    }
    if (session === null) return void counters[SEND_ERRORS]++
    const tagBytes = vlan === 0 ? 0 : ethernet.TAG_BYTES
    pool.copyWithin(sendingAt + tagBytes, at, at + bytes)
    if (vlan !== 0) {
      pool.copyWithin(sendingAt, at, at + ethernet.TYPE)
      view.setUint16(sendingAt + ethernet.TYPE, ethernet.TYPE_VLAN)
      view.setUint16(sendingAt + ethernet.TYPE + 2, vlan)
    }
    try {
      session.send(sending, bytes + tagBytes)
      counters[SENT]++
      counters[SENT_BYTES] += bytes
    } catch (error) {
      const { message } = error as Error
      if (/No buffer space|temporarily unavailable/.test(message)) counters[SEND_FULL]++
      else {
        counters[SEND_ERRORS]++
        failed = message.replace(/^send: /, '')
      }
    }
  }

  // Made before `cap` takes the method that it calls.
  class Receiver extends Cap {
    override emit(_event: string, bytes: number): boolean {
      came(bytes)
      return true
    }
  }
  const self = mac.map((octet) => octet.toString(16).padStart(2, '0')).join(':')
  // What the box sends itself comes back otherwise, and what is for others on a link that all see. `inbound` would do too, but
  // only the kernel knows that: libpcap looks at the first frames after a filter is set itself, and takes none of them then.
  const filter = `not ether src ${self} and (ether dst ${self} or ether[0] & ${GROUP_BIT} != 0)`

  function openSession(): Session {
    const opening: Session = new Receiver()
    try {
      const type = opening.open(device, filter, SYSTEM_BYTES, captured)
      if (type !== 'ETHERNET') throw new DeviceError('not-ethernet', `${name} is no Ethernet interface: libpcap says ${type}`)
      return opening
    } catch (error) {
      if (error instanceof DeviceError) {
        opening.close()
        throw error
      }
      const { message } = error as Error
      if (/permission|not permitted/i.test(message)) {
        throw new DeviceError('not-permitted', `${name}: ${message}: CAP_NET_RAW is needed: run as root`, error)
      }
      if (/No such device/i.test(message)) throw new DeviceError('no-interface', `there is no interface ${device}`, error)
      throw new DeviceError('system', `${name}: ${message}`, error)
    }
  }

  /** null: the link is down. */
  let session: Session | null = openSession()
  let changes = changesOf(device)
  /** libuv has what `cap` does not take back when a session is closed: they are kept for ever. */
  const closed: Session[] = []
  let outage = ''

  function isUp(): boolean {
    try {
      return linkOf(device).isUp !== 0
    } catch {
      // It is gone, and may come again.
      return false
    }
  }

  function close(): void {
    if (session === null) return
    session.close()
    closed.push(session)
    session = null
  }

  /** Says it once, however long it lasts. */
  function fail(why: string): void {
    if (outage === why) return
    failed = outage = why
    wake?.(true)
  }

  function look(): void {
    const now = changesOf(device)
    // It may have been down since the last look.
    if (now !== changes) close()
    changes = now
    if (!isUp()) {
      close()
      return fail('Network is down')
    }
    if (session !== null) return
    try {
      session = openSession()
      outage = ''
    } catch (error) {
      fail((error as Error).message.replace(`${name}: `, ''))
    }
  }

  const looking = setInterval(look, LOOK_MS).unref()

  return {
    name, driver: 'libpcap', mac, mtu, send,
    receive(from, limit) {
      let row = from
      for (const end = from + limit; row < end && next !== head; next++, row++) {
        off[row] = queuedOff[next % QUEUE_FRAMES]
        capBytes[row] = wireBytes[row] = queuedBytes[next % QUEUE_FRAMES]
        link[row] = LINK_ETHERNET
        iface[row] = number
        counters[BYTES] += queuedBytes[next % QUEUE_FRAMES]
      }
      counters[RECEIVED] += row - from
      return row - from
    },
    release() { tail = next },
    flush() { /* all is sent */ },
    onSent(its) { see = its },
    kick: () => false,
    arm() {
      isArmed = true
      if (next !== head) {
        isArmed = false
        wake?.(false)
      }
    },
    disarm() { isArmed = false },
    onWake(its) { wake = its },
    onFull(its) { turn = its },
    failure() {
      const what = failed
      failed = undefined
      return what
    },
    // `look` sees to that.
    isRemoved: () => false,
    oversized: () => counters[OVERSIZED],
    counters: () => counters,
    close() {
      isClosed = true
      clearInterval(looking)
      session?.close()
    },
  }
}
