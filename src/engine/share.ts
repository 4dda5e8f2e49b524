/**
 * The part of a box that one worker of several has (channel/steering.ts): whose an outside endpoint is, so that a packet that turns
 * round at one of our own addresses can leave for the worker that knows whom it is for.
 */
import { type Flows, FLOW_BITS, INSIDE } from './flows.ts'
import { CLASS_NONE, CLASSES } from './ports.ts'
import type { EngineOptions } from './options.ts'
import type { Pool } from './pool.ts'

/** `iface` of a frame that another worker has translated and sent on to one of our own addresses: it turns round here. */
export const TURNED = 2

export interface Share {
  isOurs(address: number): boolean
  /**
   * Worker that has the flows of this port (identifier) of one of our addresses: that of the host that a binding leads to, else the
   * one whose stripe it is in; -1: nobody's address.
   */
  ownerOut(address: number, portClass: number, port: number): number
  /** Is it another one than this? */
  isForeign(address: number, portClass: number, port: number): boolean
  /** The same of an IPv6 address whose words begin there. */
  isForeign6(words: Int32Array, at: number): boolean
}

/** Of `options.share`; null: there is one worker. */
export function createShare(options: Pick<EngineOptions, 'share'>, pool: Pool, flows: Flows): Share | null {
  const { share } = options
  if (share === undefined || share === null) return null
  const { steering: { ofAddress4, ofPort, ofSum6, bySubnet }, worker } = share
  const { F, portOwner, addressOwner, isBinding } = flows

  function ownerOut(address: number, portClass: number, port: number): number {
    const index = pool.indexOf(address)
    if (index < 0) return -1
    if (portClass === CLASS_NONE) return 0
    if (index >= pool.shared) return addressOwner[index] === 0 ? -1 : ofAddress4(addressOwner[index])
    const head = portOwner[((index * CLASSES + portClass) << 16) | port]
    return head !== 0 && isBinding(head) ? ofAddress4(F[(head << FLOW_BITS) + INSIDE]) : ofPort(port)
  }

  return {
    isOurs: (address) => pool.indexOf(address) >= 0,
    ownerOut,
    isForeign(address, portClass, port) {
      const owner = ownerOut(address, portClass, port)
      return owner >= 0 && owner !== worker
    },
    isForeign6(words, at) {
      let sum = 0
      for (let word = 0; word < (bySubnet ? 2 : 4); word++) sum += (words[at + word] >>> 16) + (words[at + word] & 0xffff)
      return ofSum6(sum) !== worker
    },
  }
}
