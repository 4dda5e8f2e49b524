/** The state table of docs/behaviour.md is read from the document, so that text and code cannot part. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ACK_FLAG, FIN, RST, SYN } from '../wire/tcp.ts'
import {
  DIR_IN, DIR_OUT, ESTABLISHED, EVENT, FIN_BOTH, FIN_IN, FIN_OUT, MID_IN, MID_OUT, NEXT, RESET, SYN_IN, SYN_OUT, isClosing,
  isEstablished, openingState,
} from './tcp-state.ts'

const STATES: Record<string, number> = {
  'SYN-OUT': SYN_OUT, 'SYN-IN': SYN_IN, 'MID-OUT': MID_OUT, 'MID-IN': MID_IN, ESTABLISHED, 'FIN-OUT': FIN_OUT, 'FIN-IN': FIN_IN,
  'FIN-BOTH': FIN_BOTH, RESET,
}
const COLUMNS = ['state', 'RST', 'SYN', 'FIN', 'other']
const text = readFileSync('docs/behaviour.md', 'utf8')

function readTable(): Map<string, Record<string, string>> {
  const lines = text.split('\n')
  const first = lines.findIndex((line) => line.replace(/\s/g, '') === `|${COLUMNS.join('|')}|`)
  assert.ok(first >= 0, 'the table has another head')
  const rows = new Map<string, Record<string, string>>()
  for (let at = first + 2; lines[at].startsWith('|'); at++) {
    const cells = lines[at].split('|').slice(1, -1).map((cell) => cell.trim())
    assert.equal(cells.length, COLUMNS.length, lines[at])
    rows.set(cells[0], Object.fromEntries(COLUMNS.map((name, i) => [name, cells[i]])))
  }
  return rows
}

/** State after a segment, by what a cell says. `was` is the state before, or null for a new flow; -1: no flow is opened. */
function meaning(cell: string, was: number | null, dir: number, ack: boolean): number {
  if (cell === 'not opened') return -1
  if (cell === 'same') {
    assert.ok(was !== null)
    return was
  }
  if (cell in STATES) return STATES[cell]
  const byAck = /^(?:SYN )?without ACK: (.*); with ACK: (.*)$/.exec(cell)
  if (byAck !== null) return meaning(ack ? byAck[2] : byAck[1], was, dir, ack)
  const ifAck = /^(.*) if ACK is set$/.exec(cell)
  if (ifAck !== null && ifAck[1] in STATES) return ack ? STATES[ifAck[1]] : meaning('same', was, dir, ack)
  const byDirection = /^(out|in): (.*)[;,] (out|in): (.*)$/.exec(cell)
  assert.ok(byDirection !== null && byDirection[1] !== byDirection[3], `a cell says "${cell}"`)
  const wanted = dir === DIR_OUT ? 'out' : 'in'
  return meaning(byDirection[1] === wanted ? byDirection[2] : byDirection[4], was, dir, ack)
}

function columnOf(flags: number): string {
  return (flags & RST) !== 0 ? 'RST' : (flags & SYN) !== 0 ? 'SYN' : (flags & FIN) !== 0 ? 'FIN' : 'other'
}

const nameOf = (state: number) => Object.keys(STATES).find((name) => STATES[name] === state) ?? String(state)
const table = readTable()

test('tcp-state: the table of docs/behaviour.md has every state, and no other', () => {
  assert.deepEqual([...table.keys()].sort(), ['new, from inside', 'new, from outside', ...Object.keys(STATES)].sort())
  assert.equal(new Set(Object.values(STATES)).size, 9)
})

for (const [row, cells] of table) {
  if (!(row in STATES)) continue
  // @req RFC7857 2
  test(`tcp-state: ${row} goes on as docs/behaviour.md says, by either direction and every combination of flags`, () => {
    const was = STATES[row]
    for (const dir of [DIR_OUT, DIR_IN]) {
      for (let flags = 0; flags < 256; flags++) {
        const next = NEXT[was << 4 | dir << 3 | EVENT[flags & 31]]
        const expected = meaning(cells[columnOf(flags)], was, dir, (flags & ACK_FLAG) !== 0)
        assert.equal(nameOf(next), nameOf(expected), `${dir === DIR_OUT ? 'out' : 'in'}, flags 0x${flags.toString(16)}`)
      }
    }
  })
}

test('tcp-state: a new flow begins as docs/behaviour.md says', () => {
  for (const [row, dir] of [['new, from inside', DIR_OUT], ['new, from outside', DIR_IN]] as const) {
    for (let flags = 0; flags < 256; flags++) {
      const expected = meaning(table.get(row)![columnOf(flags)], null, dir, (flags & ACK_FLAG) !== 0)
      // That a reset opens none is the engine's to see to: flows.test.ts.
      if (expected === -1) assert.ok((flags & RST) !== 0)
      else assert.equal(nameOf(openingState(dir, EVENT[flags & 31])), nameOf(expected), `${row}, flags 0x${flags.toString(16)}`)
    }
  }
})

test('tcp-state: the timers belong to the states that docs/behaviour.md names', () => {
  const plain = text.replace(/\s+/g, ' ')
  const named = (pattern: RegExp) => {
    const list = pattern.exec(plain)?.[1]
    assert.ok(list !== undefined, String(pattern))
    return list.split(/, | and /).map((name) => STATES[name]).sort()
  }
  const all = Object.values(STATES)
  assert.deepEqual(all.filter(isEstablished).sort(), named(/`tcp-established` in ([A-Z-]+(?:(?:, | and )[A-Z-]+)*)/))
  assert.deepEqual(all.filter(isClosing).sort(), named(/`tcp-closing` in ([A-Z-]+(?:(?:, | and )[A-Z-]+)*)/))
})
