/**
 * An external policy decision point (RFC 3303 2.9): each question is a POST to an HTTP endpoint, the answer is the verdict.
 * Fails closed: whatever is not an answer in time is a refusal, counted by its cause. Redirects are not followed, for a
 * question names agents and addresses that the second place may not see.
 */
import * as http from 'node:http'
import * as https from 'node:https'
import { isIP } from 'node:net'
import { performance } from 'node:perf_hooks'
import { createSecureContext } from 'node:tls'
import type { Question, Verdict } from '../../policy/api.ts'
import { questionText, readAnswer } from './question.ts'

export interface PdpOptions {
  /** http: or https: */
  url: string
  /** From the question to the whole answer, waiting for a turn included, in milliseconds. */
  timeoutMs: number
  /** Requests at a time, and so connections. */
  maxConcurrent: number
  /** Questions that may wait for a turn; one more is refused. */
  maxWaiting: number
  /** Largest body of an answer. */
  maxAnswerBytes: number
  /** How long a permit answers the same question again, in milliseconds; 0: never. */
  cacheMs: number
  /** Permits kept at a time. */
  cacheEntries: number
  /** PEM, for https: trusted authorities instead of those of the system, and the certificate that we show. */
  ca?: string | Buffer
  cert?: string | Buffer
  key?: string | Buffer
  /** Sent as `Authorization: Bearer`. */
  token?: string
  /** A clock that never goes back, in milliseconds. */
  nowMs?: () => number
  /** Hears of each question that got no answer. */
  onFailure?: (failure: PdpFailure, detail: string, question: Question) => void
}

export const PDP_DEFAULTS = {
  timeoutMs: 2000, maxConcurrent: 16, maxWaiting: 256, maxAnswerBytes: 16_384, cacheMs: 0, cacheEntries: 1024,
} as const

export const PDP_FAILURES = [
  'timed-out', 'queue-full', 'unreachable', 'redirected', 'bad-status', 'too-large', 'malformed', 'closed',
] as const
export type PdpFailure = (typeof PDP_FAILURES)[number]

export interface PdpStatistics {
  questions: number
  permits: number
  /** The endpoint said no; failures are refusals too, and not among these. */
  refusals: number
  /** Permits out of the cache. */
  cached: number
  failures: Record<PdpFailure, number>
  underWay: number
  waiting: number
}

export interface Pdp {
  /** Never rejects. */
  ask(question: Question): Promise<Verdict>
  /** Drops kept permits of an agent, or all. */
  forget(agent?: string): void
  statistics(): PdpStatistics
  /** Refuses what is under way and all that follows. */
  close(): void
}

/** The endpoint cannot be used as configured. */
export class PdpConfigError extends Error {
  readonly code: 'pdp-url' | 'pdp-tls' | 'pdp-token' | 'pdp-limit'
  /** The option that is wrong. */
  readonly setting: string
  constructor(code: PdpConfigError['code'], setting: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'PdpConfigError'
    this.code = code
    this.setting = setting
  }
}

interface Job {
  readonly question: Question
  readonly text: string
  readonly settle: (verdict: Verdict) => void
  timer: NodeJS.Timeout | undefined
  request: http.ClientRequest | null
  /** The connection was an old one and died under the request: it gets a new one, once. */
  again: boolean
}

