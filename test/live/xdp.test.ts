/** `pinhole run` between two interfaces, by AF_XDP in driver mode: see scenes.ts. */
import { play } from './scenes.ts'

play('xdpdrv')
