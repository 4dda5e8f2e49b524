/** `pinhole run` between two interfaces, by AF_XDP: see scenes.ts. */
import { play } from './scenes.ts'

play('xdpdrv')
play('xdpgeneric')
