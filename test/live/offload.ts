/**
 * What a host leaves to its network card, off or on again, by the ioctls of ethtool: `offload.js INTERFACE 0` or `1`: long segments
 * (TSO, GSO); with `checksum` after it, checksums.
 */
import { loadAddon } from '../../src/phy/addon.ts'

const STSO = 0x1f, SGSO = 0x24, STXCSUM = 0x17
for (const command of process.argv[4] === 'checksum' ? [STXCSUM] : [SGSO, STSO]) loadAddon().offload(process.argv[2]!, command, Number(process.argv[3]))
