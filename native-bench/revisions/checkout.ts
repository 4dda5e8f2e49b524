/**
 * Revisions as they are measured: each in a work tree of its own, its program built as it was meant to be, and measured by the
 * harness of this checkout, so that what differs is the program alone.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

/** What a user can mend. */
export class RevisionError extends Error {}

export interface Revision {
  /** As it was asked for. */
  name: string
  /** With `+` behind it: the work tree has changes on top of it. */
  commit: string
  root: string
  /** What npm has installed differs from this checkout. */
  hasOwnPackages: boolean
}

/** Stands for the files as they lie here. */
export const WORK_TREE = '.'
const HARNESS = 'native-bench', BUNDLER = 'scripts/bundle.js', LOCK = 'package-lock.json'

function git(root: string, ...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
}

function commitOf(root: string, name: string): string {
  if (name !== WORK_TREE) {
    try {
      return git(root, 'rev-parse', '--verify', '--quiet', `${name}^{commit}`)
    } catch {
      throw new RevisionError(`there is no revision ${name} here`)
    }
  }
  const isChanged = git(root, 'status', '--porcelain', '--', 'src', LOCK) !== ''
  return git(root, 'rev-parse', 'HEAD') + (isChanged ? '+' : '')
}

function sh(directory: string, what: string, command: string, ...args: string[]): void {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: directory, encoding: 'utf8' })
  if (status === 0) return
  throw new RevisionError(`${what}: ${(error?.message ?? (stderr.trim() || stdout.trim())).slice(-2000)}`)
}

/**
 * @param root this checkout
 * @param directory an empty place for the work tree, not there yet
 * @throws RevisionError
 */
export function checkOut(root: string, name: string, directory: string): Revision {
  const commit = commitOf(root, name)
  sh(root, `${name} cannot be checked out`, 'git', 'worktree', 'add', '--detach', '--quiet', directory, commit.replace('+', ''))
  if (name === WORK_TREE) {
    rmSync(join(directory, 'src'), { recursive: true })
    for (const path of ['src', LOCK, 'package.json']) cpSync(join(root, path), join(directory, path), { recursive: true })
  }
  const lock = (at: string) => existsSync(join(at, LOCK)) ? readFileSync(join(at, LOCK), 'utf8') : ''
  const hasOwnPackages = lock(directory) !== lock(root)
  if (hasOwnPackages) {
    sh(directory, `the packages of ${name} cannot be installed`, 'npm', 'ci', '--no-audit', '--no-fund', '--silent')
  } else symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  // Its own benchmarks go with it, and are replaced then.
  sh(directory, `${name} cannot be built`, process.execPath, BUNDLER)
  for (const path of [HARNESS, BUNDLER]) {
    rmSync(join(directory, path), { recursive: true, force: true })
    cpSync(join(root, path), join(directory, path), { recursive: true })
  }
  sh(directory, `the harness of this checkout cannot be built for ${name}`, process.execPath, BUNDLER, 'bench')
  return { name, commit, root: directory, hasOwnPackages }
}

export function removeCheckOut(root: string, directory: string): void {
  spawnSync('git', ['worktree', 'remove', '--force', directory], { cwd: root, stdio: 'ignore' })
  rmSync(directory, { recursive: true, force: true })
  spawnSync('git', ['worktree', 'prune'], { cwd: root, stdio: 'ignore' })
}
