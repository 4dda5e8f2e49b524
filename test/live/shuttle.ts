/**
 * Moves frames between two interfaces and nothing else, by the XDP driver, for `scenes.ts`: `shuttle.js DRIVER IN OUT`. Every
 * eighth frame goes nowhere, every ninth is sent twice, every tenth from memory that is not of the driver. Prints `ready`, and at the end
 * of its standard input where all frames of the UMEM are, and what was counted.
 */
import { DRIVERS } from '../../src/phy/drivers.ts'
import { DEVICE_COUNTERS, type Device } from '../../src/phy/device.ts'
import { census } from '../../src/phy/xdp.ts'
import { createFrames } from '../../src/wire/frames.ts'

const BATCH = 256, SCRATCH_BYTES = 2048
const SETTLE_MS = 100, SETTLINGS = 20
const [driverName, ...names] = process.argv.slice(2) as ['xdpdrv' | 'xdpgeneric', string, string]
const driver = DRIVERS[driverName]
const links = names.map((name) => ({ name, mtu: 1500, queues: 1, kernel: [] }))
const shareBytes = driver.shareBytes(links), poolBytes = shareBytes + SCRATCH_BYTES
const frames = createFrames({ capacity: BATCH, poolBytes, buffer: driver.reserve(poolBytes) })
const devices = driver.open(links, frames, 0, () => { /* how they work is not the point */ }) as [Device, Device]
const [one, other] = devices
let seen = 0
let isOver = false

/** True: there was something. */
function turn(): boolean {
  const fromOne = one.receive(0, BATCH >> 1)
  const count = fromOne + other.receive(fromOne, BATCH - fromOne)
  for (let i = 0; i < count; i++) {
    const to = devices[1 - frames.iface[i]!]!, at = frames.off[i]!, bytes = frames.capBytes[i]!
    seen++
    if (seen % 8 === 0) continue
    if (seen % 10 === 0) {
      frames.pool.copyWithin(shareBytes, at, at + bytes)
      to.send(shareBytes, bytes)
    } else to.send(at, bytes)
    if (seen % 9 === 0) to.send(at, bytes)
  }
  for (const device of devices) device.flush()
  for (const device of devices) device.release()
  let isPending = false
  for (const device of devices) isPending = device.kick() || isPending
  return count > 0 || isPending
}

function loop(): void {
  if (turn()) return void setImmediate(loop)
  if (isOver) end(SETTLINGS)
  else setTimeout(loop, 1)
}

/** What has left comes back with a later turn; and the kernel of a host may still have something to say. */
function end(tries: number): void {
  setTimeout(() => {
    if (turn() && tries > 0) return end(tries - 1)
    const counters = devices.map((device) => Object.fromEntries(DEVICE_COUNTERS.map((name, i) => [name, device.counters()[i]])))
    console.log(JSON.stringify({ seen, census: census(), counters }))
    for (const device of devices) device.close()
    process.exit(0)
  }, SETTLE_MS)
}

process.stdin.on('end', () => { isOver = true }).resume()
console.log('ready')
loop()
