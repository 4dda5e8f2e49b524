/** What `pinhole ctl` says when a request fails, and with which status: for operators, who see neither sockets nor replies. */
import { MidcomError, type LocalReason } from '../../control/simco/agent.ts'
import { Failure, STATUS, type Status } from './status.ts'

const LOCAL_STATUS: Record<LocalReason, Status> = {
  unreachable: STATUS.connection, 'connection-lost': STATUS.connection, 'session-terminated': STATUS.connection,
  'session-ended': STATUS.connection, 'protocol-error': STATUS.connection, aborted: STATUS.connection,
  'tls-failed': STATUS.unauthorized, 'not-authenticated': STATUS.unauthorized, 'authentication-required': STATUS.unauthorized,
  'too-many-requests': STATUS.exhausted, 'timed-out': STATUS.late,
}
/** Negative replies that are not plain refusals (RFC 4540 4.2.3). */
const CODE_STATUS: Record<number, Status> = {
  0x0322: STATUS.connection, 0x0325: STATUS.connection,
  0x0323: STATUS.unauthorized, 0x0324: STATUS.unauthorized, 0x0326: STATUS.unauthorized, 0x0341: STATUS.unauthorized,
  0x0345: STATUS.unauthorized, 0x0346: STATUS.unauthorized, 0x0351: STATUS.unauthorized,
  0x0321: STATUS.exhausted, 0x0342: STATUS.exhausted, 0x0348: STATUS.exhausted, 0x0349: STATUS.exhausted,
}

/** What errors of the system mean for who connects; `at` is host and port. */
const SYSTEM: Record<string, (at: string) => string> = {
  ECONNREFUSED: (at) => `nothing listens at ${at}: is the box running, with this address in midcom.simco.listen?`,
  ENOTFOUND: (at) => `${at}: there is no host of this name`,
  EAI_AGAIN: (at) => `${at}: no name server answers about this name`,
  ETIMEDOUT: (at) => `${at}: the host does not answer: is it up, and does a firewall let this port through?`,
  EHOSTUNREACH: (at) => `${at}: the host cannot be reached: is it up, and on this network?`,
  ENETUNREACH: (at) => `${at}: this machine has no route to that network`,
  ECONNRESET: (at) => `${at}: the connection was reset at once: does SIMCO listen there, and does it want --tls?`,
  EACCES: (at) => `${at}: this machine's own firewall forbids the connection`,
  EPERM: (at) => `${at}: this machine's own firewall forbids the connection`,
}

/** The same of TLS; the first that matches the code. */
const TLS: [RegExp, string][] = [
  [/^(DEPTH_ZERO_)?SELF_SIGNED/, 'its certificate is signed by itself, or by an authority of its own: --ca names the file of that'],
  [/^UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)/,
    'no authority that is trusted here has signed its certificate: --ca names the file of the one that has'],
  [/^CERT_HAS_EXPIRED/, 'its certificate has expired'],
  [/^CERT_NOT_YET_VALID/, 'its certificate is not valid yet: compare the clocks'],
  [/ALTNAME_INVALID/, 'its certificate is for other names than this: --server takes the name that it is for'],
  [/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/, 'no TLS is spoken there: leave out --tls, --ca, --cert and --key'],
  [/CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/, 'it wants to see a certificate: --cert and --key'],
  [/ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_|UNSUPPORTED_CERT)/, 'it does not accept the certificate of --cert'],
]

/** An error of `pinhole ctl` to the middlebox `at`; what is none of the session's stays what it is. */
export function asFailure(error: unknown, at: string): unknown {
  if (!(error instanceof MidcomError)) return error
  const { code, local } = error
  const status = local !== null ? LOCAL_STATUS[local] : CODE_STATUS[code] ?? STATUS.refused
  return new Failure(status, meaning(error, at) ?? plain(error, at), { cause: error })
}

/** What an operator can do about it, if that is known. */
function meaning({ local, transaction, cause, detail }: MidcomError, at: string): string | null {
  if (transaction !== 'connect') return null
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? ''
  if (local === 'unreachable' || local === 'connection-lost') {
    const known = SYSTEM[code]?.(at)
    if (known !== undefined) return `${known} (${code})`
    if (local === 'unreachable') return null
    return `${at}: the connection was closed at once: does SIMCO listen there, and does it want --tls?`
  }
  if (local === 'timed-out') return `${at}: no session after ${detail}: is the host up, and does a firewall let this port through?`
  if (local !== 'tls-failed') return null
  const known = TLS.find(([pattern]) => pattern.test(code))
  return known === undefined ? null : `${at}: ${known[1]} (${code})`
}

function plain({ code, local, transaction, reason, detail, uncertain }: MidcomError, at: string): string {
  const what = transaction === 'connect' || transaction === 'session' ? at : transaction
  const more = local === null ? ` (0x${code.toString(16).padStart(4, '0')})` : detail === '' ? '' : `: ${detail}`
  return `${what}: ${reason}${more}${uncertain ? '; it may have been carried out' : ''}`
}
