import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseInstant } from '../config/quantity.ts'
import { problemText } from '../config/load.ts'
import { completeTuple, parseTuple, tupleText } from '../config/tuple.ts'
import { checkScript, loadScript, type Step } from './script.ts'

function good(text: string): Step[] {
  const { steps, problems } = checkScript(text)
  assert.deepEqual(problems, [])
  return steps!
}

function complaints(text: string): string[] {
  const { steps, problems } = checkScript(text)
  assert.equal(steps === null, problems.length > 0)
  return problems.map((problem) => problemText('f', problem).slice('f:'.length))
}

const PLAIN = {
  label: null, expect: null, rule: null, reservation: null, group: null, internal: null, external: null, lifetimeSec: 0, maxIdleSec: 0,
  direction: 'bidirectional', parity: 'any', service: 'any', protocol: 0, ports: 1, internalVersion: 0, externalVersion: 0, firewall: null,
}
const end = (address: string, prefixBits: number, port: number, range: number, version = 4) => ({ version, address, prefixBits, port, range })

test('script: every kind of step, and what is left out', () => {
  const steps = good(`
- {at: 0s, agent: lab, session: open}
- at: 12.4s
  agent: lab
  do: reserve
  protocol: udp
  ports: 2
  parity: even
  service: twice
  internal: 10.0.0.5:5004
  internal-version: 4
  external-version: 4
  lifetime: 30s
  as: media
  expect: ok
- {at: 13s, agent: lab, do: reserve, protocol: 47, ports: all}
- {at: 13s, agent: lab, do: enable, reservation: media, internal: 10.0.0.5:5004+2 udp, external: any, direction: inbound, parity: same, max-idle: never, as: call1}
- {at: 13s, agent: lab, do: enable, group: call1, internal: '[fd00::5]:80 tcp', external: 2001:db8::/32, lifetime: 1m, max-idle: 5s, expect: conflict}
- {at: 14s, agent: lab, do: disable, internal: 10.0.0.0/8, external: 198.51.100.7, as: attack}
- {at: 15s, agent: lab, do: lifetime, rule: attack, lifetime: 0s}
- {at: 15s, agent: lab, do: lifetime, rule: 77, lifetime: 2h}
- {at: 15s, agent: lab, do: list}
- {at: 15s, agent: lab, do: status, rule: call1}
- {at: 15s, agent: lab, do: group-lifetime, group: call1, lifetime: 9s}
- {at: 15s, agent: lab, do: group-list}
- {at: 15s, agent: lab, do: group-status, group: 3}
- {at: 1h, agent: lab, session: close}
`)
  const udp = { protocol: 17 }
  assert.deepEqual(steps, [
    { line: 2, atMs: 0, agent: 'lab', action: 'open' },
    {
      line: 3, atMs: 12_400, agent: 'lab', action: 'reserve', protocol: 17, ports: 2, parity: 'even', service: 'twice', lifetimeSec: 30, label: 'media',
      internal: { endpoint: end('10.0.0.5', 32, 5004, 1), protocol: null }, internalVersion: 4, externalVersion: 4, expect: 'ok',
    },
    { line: 16, atMs: 13_000, agent: 'lab', action: 'reserve', protocol: 47, ports: 0xffff, lifetimeSec: 3600 },
    {
      line: 17, atMs: 13_000, agent: 'lab', action: 'enable', reservation: { step: 1 }, internal: { endpoint: end('10.0.0.5', 32, 5004, 2), ...udp },
      external: { endpoint: end('*', 0, 0, 1, 0), protocol: null }, direction: 'inbound', parity: 'same', maxIdleSec: 0xffffffff, lifetimeSec: 3600,
      label: 'call1',
    },
    {
      line: 18, atMs: 13_000, agent: 'lab', action: 'enable', group: { step: 3 }, internal: { endpoint: end('fd00::5', 128, 80, 1, 6), protocol: 6 },
      external: { endpoint: end('2001:db8::', 32, 0, 1, 6), protocol: null }, lifetimeSec: 60, maxIdleSec: 5, expect: 'conflict',
    },
    {
      line: 19, atMs: 14_000, agent: 'lab', action: 'disable', internal: { endpoint: end('10.0.0.0', 8, 0, 1), protocol: null },
      external: { endpoint: end('198.51.100.7', 32, 0, 1), protocol: null }, lifetimeSec: 3600, label: 'attack',
    },
    { line: 20, atMs: 15_000, agent: 'lab', action: 'lifetime', rule: { step: 5 } },
    { line: 21, atMs: 15_000, agent: 'lab', action: 'lifetime', rule: { number: 77 }, lifetimeSec: 7200 },
    { line: 22, atMs: 15_000, agent: 'lab', action: 'list' },
    { line: 23, atMs: 15_000, agent: 'lab', action: 'status', rule: { step: 3 } },
    { line: 24, atMs: 15_000, agent: 'lab', action: 'group-lifetime', group: { step: 3 }, lifetimeSec: 9 },
    { line: 25, atMs: 15_000, agent: 'lab', action: 'group-list' },
    { line: 26, atMs: 15_000, agent: 'lab', action: 'group-status', group: { number: 3 } },
    { line: 27, atMs: 3_600_000, agent: 'lab', action: 'close' },
  ].map((step) => ({ ...PLAIN, ...step })))
  assert.deepEqual(good('[]'), [])
})

