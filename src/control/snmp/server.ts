/**
 * The SNMPv3 server: the engine put together, and its sockets. It shares one thread with the packet path, so messages wait in a
 * queue with a bound and are served for a few milliseconds at a time; packets come between.
 */
import { randomBytes as systemRandomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import type { AddressInfo } from 'node:net'
import { performance } from 'node:perf_hooks'
import { parseAddress } from '../../base/address.ts'
import { createSnmpCounters, type SnmpCounters } from './counters.ts'
import { SnmpEngine, type Peer } from './engine.ts'
import { localize, masterKeys, MIN_PASSWORD_CHARS } from './keys.ts'
import { LocalEngine, MAX_ENGINE_ID_BYTES, MIN_ENGINE_ID_BYTES } from './local-engine.ts'
import { MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES } from './message.ts'
import { AUTH_PRIV, type MibModule, type Originator } from './mib.ts'
import { Notifier, type NotifyUser } from './notifier.ts'
import {
  DEFAULT_SNMP_LIMITS, remoteOf, SnmpConfigError, type SnmpLimits, type SnmpServerOptions, type SnmpTarget, type SnmpTimers,
  type SnmpUser,
} from './options.ts'
import { createFramework, createMpd, createSetSerial, createSnmpGroup, createSystem } from './own-modules.ts'
import { Registry } from './registry.ts'
import { createUsmModule, createVacmModule } from './security-modules.ts'
import { createNotificationModule, createTargetModule } from './target-modules.ts'
import { createTarget, SNMP_TRAPS, type Target } from './targets.ts'
import { octetsKey } from './usm.ts'
import { Vacm, type AccessOptions } from './vacm.ts'

export * from './options.ts'
export { SNMP_COUNTERS, type SnmpCounter, type SnmpCounters } from './counters.ts'

export interface SnmpServer {
  /** Opens all listeners, or none, and tells the targets (coldStart). Rejects with the system's error. */
  listen(): Promise<AddressInfo[]>
  /** Who may what from now on; who is in no group may nothing. Users and their keys stay. */
  setAccess(access: AccessOptions): void
  /** Receives nothing more, gives answers and notifications under way a moment, and closes. */
  close(): Promise<void>
  readonly counters: Readonly<SnmpCounters>
  readonly engineId: Uint8Array
}

/** Messages are served so long; then packets have their turn. */
const TURN_MS = 3
/** For SETs that wait for the disk and traps that wait for their turn, when the box ends. */
const CLOSE_MS = 500
const CLOSE_STEP_MS = 5
/** Of the system, for bursts that come while packets have their turn. */
const RECEIVE_BUFFER_BYTES = 1_048_576
const MAX_NAME_OCTETS = 32
const COLD_START = [...SNMP_TRAPS, 1]

export const systemTimers: SnmpTimers = {
  nowMs: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

function checkName(name: string, path: string, code: 'snmp-bad-user' | 'snmp-bad-target'): void {
  const { length } = Buffer.from(name)
  if (length < 1 || length > MAX_NAME_OCTETS) {
    throw new SnmpConfigError(code, path, `a name has 1 to ${MAX_NAME_OCTETS} octets, and this one ${length}`)
  }
}

function checkUsers(users: readonly SnmpUser[]): void {
  const names = new Set<string>()
  users.forEach(({ name, authPassword, privPassword }, i) => {
    checkName(name, `users[${i}].name`, 'snmp-bad-user')
    if (names.has(name)) throw new SnmpConfigError('snmp-bad-user', `users[${i}].name`, `'${name}' is the name of two users`)
    names.add(name)
    for (const [password, path] of [[authPassword, 'authPassword'], [privPassword, 'privPassword']] as const) {
      if ([...password].length >= MIN_PASSWORD_CHARS) continue
      throw new SnmpConfigError('snmp-bad-user', `users[${i}].${path}`, `a password has ${MIN_PASSWORD_CHARS} characters or more`)
    }
  })
}

function checkTargets(targets: readonly SnmpTarget[], users: readonly SnmpUser[]): void {
  const names = new Set<string>()
  targets.forEach(({ name, host, user }, i) => {
    const fail = (path: string, message: string) => new SnmpConfigError('snmp-bad-target', `targets[${i}].${path}`, message)
    checkName(name, `targets[${i}].name`, 'snmp-bad-target')
    if (names.has(name)) throw fail('name', `'${name}' is the name of two targets`)
    names.add(name)
    if (!parseAddress(host).ok) throw fail('host', `'${host}' is not an address`)
    if (!users.some((one) => one.name === user)) throw fail('user', `there is no user '${user}'`)
  })
}

function checkLimits(limits: SnmpLimits): void {
  const ranges: Record<keyof SnmpLimits, [number, number]> = {
    messageBytes: [MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES], varbinds: [1, 65_536], queuedMessages: [1, 1_048_576],
    queuedBytes: [MAX_MESSAGE_BYTES, Number.MAX_SAFE_INTEGER], rememberedSets: [1, 16_777_216], pendingSets: [1, 1_048_576],
    queuedNotifications: [1, 1_048_576],
  }
  for (const [name, [from, to]] of Object.entries(ranges)) {
    const value = limits[name as keyof SnmpLimits]
    if (!Number.isInteger(value) || value < from || value > to) {
      throw new SnmpConfigError('snmp-bad-limit', `limits.${name}`, `${value} is not a whole number from ${from} to ${to}`)
    }
  }
}

/** @throws SnmpConfigError, or the store's error if the start of the engine cannot be kept */
export function createSnmpServer(options: SnmpServerOptions): SnmpServer {
  const { listeners, targets: targetOptions = [], store, log = () => { /* nobody listens */ } } = options
  const limits: SnmpLimits = { ...DEFAULT_SNMP_LIMITS, ...options.limits }
  const timers = options.timers ?? systemTimers, randomBytes = options.randomBytes ?? systemRandomBytes
  checkLimits(limits)
  checkUsers(options.users)
  checkTargets(targetOptions, options.users)
  const { length } = store.engineId
  if (length < MIN_ENGINE_ID_BYTES || length > MAX_ENGINE_ID_BYTES) {
    const range = `${MIN_ENGINE_ID_BYTES} to ${MAX_ENGINE_ID_BYTES}`
    throw new SnmpConfigError('snmp-bad-engine', 'store.engineId', `${length} octets are not ${range}`)
  }

  const counters = createSnmpCounters()
  const local = new LocalEngine(store, () => timers.nowMs())
  const startedMs = timers.nowMs(), upTimeTicks = () => Math.floor((timers.nowMs() - startedMs) / 10)
  let vacm = new Vacm(options.access)

  const users = new Map<string, NotifyUser>()
  const byOctets = new Map<string, NotifyUser>()
  for (const { name, auth, authPassword, priv, privPassword, agent } of options.users) {
    const master = masterKeys(auth, authPassword, priv, privPassword), nameOctets = Buffer.from(name)
    const user: NotifyUser = { name, nameOctets, agent, master, keys: localize(master, local.id) }
    users.set(name, user)
    byOctets.set(octetsKey(nameOctets), user)
  }

  const targets = targetOptions.map(createTarget)
  const modules: MibModule[] = []
  const originator: Originator = {
    hasTargets: targetOptions.length > 0, notify: (notification) => engine.notify(notification), upTimeTicks,
  }
  modules.push(
    createSystem(options.system, upTimeTicks, () => modules), createSnmpGroup(counters), createSetSerial(),
    createFramework(local, limits.messageBytes), createMpd(counters), createTargetModule(targets, counters),
    createNotificationModule(targets), createUsmModule(local.id, [...users.values()], counters), createVacmModule(() => vacm),
    ...(options.modules ?? []).map((create) => create(originator)),
  )
  const engine: SnmpEngine = new SnmpEngine({
    local, users: byOctets, registry: new Registry(modules), counters, limits, randomBytes, log,
    vacm: () => vacm, notify: (notification) => notifier.notify(notification),
  })
  const notifier: Notifier = new Notifier({
    engine: local, counters, targets, users, writer: engine.writer, maxBytes: limits.messageBytes,
    queuedNotifications: limits.queuedNotifications, timers, randomBytes, upTimeTicks, log,
    nextSalt: () => engine.nextSalt(),
    notifyView(user) {
      const views = vacm.viewsOf(user, AUTH_PRIV, '')
      return typeof views === 'string' ? null : views.notify
    },
    send: sendToTarget,
  })

  const sockets: Socket[] = []
  /** For notifications, one of each kind of address, made when it is needed first. */
  const outward = new Map<'udp4' | 'udp6', Socket>()
  let isClosing = false

  function socketError(error: Error): void { log({ event: 'socket-error', remote: '', detail: error.message }) }

  function sendToTarget({ options: { host, port } }: Target, message: Uint8Array): void {
    const type = host.includes(':') ? 'udp6' : 'udp4'
    let socket = outward.get(type)
    if (socket === undefined) {
      socket = createSocket(type)
      socket.on('error', socketError)
      socket.on('message', (bytes, { address, port: from }) => notifier.receive(bytes, address, from))
      outward.set(type, socket)
    }
    counters['out-messages']++
    counters['out-bytes'] += message.length
    socket.send(message, port, host, () => { /* what does not arrive is sent again or lost, as UDP is */ })
  }

  /* Messages that wait for their turn. */
  let queue: { bytes: Buffer; peer: Peer }[] = []
  let queuedBytes = 0
  let turnEndMs = -Infinity
  let isTurnDue = false

  function receive(bytes: Buffer, peer: Peer): void {
    if (isClosing) return
    if (queue.length === 0 && isCaughtUp()) return engine.receive(bytes, peer)
    if (queue.length >= limits.queuedMessages || queuedBytes + bytes.length > limits.queuedBytes) {
      counters['drop-queue-full-messages']++
      return
    }
    queue.push({ bytes, peer })
    queuedBytes += bytes.length
    turnLater()
  }

  /** A turn begins with the first message after packets had theirs. */
  function isTimeLeft(): boolean {
    const nowMs = performance.now()
    if (turnEndMs === -Infinity) {
      turnEndMs = nowMs + TURN_MS
      setImmediate(() => { turnEndMs = -Infinity })
    }
    return nowMs < turnEndMs
  }

  /** Nothing of what modules have put off is left, and there is time to serve a message. */
  function isCaughtUp(): boolean {
    while (isTimeLeft()) if (modules.every(({ catchUp }) => catchUp === undefined || catchUp())) return true
    return false
  }

  function turnLater(): void {
    if (isTurnDue) return
    isTurnDue = true
    setImmediate(() => {
      isTurnDue = false
      turnEndMs = -Infinity
      let done = 0
      while (done < queue.length && isCaughtUp()) {
        const { bytes, peer } = queue[done++]!
        queuedBytes -= bytes.length
        engine.receive(bytes, peer)
      }
      queue = queue.slice(done)
      if (queue.length > 0) turnLater()
    })
  }

  function listenOn({ host, port }: SnmpServerOptions['listeners'][number]): Promise<AddressInfo> {
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: RECEIVE_BUFFER_BYTES })
    sockets.push(socket)
    return new Promise((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ address: host, port, exclusive: true }, () => {
        socket.removeListener('error', reject)
        socket.on('error', socketError)
        socket.on('message', (bytes, { address, port: from }) => {
          const send = (message: Uint8Array) => socket.send(message, from, address, () => { /* UDP may lose it, too */ })
          receive(bytes, { host: address, port: from, send })
        })
        const address = socket.address()
        log({ event: 'listening', remote: remoteOf({ host: address.address, port: address.port }) })
        resolve(address)
      })
    })
  }

  const closeSocket = (socket: Socket) => new Promise<void>((resolve) => { socket.close(() => resolve()) })

  async function closeAll(): Promise<void> {
    await Promise.all([...sockets.splice(0), ...outward.values()].map(closeSocket))
    outward.clear()
  }

  return {
    counters, engineId: local.id,
    async listen() {
      try {
        const addresses: AddressInfo[] = []
        for (const listener of listeners) addresses.push(await listenOn(listener))
        engine.notify({ name: COLD_START, varbinds: [] })
        return addresses
      } catch (error) {
        // What is not bound has no handle to close, but is ours all the same.
        await closeAll()
        throw error
      }
    },
    setAccess(access) { vacm = new Vacm(access) },
    async close() {
      isClosing = true
      const untilMs = performance.now() + CLOSE_MS
      while ((engine.pendingSets > 0 || notifier.pendingTraps > 0) && performance.now() < untilMs) {
        await new Promise((resolve) => { setTimeout(resolve, CLOSE_STEP_MS) })
      }
      notifier.close()
      await closeAll()
    },
  }
}
