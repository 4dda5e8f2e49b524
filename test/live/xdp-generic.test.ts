/** `pinhole run` between two interfaces, by AF_XDP in generic mode: see scenes.ts. */
import { play } from './scenes.ts'

play('xdpgeneric')
