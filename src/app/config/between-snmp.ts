/** What no schema can say about the SNMP door: users, groups, views and targets name each other, and agents. */
import { resolve } from 'node:path'
import { systemReason } from '../../phy/capture-error.ts'
import { pathOf, type Found } from './document.ts'
import { nearest } from './nearest.ts'
import { setting } from './schema.ts'
import { readPassword } from './snmp-assembly.ts'
import { RULES_OF } from './snmp-values.ts'

/** SnmpAdminString (SIZE(1..32)), and the owner of a rule (RFC 5190). */
const MOST_NAME_BYTES = 32

interface Entry { entry: unknown; pointer: string; name: unknown }

/** Reports what is wrong with the section; `found` says where. */
export function betweenSnmp(data: unknown, folder: string, found: Found): void {
  const entries = (kind: string): Entry[] => {
    const list = setting(data, `midcom.snmp.${kind}`)
    return (Array.isArray(list) ? list : []).map((entry: unknown, i) => {
      const pointer = `/midcom/snmp/${kind}/${i}`
      return { entry, pointer, name: setting(entry, 'name', `midcom.snmp.${kind}[].`) }
    })
  }
  const users = entries('users'), groups = entries('groups'), views = entries('views'), targets = entries('targets')
  const configured = setting(data, 'midcom.agents')
  const agents = (Array.isArray(configured) ? configured : []).map((entry: unknown) => setting(entry, 'name', 'midcom.agents[].'))
  const named = ({ entry, pointer }: Entry, kind: string, key: string, known: readonly unknown[], what: string) => {
    const name = setting(entry, key, `midcom.snmp.${kind}[].`)
    if (typeof name !== 'string' || known.includes(name)) return
    found([`${pointer}/${key}`], `there is no ${what} '${name}'`, suggest(name, known, what))
  }

  for (const [what, list] of [['users', users], ['groups', groups], ['views', views], ['targets', targets]] as const) {
    names(what, list, found)
  }
  for (const user of users) {
    named(user, 'users', 'agent', agents, 'agent')
    named(user, 'users', 'group', groups.map(({ name }) => name), 'group')
    const agent = setting(user.entry, 'agent', USER), group = setting(user.entry, 'group', USER)
    if (agent === undefined && group === undefined) {
      found([user.pointer], 'the user is no agent and in no group, and would see nothing', 'add agent or group')
    }
    if (typeof agent === 'string' && Buffer.byteLength(agent) > MOST_NAME_BYTES) {
      found([`${user.pointer}/agent`], `an owner has at most ${MOST_NAME_BYTES} bytes in the MIDCOM-MIB`)
    }
    for (const key of ['auth-password', 'priv-password']) password(user, key, folder, found)
  }
  for (const group of groups) {
    if (agents.includes(group.name)) {
      const message = `'${String(group.name)}' is an agent, and its users are in a group of that name`
      found([`${group.pointer}/name`], message, 'write another')
    }
    for (const key of ['read', 'write', 'notify']) named(group, 'groups', key, views.map(({ name }) => name), 'view')
  }
  for (const { entry, pointer } of views) {
    for (const key of ['include', 'exclude']) {
      const list = setting(entry, key, 'midcom.snmp.views[].')
      for (const [i, text] of (Array.isArray(list) ? list : []).entries()) {
        const owner = typeof text === 'string' && text.startsWith(RULES_OF) ? text.slice(RULES_OF.length) : null
        if (owner !== null && !agents.includes(owner)) {
          found([`${pointer}/${key}/${i}`], `there is no agent '${owner}'`, suggest(owner, agents, 'agent'))
        }
      }
    }
  }
  for (const target of targets) named(target, 'targets', 'user', users.map(({ name }) => name), 'user')

  const listen = setting(data, 'midcom.snmp.listen')
  if (setting(data, 'midcom.enabled') !== true || !Array.isArray(listen) || listen.length === 0) return
  if (users.length === 0) found(['/midcom/snmp/listen'], 'nobody could come in', 'add an entry to midcom.snmp.users')
  if (setting(data, 'midcom.state') === '') {
    found(['/midcom/state', '/midcom/snmp/listen'], 'the SNMP engine must remember how often it has started (RFC 3414 2.2)',
      'set midcom.state, as in state: pinhole-state')
  }
}

const USER = 'midcom.snmp.users[].'

function suggest(written: string, known: readonly unknown[], what: string): string {
  const near = nearest(written, known.filter((name) => typeof name === 'string'))
  return near === null ? `add it to midcom.${what === 'agent' ? '' : 'snmp.'}${what}s` : `did you mean ${near}?`
}

function names(what: string, list: readonly Entry[], found: Found): void {
  for (const [i, { name, pointer }] of list.entries()) {
    if (typeof name !== 'string') continue
    const bytes = Buffer.byteLength(name), first = list.findIndex((other) => other.name === name)
    if (bytes > MOST_NAME_BYTES) found([`${pointer}/name`], `the name has ${bytes} bytes, and ${MOST_NAME_BYTES} are the most`)
    if (first < i) {
      found([`${pointer}/name`], `'${name}' is the name of two ${what}`, `${pathOf(list[first]!.pointer)} has it already`)
    }
  }
}

/** Written here or in a file, and not in both. */
function password({ entry, pointer }: Entry, key: string, folder: string, found: Found): void {
  const written = setting(entry, key, USER), file = setting(entry, `${key}-file`, USER)
  if (written === undefined && file === undefined) found([pointer], `${key} is missing`, `add ${key} or ${key}-file`)
  else if (written !== undefined && file !== undefined) {
    found([`${pointer}/${key}-file`], `the user has ${key} already`, 'remove one of the two')
  } else if (typeof file === 'string') {
    try {
      readPassword(resolve(folder, file))
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      const text = code === undefined ? message : `${resolve(folder, file)}: ${systemReason(error as NodeJS.ErrnoException)}`
      found([`${pointer}/${key}-file`], text)
    }
  }
}
