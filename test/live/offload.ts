/** What a host leaves to its network card (TSO, GSO), off or on again, by the ioctls of ethtool: `offload.js INTERFACE 0` or `1`. */
import { loadAddon } from '../../src/phy/addon.ts'

const STSO = 0x1f, SGSO = 0x24
for (const command of [SGSO, STSO]) loadAddon().offload(process.argv[2]!, command, Number(process.argv[3]))
