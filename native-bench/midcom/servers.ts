/** Servers under load: child processes on a free loopback port, ended with the benchmark whatever happens. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export const LOOPBACK = '127.0.0.1'
const START_MS = 20_000, STOP_MS = 5000, POLL_MS = 20
const KEPT_CHARS = 2000

export interface Server {
  port: number
  pid: number
  /** Processor time of all its threads so far, in nanoseconds, or NaN where the system does not tell. */
  cpuNs: () => number
  stop: () => Promise<void>
}

const running = new Set<ChildProcess>()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })

/** A port that nobody listens at now. */
export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve, reject) => { probe.once('error', reject).listen(0, LOOPBACK, resolve) })
  const { port } = probe.address() as AddressInfo
  await new Promise(resolve => { probe.close(resolve) })
  return port
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, LOOPBACK)
    const end = (is: boolean) => { socket.destroy(); resolve(is) }
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
}

/** From Linux, where the first number of `schedstat` is the time on a processor. */
function cpuNs(pid: number): number {
  try {
    const tasks = `/proc/${pid}/task`
    const spent = (task: string) => Number(readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[0])
    return readdirSync(tasks).reduce((sum, task) => sum + spent(task), 0)
  } catch {
    return NaN
  }
}

/** Resolves once the port takes connections. */
export async function startServer(command: string, args: readonly string[], port: number): Promise<Server> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  let stdout = '', stderr = '', ended: string | null = null
  child.stdout.setEncoding('utf8').on('data', text => { stdout = (stdout + text).slice(-KEPT_CHARS) })
  child.stderr.setEncoding('utf8').on('data', text => { stderr = (stderr + text).slice(-KEPT_CHARS) })
  const exited = new Promise<void>(resolve => {
    child.once('error', error => { ended = error.message; resolve() })
    child.once('exit', (code, signal) => { ended ??= signal ?? `exit status ${code}`; running.delete(child); resolve() })
  })
  const stop = async () => {
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    if (ended === null) await exited
    clearTimeout(killer)
  }
  for (let waitedMs = 0; !await answers(port); waitedMs += POLL_MS) {
    if (ended !== null) throw new Error(`${command} ${args[0]} ended: ${ended}: ${(stderr || stdout).trim()}`)
    if (waitedMs >= START_MS) {
      await stop()
      throw new Error(`${command} ${args[0]} does not answer at port ${port}: ${(stderr || stdout).trim()}`)
    }
    await sleep(POLL_MS)
  }
  const pid = child.pid!
  return { port, pid, cpuNs: () => cpuNs(pid), stop }
}

/** Where Debian has them; the message is for people who have not. */
export const NO_REDIS = 'redis-server is not installed: apt-get install redis-server'

export function isInstalled(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined
}

/** As quick as it goes: nothing is saved. */
export async function startRedis(): Promise<Server> {
  const port = await freePort()
  return startServer('redis-server', ['--port', `${port}`, '--bind', LOOPBACK, '--save', '',
    '--appendonly', 'no', '--daemonize', 'no'], port)
}
