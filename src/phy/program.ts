/**
 * What the programs that the kernel runs at an interface (native/program.c) are told of it, and the one that spares the kernel's
 * stack the packets that the box has had: it would take each of them up, only to find that nobody here wants it. On one thread with
 * the sender of a veth pair the kernel handed on 1.28 times as many packets then. Packet sockets see them still.
 */
import { closeSync, readFileSync } from 'node:fs'
import type { Address } from '../base/address.ts'
import { loadAddon, type Addon } from './addon.ts'
import { linkName, type VlanLink } from './vlan.ts'

/** Of the kernel's, of each version. */
export const MOST_ADDRESSES = 128

export interface ProgramLink extends VlanLink {
  /** Addresses that the kernel has there: what is sent to them is the kernel's as well. */
  kernel: readonly Address[]
}

/** Words as they lie in a packet, which the program compares with words that it loads from there. */
export function inPacket(addresses: readonly Address[], version: number): Int32Array {
  const words = addresses.filter((one) => one.version === version).flatMap((one) => [...one.words])
  const bytes = new DataView(new ArrayBuffer(words.length * 4))
  for (const [i, word] of words.entries()) bytes.setInt32(4 * i, word)
  return new Int32Array(bytes.buffer)
}

const CAP_NET_ADMIN = 12n, CAP_SYS_ADMIN = 21n, CAP_BPF = 39n

/**
 * Would the kernel take a program from this process? It is looked up: where bpf(2) is none of the system calls that a service may
 * make, asking may end it.
 */
export function maySpare(status = readFileSync('/proc/self/status', 'utf8')): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([\da-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  const has = (capability: bigint) => (effective >> capability & 1n) === 1n
  return has(CAP_NET_ADMIN) && (has(CAP_BPF) || has(CAP_SYS_ADMIN))
}

export interface Spared {
  /** At the interface that has its name now, which may be another one than before. */
  renew(number: number): void
  close(): void
}

/** The system, as far as sparing it depends on it. */
export interface SparingSystem {
  load?: () => Pick<Addon, 'link' | 'spare'>
  may?: () => boolean
}

/**
 * Has the kernel drop packets of IP to the Ethernet addresses of links, but for those to addresses of its own. It takes
 * CAP_NET_ADMIN and CAP_BPF: where it cannot be, the kernel has its work as before, and `log` is told. Ends with the process.
 */
export function spareKernel(
  links: readonly ProgramLink[], log: (line: string) => void, { load = loadAddon, may = maySpare }: SparingSystem = {},
): Spared {
  const open: (number | null)[] = links.map(() => null)

  function spare(number: number): void {
    const link = links[number], { name, kernel, vlan = 0 } = link
    try {
      if (!may()) throw new Error('the box has not')
      if ([4, 6].some((version) => kernel.filter((one) => one.version === version).length > MOST_ADDRESSES)) {
        throw new Error(`of its addresses there a program knows ${MOST_ADDRESSES} of each version, and it has more`)
      }
      const addon = load()
      const { index, mac } = addon.link(name)
      open[number] = addon.spare(index, mac, inPacket(kernel, 4), inPacket(kernel, 6), vlan)
    } catch (error) {
      log(`${linkName(link)}: the kernel takes each packet up its stack as well, to drop it there, which costs time: to spare it `
        + `that takes Linux 6.6 with CAP_NET_ADMIN and CAP_BPF, which root has (${(error as Error).message})`)
    }
  }

  function end(number: number): void {
    if (open[number] !== null) closeSync(open[number])
    open[number] = null
  }

  for (const number of links.keys()) spare(number)
  return {
    renew(number) {
      end(number)
      spare(number)
    },
    close() {
      for (const number of links.keys()) end(number)
    },
  }
}
