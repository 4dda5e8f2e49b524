/**
 * How IPv4 and IPv6 are translated, beside the one pool and the ports of every box: what a configuration says and no agent has to
 * ask for. Plain numbers; addresses are host-order int32.
 */
import type { PairedPool } from '../channel/pairing.ts'

/** @property bits 0 … 32 */
export interface Prefix4 { address: number; bits: number }
/** Both ends belong to it. */
export interface PortRange { low: number; high: number }

/** A whole prefix to one of the same length, every protocol and port. */
export interface StaticNat {
  inside: number
  outside: number
  bits: number
  /** Who outside may open flows; those that the filter lets may, too. */
  from: readonly Prefix4[]
}

/** `count` ports of TCP or UDP. */
export interface PortForward {
  protocol: number
  outside: number
  outsidePort: number
  inside: number
  insidePort: number
  count: number
  from: readonly Prefix4[]
}

/** What is not translated: from `inside` to `peer`, and back. */
export interface Untranslated {
  inside: Prefix4
  peer: Prefix4
  /** -1: any. */
  protocol: number
  peerPorts: PortRange
}

/** The inside knows an outside endpoint by another one (twice-NAT). `count` 0: the whole address, and the ports say nothing. */
export interface PeerAlias {
  protocol: number
  alias: number
  aliasPort: number
  peer: number
  peerPort: number
  count: number
}

export interface NatOptions {
  /** Parts of `EngineOptions.pool`; the first is for hosts that no other one names. */
  pools: readonly PairedPool[]
  /** UDP and TCP ports that no dynamic mapping gets, on every address of the pool. */
  reserved: readonly PortRange[]
  statics: readonly StaticNat[]
  forwards: readonly PortForward[]
  untranslated: readonly Untranslated[]
  aliases: readonly PeerAlias[]
}

/** A box that is told of nothing but a pool of `size` addresses. */
export function plainNat(size: number): NatOptions {
  return {
    pools: [{ inside: [], first: 0, size, hostsPerAddress: 0 }], reserved: [], statics: [], forwards: [], untranslated: [],
    aliases: [],
  }
}

/** Ports that forwards bind. */
export function forwardedPorts({ forwards }: NatOptions): number {
  return forwards.reduce((sum, { count }) => sum + count, 0)
}
