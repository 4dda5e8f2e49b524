/** TCP as the box sees it: the table of docs/behaviour.md, "Timers", row by row. */
export type TcpState =
  | 'SYN-OUT' | 'SYN-IN' | 'MID-OUT' | 'MID-IN' | 'ESTABLISHED' | 'FIN-OUT' | 'FIN-IN' | 'FIN-BOTH' | 'RESET'
export type Way = 'out' | 'in'

const FIN = 1, SYN = 2, RST = 4, ACK = 16

/** The strongest flag names the column. */
function columnOf(flags: number): 'RST' | 'SYN' | 'FIN' | 'other' {
  return flags & RST ? 'RST' : flags & SYN ? 'SYN' : flags & FIN ? 'FIN' : 'other'
}
export function isReset(flags: number): boolean { return (flags & RST) !== 0 }
/** A segment that opens a connection: SYN without ACK. */
export function isOpening(flags: number): boolean { return (flags & SYN) !== 0 && (flags & ACK) === 0 }

export function opened(way: Way, flags: number): TcpState {
  if (way === 'out') return isOpening(flags) && !isReset(flags) ? 'SYN-OUT' : 'MID-OUT'
  return isOpening(flags) && !isReset(flags) ? 'SYN-IN' : 'MID-IN'
}

export function after(state: TcpState, way: Way, flags: number): TcpState {
  const column = columnOf(flags), ack = (flags & ACK) !== 0
  if (column === 'RST') return state === 'FIN-BOTH' ? 'FIN-BOTH' : 'RESET'
  switch (state) {
    case 'SYN-OUT':
      if (way === 'out') return state
      return column === 'SYN' ? 'ESTABLISHED' : column === 'FIN' ? 'FIN-IN' : ack ? 'ESTABLISHED' : state
    case 'SYN-IN':
      if (way === 'in') return state
      return column === 'SYN' ? 'ESTABLISHED' : column === 'FIN' ? 'FIN-OUT' : ack ? 'ESTABLISHED' : state
    case 'MID-OUT':
      if (way === 'out') return state
      return column === 'FIN' ? 'FIN-IN' : 'ESTABLISHED'
    case 'MID-IN':
      if (way === 'in') return state
      return column === 'FIN' ? 'FIN-OUT' : 'ESTABLISHED'
    case 'ESTABLISHED':
      if (column !== 'FIN') return state
      return way === 'out' ? 'FIN-OUT' : 'FIN-IN'
    case 'FIN-OUT':
      return column === 'FIN' && way === 'in' ? 'FIN-BOTH' : state
    case 'FIN-IN':
      return column === 'FIN' && way === 'out' ? 'FIN-BOTH' : state
    case 'FIN-BOTH':
      if (column !== 'SYN' || ack) return state
      return way === 'out' ? 'SYN-OUT' : 'SYN-IN'
    case 'RESET':
      if (column === 'SYN' && !ack) return way === 'out' ? 'SYN-OUT' : 'SYN-IN'
      return 'ESTABLISHED'
  }
}

/** Only open connections are kept for long (RFC 5382 REQ-5). */
export function isLong(state: TcpState): boolean {
  return state === 'ESTABLISHED' || state === 'FIN-OUT' || state === 'FIN-IN'
}
/** Both ends have closed, or one has reset (RFC 7857 2.2). */
export function isClosing(state: TcpState): boolean { return state === 'FIN-BOTH' || state === 'RESET' }
