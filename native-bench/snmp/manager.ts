/** A manager that asks for an engine's identity and time, and seals as many messages for it as a row needs. */
import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { readMessage, REPORTABLE_FLAG } from '../../src/control/snmp/message.ts'
import { NO_ERROR, type Varbind } from '../../src/control/snmp/mib.ts'
import { GET, RESPONSE } from '../../src/control/snmp/pdu.ts'
import { Manager, testKeys } from '../../src/control/snmp/testing.ts'
import { LOOPBACK } from '../midcom/servers.ts'

/** Those of `pinhole init --lab`. */
export const USER = 'lab', PASSWORD = 'labauthpass', PRIV_PASSWORD = 'labprivpass'
const KEYS = { ...testKeys('SHA-256', 'AES', PASSWORD), privKu: testKeys('SHA-256', 'AES', PRIV_PASSWORD).privKu }
const PATIENCE_MS = 500, TRIES = 40

/** One datagram and its answer, asked again until it comes. */
async function exchange(port: number, message: Uint8Array): Promise<Buffer> {
  const socket = createSocket('udp4')
  try {
    for (let n = 0; n < TRIES; n++) {
      const answer = await new Promise<Buffer | null>(resolve => {
        const timer = setTimeout(() => resolve(null), PATIENCE_MS)
        socket.once('message', bytes => {
          clearTimeout(timer)
          resolve(bytes)
        })
        // Nobody listens yet: the next try will tell.
        socket.once('error', () => { /* as if there was no answer */ })
        socket.send(message, port, LOOPBACK)
      })
      socket.removeAllListeners()
      if (answer !== null) return answer
    }
    throw new Error(`no answer at port ${port}`)
  } finally {
    socket.close()
  }
}

/** Waits until the agent is there; knows it then. */
export async function meet(port: number): Promise<Manager> {
  const nobody = new Manager(USER, KEYS, Buffer.alloc(0))
  const discovery = nobody.seal({ type: GET, varbinds: [], flags: REPORTABLE_FLAG, userName: '', boots: 0, time: 0 })
  const report = readMessage(await exchange(port, discovery))
  if (typeof report === 'string') throw new Error(`port ${port} answers no SNMPv3 message: ${report}`)
  const manager = new Manager(USER, KEYS, Uint8Array.from(report.engineId))
  manager.boots = report.boots
  manager.time = report.time
  return manager
}

/** Sees that the first is carried out, then writes so many of them into a file. */
export async function sealMany(
  port: number, file: string, type: number, varbindsOf: (id: number) => readonly Varbind[], count: number,
): Promise<void> {
  const manager = await meet(port)
  const probe = manager.open(await exchange(port, manager.seal({ type, varbinds: varbindsOf(0), msgId: 0 })))
  if (probe.type !== RESPONSE || probe.first !== NO_ERROR) throw new Error(`port ${port} refuses: ${probe.type} ${probe.first}`)
  const parts: Buffer[] = []
  for (let id = 1; id <= count; id++) {
    const message = manager.seal({ type, varbinds: varbindsOf(id), msgId: id, requestId: id }), length = Buffer.alloc(4)
    length.writeUInt32BE(message.length)
    parts.push(length, message)
  }
  writeFileSync(file, Buffer.concat(parts))
}
