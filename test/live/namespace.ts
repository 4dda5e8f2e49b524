/** A network namespace for a whole test file, which goes with its process: for tests of drivers, without a box. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const INSIDE = 'PINHOLE_TEST_NAMESPACE'

/** Goes on in a new namespace, and does not return outside; or says why there is none. */
export function enterNamespace(): string | null {
  if (process.env[INSIDE] !== undefined) return null
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'not root on Linux: no network namespace can be made'
  if (!existsSync('native/packet.node')) return 'the driver is not built: node scripts/native.js says why'
  const tried = spawnSync('unshare', ['-n', 'ip', 'link', 'add', 'try0', 'type', 'veth', 'peer', 'name', 'try1'], { encoding: 'utf8' })
  if (tried.status !== 0) return `no namespace with a pair of veth can be made here: ${tried.error?.message ?? tried.stderr.trim()}`
  const { status } = spawnSync('unshare', ['-n', process.execPath, ...process.execArgv, ...process.argv.slice(1)], { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } })
  process.exit(status ?? 1)
}

/** Runs commands of a shell; throws what they say if one fails. */
export function sh(...commands: string[]): void {
  const { status, stdout, stderr } = spawnSync('sh', ['-ec', commands.join('\n')], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${commands.join('; ')}: ${stdout}${stderr}`)
}
