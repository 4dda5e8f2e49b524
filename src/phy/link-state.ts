/** What the system says of an interface: by the compiled driver, or by sysfs where that is not here. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { deviceError, loadAddon, type LinkState } from './addon.ts'
import { DeviceError } from './device.ts'

const IFF_UP = 1, ARPHRD_ETHER = 1

/** @throws DeviceError */
export function linkState(name: string): LinkState {
  let addon
  try {
    addon = loadAddon()
  } catch {
    return bySysfs(name)
  }
  try {
    return addon.link(name)
  } catch (error) {
    throw deviceError(name, error)
  }
}

function bySysfs(name: string): LinkState {
  const read = (what: string) => readFileSync(`/sys/class/net/${name}/${what}`, 'utf8').trim()
  try {
    return {
      index: Number(read('ifindex')), mtu: Number(read('mtu')), isUp: Number(read('flags')) & IFF_UP,
      isEthernet: Number(read('type')) === ARPHRD_ETHER ? 1 : 0,
      queues: readdirSync(`/sys/class/net/${name}/queues`).filter((queue) => queue.startsWith('rx-')).length,
      driver: driverOf(name),
      mac: read('address').split(':').map((octet) => parseInt(octet, 16)),
    }
  } catch (error) {
    throw new DeviceError('no-interface', `there is no interface ${name}`, error)
  }
}

/** Of the hardware below; what has none has no name here. */
function driverOf(name: string): string {
  try {
    return basename(readlinkSync(`/sys/class/net/${name}/device/driver`))
  } catch {
    return ''
  }
}
