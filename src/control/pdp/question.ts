/**
 * What the external policy decision point reads and answers, as JSON: see README.md. Addresses are text and numbers have names,
 * so that whoever writes the other side needs nothing of ours.
 */
import { maskWord, print4, print6 } from '../../base/address.ts'
import { REASONS, type Question, type Reason, type Tuple, type Verdict } from '../../policy/api.ts'

export const QUESTION_VERSION = 1
const MOST_SECONDS = 0xffffffff

const SERVICES = ['any', 'traditional', 'twice']
const PARITIES = ['any', 'odd', 'even', 'same']
const DIRECTIONS = ['', 'inbound', 'outbound', 'bidirectional']

/** A question as the text of one JSON object. The same question gives the same text. */
export function questionText(question: Question): string {
  const { kind, agent } = question
  const detail = kind === 'session' || kind === 'read' ? {}
    : kind === 'lifetime' ? { owner: question.owner, rule: question.rule, lifetimeSec: question.lifetimeSec }
    : { request: requestOf(question) }
  return JSON.stringify({ version: QUESTION_VERSION, kind, agent, ...detail })
}

function requestOf(question: Extract<Question, { kind: 'reserve' | 'enable' | 'disable' }>): object {
  if (question.kind === 'reserve') {
    const { group, service, internalVersion, externalVersion, internal, protocol, range, parity, lifetimeSec } = question.request
    return {
      group, service: named(SERVICES, service), internalVersion, externalVersion,
      internal: internal === null ? null : endpointOf(internal), protocol, range, parity: named(PARITIES, parity), lifetimeSec,
    }
  }
  if (question.kind === 'enable') {
    const { reservation, group, direction, parity, internal, external, lifetimeSec, maxIdleSec } = question.request
    return {
      reservation, group, direction: named(DIRECTIONS, direction), parity: named(PARITIES, parity),
      internal: endpointOf(internal), external: endpointOf(external), lifetimeSec, maxIdleSec,
    }
  }
  const { internal, external, lifetimeSec } = question.request
  return { internal: endpointOf(internal), external: endpointOf(external), lifetimeSec }
}

/** A number without a name is told as it came: policy refuses it after the permit. */
function named(names: readonly string[], value: number): string | number {
  const name = names[value]
  return name === undefined || name === '' ? value : name
}

function endpointOf({ version, word0, word1, word2, word3, prefixBits, protocol, port, range }: Tuple): object {
  // Bits below the prefix say nothing, and many readers of prefixes refuse them.
  const words = Int32Array.of(word0, word1, word2, word3).map((word, i) => word & maskWord(prefixBits, i))
  const address = version === 4 ? print4(words[0]!) : print6(words)
  return { version, prefix: `${address}/${prefixBits}`, protocol, port, range }
}

/** The verdict in an answer, or what is wrong with it. Members that this version does not know are passed over. */
export function readAnswer(bytes: Uint8Array): { ok: true; verdict: Verdict } | { ok: false; fault: string } {
  let answer: unknown
  try {
    answer = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return { ok: false, fault: 'the answer is not JSON in UTF-8' }
  }
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) {
    return { ok: false, fault: 'the answer is not an object' }
  }
  const { permit, reason, maxLifetimeSec } = answer as Record<string, unknown>
  if (permit === false) {
    // A refusal is a refusal, whatever it gives as its reason.
    return { ok: true, verdict: isReason(reason) ? { permit, reason } : { permit } }
  }
  if (permit !== true) return { ok: false, fault: 'permit is neither true nor false' }
  if (maxLifetimeSec === undefined || maxLifetimeSec === null) return { ok: true, verdict: { permit } }
  if (typeof maxLifetimeSec !== 'number' || !Number.isInteger(maxLifetimeSec) || maxLifetimeSec < 0
    || maxLifetimeSec > MOST_SECONDS) return { ok: false, fault: 'maxLifetimeSec is not a whole number from 0 to 4294967295' }
  return { ok: true, verdict: { permit, maxLifetimeSec } }
}

function isReason(value: unknown): value is Reason {
  return typeof value === 'string' && (REASONS as readonly string[]).includes(value)
}
