/** What an interface does to frames before anybody sees them: asked by the compiled driver, or else by ethtool(8). */
import { spawnSync } from 'node:child_process'
import { loadAddon, type Addon } from './addon.ts'

/** As `ethtool -K` takes them. What joins frames on their way in makes them longer than links take. */
export type Offload = 'gro' | 'lro' | 'rxvlan' | 'rx-vlan-filter'

export interface Offloads {
  isOn(name: string, what: Offload): boolean
  /** Throws what the system says. It may yet be on afterwards. */
  switchOff(name: string, what: Offload): void
}

/** Commands of the ioctl, to ask and to tell, and the bit of the answer. */
const COMMANDS: Record<Exclude<Offload, 'rx-vlan-filter'>, { get: number; set: number; bit: number }> = {
  gro: { get: 0x2b, set: 0x2c, bit: 1 }, lro: { get: 0x25, set: 0x26, bit: 1 << 15 }, rxvlan: { get: 0x25, set: 0x26, bit: 1 << 8 },
}
const LONG_NAMES: Record<Offload, string> = {
  gro: 'generic-receive-offload', lro: 'large-receive-offload', rxvlan: 'rx-vlan-offload', 'rx-vlan-filter': 'rx-vlan-filter',
}

/** null: neither is here. */
export function openOffloads(): Offloads | null {
  try {
    return byAddon(loadAddon())
  } catch {
    return spawnSync('ethtool', ['--version']).status === 0 ? BY_PROGRAM : null
  }
}

function byAddon(addon: Addon): Offloads {
  return {
    isOn(name, what) {
      // The older call has no bit for it.
      if (what === 'rx-vlan-filter') return addon.feature(name, what, -1) === 1
      const { get, bit } = COMMANDS[what], value = addon.offload(name, get, 0)
      return value > 0 && (value & bit) !== 0
    },
    switchOff(name, what) {
      if (what === 'rx-vlan-filter') return void addon.feature(name, what, 0)
      const { get, set, bit } = COMMANDS[what]
      addon.offload(name, set, addon.offload(name, get, 0) & ~bit)
    },
  }
}

const BY_PROGRAM: Offloads = {
  isOn: (name, what) => spawnSync('ethtool', ['-k', name], { encoding: 'utf8' }).stdout.includes(`${LONG_NAMES[what]}: on`),
  switchOff(name, what) {
    const { status, stderr } = spawnSync('ethtool', ['-K', name, what, 'off'], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr.trim())
  },
}
