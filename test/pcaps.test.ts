import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { CAPTURES, encodeCapture, record } from './pcaps.ts'

for (const [name, make] of Object.entries(CAPTURES)) {
  test(`${name}: the capture is what its source says, and the box makes of it what it always made`, () => {
    assert.deepEqual(readFileSync(`pcaps/${name}-in.pcap`), Buffer.from(encodeCapture(make())))
    const folder = mkdtempSync(join(tmpdir(), 'pinhole-pcaps-'))
    try {
      record('pcaps', folder, name)
      for (const side of ['outside', 'inside']) {
        const file = `${name}-${side}-out.pcapng`
        assert.deepEqual(readFileSync(join(folder, file)), readFileSync(join('pcaps', file)), file)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
}

test('pcaps/ holds nothing but captures made here and their README, which has a row for each', () => {
  const readme = readFileSync('pcaps/README.md', 'utf8')
  const expected = Object.keys(CAPTURES).flatMap((name) => [`${name}-in.pcap`, `${name}-inside-out.pcapng`, `${name}-outside-out.pcapng`])
  assert.deepEqual(readdirSync('pcaps').sort(), ['README.md', ...expected].sort())
  for (const name of Object.keys(CAPTURES)) assert.match(readme, new RegExp(`\\| ${name} \\|`))
})
