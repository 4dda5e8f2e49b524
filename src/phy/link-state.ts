/** What the system says of an interface: by the compiled driver, or by sysfs and procfs where that is not here. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { deviceError, loadAddon, type Addon, type LinkState } from './addon.ts'
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

/** The kernel's own interface for a VLAN; null: it has none; undefined: it does not tell us. */
export function kernelVlan(name: string, vlan: number): string | null | undefined {
  try {
    return vlanByAddon(loadAddon(), namesOf(readFileSync('/proc/net/dev', 'utf8')), name, vlan)
  } catch {
    return vlanByProc(name, vlan)
  }
}

/** Names of interfaces in the text of /proc/net/dev. */
export function namesOf(text: string): string[] {
  return [...text.matchAll(/^ *([^\s|][^\s]*):/gm)].map(([, name]) => name!)
}

export function vlanByAddon(addon: Pick<Addon, 'vlan'>, names: readonly string[], name: string, vlan: number): string | null {
  const found = names.find((one) => {
    const its = addon.vlan(one)
    return its?.below === name && its.vlan === vlan
  })
  return found ?? null
}

/** Without the module there is no file; only root may read it. */
function vlanByProc(name: string, vlan: number): string | null | undefined {
  try {
    return vlanInTable(readFileSync('/proc/net/vlan/config', 'utf8'), name, vlan)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : undefined
  }
}

/** In lines such as `in0.7  | 7  | in0`. */
export function vlanInTable(text: string, name: string, vlan: number): string | null {
  const rows = text.split('\n').map((line) => line.split('|').map((part) => part.trim()))
  return rows.find(([, id, below]) => below === name && id === String(vlan))?.[0] ?? null
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
