import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { digest } from './config.ts'
import { checkConfig, problemText } from './load.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pinhole-snmp-config-'))
after(() => rmSync(scratch, { recursive: true }))

const PASSWORDS = 'auth-password: abcdefgh, priv-password: abcdefgh'

/** What is wrong with a section `snmp`, as a file is told; `lines` stand below `midcom:`, `snmp` below `snmp:`. */
function faults(snmp: string[], lines: string[] = ['agents: [{name: a}]']): string[] {
  const text = ['midcom:', ...lines.map((line) => `  ${line}`), '  snmp:', ...snmp.map((line) => `    ${line}`)].join('\n')
  return checkConfig(text, scratch).problems.map((problem) => problemText('f', problem))
}

test('config: a whole SNMP door is taken', () => {
  assert.deepEqual(faults([
    'listen: [127.0.0.1:1161]', `users: [{name: u, agent: a, ${PASSWORDS}}]`, 'targets: [{name: t, address: 127.0.0.1:1162, user: u}]',
  ], ['enabled: true', 'state: s', 'agents: [{name: a}]']), [])
})

test('config: users of SNMP have names of at most 32 bytes, passwords of 8 characters, an agent or a group that exists', () => {
  const users = (...list: string[]) => ['users:', ...list.map((one) => `  - {${one}}`)]
  assert.deepEqual(faults(users(
    `name: ${'n'.repeat(33)}, agent: a, ${PASSWORDS}`, `name: u, ${PASSWORDS}`, `name: u, agent: b, group: g, ${PASSWORDS}`,
    'name: v, agent: a, auth-password: short, priv-password: abcdefgh', 'name: w, agent: a, auth-password: abcdefgh',
    `name: x, agent: a, ${PASSWORDS}, priv-password-file: p`, `name: y, agent: a, auth: MD5, ${PASSWORDS}`,
  )), [
    'f:5:16: midcom.snmp.users[0].name: the name has 33 bytes, and 32 are the most',
    'f:6:9: midcom.snmp.users[1]: the user is no agent and in no group, and would see nothing; add agent or group',
    "f:7:16: midcom.snmp.users[2].name: 'u' is the name of two users; midcom.snmp.users[1] has it already",
    "f:7:26: midcom.snmp.users[2].agent: there is no agent 'b'; did you mean a?",
    "f:7:36: midcom.snmp.users[2].group: there is no group 'g'; add it to midcom.snmp.groups",
    'f:8:44: midcom.snmp.users[3].auth-password: the password has 5 characters, and 8 are the least (RFC 3414 11.2)',
    'f:9:9: midcom.snmp.users[4]: priv-password is missing; add priv-password or priv-password-file',
    'f:10:99: midcom.snmp.users[5].priv-password-file: the user has priv-password already; remove one of the two',
    "f:11:35: midcom.snmp.users[6].auth: 'MD5' is none of SHA, SHA-224, SHA-256, SHA-384, SHA-512",
  ])
})

test('config: passwords may stand in files of their own, and do not show in the digest', () => {
  writeFileSync(join(scratch, 'good'), 'from a file\n')
  writeFileSync(join(scratch, 'short'), 'abc\n')
  const user = (rest: string) => `midcom: {agents: [{name: a}], snmp: {users: [{name: u, agent: a, auth-password: abcdefgh, ${rest}}]}}`
  const { config } = checkConfig(user('priv-password-file: good'), scratch)
  assert.deepEqual(config?.midcom.snmp.users[0]?.privPassword, Uint8Array.from(Buffer.from('from a file')))
  assert.equal(digest(config!), digest(checkConfig(user('priv-password: another one'), scratch).config!))
  const complaint = (rest: string) => checkConfig(user(rest), scratch).problems.map(({ message }) => message.replace(scratch, ''))
  assert.deepEqual(complaint('priv-password-file: short'), ['/short: the password has 3 characters, and 8 are the least (RFC 3414 11.2)'])
  assert.match(complaint('priv-password-file: absent')[0]!, /^\/absent: .*no such file/)
})

test('config: groups, views and targets of SNMP name what there is', () => {
  assert.deepEqual(faults([
    'groups: [{name: a}, {name: g, read: viev, write: view}, {name: g}]', 'views: [{name: view, include: [1.3.6.1, "rules-of:b", 1.3.x]}]',
    'targets: [{name: t, address: 127.0.0.1, user: nobody}, {name: t, user: nobody}]',
  ]), [
    "f:4:21: midcom.snmp.groups[0].name: 'a' is an agent, and its users are in a group of that name; write another",
    "f:4:41: midcom.snmp.groups[1].read: there is no view 'viev'; did you mean view?",
    "f:4:68: midcom.snmp.groups[2].name: 'g' is the name of two groups; midcom.snmp.groups[1] has it already",
    "f:5:45: midcom.snmp.views[0].include[1]: there is no agent 'b'; did you mean a?",
    "f:5:59: midcom.snmp.views[0].include[2]: '1.3.x' is not an object identifier; write one such as 1.3.6.1.2.1.171, with * for any number, or rules-of:NAME",
    "f:6:34: midcom.snmp.targets[0].address: '127.0.0.1' has no port; did you mean 127.0.0.1:162?",
    "f:6:51: midcom.snmp.targets[0].user: there is no user 'nobody'; add it to midcom.snmp.users",
    'f:6:60: midcom.snmp.targets[1]: address is missing; add address: 192.0.2.7:162',
    "f:6:67: midcom.snmp.targets[1].name: 't' is the name of two targets; midcom.snmp.targets[0] has it already",
    "f:6:76: midcom.snmp.targets[1].user: there is no user 'nobody'; add it to midcom.snmp.users",
  ])
})

test('config: an open SNMP door needs somebody who may come in, and a place for the count of its starts (RFC 3414 2.2)', () => {
  assert.deepEqual(faults(['listen: [127.0.0.1:1161]'], ['enabled: true']), [
    'f:4:13: midcom.snmp.listen: nobody could come in; add an entry to midcom.snmp.users',
    'f:4:13: midcom.snmp.listen: the SNMP engine must remember how often it has started (RFC 3414 2.2); set midcom.state, as in state: pinhole-state',
  ])
  assert.deepEqual(faults(['listen: [127.0.0.1]'], ['enabled: false']), [
    "f:4:14: midcom.snmp.listen[0]: '127.0.0.1' has no port; did you mean 127.0.0.1:1161?",
  ])
})

test('config: an engine identifier is hex of 5 to 32 bytes, not all alike (RFC 3411 5)', () => {
  const said = (text: string) => checkConfig(`midcom: {snmp: {engine-id: '${text}'}}`).problems.map(({ message }) => message)
  for (const text of ['', '0x8000000001', '80:00:00:00:01', '80007ed90500000001']) assert.deepEqual(said(text), [], text)
  assert.deepEqual(said('80000000'), ['an engine identifier has 5 to 32 bytes, and this one 4'])
  assert.deepEqual(said('8'), ['this is not hex'])
  assert.deepEqual(said('0000000000'), ['all bytes are alike (RFC 3411 5, SnmpEngineID)'])
})
