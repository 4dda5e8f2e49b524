/** The thread behind the door for recordings; see record-door.ts. It alone waits for whoever reads slowly; then frames are lost. */
import { chmodSync, unlinkSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { frameBlockBytes, putFrame, recordingHead, statisticsBlock, type SideStatistics } from '../../phy/recording.ts'
import { createTapReader, EVERYTHING, MARK_OUTSIDE, MARK_SENT, type Tapped } from '../../phy/tap.ts'
import { systemReason } from '../../phy/capture-error.ts'
import { createFrames, LINK_ETHERNET, POOL_SLACK_BYTES, SIDE_INSIDE, SIDE_OUTSIDE } from '../../wire/frames.ts'
import { createLink } from '../../wire/link.ts'
import { FilterError } from '../filter/lex.ts'
import { compileFilter, type Match, type Outcome, type Seen } from '../filter/match.ts'
import { parseFilter } from '../filter/parse.ts'
import type { Answer, Greeting, Request, ThreadData, ThreadMessage } from './record-door.ts'

/** The ring is looked at so often while somebody records. */
const POLL_MS = 10
const CHUNK_BYTES = 1 << 18, QUEUED_BYTES = 1 << 20
const REQUEST_MOST_BYTES = 65_536, CONNECTIONS = 16
const SNAP_MOST_BYTES = 65_535
/** What a filter may look at is copied at least. */
const FILTER_BYTES = 192
/** A turn of the packet path that was under way when the recording ended has ended by then. */
const LAST_TURN_MS = 20
/** When the box ends, whoever reads slowly has so long. */
const LINGER_MS = 2000

const { path, memory, version, links, about, settings } = workerData as ThreadData
const reader = createTapReader(memory)
const frames = createFrames({ capacity: 1, poolBytes: memory.byteLength - POOL_SLACK_BYTES, buffer: memory })
const { locate } = createLink(frames)

interface Recording {
  socket: Socket
  request: Request
  match: Match | null
  startMs: number
  counts: [SideStatistics, SideStatistics]
  isEnding: boolean
}
let current: Recording | null = null

const OUTCOME: Outcome = {
  verdict: 'held', reason: null, side: 'inside', to: null, isNew: false, isAnswered: false, isHairpin: false, rules: [],
}
const OUTCOMES: Outcome[] = [OUTCOME, { ...OUTCOME, side: 'outside' }]

/** Where the filter says so. */
function isWanted(match: Match | null, one: Tapped): boolean {
  if (match === null) return true
  frames.off[0] = one.off
  frames.capBytes[0] = one.keptBytes
  frames.wireBytes[0] = one.wireBytes
  frames.link[0] = LINK_ETHERNET
  locate(1)
  const seen: Seen = {
    view: frames.view, off: one.off, capBytes: one.keptBytes, wireBytes: one.wireBytes, link: LINK_ETHERNET, net: frames.net[0]!,
    l3: frames.l3[0]!, outcome: OUTCOMES[one.marks & MARK_OUTSIDE]!,
  }
  return match(seen)
}

/** As much as the client takes; what it does not take waits in the ring. */
function drain(recording: Recording): void {
  const { socket, request: { snapBytes }, match, counts } = recording
  for (;;) {
    if (recording !== current) return
    if (socket.writableLength > QUEUED_BYTES) return void socket.once('drain', () => drain(recording))
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES), view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length)
    const most = CHUNK_BYTES - frameBlockBytes(SNAP_MOST_BYTES, -1)
    let end = 0
    const isAll = reader.read((one) => {
      const count = counts[one.marks & MARK_OUTSIDE]!
      count.seen++
      if (isWanted(match, one)) {
        count.accepted++
        const frame = reader.bytes.subarray(one.off, one.off + Math.min(one.keptBytes, snapBytes))
        end = putFrame(chunk, view, end, frame, one.wireBytes, one.marks, one.sec, one.nsec)
      }
      return end <= most
    })
    if (end > 0) socket.write(chunk.subarray(0, end))
    if (!isAll) continue
    if (recording.isEnding) return finish(recording)
    return void setTimeout(drain, POLL_MS, recording)
  }
}

