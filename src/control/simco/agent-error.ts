/** What can become of a request that did not succeed, and of a session. */
import { NEGATIVE_NAMES } from './messages.ts'

/** What was asked for, or `session`: all that is under way. */
export type Transaction =
  | 'connect' | 'session' | 'reserve' | 'enable' | 'disable' | 'lifetime' | 'delete' | 'list' | 'status' | 'end'

/** Failures that no reply of the middlebox tells; their `code` is 0. */
export const LOCAL_REASONS = {
  unreachable: 'the middlebox cannot be reached',
  'tls-failed': 'TLS does not accept the other side',
  'not-authenticated': 'the middlebox has not proved who it is',
  'authentication-required': 'the middlebox wants a shared key and there is none',
  'connection-lost': 'the connection was lost',
  'session-terminated': 'the middlebox has ended the session',
  'session-ended': 'the session was ended',
  'timed-out': 'no reply in time',
  aborted: 'the request was given up',
  'too-many-requests': 'too many requests wait already',
  'protocol-error': 'the middlebox does not speak SIMCO',
} as const
export type LocalReason = keyof typeof LOCAL_REASONS

/**
 * A transaction failed. With a `code` the middlebox has refused and nothing has changed there. With `code` 0 it has not
 * answered: `local` says why, and `uncertain` whether it may have done what was asked nevertheless.
 */
export class MidcomError extends Error {
  /** Type of the negative reply, 0x0310 … 0x0358 (RFC 4540 4.2.3), or 0. */
  readonly code: number
  /** The words of RFC 4540 4.2.3 for the code, or of LOCAL_REASONS. */
  readonly reason: string
  /** Why there was no reply; null if the middlebox has refused. */
  readonly local: LocalReason | null
  readonly transaction: Transaction
  /** The request has left and may have been carried out, though no reply says so. */
  readonly uncertain: boolean
  /** More about it, or empty. */
  readonly detail: string
  constructor(failure: number | LocalReason, transaction: Transaction, uncertain = false, detail = '', options?: ErrorOptions) {
    const code = typeof failure === 'number' ? failure : 0
    const reason = typeof failure === 'number' ? reasonOf(failure) : LOCAL_REASONS[failure]
    super(`${transaction}: ${reason}${detail === '' ? '' : ` (${detail})`}`, options)
    this.name = 'MidcomError'
    this.code = code
    this.reason = reason
    this.local = typeof failure === 'number' ? null : failure
    this.transaction = transaction
    this.uncertain = uncertain
    this.detail = detail
  }
}

function reasonOf(code: number): string {
  return NEGATIVE_NAMES[code] ?? `unassigned code 0x${code.toString(16).padStart(4, '0')}`
}
