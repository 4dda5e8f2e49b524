/** The ClassBench rule sets of ../shared/classbench, with packets and the rules that were found for them by linear search. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { ruleKey, ruleSet, type RuleSet } from '../src/storage/classifier-testing.ts'
import { createPrng } from '../src/base/prng.ts'

export const SETS = ['acl1_1k', 'fw1_1k', 'ipc1_1k', 'acl1_10k', 'fw1_10k', 'ipc1_10k', 'ipc1_100k'] as const
const FOLDER = resolve(process.cwd(), '../shared/classbench')
export const setsAreHere = existsSync(FOLDER)

export interface ClassBenchSet extends RuleSet {
  /** The place of the first rule that matches, from 1, or 0. */
  expected: Int32Array
}

function lines(name: string): string[] {
  return gunzipSync(readFileSync(resolve(FOLDER, name))).toString().trimEnd().split('\n')
}

function prefix(text: string): [number, number] {
  const [address, bits] = text.split('/')
  return [address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0) | 0, Number(bits)]
}

/** Headers come in bursts in the file: here each is there once, in random order. */
export function readSet(name: typeof SETS[number]): ClassBenchSet {
  const rules = lines(`${name}.rules.gz`).map(line => {
    const [source, destination, sourcePorts, destinationPorts, protocol] = line.slice(1).split('\t')
    const [local, localBits] = prefix(source), [peer, peerBits] = prefix(destination)
    const [value, mask] = protocol.split('/').map(Number)
    const range = (text: string) => text.split(' : ').map(Number) as [number, number]
    return ruleKey({
      zones: 1, protocol: mask === 0 ? -1 : value, local: [local], localBits, peer: [peer], peerBits,
      localPorts: range(sourcePorts), peerPorts: range(destinationPorts),
    })
  })
  const expect = lines(`${name}.expect.gz`)
  const packets = [...new Map(lines(`${name}.trace.gz`).map((line, n) => {
    const fields = line.split('\t').slice(0, 5)
    return [fields.join(), [...fields, expect[n]].map(Number)]
  })).values()]
  const prng = createPrng(1)
  for (let n = packets.length - 1; n > 0; n--) {
    const other = (prng.next() >>> 0) % (n + 1)
    const kept = packets[n]
    packets[n] = packets[other]
    packets[other] = kept
  }
  return {
    ...ruleSet(rules, 0, prng), zones: new Uint8Array(packets.length), protocols: Uint8Array.from(packets, p => p[4]),
    locals: Int32Array.from(packets, p => p[0] | 0), peers: Int32Array.from(packets, p => p[1] | 0),
    ports: Int32Array.from(packets, p => p[2] << 16 | p[3]), expected: Int32Array.from(packets, p => p[5] + 1),
  }
}
