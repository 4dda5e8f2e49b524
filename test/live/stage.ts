/** What files of the lab have in common: a directory of their own, hosts that speak, and a box that tells at its end what it did. */
import assert from 'node:assert/strict'
import { spawnSync, type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { MAIN, obstacle, type Lab, type Place, type RunningBox } from './lab.ts'
import type { RunReport } from '../../src/app/run/report.ts'

/** Who is not root has to read the program that it becomes. */
export const others = spawnSync('setpriv', ['--reuid=nobody', '--regid=nogroup', '--clear-groups', 'test', '-r', MAIN]).status === 0 ? false
  : 'only root can read this checkout: no other user can run it'
export const PEER = path.resolve('build/test/live/peer.js')
/** Why there is no lab; null: there is one. */
export const found = obstacle()
if (found?.isFault === true && process.env.CI !== undefined) throw new Error(found.reason)
export const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'pinhole-live-'))
// A box that is not root any more reads its configuration and writes its report.
fs.chmodSync(dir, 0o777)
after(() => fs.rmSync(dir, { recursive: true }))

/** Configuration of a box whose agent `lab`, at the box itself, may ask for anything. */
export const MIDCOM_BOX = `interfaces:
  inside: {name: in0, addresses: [10.0.0.1/24]}
  outside: {name: out0, addresses: [203.0.113.1/24]}
  gateways: [203.0.113.254]
nat: {pool: [203.0.113.1]}
midcom:
  enabled: true
  wildcards: {internal: true, external: true}
  agents: [{name: lab, acts-for: ["*"]}]
  simco: {listen: [127.0.0.1:7626], loopback-agent: lab, challenge: false}
`

/** @param options that every box gets */
export function actorsOf(lab: () => Lab, ...options: string[]) {
  const peer = (where: Place, ...command: string[]) => lab().must(where, process.execPath, PEER, ...command).trim()
  const peerLater = async (where: Place, ...command: string[]) => (await lab().later(where, process.execPath, PEER, ...command)).stdout.trim()

  /** A server of the lab, once it listens. */
  async function serve(where: Place, ...command: string[]): Promise<ChildProcess> {
    const child = lab().start(where, process.execPath, PEER, ...command)
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { said += text })
    await new Promise<void>((resolve, reject) => {
      child.stdout!.once('data', () => resolve())
      child.once('close', () => reject(new Error(`${command.join(' ')} does not listen: ${said}`)))
    })
    return child
  }

  async function says(box: RunningBox, wanted: RegExp, seconds = 10): Promise<void> {
    for (let n = 0; n < 10 * seconds && !wanted.test(box.stderr()); n++) await sleep(100)
    assert.match(box.stderr(), wanted)
  }

  /** Runs `work` with a box, and gives its report, which has to have the form that docs promise. */
  async function withBox(args: string[], work: (box: RunningBox) => Promise<void> | void): Promise<RunReport> {
    const file = path.join(dir, `report-${Math.random()}.json`)
    const box = await lab().box(...args, ...options, '--report', file)
    try {
      await work(box)
    } catch (error) {
      console.error((await box.end()).stderr)
      throw error
    }
    const { status, stdout, stderr } = await box.end()
    assert.equal(status, 0, stdout + stderr)
    const report = JSON.parse(fs.readFileSync(file, 'utf8')) as RunReport
    const validate = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true })
      .compile(JSON.parse(fs.readFileSync('docs/run-report.schema.json', 'utf8')) as object)
    assert.ok(validate(report), JSON.stringify(validate.errors, null, 1))
    return report
  }

  return { peer, peerLater, serve, says, withBox }
}
