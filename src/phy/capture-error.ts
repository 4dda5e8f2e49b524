/** A file that cannot be opened, read into memory or written. Bad bytes in a capture are a `CaptureFault` instead. */
export class CaptureError extends Error {
  /** The system's code (ENOENT, EACCES, EISDIR, ENOSPC, EPIPE …), or ETOOBIG for a capture too large to preload. */
  readonly code: string
  /** The path as it was given, `-` for a standard stream. */
  readonly path: string

  constructor(code: string, path: string, message: string) {
    super(message)
    this.name = 'CaptureError'
    this.code = code
    this.path = path
  }
}

/** Names the file in an error of the system. `what` is the verb that failed: open, read, write. */
export function captureError(what: string, path: string, cause: NodeJS.ErrnoException): CaptureError {
  const code = cause.code ?? 'EUNKNOWN'
  const stream = path !== '-' ? path : what === 'write' ? 'standard output' : 'standard input'
  return new CaptureError(code, path, `cannot ${what} ${stream}: ${systemReason(cause)}`)
}

/** What the system said, without the call and the path that Node adds: 'no such file or directory (ENOENT)'. */
export function systemReason({ code, message }: NodeJS.ErrnoException): string {
  const said = /^E[A-Z0-9]+: ([^,]+)/.exec(message)?.[1]
  return said === undefined || code === undefined ? message : `${said} (${code})`
}
