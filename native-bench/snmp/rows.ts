/** What is measured of the SNMP door, against Debian's snmpd. */

export interface RequestsParameters {
  /** GET of a rule's state, SET of its storage time; GET and SET of a scalar at snmpd. */
  request: 'get' | 'set'
  /** Requests under way. */
  window: number
  count: number
  warm: number
  /** Rules that are there meanwhile. */
  rows: number
}
export interface WalkParameters { tool: 'walk' | 'bulkwalk'; rows: number; repetitions: number }

export type SnmpRow = { name: `snmp/${string}`; unit: string } & (
  | { kind: 'snmp-requests'; parameters: RequestsParameters }
  | { kind: 'snmp-walk'; parameters: WalkParameters }
)

export function snmpRows(quick: boolean): SnmpRow[] {
  const gets = quick ? { count: 20_000, warm: 5000 } : { count: 120_000, warm: 40_000 }
  // All are sealed before, at one time; of more SETs than the box remembers (65,536) the late ones would be from before its memory.
  const sets = quick ? gets : { count: 40_000, warm: 10_000 }
  const rows = 10_000
  const requests = (request: 'get' | 'set', window: number): SnmpRow => ({
    name: `snmp/${request}-w${window}`, unit: 'us/request', kind: 'snmp-requests',
    parameters: { request, window, rows, ...request === 'get' ? gets : sets },
  })
  return [
    requests('get', 8), requests('get', 64), requests('set', 8), requests('set', 64),
    { name: 'snmp/walk-10k', unit: 'ms', kind: 'snmp-walk', parameters: { tool: 'walk', rows, repetitions: 1 } },
    { name: 'snmp/bulkwalk-10k', unit: 'ms', kind: 'snmp-walk', parameters: { tool: 'bulkwalk', rows, repetitions: 10 } },
    { name: 'snmp/bulkwalk-r100-10k', unit: 'ms', kind: 'snmp-walk', parameters: { tool: 'bulkwalk', rows, repetitions: 100 } },
    { name: 'snmp/bulkwalk-r400-10k', unit: 'ms', kind: 'snmp-walk', parameters: { tool: 'bulkwalk', rows, repetitions: 400 } },
  ]
}
