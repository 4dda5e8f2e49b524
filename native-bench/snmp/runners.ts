/** Rows about SNMP: our engine in a process of its own, and snmpd; the same messages, or the same tools, for both. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { labTemplate } from '../../src/app/config/template.ts'
import { integer, NULL_VALUE, octets, text, unsigned32, type Varbind } from '../../src/control/snmp/mib.ts'
import { GET, SET } from '../../src/control/snmp/pdu.ts'
import type { Oid } from '../../src/control/snmp/oid.ts'
import { PINHOLE, ROOT, run, type Runner } from '../child.ts'
import { freePort, isInstalled, LOOPBACK } from '../midcom/servers.ts'
import type { Sample } from '../result.ts'
import { median } from '../statistics.ts'
import { meet, PASSWORD, PRIV_PASSWORD, sealMany, USER } from './manager.ts'
import type { RequestsParameters, SnmpRow, WalkParameters } from './rows.ts'

export const SNMP_DIRECTORY = join(ROOT, 'native-bench/snmp')
const LOAD = join(SNMP_DIRECTORY, 'load')
const NO_SNMPD = 'snmpd and its tools are not installed: apt-get install snmp snmpd'

interface Agent { port: number; stop: () => Promise<void> }

const running = new Set<ChildProcess>(), namespaces = new Set<string>()
// They end with the benchmark, whatever happens.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const name of namespaces) removeNamespace(name)
})

function started(child: ChildProcess, port: number): Agent {
  running.add(child)
  const gone = new Promise<void>(resolve => {
    child.once('exit', () => {
      running.delete(child)
      resolve()
    })
  })
  const stop = async () => {
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), 5000)
    await gone
    clearTimeout(killer)
  }
  return { port, stop }
}

/** midcomRuleTable; its rows of owner lab, group 1. */
const RULES: Oid = [1, 3, 6, 1, 2, 1, 171, 1, 1, 3, 1]
const cell = (column: number, rule: number): Oid => [...RULES, column, USER.length, ...Buffer.from(USER), 1, rule]
const OPER_STATUS = 5, STORAGE_TIME = 7

/** One SET that makes a rule: UDP from anywhere to one inside endpoint of its own. */
function ruleOf(rule: number): Varbind[] {
  return [
    { name: cell(27, rule), value: integer(4) }, { name: cell(STORAGE_TIME, rule), value: unsigned32(3600) },
    { name: cell(10, rule), value: integer(1) }, { name: cell(12, rule), value: unsigned32(17) },
    { name: cell(16, rule), value: octets(Uint8Array.of(10, 1, rule >> 8, rule & 255)) },
    { name: cell(18, rule), value: unsigned32(5000) },
    { name: cell(19, rule), value: octets(Uint8Array.of(0, 0, 0, 0)) }, { name: cell(20, rule), value: unsigned32(0) },
    { name: cell(26, rule), value: unsigned32(3600) }, { name: cell(4, rule), value: integer(2) },
  ]
}

/** A box of its own as `pinhole init --lab` makes one, with so many rules. */
async function ours(rows: number, directory: string): Promise<Agent> {
  const port = await freePort(), config = join(directory, 'lab.yaml'), file = join(directory, 'rules')
  writeFileSync(config, labTemplate().replace('listen: [127.0.0.1:1161]', `listen: [${LOOPBACK}:${port}]`)
    .replace('listen: [127.0.0.1:7626]', 'listen: []'))
  const box = [PINHOLE, 'run', '--simulate', '--quiet', '--config', config]
  const agent = started(spawn(process.execPath, box, { stdio: 'ignore' }), port)
  await sealMany(port, file, SET, id => ruleOf(id + 1), rows - 1)
  const { answered } = JSON.parse((await run(LOAD, [LOOPBACK, `${port}`, file, '16', '1'])).stdout) as LoadReport
  if (answered < rows - 1) throw new Error(`${answered} of ${rows} rules were made`)
  return agent
}

async function snmpd(directory: string, prefix: readonly string[] = []): Promise<Agent> {
  const port = await freePort(), config = join(directory, 'snmpd.conf'), state = join(directory, 'snmpd-state')
  mkdirSync(join(state, 'cert_indexes'), { recursive: true })
  const user = `createUser ${USER} SHA-256 ${PASSWORD} AES ${PRIV_PASSWORD}\nrwuser ${USER} priv\n`
  writeFileSync(config, `${user}agentAddress udp:${LOOPBACK}:${port}\n`)
  const [command, ...args] = [...prefix, 'snmpd', '-f', '-Ln', '-C', '-c', config, '-I', '-smux']
  const child = spawn(command!, args, { stdio: 'ignore', env: { ...process.env, MIBS: '', SNMP_PERSISTENT_DIR: state } })
  const agent = started(child, port)
  if (prefix.length === 0) await meet(port)
  return agent
}

const blank = { mean: null, counts: {}, bytesPerFlow: null }

interface LoadReport { answered: number; lost: number; reports: number; perSecond: number; p50: number; p99: number }

