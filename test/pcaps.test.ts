import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { CAPTURES, encodeCapture, record, SCRIPTED } from './pcaps.ts'

for (const [name, make] of Object.entries(CAPTURES)) {
  test(`${name}: the capture is what its source says, and the box makes of it what it always made`, () => {
    assert.deepEqual(readFileSync(`pcaps/${name}-in.pcap`), Buffer.from(encodeCapture(make())))
    for (const [what, text] of Object.entries(SCRIPTED[name] ?? {})) assert.equal(readFileSync(`pcaps/${name}-${what}.yaml`, 'utf8'), text)
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
  const scripts = Object.keys(SCRIPTED).flatMap((name) => [`${name}-config.yaml`, `${name}-script.yaml`])
  assert.deepEqual(readdirSync('pcaps').sort(), ['README.md', ...expected, ...scripts].sort())
  for (const name of Object.keys(CAPTURES)) assert.match(readme, new RegExp(`\\| ${name} \\|`))
})
