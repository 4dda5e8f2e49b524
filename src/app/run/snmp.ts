/** The SNMP door of a box, as its configuration says. */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { openEngineStore, type EngineStore } from '../../control/snmp/local-engine.ts'
import type { ModuleFactory } from '../../control/snmp/mib.ts'
import { createSnmpServer, remoteOf, SnmpConfigError, type SnmpLogRecord, type SnmpServer } from '../../control/snmp/server.ts'
import { Failure, STATUS } from '../cli/status.ts'
import type { Config } from '../config/config.ts'
import { composeSnmpAccess } from './snmp-access.ts'

export interface SnmpDoor {
  readonly server: SnmpServer
  /** As it stands in `ready:`, once it is open. */
  listen(): Promise<string[]>
}

const DESCRIPTION = 'Pinhole NAT and firewall'

/**
 * null: it is shut. Counts a start of the engine, on disk. `modules` are asked for only where it is open: those that watch rules
 * cost every transaction, of SIMCO too, more than half of its rate.
 */
export function openSnmp(
  { midcom }: Config, modules: () => readonly ModuleFactory[], log: (line: string) => void,
): SnmpDoor | null {
  const { snmp, stateDirectory } = midcom
  if (snmp.listen.length === 0 || stateDirectory === null) return null
  const server = create(midcom, openStore(stateDirectory, snmp.engineId), modules(), log)
  return {
    server,
    async listen() {
      try {
        const addresses = await server.listen()
        return addresses.map(({ address, port }) => `snmp ${remoteOf({ host: address, port })}`)
      } catch (error) {
        const { message } = error as Error, said = /^bind (E[A-Z0-9]+) (.*)$/.exec(message)
        const text = said === null ? message : `${said[2]} (${said[1]})`
        throw new Failure(STATUS.usage, `cannot open the snmp door: ${text}`, { cause: error })
      }
    },
  }
}

function openStore(directory: string, engineId: Uint8Array | null): EngineStore {
  try {
    return openEngineStore(directory, engineId, randomBytes)
  } catch (error) {
    throw new Failure(STATUS.usage, `midcom.state: ${(error as Error).message}`, { cause: error })
  }
}

function create(
  midcom: Config['midcom'], store: EngineStore, modules: readonly ModuleFactory[], log: (line: string) => void,
): SnmpServer {
  const { listen, users, targets, contact, name, location, limits } = midcom.snmp
  const password = (octets: Uint8Array) => Buffer.from(octets).toString('utf8')
  try {
    return createSnmpServer({
      listeners: listen, store, modules, limits, access: composeSnmpAccess(midcom),
      users: users.map(({ authPassword, privPassword, ...user }) => ({
        ...user, authPassword: password(authPassword), privPassword: password(privPassword),
      })),
      targets: targets.map(({ address, events, ...target }) => ({ ...target, ...address, isOn: events })),
      system: { description: DESCRIPTION, contact, name: name === '' ? hostname() : name, location },
      log: (record) => log(logLine(record)),
    })
  } catch (error) {
    if (error instanceof SnmpConfigError) throw new Failure(STATUS.usage, `midcom.snmp: ${error.message}`, { cause: error })
    // The start could not be counted.
    if ((error as NodeJS.ErrnoException).code !== undefined) {
      throw new Failure(STATUS.usage, `midcom.state: ${(error as Error).message}`, { cause: error })
    }
    throw error
  }
}

function logLine({ event, remote, user, detail }: SnmpLogRecord): string {
  return [`snmp: ${event}`, remote, user ?? '', detail ?? ''].filter((part) => part !== '').join(' ')
}
