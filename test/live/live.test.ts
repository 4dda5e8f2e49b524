/** `pinhole run` between two interfaces, by AF_PACKET: see scenes.ts. */
import { play } from './scenes.ts'

play('packet')
