/**
 * The door of a live box for `pinhole record`: a Unix socket of its own, behind which a thread of its own takes what the packet
 * path puts into shared memory (phy/tap.ts), and sends it on as pcapng. Who may connect is who may write to the socket: its owner.
 *
 * Box: a line of JSON, `Greeting`. Client: a line of JSON, `Request`. Box: a line of JSON, `Answer`, and if that is good pcapng
 * until the client has closed its half, or the box ends.
 */
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { RecordedLink, RecordedSettings } from '../../phy/recording.ts'

export interface Greeting { pinhole: string; pid: number; links: [string, string] }

export interface Request {
  /** In tcpdump's syntax; empty: everything. */
  filter: string
  /** A bit for each kind of frame (phy/tap.ts). */
  kinds: number
  /** Bytes kept of a frame. */
  snapBytes: number
}

export type Answer = { ok: true } | { ok: false; reason: string }

export interface RecordDoorOptions {
  path: string
  version: string
  timeScale: number
  /** null: it cannot be kept (recorded-settings.ts). */
  configuration: string | null
}

export interface ThreadData {
  path: string
  memory: SharedArrayBuffer
  version: string
  /** By SIDE_ constant. */
  links: readonly RecordedLink[]
  about: string
  settings: RecordedSettings
}

/** What the thread tells: that it listens, why it does not, that it is done. */
export type ThreadMessage = { listening: true } | { failed: string }

/** Where doors are: the service manager's directory, or the system's, or the user's. */
export function recordFolder(): string {
  const { RUNTIME_DIRECTORY, XDG_RUNTIME_DIR } = process.env
  if (RUNTIME_DIRECTORY !== undefined) return RUNTIME_DIRECTORY.split(':')[0]!
  return process.getuid?.() === 0 || XDG_RUNTIME_DIR === undefined ? '/run/pinhole' : join(XDG_RUNTIME_DIR, 'pinhole')
}

export const DOOR_SUFFIX = '.record'

export function defaultRecordDoor(): string {
  return join(recordFolder(), `${process.pid}${DOOR_SUFFIX}`)
}

export interface RecordDoor {
  /** Who records gets what is there, and an end. */
  close(): Promise<void>
}

/** A box runs without its door too: null, and a line says why. */
export async function openRecordDoor(
  { path, version, timeScale, configuration }: RecordDoorOptions, links: readonly RecordedLink[], seed: number,
  memory: SharedArrayBuffer, log: (line: string) => void,
): Promise<RecordDoor | null> {
  const [inside, outside] = links.map(({ name }) => name) as [string, string]
  const data: ThreadData = {
    path, memory, version, links, settings: { insideInterface: inside, seed, timeScale, configuration },
    about: `Recorded by pinhole ${version} between ${inside} (inside) and ${outside} (outside). \`pinhole replay FILE\` forwards `
      + `again what it took to forward, by the settings of the next comment: --inside-if ${inside} --seed ${seed}`
      + (configuration === null ? '; the configuration is not kept here: give it with --config' : ''),
  }
  const refuse = (why: string) => {
    log(`pinhole record cannot record this box: ${why}`)
    return null
  }
  try {
    mkdirSync(dirname(data.path), { recursive: true, mode: 0o700 })
  } catch (error) {
    return refuse((error as Error).message)
  }
  // Beside this file once compiled, and beside the bundle.
  const worker = new Worker(new URL('./record-thread.js', import.meta.url), { workerData: data })
  const ended = new Promise<void>((resolve) => { worker.once('exit', () => resolve()) })
  const failed = await new Promise<string | null>((resolve) => {
    worker.once('message', (message: ThreadMessage) => resolve('failed' in message ? message.failed : null))
    worker.once('error', (error: Error) => resolve(error.message))
  })
  if (failed !== null) {
    await worker.terminate()
    return refuse(failed)
  }
  worker.on('error', (error: Error) => refuse(error.message))
  worker.unref()
  return {
    async close() {
      // From here on the process lives for it.
      worker.ref()
      worker.postMessage('close')
      await ended
    },
  }
}
