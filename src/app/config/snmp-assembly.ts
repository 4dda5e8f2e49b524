/** From settings that have been found good to `SnmpConfig`. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { reader } from './reader.ts'
import type { SnmpConfig, SnmpTargetConfig, SnmpUserConfig } from './snmp-config.ts'
import { parsePassword, type Subtree } from './snmp-values.ts'
import type { Endpoint } from './values.ts'

export function assembleSnmp(data: unknown, folder: string): SnmpConfig {
  const own = (data as { midcom?: { snmp?: unknown } | null } | null)?.midcom?.snmp ?? {}
  const snmp = reader(own, 'midcom.snmp.')
  return {
    listen: snmp.list<Endpoint>('listen')!,
    engineId: snmp.value('engine-id'),
    contact: snmp.plain('contact'), name: snmp.plain('name'), location: snmp.plain('location'),
    users: snmp.plain<unknown[]>('users').map((entry) => assembleUser(entry, folder)),
    groups: snmp.plain<unknown[]>('groups').map((entry) => {
      const { plain: its } = reader(entry, 'midcom.snmp.groups[].')
      const view = (path: string) => its<string | undefined>(path) ?? null
      return { name: its('name'), read: view('read'), write: view('write'), notify: view('notify') }
    }),
    views: snmp.plain<unknown[]>('views').map((entry) => {
      const its = reader(entry, 'midcom.snmp.views[].')
      return { name: its.plain('name'), include: its.list<Subtree>('include') ?? [], exclude: its.list<Subtree>('exclude') ?? [] }
    }),
    targets: snmp.plain<unknown[]>('targets').map(assembleTarget),
    limits: {
      messageBytes: snmp.value('limits.message-bytes'), varbinds: snmp.value('limits.varbinds'),
      queuedMessages: snmp.value('limits.queued-messages'), queuedNotifications: snmp.value('limits.queued-notifications'),
      rememberedSets: snmp.value('limits.remembered-sets'),
    },
  }
}

/** The password that a file holds, without the end of its line. Throws an Error that says what is wrong. */
export function readPassword(path: string): Uint8Array {
  const parsed = parsePassword(readFileSync(path, 'utf8').replace(/\r?\n$/, ''))
  if (!parsed.ok) throw new Error(`${path}: ${parsed.message}`)
  return parsed.value
}

function assembleUser(entry: unknown, folder: string): SnmpUserConfig {
  const { plain, value } = reader(entry, 'midcom.snmp.users[].')
  const password = (path: string) => plain(path) !== undefined ? value<Uint8Array>(path)
    : readPassword(resolve(folder, plain<string>(`${path}-file`)))
  return {
    name: plain('name'), agent: plain<string | undefined>('agent') ?? null, group: plain<string | undefined>('group') ?? null,
    auth: plain('auth'), authPassword: password('auth-password'), priv: plain('priv'), privPassword: password('priv-password'),
  }
}

function assembleTarget(entry: unknown): SnmpTargetConfig {
  const { plain, value } = reader(entry, 'midcom.snmp.targets[].')
  return {
    name: plain('name'), address: value('address'), user: plain('user'), type: plain('type'), timeoutMs: value('timeout'),
    retries: value('retries'), events: plain('events'),
  }
}