function finish(recording: Recording): void {
  const { socket, counts, startMs } = recording
  current = null
  for (const side of [SIDE_INSIDE, SIDE_OUTSIDE]) {
    const lost = reader.lost(side) + reader.lost(side | MARK_SENT)
    socket.write(statisticsBlock(side, startMs, Date.now(), { ...counts[side]!, lost, seen: counts[side]!.seen + lost }))
  }
  socket.end()
}

function end(recording: Recording): void {
  reader.stop()
  setTimeout(() => { recording.isEnding = true }, LAST_TURN_MS)
}

function say(socket: Socket, message: Answer | Greeting): void {
  socket.write(JSON.stringify(message) + '\n')
}

function begin(socket: Socket, request: Request): void {
  const refuse = (reason: string) => {
    say(socket, { ok: false, reason })
    socket.end()
  }
  if (current !== null) return refuse('somebody records this box already')
  const { filter, kinds, snapBytes } = request
  if (!Number.isInteger(kinds) || (kinds & EVERYTHING) === 0 || !Number.isInteger(snapBytes) || snapBytes < 1
    || snapBytes > SNAP_MOST_BYTES || typeof filter !== 'string') return refuse('the request is not understood')
  let match: Match | null
  try {
    match = filter === '' ? null : compileFilter(parseFilter(filter))
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    return refuse(error.message)
  }
  const counts = (): SideStatistics => ({ seen: 0, lost: 0, accepted: 0 })
  const recording: Recording = { socket, request, match, startMs: Date.now(), counts: [counts(), counts()], isEnding: false }
  current = recording
  // Whoever is told so finds that frames are recorded already.
  reader.want(kinds & EVERYTHING, match === null ? snapBytes : Math.max(snapBytes, FILTER_BYTES))
  say(socket, { ok: true })
  socket.write(recordingHead(links, snapBytes, filter, about, settings))
  socket.on('end', () => end(recording))
  socket.on('close', () => {
    if (current !== recording) return
    reader.stop()
    current = null
  })
  drain(recording)
}

const connected = new Set<Socket>()
const server = createServer({ allowHalfOpen: true }, (socket) => {
  let asked = ''
  connected.add(socket)
  socket.once('close', () => connected.delete(socket))
  // Whoever goes away has what it has.
  socket.on('error', () => socket.destroy())
  socket.setEncoding('utf8')
  say(socket, { pinhole: version, pid: process.pid, links: [links[0]!.name, links[1]!.name] })
  const onData = (text: string) => {
    asked += text
    const at = asked.indexOf('\n')
    if (at < 0) {
      if (asked.length > REQUEST_MOST_BYTES) socket.destroy()
      return
    }
    socket.off('data', onData)
    socket.on('data', () => { /* there is nothing to say after the request */ })
    socket.off('end', onEnd)
    let request: Request
    try {
      request = JSON.parse(asked.slice(0, at)) as Request
    } catch {
      return void socket.destroy()
    }
    begin(socket, request)
  }
  const onEnd = () => socket.end()
  socket.on('data', onData)
  socket.on('end', onEnd)
})
server.maxConnections = CONNECTIONS
const tell = (message: ThreadMessage) => parentPort!.postMessage(message)
server.once('error', (error: NodeJS.ErrnoException) => tell({ failed: `${path}: ${systemReason(error)}` }))
try {
  // Of a box that had this number before and did not end well.
  unlinkSync(path)
} catch { /* there is none */ }
server.listen(path, () => {
  chmodSync(path, 0o600)
  tell({ listening: true })
})

parentPort!.on('message', () => {
  parentPort!.close()
  server.close()
  for (const socket of connected) if (socket !== current?.socket) socket.destroy()
  if (current === null) return
  end(current)
  const { socket } = current
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
})
