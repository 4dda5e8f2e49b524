/** The settings of the SNMP door, complete. What each means stands in snmp.ts. */
import type { AuthName, PrivName } from '../../control/snmp/keys.ts'
import type { Subtree } from './snmp-values.ts'
import type { Endpoint } from './values.ts'

export interface SnmpConfig {
  listen: Endpoint[]
  /** null: the one that the engine has had, or a new one. */
  engineId: Uint8Array | null
  contact: string
  /** Empty: the name of the machine. */
  name: string
  location: string
  users: SnmpUserConfig[]
  groups: { name: string; read: string | null; write: string | null; notify: string | null }[]
  views: { name: string; include: Subtree[]; exclude: Subtree[] }[]
  targets: SnmpTargetConfig[]
  limits: { messageBytes: number; varbinds: number; queuedMessages: number; queuedNotifications: number; rememberedSets: number }
}

export interface SnmpUserConfig {
  name: string
  agent: string | null
  /** null: the group of its agent. */
  group: string | null
  auth: AuthName
  /** UTF-8. */
  authPassword: Uint8Array
  priv: PrivName
  privPassword: Uint8Array
}

export interface SnmpTargetConfig {
  name: string
  address: Endpoint
  user: string
  type: 'trap' | 'inform'
  timeoutMs: number
  retries: number
  events: boolean
}
