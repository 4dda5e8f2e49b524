/** Debian's net-snmp tools, for tests that drive a box as an operator does. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'

const TOOLS = ['snmpget', 'snmpset', 'snmpwalk', 'snmpbulkwalk', 'snmptrapd', 'snmptranslate']
const missing = TOOLS.filter((tool) => spawnSync(tool, ['-V'], { encoding: 'utf8' }).error !== undefined)
/** Reason to skip, or false. With CI=true nothing is skipped: what is not there fails. */
export const NO_NET_SNMP = missing.length === 0 || process.env['CI'] === 'true' ? false
  : `NOT RUN: ${missing.join(', ')} not on PATH (apt-get install snmp snmptrapd)`

export interface User { name: string; auth: string; priv: string }

export const ENVIRONMENT = {
  ...process.env, MIBDIRS: path.resolve('mibs'), SNMPCONFPATH: '/nonexistent',
  MIBS: 'MIDCOM-MIB:NAT-MIB:NATV2-MIB:IF-MIB:SNMPv2-MIB:SNMP-NOTIFICATION-MIB',
}

export interface Said { status: number; out: string; err: string }

/** Runs a tool; `-Oqv` and the like stand in `args`. */
export function tool(name: string, args: readonly string[], env: NodeJS.ProcessEnv = ENVIRONMENT): Promise<Said> {
  return new Promise((resolve) => {
    execFile(name, args, { env, encoding: 'utf8', timeout: 60_000 }, (error, out, err) => {
      resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 255, out, err })
    })
  })
}

export function asUser({ name, auth, priv }: User, port: number): string[] {
  return ['-v3', '-l', 'authPriv', '-u', name, '-a', 'SHA-256', '-A', auth, '-x', 'AES', '-X', priv, '-r', '3', '-t', '5', `127.0.0.1:${port}`]
}

export interface TrapReceiver {
  child: ChildProcess
  /** What has come, a line each. */
  lines(): string[]
  /** Waits for a line that fits. */
  until(pattern: RegExp): Promise<string>
  stop(): void
}

/** `engineId` in hex, without 0x; of traps the sender's counts, of informs the receiver's own. */
export async function receiveTraps(folder: string, port: number, user: User, engineId: string): Promise<TrapReceiver> {
  const name = path.join(folder, `snmptrapd-${port}`)
  fs.mkdirSync(name)
  const create = (engine: string) => `createUser ${engine} ${user.name} SHA-256 "${user.auth}" AES "${user.priv}"\n`
  fs.writeFileSync(path.join(name, 'snmptrapd.conf'),
    `${create(`-e 0x${engineId}`)}${create('')}authUser log ${user.name} priv\nformat1 %V|%v\\n\nformat2 %V|%v\\n\n`)
  const child = spawn('snmptrapd', ['-f', '-n', '-Lo', '-On', '-C', '-c', path.join(name, 'snmptrapd.conf'), `udp:127.0.0.1:${port}`],
    { env: { ...ENVIRONMENT, SNMP_PERSISTENT_DIR: name, MIBS: '' }, stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (more: string) => { text += more })
  const lines = () => text.split('\n').filter((line) => line !== '')
  const until = async (pattern: RegExp) => {
    for (let i = 0; i < 300; i++) {
      const found = lines().find((line) => pattern.test(line))
      if (found !== undefined) return found
      await new Promise((resolve) => { setTimeout(resolve, 50) })
    }
    throw new Error(`no ${pattern.source} came: ${text}`)
  }
  await until(/NET-SNMP version/)
  return { child, lines, until, stop: () => { child.kill('SIGKILL') } }
}