/** @throws {PdpConfigError} */
export function createPdp(options: PdpOptions): Pdp {
  const url = checkOptions(options)
  const { timeoutMs, maxConcurrent, maxWaiting, maxAnswerBytes, cacheMs, cacheEntries, token, onFailure } = options
  const nowMs = options.nowMs ?? (() => performance.now())
  const secure = url.protocol === 'https:'
  const connections = { keepAlive: true, maxSockets: maxConcurrent }
  const agent = secure ? new https.Agent({ ...connections, ...tlsOptions(options) }) : new http.Agent(connections)
  const request = secure ? https.request : http.request
  const underWay = new Set<Job>(), waiting = new Set<Job>()
  /** Text of a question to the end of its permit, in order of age: all live equally long. */
  const kept = new Map<string, { endMs: number; agent: string; verdict: Verdict }>()
  const count = { questions: 0, permits: 0, refusals: 0, cached: 0 }
  const failures = Object.fromEntries(PDP_FAILURES.map((name) => [name, 0])) as Record<PdpFailure, number>
  let closed = false

  function ask(question: Question): Promise<Verdict> {
    count.questions++
    const text = questionText(question)
    const before = recall(text)
    if (before !== undefined) {
      count.cached++
      return Promise.resolve(before)
    }
    if (closed) return Promise.resolve(refuse('closed', 'the policy decision point is closed', question))
    if (underWay.size >= maxConcurrent && waiting.size >= maxWaiting) {
      return Promise.resolve(refuse('queue-full', `${waiting.size} questions wait already`, question))
    }
    return new Promise((settle) => {
      const job: Job = { question, text, settle, timer: undefined, request: null, again: false }
      job.timer = setTimeout(() => fail(job, 'timed-out', `no answer within ${timeoutMs} ms`), timeoutMs)
      waiting.add(job)
      turn()
    })
  }

  function turn(): void {
    for (const job of waiting) {
      if (underWay.size >= maxConcurrent) return
      waiting.delete(job)
      underWay.add(job)
      send(job)
    }
  }

  function send(job: Job): void {
    const body = Buffer.from(job.text)
    const headers: http.OutgoingHttpHeaders = {
      'content-type': 'application/json', 'content-length': body.length, accept: 'application/json',
    }
    if (token !== undefined) headers.authorization = `Bearer ${token}`
    const sent = request(url, { method: 'POST', agent, headers })
    job.request = sent
    sent.on('response', (response) => receive(job, sent, response))
    sent.on('error', (error: NodeJS.ErrnoException) => {
      if (job.request !== sent) return
      // The server may close an idle connection just as we use it; nothing of the question was answered then.
      if (sent.reusedSocket && !job.again && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) {
        job.again = true
        send(job)
      } else fail(job, 'unreachable', error.message)
    })
    sent.end(body)
  }

  function receive(job: Job, sent: http.ClientRequest, response: http.IncomingMessage): void {
    const status = response.statusCode ?? 0
    const declared = Number(response.headers['content-length'] ?? 0)
    const pieces: Buffer[] = []
    let bytes = 0
    response.on('error', (error) => { if (job.request === sent) fail(job, 'unreachable', error.message) })
    if (status >= 300 && status < 400) return fail(job, 'redirected', `status ${status}`)
    if (status !== 200) return fail(job, 'bad-status', `status ${status}`)
    if (declared > maxAnswerBytes) return fail(job, 'too-large', `${declared} bytes`)
    response.on('data', (piece: Buffer) => {
      bytes += piece.length
      if (job.request !== sent) return
      if (bytes > maxAnswerBytes) fail(job, 'too-large', `more than ${maxAnswerBytes} bytes`)
      else pieces.push(piece)
    })
    response.on('end', () => {
      if (job.request !== sent) return
      const answer = readAnswer(Buffer.concat(pieces))
      if (!answer.ok) return fail(job, 'malformed', answer.fault)
      if (answer.verdict.permit) {
        count.permits++
        keep(job, answer.verdict)
      } else count.refusals++
      job.request = null
      end(job, answer.verdict)
    })
  }

  /** Counts, tells, and answers no. */
  function refuse(failure: PdpFailure, detail: string, question: Question): Verdict {
    failures[failure]++
    onFailure?.(failure, detail, question)
    return { permit: false }
  }

  function fail(job: Job, failure: PdpFailure, detail: string): void {
    const sent = job.request
    job.request = null
    end(job, refuse(failure, detail, job.question))
    sent?.destroy()
  }

  function end(job: Job, verdict: Verdict): void {
    clearTimeout(job.timer)
    underWay.delete(job)
    waiting.delete(job)
    job.settle(verdict)
    turn()
  }

  function keep(job: Job, verdict: Verdict): void {
    if (cacheMs <= 0 || cacheEntries <= 0) return
    kept.delete(job.text)
    for (const [oldest] of kept) {
      if (kept.size < cacheEntries) break
      kept.delete(oldest)
    }
    kept.set(job.text, { endMs: nowMs() + cacheMs, agent: job.question.agent, verdict })
  }

  function recall(text: string): Verdict | undefined {
    const found = kept.get(text)
    if (found === undefined) return undefined
    if (nowMs() < found.endMs) return found.verdict
    kept.delete(text)
    return undefined
  }

  return {
    ask,
    forget(agentName) {
      if (agentName === undefined) return kept.clear()
      for (const [text, entry] of kept) if (entry.agent === agentName) kept.delete(text)
    },
    statistics: () => ({ ...count, failures: { ...failures }, underWay: underWay.size, waiting: waiting.size }),
    close() {
      closed = true
      kept.clear()
      for (const job of [...waiting, ...underWay]) fail(job, 'closed', 'the policy decision point was closed')
      agent.destroy()
    },
  }
}

function checkOptions(options: PdpOptions): URL {
  if (!URL.canParse(options.url)) throw new PdpConfigError('pdp-url', 'url', `'${options.url}' is not a URL`)
  const url = new URL(options.url)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new PdpConfigError('pdp-url', 'url', `'${options.url}' is neither http: nor https:`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new PdpConfigError('pdp-url', 'url', 'a URL is written to logs: it must not hold a password')
  }
  const secure = url.protocol === 'https:'
  for (const setting of ['ca', 'cert', 'key'] as const) {
    if (options[setting] !== undefined && !secure) {
      throw new PdpConfigError('pdp-tls', setting, `${setting} says something about https: only`)
    }
  }
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw new PdpConfigError('pdp-tls', options.cert === undefined ? 'cert' : 'key', 'cert and key come together')
  }
  if (options.token !== undefined && !/^[\x21-\x7e]+$/.test(options.token)) {
    throw new PdpConfigError('pdp-token', 'token', 'a bearer token is printable ASCII without spaces (RFC 6750 2.1)')
  }
  if (options.token !== undefined && !secure && !isLoopback(url.hostname)) {
    throw new PdpConfigError('pdp-token', 'token', 'a bearer token needs https: (RFC 6750 5.3)')
  }
  for (const setting of ['timeoutMs', 'maxConcurrent', 'maxWaiting', 'maxAnswerBytes', 'cacheMs', 'cacheEntries'] as const) {
    const least = setting === 'maxWaiting' || setting === 'cacheMs' || setting === 'cacheEntries' ? 0 : 1
    const value = options[setting]
    if (!Number.isInteger(value) || value < least || value > 0x7fffffff) {
      throw new PdpConfigError('pdp-limit', setting, `${setting} is a whole number from ${least} to 2147483647`)
    }
  }
  return url
}

/** Reads the certificates at once, so that a wrong one is found at the start and not at the first question. */
function tlsOptions({ ca, cert, key }: PdpOptions): https.AgentOptions {
  const options = { minVersion: 'TLSv1.2' as const, ca, cert, key }      // RFC 8996
  try {
    createSecureContext(options)
  } catch (error) {
    throw new PdpConfigError('pdp-tls', 'tls', `certificates cannot be used: ${(error as Error).message}`, { cause: error })
  }
  return options
}

function isLoopback(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '')
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'))
}
