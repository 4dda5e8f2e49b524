/** What the SNMP door of a box serves beside the engine's own modules, out of its parts: MIDCOM-MIB, NAT-MIB, NATV2-MIB, IF-MIB. */
import { counterIndex, COUNTERS } from '../../channel/counters.ts'
import { createBacklog } from '../../control/snmp/backlog.ts'
import { midcomMib } from '../../control/snmp/midcom/module.ts'
import type { ModuleFactory } from '../../control/snmp/mib.ts'
import { createBinds } from '../../control/snmp/nat/binds.ts'
import { interfacesExtensionMib, interfacesMib, type InterfaceFigures } from '../../control/snmp/nat/interfaces.ts'
import { natMib, natv2Mib, type NatSettings } from '../../control/snmp/nat/modules.ts'
import { TRADITIONAL, TWICE, type PolicyCore } from '../../policy/api.ts'
import type { Journal } from '../../policy/journal.ts'
import type { Config } from '../config/config.ts'
import type { PacketPath } from './path.ts'
import type { Turns } from './turns.ts'

/** Rows without a rule of one owner: many more than a manager has under way, few enough for all managers. */
const IDLE_ROWS_PER_OWNER = 1024
/** By ifIndex, from 1 on. */
const INTERFACES = ['inside', 'outside'] as const
const MOST_MTU = 65_535

export interface MibParts {
  config: Config
  path: Pick<PacketPath, 'counters' | 'refresh'>
  core: PolicyCore
  turns: Turns
  journal: Journal | null
  /** Milliseconds of the calendar. */
  wallMs(): number
  log(line: string): void
}

export function composeMibs({ config, path, core, turns, journal, wallMs, log }: MibParts): ModuleFactory[] {
  const { nat, timers, limits, midcom } = config, { counters } = path
  const count = (name: string) => counters[COUNTERS.indexOf(name)]!
  const backlog = createBacklog(core.book), binds = createBinds(core.book, backlog)
  const settings: NatSettings = {
    udpMs: timers.udpMs, tcpEstablishedMs: timers.tcpEstablishedMs, tcpOpeningMs: timers.tcpOpeningMs,
    icmpQueryMs: timers.icmpQueryMs, otherMs: timers.otherMs, filtering: nat.filtering,
    fragmentDatagrams: limits.fragmentDatagrams, mappingsMost: limits.flows,
  }
  const opened = counterIndex('mappings-opened'), closed = counterIndex('mappings-closed')
  const fragmentDrops = COUNTERS.flatMap((name, i) => name.startsWith('drop-fragment-') ? [i] : [])
  const natFigures = () => {
    path.refresh()
    return {
      translations: count('out-inside-packets') + count('out-outside-packets'),
      mappings: counters[opened]! - counters[closed]! + count('bindings-current'),
      mappingCreations: counters[opened]!, portFailureDrops: count('drop-no-outside-port-packets'),
      fragmentDrops: fragmentDrops.reduce((sum, i) => sum + counters[i]!, 0),
    }
  }
  // Between interfaces the settings say what their links take; what nothing limits is as long as IP lets it be.
  const mtus = [config.box.mtuInside, config.box.mtuOutside]
  const interfaces = {
    sides: INTERFACES.map((name, i) => ({ name, mtu: mtus[i]! || MOST_MTU })),
    figures(index: number): InterfaceFigures {
      const name = INTERFACES[index - 1]!
      path.refresh()
      return {
        inPackets: count(`in-${name}-packets`), inBytes: count(`in-${name}-bytes`),
        outPackets: count(`out-${name}-packets`), outBytes: count(`out-${name}-bytes`),
      }
    },
  }
  return [
    midcomMib({
      policy: core, backlog, binds: nat.nat44 ? binds : null, service: midcom.service === 'twice' ? TWICE : TRADITIONAL,
      journal, wallMs, log, idleRows: midcom.limits.rules, idleRowsPerOwner: Math.min(IDLE_ROWS_PER_OWNER, midcom.limits.rules),
      advance: turns.advance, wake: turns.wake, nowMs: turns.nowMs,
    }),
    natMib(binds, backlog, settings), natv2Mib(binds, backlog, settings, natFigures),
    interfacesMib(interfaces), interfacesExtensionMib(interfaces),
  ]
}
