/** Tells whether two paths name the same file, before they are opened. */
import { fstatSync, lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

/** What Linux follows. */
const MOST_LINKS = 40

/**
 * A text that is the same for all paths of one regular file, or of one that is still to be made; null for what is neither
 * (a pipe, a device) or cannot be reached. `-` is the descriptor `stdio`.
 */
export function fileIdentity(path: string, stdio: number): string | null {
  try {
    const stat = path === '-' ? fstatSync(stdio, { bigint: true }) : statSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat !== undefined) return stat.isFile() ? `${stat.dev}:${stat.ino}` : null
    const end = linkEnd(path)
    return join(realpathSync(dirname(end)), basename(end))
  } catch {
    // Opening it will tell what is wrong.
    return null
  }
}

/** Where symbolic links lead to that end at nothing: writing makes a file there. */
function linkEnd(path: string): string {
  let end = resolve(path)
  for (let n = 0; n < MOST_LINKS; n++) {
    const stat = lstatSync(end, { throwIfNoEntry: false })
    if (stat?.isSymbolicLink() !== true) break
    end = resolve(realpathSync(dirname(end)), readlinkSync(end))
  }
  return end
}
