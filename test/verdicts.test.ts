/** Real captures with fragments, ICMP errors, odd TCP and malformed headers: verdict and reason of every packet. */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { test } from 'node:test'
import { parsePrefix } from '../src/app/config/address.ts'
import { checkConfig } from '../src/app/config/load.ts'
import { createExplainer, parseAsked } from '../src/app/explain/explain.ts'
import type { Explanation } from '../src/app/explain/explanation.ts'
import { replay } from '../src/app/replay/replay.ts'
import { VERDICTS, type Judged } from './verdicts.ts'

const shared = path.resolve('../shared/pcaps')
const absent = fs.existsSync(shared) ? false : `${shared} is not there: no verdict on a real capture was checked`

/** Tables as small as they may be: many boxes are made. Nothing here fills them. */
const { config } = checkConfig('limits: {flows: 64}')

function prefix(text: string) {
  const parsed = parsePrefix(text)
  assert.ok(parsed.ok, text)
  return parsed.value
}

async function verdicts({ capture, inside }: Judged): Promise<Explanation[]> {
  let lines = ''
  // The one filter that asks for nothing that a frame could lack.
  const explainer = createExplainer(parseAsked('len >= 0'), 'json', {
    write(text) { lines += text }, ready: () => Promise.resolve(), close: () => Promise.resolve(),
  })
  await replay({
    capture: path.join(shared, capture), config: config!, inside: inside?.map(prefix) ?? config!.inside, insideInterfaces: [], script: null, seed: 1, loops: 1,
    preload: false, pace: 0, outInside: undefined, outOutside: undefined, onProgress: null, stop: null, explainer,
  })
  return lines.trimEnd().split('\n').map((line) => JSON.parse(line) as Explanation)
}

test('verdicts: every packet of the captures gets the verdict and the reason that reading it gives', { skip: absent }, async (t) => {
  let packets = 0
  for (const judged of VERDICTS) {
    const found = await verdicts(judged)
    let next = 1
    for (const { from, to, verdict, why } of judged.rows) {
      assert.equal(from, next, `${judged.capture}: rows follow one another`)
      next = to + 1
      for (const e of found.slice(from - 1, to)) {
        const got = e.verdict === 'sent' ? 'sent' : e.reason?.name ?? e.verdict
        assert.equal(got, verdict, `${judged.capture}, packet ${e.packet}: ${e.came}\n  expected, because: ${why}\n  but: ${JSON.stringify(e.reason)}`)
        if (e.verdict === 'sent') assert.notEqual(e.to, e.side, `${judged.capture}, packet ${e.packet}`)
      }
    }
    assert.equal(next - 1, found.length, `${judged.capture}: rows for all packets`)
    packets += found.length
  }
  assert.ok(VERDICTS.length >= 20)
  t.diagnostic(`${VERDICTS.length} captures, ${packets} packets`)
})