async function loaded(agent: Agent, directory: string, p: RequestsParameters, varbind: Varbind): Promise<Sample> {
  const file = join(directory, 'messages')
  try {
    await sealMany(agent.port, file, p.request === 'get' ? GET : SET, () => [varbind], p.count)
    const { stdout } = await run(LOAD, [LOOPBACK, `${agent.port}`, file, `${p.window}`, `${p.warm}`])
    const { answered, lost, reports, perSecond, p50, p99 } = JSON.parse(stdout) as LoadReport
    if (lost > 0 || reports > 0) throw new Error(`${lost} requests without an answer, ${reports} refused`)
    return { ...blank, value: 1e6 / perSecond, p99, packets: answered, figures: { perSecond, p50, p99 } }
  } finally {
    await agent.stop()
  }
}

function requestsRunner(p: RequestsParameters, directory: string): Runner {
  const middle = p.rows >> 1
  const object: Varbind = p.request === 'get' ? { name: cell(OPER_STATUS, middle), value: NULL_VALUE }
    : { name: cell(STORAGE_TIME, middle), value: unsigned32(3600) }
  const scalar: Varbind = p.request === 'get' ? { name: [1, 3, 6, 1, 2, 1, 1, 5, 0], value: NULL_VALUE }
    : { name: [1, 3, 6, 1, 2, 1, 1, 6, 0], value: text('somewhere') }
  return {
    ts: async () => loaded(await ours(p.rows, directory), directory, p, object),
    c: isInstalled('snmpd') ? async () => loaded(await snmpd(directory), directory, p, scalar) : null,
    check: null, note: isInstalled('snmpd') ? versionNote() : NO_SNMPD, end: () => {},
  }
}

function versionNote(): string {
  const said = spawnSync('snmpd', ['--version'], { encoding: 'utf8' }).stdout
  const version = /version:? +(\S+)/.exec(said)?.[1] ?? ''
  return `against snmpd ${version}: authPriv, SHA-256 and AES-128; SET of its sysLocation, walks of its inetCidrRouteTable`
}

/** A namespace with as many routes as there are to be rows, for the largest table that snmpd has by itself. */
function routes(rows: number, directory: string): { prefix: string[]; end: () => void } {
  const name = `pinhole-bench-${process.pid}`, batch = join(directory, 'routes')
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  ip('netns', 'add', name)
  namespaces.add(name)
  ip('-n', name, 'link', 'set', 'lo', 'up')
  writeFileSync(batch, Array.from({ length: rows }, (_, i) => `route add 10.1.${i >> 8}.${i & 255}/32 dev lo`).join('\n') + '\n')
  ip('-n', name, '-batch', batch)
  return { prefix: ['ip', 'netns', 'exec', name], end: () => removeNamespace(name) }
}

function removeNamespace(name: string): void {
  spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' })
  namespaces.delete(name)
}

/** Walks that fill caches and compile, and those that count: as many questions are asked by one walk as by a hundred bulk walks. */
const RUNS = { walk: [2, 1], bulkwalk: [6, 5] } as const

async function walked(agent: Agent, p: WalkParameters, oid: string, prefix: readonly string[] = []): Promise<Sample> {
  const args = [
    ...prefix, `snmp${p.tool}`, '-v3', '-l', 'authPriv', '-u', USER, '-a', 'SHA-256', '-A', PASSWORD, '-x', 'AES',
    '-X', PRIV_PASSWORD, '-r0', '-t20', '-On', '-m', '',
    ...p.tool === 'bulkwalk' ? [`-Cr${p.repetitions}`] : [], `udp:${LOOPBACK}:${agent.port}`, oid,
  ]
  const [warm, counted] = RUNS[p.tool], wallMs: number[] = []
  for (let n = 0; n < warm + counted; n++) {
    const walk = await run(args[0]!, args.slice(1))
    const lines = walk.stdout.trim().split('\n').length
    if (lines < p.rows) throw new Error(`${lines} of ${p.rows} rows: ${walk.stdout.slice(0, 200)}`)
    if (n >= warm) wallMs.push(walk.wallMs)
  }
  const value = median(wallMs)
  return { ...blank, value, p99: null, packets: p.rows, figures: { rowsPerSecond: p.rows / value * 1000 } }
}

const ROUTE_COLUMN = '.1.3.6.1.2.1.4.24.7.1.7'

function walkRunner(p: WalkParameters, directory: string): Runner {
  if (!isInstalled('snmpwalk')) return { ts: null as never, c: null, check: null, absent: NO_SNMPD, end: () => {} }
  const canSeparate = process.getuid?.() === 0 && spawnSync('ip', ['netns', 'list'], { stdio: 'ignore' }).status === 0
  const hasPeer = isInstalled('snmpd') && canSeparate
  return {
    ts: async () => {
      const agent = await ours(p.rows, directory)
      try {
        return await walked(agent, p, `.${[...RULES, OPER_STATUS].join('.')}`)
      } finally {
        await agent.stop()
      }
    },
    c: hasPeer ? async () => {
      const { prefix, end } = routes(p.rows, directory)
      try {
        const agent = await snmpd(directory, prefix)
        try {
          await new Promise(resolve => { setTimeout(resolve, 1500) })
          return await walked(agent, p, ROUTE_COLUMN, prefix)
        } finally {
          await agent.stop()
        }
      } finally {
        end()
      }
    } : null,
    check: null, note: hasPeer ? versionNote() : `${NO_SNMPD}, or this is not root`, end: () => {},
  }
}

export function snmpRunner(row: SnmpRow, directory: string): Runner {
  return row.kind === 'snmp-requests' ? requestsRunner(row.parameters, directory) : walkRunner(row.parameters, directory)
}
