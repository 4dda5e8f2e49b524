/**
 * Routes of a box with two interfaces. The engine has decided the side of a packet by its addresses; here is asked only who takes
 * it there: the destination itself, where it is on the link, or a router. Longest prefix first.
 */
import { maskWord } from '../base/address.ts'

export interface Route {
  /** SIDE_ constant. */
  side: number
  version: 4 | 6
  words: Int32Array
  prefixBits: number
  /** Address of the router on that link; null: the prefix is on the link itself. */
  via: Int32Array | null
}

export interface Routes {
  /** Next hop towards `dst` in `hop` (word 0); false: no route. */
  next4(side: number, dst: number, hop: Int32Array): boolean
  /** The same for the IPv6 destination in `hop`, which its next hop replaces. */
  next6(side: number, hop: Int32Array): boolean
  /** Is the address on the link of that side? */
  isOnLink(side: number, version: number, words: Int32Array): boolean
}

/** RFC 4291 2.5.6. */
const LINK_LOCAL: Route[] = [0, 1].map((side) =>
  ({ side, version: 6, words: Int32Array.of(0xfe800000 | 0, 0, 0, 0), prefixBits: 10, via: null }))

export function createRoutes(given: readonly Route[]): Routes {
  const routes = [...given, ...LINK_LOCAL].sort((a, b) => b.prefixBits - a.prefixBits)

  function holds(route: Route, words: Int32Array): boolean {
    for (let i = 0; i < route.words.length; i++) {
      if (((words[i] ^ route.words[i]) & maskWord(route.prefixBits, i)) !== 0) return false
    }
    return true
  }

  function find(side: number, version: number, words: Int32Array): Route | undefined {
    return routes.find((route) => route.side === side && route.version === version && holds(route, words))
  }

  return {
    next4(side, dst, hop) {
      hop[0] = dst
      const route = find(side, 4, hop)
      if (route === undefined) return false
      if (route.via !== null) hop[0] = route.via[0]
      return true
    },
    next6(side, hop) {
      const route = find(side, 6, hop)
      if (route === undefined) return false
      if (route.via !== null) hop.set(route.via)
      return true
    },
    isOnLink(side, version, words) {
      const route = find(side, version, words)
      return route !== undefined && route.via === null
    },
  }
}
