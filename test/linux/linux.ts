/** Linux as a box: tun.c in a network namespace of its own, and packets in and out through pipes. */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'

const INSIDE = 0, OUTSIDE = 1, FORGET = 254, END = 255, HEAD_BYTES = 3
const SCRIPT = 'test/linux/setup.sh', SOURCE = 'test/linux/tun.c'
/** What must be there, and the Debian package that has it. */
const TOOLS = [['nft', 'nftables'], ['ip', 'iproute2'], ['cc', 'gcc']]

export interface Left { toInside: boolean; bytes: Uint8Array }
export interface LinuxBox {
  /** All that leaves because of a packet. */
  send(fromInside: boolean, packet: Uint8Array): Promise<Left[]>
  /** Ends all connections, between cases. Fragments that wait for others stay. */
  forget(): Promise<void>
  close(): Promise<void>
}

/** Why Linux cannot be asked here, or null. With `isFault` it should have been possible. */
export function obstacle(): { reason: string; isFault: boolean } | null {
  if (process.platform !== 'linux') return { reason: 'this is not Linux', isFault: false }
  if (process.getuid?.() !== 0) return { reason: 'not root: no network namespace can be made', isFault: false }
  const missing = TOOLS.filter(([tool]) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0)
  if (missing.length > 0) return { reason: `missing: ${missing.map(([tool, name]) => `${tool} (${name})`).join(', ')}`, isFault: true }
  if (spawnSync('unshare', ['-n', 'true']).status !== 0) return { reason: 'root here may not make network namespaces', isFault: false }
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch {
    return { reason: 'there is no /dev/net/tun', isFault: false }
  }
  return null
}

/** Compiles the program into a file; throws what the compiler says. */
export function compile(to: string): void {
  const { status, stderr } = spawnSync('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', to, SOURCE], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

export async function openLinux(program: string): Promise<LinuxBox> {
  const child = spawn(program, [SCRIPT], { stdio: ['pipe', 'pipe', 'pipe'] })
  let errors = '', pending = Buffer.alloc(0), left: Left[] = []
  let settle: { resolve: (left: Left[]) => void; reject: (error: Error) => void } | null = null
  const ended = new Promise<void>(resolve => child.on('close', () => {
    settle?.reject(new Error(`tun ended: ${errors}`))
    resolve()
  }))
  child.stdin.on('error', () => { /* its end says why */ })
  child.stderr.setEncoding('utf8').on('data', (more: string) => { errors += more })
  child.stdout.on('data', (more: Buffer) => {
    pending = Buffer.concat([pending, more])
    for (;;) {
      if (pending.length < HEAD_BYTES) return
      const device = pending[0], bytes = pending.readUInt16BE(1)
      if (pending.length < HEAD_BYTES + bytes) return
      const packet = Uint8Array.from(pending.subarray(HEAD_BYTES, HEAD_BYTES + bytes))
      pending = pending.subarray(HEAD_BYTES + bytes)
      if (device !== END) {
        if (!isOwnTalk(packet)) left.push({ toInside: device === INSIDE, bytes: packet })
        continue
      }
      const done = settle
      settle = null
      const all = left
      left = []
      done?.resolve(all)
    }
  })
  const answer = () => new Promise<Left[]>((resolve, reject) => { settle = { resolve, reject } })
  await answer()
  return {
    send(fromInside, packet) {
      const answered = answer()
      child.stdin.write(Buffer.concat([Uint8Array.of(fromInside ? INSIDE : OUTSIDE, packet.length >> 8, packet.length & 255), packet]))
      return answered
    },
    async forget() {
      const answered = answer()
      child.stdin.write(Uint8Array.of(FORGET, 0, 0))
      await answered
    },
    async close() {
      child.stdin.end()
      await ended
    },
  }
}

/** The kernel's own IPv6 multicast: listener reports and the like. */
function isOwnTalk(packet: Uint8Array): boolean {
  return packet[0] >> 4 === 6 && packet[24] === 0xff
}
