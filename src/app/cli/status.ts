/** What the program answers to the shell. Documented by `pinhole --help`; scripts rely on it: numbers never change. */
export const STATUS = {
  ok: 0,
  /** `check` found errors, flows that would change or rules that can never decide; a comparison found a regression; an answer was
   * not the one that a script expects; a packet does not pass. */
  found: 1,
  /** The command line or the configuration cannot be used, or an input cannot be opened. */
  usage: 2,
  /** The input file is truncated or corrupt; what came before the fault was processed. */
  input: 3,
  /** An output could not be written. */
  output: 4,
  /** `ctl`, `record`: the middlebox cannot be reached, the connection was lost, or it does not speak our protocol. */
  connection: 5,
  /** `ctl`: one side has not proved who it is, or the agent may not do this. */
  unauthorized: 6,
  /** `ctl`: the middlebox has refused: no such rule, conflict, inconsistent and the like. */
  refused: 7,
  /** `ctl`: the middlebox has no sessions, rules, addresses or ports left. */
  exhausted: 8,
  /** `ctl`: no answer in time. */
  late: 9,
  /** A bug of ours (EX_SOFTWARE of sysexits.h). */
  internal: 70,
  /** Ended by SIGINT or SIGTERM: what a shell reports for a program that a signal ended. */
  interrupted: 130,
  terminated: 143,
} as const

export type Status = (typeof STATUS)[keyof typeof STATUS]

/** Ends the program with a message, no stack and this status. */
export class Failure extends Error {
  readonly status: Status
  constructor(status: Status, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Failure'
    this.status = status
  }
}

export const STATUS_HELP = `
Exit status:
  0   done; 'check' found nothing wrong; 'run' and 'record' were told to end
  1   'check' found errors, flows that would change or rules that can never decide, a
      comparison found a regression, an answer is not the one that a script expects, or
      the packet that 'why' asks about does not pass
  2   the command line or the configuration cannot be used, or an input cannot be opened
  3   an input file is truncated or corrupt; everything before the fault was processed
  4   an output file could not be written
  5   ctl: cannot connect, the connection was lost, or the other side does not speak SIMCO 3;
      record: no such box, or it went without a word
  6   ctl: not authenticated, or not authorized
  7   ctl: refused: no such rule, a conflict, an inconsistent request and the like
  8   ctl: refused: no sessions, rules, addresses or ports are left
  9   ctl: no answer in time
  70  a bug in pinhole; --debug shows where
  130 interrupted (SIGINT), but for 'run' and 'record'; the outputs are valid
  143 terminated (SIGTERM), likewise`
