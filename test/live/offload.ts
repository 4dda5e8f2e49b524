/** Switches off what a host leaves to its network card (TSO, GSO, checksums), by the ioctls of ethtool: `offload.js INTERFACE`. */
import { loadAddon } from '../../src/phy/addon.ts'

const STXCSUM = 0x17, STSO = 0x1f, SGSO = 0x24
for (const command of [STSO, SGSO, ...process.argv[3] === 'checksums' ? [STXCSUM] : []]) loadAddon().offload(process.argv[2]!, command, 0)
