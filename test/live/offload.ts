/**
 * What a host leaves to its network card, off or on again, by the ioctls of ethtool: `offload.js INTERFACE 0` or `1`: long segments
 * (TSO, GSO); with `checksum` after it, checksums, and with `tag`, VLAN tags, which otherwise are beside frames.
 */
import { loadAddon } from '../../src/phy/addon.ts'

const STSO = 0x1f, SGSO = 0x24, STXCSUM = 0x17
if (process.argv[4] === 'tag') loadAddon().feature(process.argv[2]!, 'tx-vlan-hw-insert', Number(process.argv[3]))
else for (const command of process.argv[4] === 'checksum' ? [STXCSUM] : [SGSO, STSO]) loadAddon().offload(process.argv[2]!, command, Number(process.argv[3]))
