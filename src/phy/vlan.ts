/** VLANs of an interface (IEEE 802.1Q): a link is the frames with one tag, or those without; two links may share an interface. */

/** VLANs have numbers from 1 on; 0 in a tag is a priority without a VLAN, and 4095 is reserved (802.1Q 9.6). */
export const LAST_VLAN = 4094

export interface VlanLink {
  /** Of the interface. */
  name: string
  /** Absent or 0: frames without a tag. */
  vlan?: number
}

/** `in0`, or `in0:7`: a colon is in no name of an interface. */
export function linkName({ name, vlan = 0 }: VlanLink): string {
  return vlan === 0 ? name : `${name}:${vlan}`
}

/** What a link has to know of the other one. */
export interface Beside {
  /** VLAN of the other link on the same interface; 0: there is none. */
  other: number
  /** It is the first of its interface, and counts the frames that are nobody's. */
  counts: boolean
}

export function besideOf(links: readonly VlanLink[], number: number): Beside {
  const { name } = links[number]!
  return {
    other: links.find((link, i) => i !== number && link.name === name)?.vlan ?? 0,
    counts: links.findIndex((link) => link.name === name) === number,
  }
}
