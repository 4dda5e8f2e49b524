/** `pinhole classify` and the programs of `baseline/classify` on the same files; each must give the right answers. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { node, PINHOLE, ROOT, run, type Runner } from '../child.ts'
import type { Sample } from '../result.ts'
import type { ClassifyReport } from '../../src/app/classify/report.ts'
import { DPDK_NAME, type ClassifyParameters } from './rows.ts'
import { hasSet, NO_SETS, writeSet } from './sets.ts'

const DIRECTORY = join(ROOT, 'native-bench/baseline/classify')
const TUPLE_MERGE = join(DIRECTORY, 'tuplemerge'), DPDK = join(DIRECTORY, 'dpdkacl')
const NO_DPDK = 'DPDK is not installed: apt-get install libdpdk-dev pkg-config'

interface NativeOutput {
  rules: number
  headers: number
  buildMs: number
  bytesPerRule: number
  lookupsPerSecond: { median: number }
}

interface Peers { tupleMerge: boolean; dpdk: boolean; note: string }
let peers: Peers | null = null

/** Built once, when the first row needs them. */
function builtPeers(): Peers {
  if (peers !== null) return peers
  try {
    execFileSync('make', ['-s', '-C', DIRECTORY], { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
  } catch (error) {
    const why = (error as Error).message.split('\n')[1] ?? ''
    return peers = { tupleMerge: false, dpdk: false, note: `the C++ programs cannot be built: ${why}` }
  }
  const dpdk = existsSync(DPDK)
  peers = { tupleMerge: true, dpdk, note: dpdk ? `DPDK ${dpdkVersion()}, librte_acl, scalar` : NO_DPDK }
  return peers
}

function dpdkVersion(): string {
  return execFileSync('pkg-config', ['--modversion', 'libdpdk'], { encoding: 'utf8' }).trim()
}

const nsALookup = (perSecond: number) => 1e9 / perSecond

export function classifyRunner(p: ClassifyParameters, directory: string): Runner {
  const nothing = () => Promise.reject(new Error(NO_SETS))
  if (!hasSet(p.set)) return { ts: nothing, c: null, check: null, absent: NO_SETS, end: () => {} }
  const { tupleMerge, dpdk, note } = builtPeers()
  const { rules, headers, answers } = writeSet(p.set, directory, p.seed)
  const written = join(directory, 'set.answers')

  function checkAnswers(of: string): void {
    if (readFileSync(written, 'utf8') !== answers) throw new Error(`${of} answers otherwise than a linear search`)
    rmSync(written)
  }

  async function native(program: string, name: string): Promise<NativeOutput> {
    const { stdout } = await run(program, [rules, headers, written, `${p.rounds}`])
    checkAnswers(name)
    return JSON.parse(stdout) as NativeOutput
  }

  const blank = { p99: null, mean: null, bytesPerFlow: null }
  return {
    ts: async (): Promise<Sample> => {
      const { stdout } = await node(PINHOLE, 'classify', rules, headers, '--answers', written, '--updates', `${p.updates}`,
        '--batch', `${p.batch}`, '--rounds', `${p.rounds}`, '--seed', `${p.seed}`, '--json')
      checkAnswers('pinhole')
      const { rules: { count, buildMs, bytesPerRule }, packets, lookupsPerSecond, updates } = JSON.parse(stdout) as ClassifyReport
      const { stdout: other } = await node(PINHOLE, 'classify', rules, headers, '--answers', written, '--engine', 'typescript',
        '--batch', `${p.batch}`, '--rounds', `${p.rounds}`, '--seed', `${p.seed}`, '--json')
      checkAnswers('pinhole in TypeScript')
      const typescript = (JSON.parse(other) as ClassifyReport).lookupsPerSecond.median
      return {
        ...blank, value: nsALookup(lookupsPerSecond.median), packets: packets.count,
        counts: { rules: count, headers: packets.count },
        figures: {
          rules: count, buildMs, bytesPerRule, ofStatic: updates!.ofStatic.median, updates: updates!.updatesPerSecond,
          typescriptNs: nsALookup(typescript),
        },
      }
    },
    c: !tupleMerge ? null : async (): Promise<Sample> => {
      const { rules: count, headers: many, buildMs, bytesPerRule, lookupsPerSecond } = await native(TUPLE_MERGE, 'tuplemerge')
      const sample: Sample = {
        ...blank, value: nsALookup(lookupsPerSecond.median), counts: { rules: count, headers: many }, packets: many,
        figures: { buildMs, bytesPerRule },
      }
      if (!dpdk) return sample
      const other = await native(DPDK, 'DPDK')
      return {
        ...sample, others: { [DPDK_NAME]: nsALookup(other.lookupsPerSecond.median) },
        figures: { ...sample.figures, dpdkBuildMs: other.buildMs, dpdkBytesPerRule: other.bytesPerRule },
      }
    },
    check: null, note, inputs: [rules, headers],
    end: () => { for (const file of [rules, headers, written]) rmSync(file, { force: true }) },
  }
}