const FAULTY: [what: string, text: string, expected: string[]][] = [
  ['nothing', '', ['1:1: a list of steps is needed here; write `- at: 1s`, and below it, indented, `agent: NAME` and `do: enable`']],
  ['settings in place of steps', 'at: 1s\n', ['1:1: a list of steps is needed here; write `- at: 1s`, and below it, indented, `agent: NAME` and `do: enable`']],
  ['a word in place of a step', '- enable\n', ['1:3: [0]: a step is needed here; write `- at: 1s`, and below it, indented, `agent: NAME` and `do: enable`']],
  ['a step that does nothing', '- {at: 1s, agent: lab}\n',
    ['1:3: [0]: the step does nothing; add do: reserve | enable | disable | lifetime | list | status | group-lifetime | group-list | group-status, or session: open | close, or firewall: FILE']],
  ['a slip in what it does', '- {at: 1s, agent: lab, sesion: open}\n- {at: 1s, agent: lab, do: enabel}\n- {at: 1s, agent: lab, do: open}\n- {at: 1s, agent: lab, session: shut}\n', [
    '1:24: [0].sesion: no such setting; did you mean session?',
    "2:28: [1].do: 'enabel' is none of reserve, enable, disable, lifetime, list, status, group-lifetime, group-list, group-status; did you mean enable?",
    "3:28: [2].do: 'open' is none of reserve, enable, disable, lifetime, list, status, group-lifetime, group-list, group-status",
    "4:33: [3].session: 'shut' is none of open, close"]],
  ['a section in place of a word', '- {at: 1s, agent: lab, do: {a: 1}}\n- {at: 1s, agent: lab, do: list, expect: [ok]}\n', [
    '1:28: [0].do: a section is none of reserve, enable, disable, lifetime, list, status, group-lifetime, group-list, group-status',
    '2:42: [1].expect: one of ok, not-authorized-for-transaction, transaction-not-supported, session-not-open and 28 more is needed here, not a list; write ok']],
  ['two things at once', '- {at: 1s, agent: lab, do: list, session: open}\n', ['1:34: [0].session: the step does two things; make two steps of it']],
  ['what is missing', '- do: enable\n', [
    '1:3: [0]: at is missing; add at: 12.4s', '1:3: [0]: agent is missing; add agent: lab', '1:3: [0]: internal is missing; add internal: 10.0.0.5:5004+2 udp',
    '1:3: [0]: external is missing; add external: 198.51.100.7:6000+2']],
  ['a setting of another kind of step', '- {at: 1s, agent: lab, do: list, lifetime: 3s}\n', ['1:34: [0].lifetime: no such setting; known in [0]: at, agent, do, as, expect']],
  ['a setting that is misspelt', '- {at: 1s, agent: lab, do: lifetime, rules: 1, lifetime: 3s}\n', [
    '1:3: [0]: rule is missing; add rule: call1', '1:38: [0].rules: no such setting; did you mean rule?']],
  ['times', '- {at: 1, agent: lab, do: list}\n- {at: 1.0005s, agent: lab, do: list}\n- {at: 2 minutes, agent: lab, do: list}\n', [
    '1:8: [0].at: a time is needed here, not 1; did you mean 1s?',
    "2:8: [1].at: '1.0005s' is not a whole number of milliseconds; did you mean 1s1ms?",
    "3:8: [2].at: '2 minutes' is not a duration; did you mean 2m?"]],
  ['time that runs backwards', '- {at: 2s, agent: lab, do: list}\n- {at: 1s, agent: lab, do: list}\n',
    ['2:8: [1].at: this is before the step above; put the steps in the order of their times']],
  ['endpoints', '- {at: 1s, agent: lab, do: disable, internal: 10.0.0.5:5005-5004, external: 10.0.0.1/8}\n- {at: 1s, agent: lab, do: disable, internal: 10.0.0.5 tpc, external: fd00::1 udp x}\n', [
    "1:47: [0].internal: '10.0.0.5:5005-5004' is not an endpoint: range of ports runs backwards; write one such as 10.0.0.5:5004+2 udp, 198.51.100.0/24 or any",
    "1:77: [0].external: '10.0.0.1/8' is not an endpoint: bits are set after the prefix; write one such as 10.0.0.5:5004+2 udp, 198.51.100.0/24 or any",
    "2:47: [1].internal: 'tpc' is not a protocol: udp, tcp, another name such as gre, any, or a number from 0 to 255 expected",
    "2:71: [1].external: 'fd00::1 udp x' is not an address tuple: 'x' is too much; write one such as 10.0.0.5:5004+2 udp, 198.51.100.0/24 or any"]],
  ['an endpoint that YAML takes for a list', '- {at: 1s, agent: lab, do: disable, internal: [fd00::5], external: any}\n',
    ['1:47: [0].internal: an address tuple is needed here, not a list; put quotes around it']],
  ['ends of two versions', '- {at: 1s, agent: lab, do: disable, internal: 10.0.0.1, external: fd00::1}\n', ['1:67: [0].external: one end is IPv4 and the other IPv6']],
  ['references', `- {at: 1s, agent: lab, do: disable, internal: any, external: 10.0.0.1, as: block}
- {at: 1s, agent: lab, do: status, rule: blok}
- {at: 1s, agent: lab, do: status, rule: later}
- {at: 1s, agent: lab, do: group-status, group: block}
- {at: 1s, agent: lab, do: reserve, protocol: udp, as: later}
- {at: 1s, agent: lab, do: reserve, protocol: udp, as: later}
- {at: 1s, agent: lab, do: reserve, protocol: udp, as: '12'}
`, [
    '2:42: [1].rule: no step before has `as: blok`; did you mean block?', '3:42: [2].rule: no step before has `as: later`',
    '4:49: [3].group: a disable rule is in no group', "6:56: [5].as: 'later' is the name of another step",
    '7:56: [6].as: a number alone is the number of a rule; begin the name with a letter']],
  ['values', '- {at: 1s, agent: lab, do: reserve, protocol: udp, ports: some, parity: odd-ish, internal-version: 5, lifetime: 13d, expect: okay}\n', [
    "1:59: [0].ports: 'some' is not a count; write a whole number, with k for 1024 or M for 1048576 if you like",
    "1:73: [0].parity: 'odd-ish' is none of any, odd, even",
    "1:100: [0].internal-version: 5 is none of 4, 6; did you mean 4?",
    '1:113: [0].lifetime: 13d is too long (1s to 12d); write 12d',
    "1:126: [0].expect: 'okay' is none of the 32 that are known here; write one such as ok, not-authorized-for-transaction, transaction-not-supported"]],
  ['what YAML itself refuses', '- at: "1s\n', ['2:1: a quote is not closed']],
]

