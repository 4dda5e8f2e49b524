/** What the program answers to the shell. Documented by `pinhole --help`; scripts rely on it: numbers never change. */
export const STATUS = {
  ok: 0,
  /** `check` found errors; a comparison found a regression. */
  found: 1,
  /** The command line or the configuration cannot be used, or an input cannot be opened. */
  usage: 2,
  /** The input file is truncated or corrupt; what came before the fault was processed. */
  input: 3,
  /** An output could not be written. */
  output: 4,
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
  0   done; 'check' found nothing wrong
  1   'check' found errors, or a comparison found a regression
  2   the command line or the configuration cannot be used, or an input cannot be opened
  3   an input file is truncated or corrupt; everything before the fault was processed
  4   an output file could not be written
  70  a bug in pinhole; --debug shows where
  130 interrupted (SIGINT); the outputs are valid
  143 terminated (SIGTERM); the outputs are valid`
