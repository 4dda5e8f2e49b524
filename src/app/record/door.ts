/** The client's end of a box's door for recordings (run/record-door.ts): which boxes there are, and a connection to one. */
import { readdirSync, rmSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { Failure, STATUS } from '../cli/status.ts'
import { DOOR_SUFFIX, recordFolder, type Answer, type Greeting, type Request } from '../run/record-door.ts'

const ANSWER_MS = 5000
const LINE_MOST_BYTES = 65_536

export interface Door {
  readonly greeting: Greeting
  /** Throws `Failure` if the box does not want that. */
  ask(request: Request): Promise<void>
  /** What is recorded, to its end. Whoever does not read has frames lost. */
  data(): AsyncGenerator<Buffer>
  /** No more frames, but what there is. */
  finish(): void
  close(): void
}

/** @param which a path, the number of a process, or nothing: the only box there is. Throws `Failure`. */
export async function openDoor(which: string | undefined): Promise<Door> {
  if (which !== undefined) {
    const path = /^\d+$/.test(which) ? join(recordFolder(), which + DOOR_SUFFIX) : which
    try {
      return await connect(path)
    } catch (error) {
      throw unreachable(path, error)
    }
  }
  const folder = recordFolder()
  const doors: Door[] = []
  let denied: unknown = null
  for (const path of doorsIn(folder)) {
    try {
      doors.push(await connect(path))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EACCES') denied = error
      // Of a box that did not end well, or was another user when it ended.
      if (code === 'ECONNREFUSED') removeStale(path)
    }
  }
  if (doors.length === 1) return doors[0]!
  for (const door of doors) door.close()
  if (doors.length > 1) {
    const list = doors.map(({ greeting: { pid, links } }) => `${pid} (${links[0]} to ${links[1]})`).join(', ')
    throw new Failure(STATUS.usage, `which box? --box takes one of ${list}`)
  }
  if (denied !== null) throw unreachable(folder, denied)
  throw new Failure(STATUS.connection, `no box is running whose door is in ${folder}; --box takes that of its --record-door`)
}

function removeStale(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch { /* it stays for who may */ }
}

function doorsIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(DOOR_SUFFIX)).sort().map((name) => join(folder, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unreachable(folder, error)
  }
}

function unreachable(path: string, error: unknown): Failure {
  const { code, message } = error as NodeJS.ErrnoException
  const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? 'no box is there'
    : code === 'EACCES' ? 'only the user that the box runs as, and root, may record it' : message
  return new Failure(STATUS.connection, `${path}: ${why}`, { cause: error })
}

async function connect(path: string): Promise<Door> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const one = createConnection({ path, allowHalfOpen: true }, () => resolve(one))
    one.once('error', reject)
  })
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let rest: Buffer = Buffer.alloc(0)

  async function line<T>(): Promise<T> {
    const timer = setTimeout(() => socket.destroy(new Error('the box does not answer')), ANSWER_MS)
    try {
      for (;;) {
        const end = rest.indexOf(10)
        if (end >= 0) {
          const text = rest.toString('utf8', 0, end)
          rest = rest.subarray(end + 1)
          return JSON.parse(text) as T
        }
        if (rest.length > LINE_MOST_BYTES) throw new Error('what answers is no box')
        const next = await chunks.next()
        if (next.done === true) throw new Error('the box has closed its door')
        rest = Buffer.concat([rest, next.value])
      }
    } finally {
      clearTimeout(timer)
    }
  }

  let greeting: Greeting
  try {
    greeting = await line<Greeting>()
  } catch (error) {
    socket.destroy()
    throw error
  }
  return {
    greeting,
    async ask(request) {
      socket.write(JSON.stringify(request) + '\n')
      const answer = await line<Answer>()
      if (!answer.ok) throw new Failure(STATUS.connection, `the box does not record: ${answer.reason}`)
    },
    async* data() {
      yield rest
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
    },
    finish() { socket.end() },
    close() { socket.destroy() },
  }
}