for (const [what, text, expected] of FAULTY) {
  test(`script: refused at its place: ${what}`, () => assert.deepEqual(complaints(text), expected))
}

test('script: an end takes from the other what it does not say', () => {
  const tuple = (text: string, other: string | null = null) => {
    const read = (written: string) => {
      const parsed = parseTuple(written)
      if (!parsed.ok) throw new Error(parsed.message)
      return parsed.value
    }
    return tupleText(completeTuple(read(text), other === null ? null : read(other)))
  }
  for (const [written, other, expected] of [
    ['10.0.0.5:5004+2 udp', null, '10.0.0.5:5004-5005 udp'], ['10.0.0.5:5004-5005', '198.51.100.7 tcp', '10.0.0.5:5004-5005 tcp'], ['any', 'fd00::1 udp', 'any udp'],
    ['10.0.0.0/8', null, '10.0.0.0/8'], ['[fd00::]:*', null, 'fd00::'], ['any:53', '10.0.0.1:1 udp', 'any:53 udp'], ['10.0.0.1 gre', null, '10.0.0.1 gre'],
  ] as const) assert.equal(tuple(written, other), expected)
  assert(!parseTuple('fd00::1:5+3 17').ok, 'IPv6 with a port needs brackets')
  const parsed = parseTuple('any')
  assert(parsed.ok)
  const six = parseTuple('[fd00::1]:5+3 17')
  assert(six.ok)
  assert.deepEqual(completeTuple(parsed.value, six.value), { version: 6, word0: 0, word1: 0, word2: 0, word3: 0, prefixBits: 0, protocol: 17, port: 0, range: 3 })
})

