/**
 * Where the bytes of a capture come from: a file or standard input, plain or gzip (RFC 1952, several members too). A
 * source reads into the pool at the offset it is told. It never throws for what it reads: a broken stream ends, and
 * `fault` says why.
 */
import * as fs from 'node:fs'
import { constants, createGunzip } from 'node:zlib'
import { captureError } from './capture-error.ts'

export interface ByteSource {
  readonly gzip: boolean
  /** Bytes taken from the file so far (compressed ones, if it is gzip). */
  readonly fileBytesRead: number
  /** Why the stream ended before its time, or ''. */
  readonly fault: string
  /** Read 1 … `bytes` bytes to `off` of the pool, then tell how many; 0 at the end. One read at a time. */
  read(off: number, bytes: number, done: (got: number) => void): void
  close(): Promise<void>
}

export interface OpenFile {
  fd: number
  /** Size of a regular file, 0 if it cannot be known (a pipe). */
  fileBytes: number
}

/**
 * Standard input is `-`. Rejects with `CaptureError`: no other error of this room's reading side is ever thrown. Not
 * done in a blocking call, because a named pipe opens only when somebody writes to it.
 */
export function openFile(path: string): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    if (path === '-') look(null, 0)
    else fs.open(path, 'r', look)
    function look(error: NodeJS.ErrnoException | null, fd: number): void {
      if (error !== null) return reject(captureError('open', path, error))
      fs.fstat(fd, (failed, stat) => {
        if (failed === null && !stat.isDirectory()) return resolve({ fd, fileBytes: stat.isFile() ? stat.size : 0 })
        // Opening a directory works, reading it does not; say so at once.
        const reason = failed ?? Object.assign(new Error('is a directory'), { code: 'EISDIR' })
        if (fd !== 0) fs.close(fd, () => reject(captureError('open', path, reason)))
        else reject(captureError('open', path, reason))
      })
    }
  })
}

/** How long to leave a standard input alone that was handed to us in non-blocking mode and has nothing to say. */
const RETRY_MS = 2

/** fs.read that waits out EAGAIN. Errors of the disk come as a negative count and a message. */
function readSome(fd: number, into: Uint8Array, off: number, bytes: number,
  done: (got: number, error: string) => void): void {
  fs.read(fd, into, off, bytes, null, (error, got) => {
    if (error === null) done(got, '')
    else if (error.code === 'EAGAIN') setTimeout(readSome, RETRY_MS, fd, into, off, bytes, done)
    else if (error.code === 'EOF') done(0, '')
    else done(-1, `read failed: ${error.code ?? error.message}`)
  })
}

export function createPlainSource(fd: number, pool: Uint8Array): ByteSource {
  let inFlight = false, closed = false, fileBytesRead = 0, fault = ''
  let whenIdle: (() => void) | null = null
  return {
    gzip: false,
    get fileBytesRead() { return fileBytesRead },
    get fault() { return fault },
    read(off, bytes, done) {
      inFlight = true
      readSome(fd, pool, off, bytes, (got, error) => {
        inFlight = false
        if (error !== '') fault = error
        if (got > 0) fileBytesRead += got
        whenIdle?.()
        if (!closed) done(got < 0 ? 0 : got)
      })
    },
    close() { closed = true; return closeWhenIdle(fd, inFlight, (wake) => { whenIdle = wake }) },
  }
}

/**
 * A descriptor must not be closed, and perhaps reused, under a read. A silent standard input is not waited for; but its
 * pending read holds a thread, and Node exits only when the writer at the other end speaks or goes.
 */
function closeWhenIdle(fd: number, inFlight: boolean, onIdle: (wake: () => void) => void): Promise<void> {
  if (fd === 0) return Promise.resolve()
  return new Promise((resolve) => {
    const close = () => fs.close(fd, () => resolve())
    if (inFlight) onIdle(close)
    else close()
  })
}

/**
 * Compressed bytes are fed in slices that start small and double. zlib hands out nothing of the slice in which it
 * meets an error, so the packets lost in front of a corrupt byte are at most those of one slice.
 */
const FIRST_SLICE_BYTES = 512
const LAST_SLICE_BYTES = 65_536
const INFLATED_CHUNK_BYTES = 262_144

/** `head` are the bytes already read from `fd`, when the magic was looked at. */
export function createGzipSource(fd: number, pool: Uint8Array, head: Uint8Array): ByteSource {
  const slice = new Uint8Array(LAST_SLICE_BYTES)
  const gunzip = createGunzip({ chunkSize: INFLATED_CHUNK_BYTES, finishFlush: constants.Z_FINISH })
  let fileBytesRead = head.length, sliceBytes = FIRST_SLICE_BYTES, headUsed = 0
  let fault = '', ended = false, closed = false, inFlight = false
  let whenIdle: (() => void) | null = null
  // The one request we may owe an answer to, and the rest of the chunk that last answered one.
  let done: ((got: number) => void) | null = null
  let wantOff = 0, wantBytes = 0
  let chunk: Uint8Array | null = null, chunkUsed = 0

  function serve(): void {
    if (done === null || closed) return
    if (chunk === null) {
      chunk = gunzip.read() as Uint8Array | null
      chunkUsed = 0
    }
    if (chunk === null) {
      if (ended) answer(0)
      return
    }
    const got = Math.min(wantBytes, chunk.length - chunkUsed)
    pool.set(chunk.subarray(chunkUsed, chunkUsed + got), wantOff)
    chunkUsed += got
    if (chunkUsed === chunk.length) chunk = null
    answer(got)
  }
  function answer(got: number): void {
    const tell = done!
    done = null
    tell(got)
  }
  function feed(): void {
    if (closed || ended) return
    if (headUsed < head.length) {
      const part = head.subarray(headUsed, headUsed += Math.min(sliceBytes, head.length - headUsed))
      grow()
      gunzip.write(part, fed)
      return
    }
    inFlight = true
    readSome(fd, slice, 0, sliceBytes, (got, error) => {
      inFlight = false
      whenIdle?.()
      if (closed || ended) return
      if (got < 0) {
        fault = error
        ended = true
        serve()
      } else if (got === 0) {
        gunzip.end()
      } else {
        fileBytesRead += got
        grow()
        gunzip.write(slice.subarray(0, got), fed)
      }
    })
  }
  function grow(): void { sliceBytes = Math.min(sliceBytes * 2, LAST_SLICE_BYTES) }
  function fed(error: Error | null | undefined): void { if (!error) feed() }

  gunzip.on('readable', serve)
  gunzip.on('end', () => { ended = true; serve() })
  gunzip.on('error', (error) => {
    fault = `gzip stream broken: ${error.message}`
    ended = true
    serve()
  })
  feed()

  return {
    gzip: true,
    get fileBytesRead() { return fileBytesRead },
    get fault() { return fault },
    read(off, bytes, tell) {
      done = tell
      wantOff = off
      wantBytes = bytes
      // Never answer inside the call: the window is not ready for it.
      setImmediate(serve)
    },
    close() {
      closed = true
      gunzip.destroy()
      return closeWhenIdle(fd, inFlight, (wake) => { whenIdle = wake })
    },
  }
}
