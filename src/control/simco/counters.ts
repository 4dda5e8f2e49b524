/** Counters of the SIMCO server: direction-what-unit, as everywhere in the box. */
export function createSimcoCounters() {
  return {
    'in-connections': 0, 'in-delayed-connections': 0, 'in-bytes': 0, 'in-messages': 0,
    'out-bytes': 0, 'out-positive-messages': 0, 'out-negative-messages': 0,
    /** ARE, BFM, AST. */
    'out-event-messages': 0, 'out-bad-message-messages': 0, 'out-termination-messages': 0,
    'connections-current': 0, 'connections-peak': 0,
    /** Sessions are counted while they are OPEN. */
    'sessions-opened': 0, 'sessions-closed': 0, 'sessions-current': 0,
    'authentication-failures': 0, 'drop-throttled-sessions': 0,
    /** Connections that were refused. */
    'drop-limit-connections': 0, 'drop-remote-limit-connections': 0, 'drop-tls-connections': 0,
    /** Connections that were ended, by what was exceeded. */
    'drop-open-timeout-connections': 0, 'drop-idle-connections': 0, 'drop-bad-message-connections': 0,
    'drop-message-timeout-connections': 0, 'drop-not-reading-connections': 0, 'drop-stalled-connections': 0,
    'drop-drain-timeout-connections': 0,
  }
}

export type SimcoCounters = ReturnType<typeof createSimcoCounters>
export type SimcoCounter = keyof SimcoCounters
export const SIMCO_COUNTERS = Object.keys(createSimcoCounters()) as readonly SimcoCounter[]