test('script: an instant is whole milliseconds, with a fraction or in several units', () => {
  for (const [text, ms] of [['12.4s', 12_400], ['0s', 0], ['1.5h', 5_400_000], ['2m30s', 150_000], ['0.001s', 1], ['1.001001d', 86_486_486.4]] as const) {
    const parsed = parseInstant(text)
    assert.deepEqual(parsed.ok ? parsed.value : 'refused', Number.isInteger(ms) ? ms : 'refused', text)
  }
  fc.assert(fc.property(fc.integer({ min: 0, max: 10 ** 12 }), (ms) => {
    const parsed = parseInstant(`${Math.floor(ms / 1000)}.${String(ms % 1000).padStart(3, '0')}s`)
    assert(parsed.ok && parsed.value === ms)
  }))
})

test('script: no text makes the checker throw, and every problem has a place in it', () => {
  const piece = fc.constantFrom('- ', 'at: 1s', 'agent: a', 'do: ', 'enable', 'reserve', 'list', 'session: open', 'internal: ', 'external: ', '10.0.0.1:5+2 udp', 'any', '[', ']',
    '{', '}', ', ', ': ', '\n', '\n  ', '\n- ', 'as: x', 'rule: x', 'group: x', 'lifetime: 0s', 'protocol: udp', '1', 'null', '"', "'", '&a', '*a')
  fc.assert(fc.property(fc.array(piece, { maxLength: 30, size: 'max' }).map((parts) => parts.join('')), (text) => {
    const lines = text.split('\n').length
    for (const { line, column, message } of checkScript(text).problems) {
      assert(line >= 1 && line <= lines && column >= 1, `${line}:${column} in ${JSON.stringify(text)}`)
      assert(!/undefined|\[object/.test(message), message)
    }
  }), { numRuns: 2000 })
})

test('script: a file that is not there is told as a script, not as a configuration', () => {
  assert.throws(() => loadScript('no/such/script.yaml'), {
    code: 'config-unreadable', message: 'no/such/script.yaml: there is no such file; docs/script.md tells how to write one',
  })
})
